"""config.json of Hugging Face's folders: to a TransformerConfig, and back.

Every key that changes what a model computes is looked at. Where a setting is not supported here, it is named.

Comes before: `architectures`, `nn.config`. Comes after: `hugging_face`, which reads and writes whole folders.
Left out on purpose: experts (MoE), YaRN and the other scalings of rotary positions, images, quantised weights.

Source: the configuration classes of Transformers 5.23; the older form of the rotary settings (rope_theta and
rope_scaling in place of rope_parameters) is read too, and written, because both old and new versions read it.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.architectures import FAMILIES, Family, family_of
from tinygrad_llm.hub.settings import Settings
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.rotary import RotaryScaling

GELU_TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")  # three names of the same formula
SILU = ("silu", "swish")


# --- reading ----------------------------------------------------------------------------------------------------------


def config_from_json(values: dict[str, Any], source: str) -> tuple[Family, TransformerConfig]:
    """The family and the config that a config.json describes.

    Raises InputError that names the key when something is missing, of the wrong type, or not supported.
    """
    settings = Settings(values, source)
    model_type = values.get("model_type")
    family = next((family for family in FAMILIES.values() if family.model_type == model_type), None)
    if family is None:
        known = ", ".join(family.model_type for family in FAMILIES.values())
        raise InputError(f"{source}: model_type {model_type!r} is not supported here. Supported are {known}.")
    settings.refuse_unless("quantization_config", (None,), None)
    settings.refuse_unless("is_encoder_decoder", (False, None), None)
    return family, _gpt2(settings) if family.name == "gpt2" else _rotary(settings, family)


def _gpt2(settings: Settings) -> TransformerConfig:
    settings.refuse_unless("activation_function", GELU_TANH, "gelu_new")
    settings.refuse_unless("scale_attn_weights", (True,), True)
    settings.refuse_unless("scale_attn_by_inverse_layer_idx", (False,), False)
    settings.refuse_unless("add_cross_attention", (False,), False)
    return TransformerConfig.gpt2(
        vocab_size=settings.whole("vocab_size"),
        context=settings.whole("n_positions"),
        layers=settings.layers("n_layer"),
        heads=settings.whole("n_head"),
        width=settings.whole("n_embd"),
        hidden=settings.maybe_whole("n_inner"),
        norm_eps=settings.number("layer_norm_epsilon", 1e-5),
        tied=settings.flag("tie_word_embeddings", True),
    )


def _rotary(settings: Settings, family: Family) -> TransformerConfig:
    """Llama and all that came from it: each adds a few keys of its own."""
    name = family.name
    gemma = name.startswith("gemma")
    layers = settings.layers("num_hidden_layers")
    bias = name == "llama" and settings.flag("attention_bias", False)
    settings.refuse_unless("mlp_bias", (bias,), False)
    if name != "llama":
        settings.refuse_unless("attention_bias", (False,), False)
    activation = "hidden_activation" if gemma and settings.values.get("hidden_activation") else "hidden_act"
    # The first Gemma files say "gelu" and mean its tanh form.
    settings.refuse_unless(
        activation,
        (*GELU_TANH, "gelu") if name == "gemma" else GELU_TANH if gemma else SILU,
        GELU_TANH[0] if gemma else "silu",
    )
    base, scaling, local_base = _rotary_settings(settings, family)
    window, every = _windows(settings, family, layers)
    width = settings.whole("hidden_size")
    own: dict[str, Any] = {"qkv_bias": True} if name == "qwen2" else {"qk_norm": True} if name == "qwen3" else {}
    if gemma:
        settings.refuse_unless("use_bidirectional_attention", (False, None), None)
        own = {"activation": "gelu_tanh", "norm_weight_plus_one": True, "embedding_scale": math.sqrt(width)}
    if name in ("gemma2", "gemma3"):
        caps = (50.0, 30.0) if name == "gemma2" else (None, None)
        own |= {
            "post_norms": True,
            "qk_norm": name == "gemma3",
            "attention_scale": settings.number("query_pre_attn_scalar", 256) ** -0.5,
            "attention_softcap": settings.maybe_number("attn_logit_softcapping", caps[0]),
            "logit_softcap": settings.maybe_number("final_logit_softcapping", caps[1]),
        }
    return TransformerConfig.llama(
        vocab_size=settings.whole("vocab_size"),
        context=settings.whole("max_position_embeddings"),
        layers=layers,
        heads=settings.whole("num_attention_heads"),
        kv_heads=settings.maybe_whole("num_key_value_heads"),
        head_dim=_head_width(settings, family),
        width=width,
        hidden=settings.whole("intermediate_size"),
        norm_eps=settings.number("rms_norm_eps", 1e-6),
        bias=bias,
        tied=settings.flag("tie_word_embeddings", gemma),
        rotary_base=base,
        rotary_scaling=scaling,
        local_rotary_base=local_base,
        window=window,
        full_attention_every=every,
        **own,
    )


def _head_width(settings: Settings, family: Family) -> int | None:
    usual = {"qwen3": 128, "gemma": 256, "gemma2": 256, "gemma3": 256}.get(family.name)
    return settings.maybe_whole("head_dim") or usual


def _windows(settings: Settings, family: Family, layers: int) -> tuple[int | None, int | None]:
    """The sliding window, and every how many layers there is one without it."""
    name = family.name
    if name in ("llama", "gemma"):
        return None, None
    if name == "mistral":
        window = settings.whole("sliding_window") if settings.values.get("sliding_window", 4096) is not None else None
        return window, None
    usual = {"gemma2": 2, "gemma3": 6}.get(name)
    if usual is None and not settings.flag("use_sliding_window", False):
        return None, None
    window = settings.whole("sliding_window", 4096)
    if usual is not None:
        usual = settings.maybe_whole("sliding_window_pattern") or usual
    kinds = settings.values.get("layer_types")
    if kinds is None:
        if usual is not None:
            return window, usual
        first = settings.values.get("max_window_layers", 28)
        kinds = [
            "full_attention" if type(first) is not int or i < first else "sliding_attention" for i in range(layers)
        ]
    slides = [kind == "sliding_attention" for kind in kinds] if isinstance(kinds, list) else []
    if len(slides) != layers or not all(kind in ("sliding_attention", "full_attention") for kind in kinds):
        raise InputError(f"{settings.source}: layer_types must say 'sliding_attention' or 'full_attention' per layer.")
    if usual is None and not any(slides):
        return None, None
    every = usual if all(slides) else slides.index(False) + 1
    if slides != [every is None or (layer + 1) % every != 0 for layer in range(layers)]:
        raise InputError(
            f"{settings.source}: layer_types has layers without a sliding window at irregular places, and only every "
            "n-th layer can be one here."
        )
    return window, every


def _rotary_settings(settings: Settings, family: Family) -> tuple[float, RotaryScaling | None, float | None]:
    """Base, scaling, and the base of layers with a window."""
    settings.refuse_unless("partial_rotary_factor", (1, None), None)
    context = settings.whole("max_position_embeddings")
    new = settings.part("rope_parameters")
    if family.name != "gemma3":
        rotary = new or settings
        return rotary.number("rope_theta", 10_000.0), _scaling(new or settings.part("rope_scaling"), context), None
    base, local_base = 1e6, 1e4
    if new is None:
        base, local_base = settings.number("rope_theta", base), settings.number("rope_local_base_freq", local_base)
        return base, _scaling(settings.part("rope_scaling"), context), local_base
    full, local = new.part("full_attention"), new.part("sliding_attention")
    if local is not None:
        local.refuse_unless("rope_type", ("default",), "default")
        local_base = local.number("rope_theta", local_base)
    if full is not None:
        base = full.number("rope_theta", base)
    return base, _scaling(full, context), local_base


def _scaling(rotary: Settings | None, context: int) -> RotaryScaling | None:
    if rotary is None:
        return None
    kind = rotary.values.get("rope_type", rotary.values.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RotaryScaling("linear", rotary.number("factor"))
    if kind == "llama3":
        return RotaryScaling(
            "llama3",
            rotary.number("factor"),
            rotary.number("low_freq_factor"),
            rotary.number("high_freq_factor"),
            rotary.whole("original_max_position_embeddings", context),
        )
    raise InputError(f"{rotary.source}: the scaling {kind!r} is not supported here, only 'linear' and 'llama3'.")


# --- writing ----------------------------------------------------------------------------------------------------------


def config_to_json(config: TransformerConfig) -> dict[str, Any]:
    """The config.json of a model with this config; `config_from_json` gives it back.

    Raises InputError when no family has such a config.
    """
    family = family_of(config)
    values: dict[str, Any] = {"architectures": [family.model_class], "model_type": family.model_type}
    values |= _gpt2_values(config) if family.name == "gpt2" else _rotary_values(config, family)
    return values | {"tie_word_embeddings": config.tied, "torch_dtype": "float32"}


def _gpt2_values(config: TransformerConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_positions": config.context,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_embd": config.width,
        "n_inner": config.hidden,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": "gelu_new",
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout),
    }


def _rotary_values(config: TransformerConfig, family: Family) -> dict[str, Any]:
    name = family.name
    gemma = name.startswith("gemma")
    values: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rotary_base,
        "attention_bias": config.bias,
        "attention_dropout": 0.0,
        "hidden_activation" if name in ("gemma2", "gemma3") else "hidden_act": "gelu_pytorch_tanh" if gemma else "silu",
    }
    if name == "llama":
        values["mlp_bias"] = config.bias
    if config.rotary_scaling is not None:
        values["rope_scaling"] = _scaling_values(config.rotary_scaling)
    if name == "mistral":
        values["sliding_window"] = config.window
    if name in ("qwen2", "qwen3"):
        values |= {"use_sliding_window": config.window is not None, "sliding_window": config.window}
        values["max_window_layers"] = 0 if config.window is not None else config.layers
    if name in ("gemma2", "gemma3"):
        scale = config.attention_scale or config.head_dim**-0.5
        values |= {
            "sliding_window": config.window,
            "layer_types": [
                "full_attention" if config.window_of(layer) is None else "sliding_attention"
                for layer in range(config.layers)
            ],
            "query_pre_attn_scalar": _whole_if_it_is(scale**-2),
            "attn_logit_softcapping": config.attention_softcap,
            "final_logit_softcapping": config.logit_softcap,
        }
    if name == "gemma3":
        values |= {
            "rope_local_base_freq": config.local_rotary_base,
            "sliding_window_pattern": config.full_attention_every,
        }
    return values


def _scaling_values(scaling: RotaryScaling) -> dict[str, Any]:
    if scaling.kind == "linear":
        return {"rope_type": "linear", "factor": scaling.factor}
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
        "original_max_position_embeddings": scaling.original_context,
    }


def _whole_if_it_is(x: float) -> int | float:
    """256 for 255.99999999999997, which is what is left of it after a square root."""
    return round(x) if math.isclose(x, round(x), rel_tol=1e-9) else x
