"""config.json of Hugging Face folders: to a TransformerConfig, and back.

Every key that changes what a model computes is honoured or refused by name.

Builds on: `entries`, `architectures`, `rotary_json`, `nn.config`.
Used by: `hugging_face`, which reads and writes whole folders.
Left out on purpose: experts (MoE), images, quantised weights.

Source: the configuration classes of Transformers 5.24.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_llm.entries import Entries, integer_if_close, shown
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.architectures import FAMILIES, LAYER_LIMIT, Family, family_of
from tinygrad_llm.hub.rotary_json import rotary_from_json, rotary_to_json
from tinygrad_llm.nn.config import TransformerConfig

GELU_TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")  # three names of the same formula
SILU = ("silu", "swish")
NEUTRAL: dict[str, tuple[Any, ...]] = {  # keys that other kinds of models have -> values that change nothing
    **dict.fromkeys(("quantization_config", "attention_multiplier", "clip_qkv", "attention_chunk_size"), (None,)),
    **dict.fromkeys(("embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale"), (None, 1)),
    **dict.fromkeys(("scale_emb", "rotary_pct", "rope_percent"), (None, 1)),
    **dict.fromkeys(("is_encoder_decoder", "use_bidirectional_attention", "use_parallel_residual"), (None, False)),
    **dict.fromkeys(("use_qk_norm", "qk_layernorm", "attn_temperature_tuning", "scale_depth"), (None, False)),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), (None, 0)),
    "no_rope_layers": (None, []),
    "is_causal": (None, True),
    "per_layer_config": (None, {}),
    "pruned_heads": (None, {}),
}
GEMMA_2_AND_3 = ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping")
KV_HEADS = {"mistral": 8, "qwen2": 32, "qwen3": 32, "gemma": 16, "gemma2": 4, "gemma3": 4}  # where the key is absent


# --- reading ----------------------------------------------------------------------------------------------------------


def config_from_json(values: dict[str, Any], source: str) -> tuple[Family, TransformerConfig]:
    """The family and the config that a config.json describes.

    Raises InputError that names the key when something is missing, of the wrong type, or not supported.
    """
    settings = Entries(values, source)
    model_type = values.get("model_type")
    family = next((family for family in FAMILIES.values() if family.model_type == model_type), None)
    if family is None:
        known = ", ".join(family.model_type for family in FAMILIES.values())
        raise InputError(f"{source}: model_type {model_type!r} is not supported here. Supported are {known}.")
    for key, neutral in NEUTRAL.items():
        settings.refuse_unless(key, neutral, None)
    try:
        return family, _gpt2(settings) if family.name == "gpt2" else _rotary(settings, family)
    except InputError as error:
        if str(error).startswith(source):
            raise
        raise InputError(f"{source}: {error}") from error  # the config itself refuses it


def _gpt2(settings: Entries) -> TransformerConfig:
    settings.refuse_unless("activation_function", GELU_TANH, "gelu_new")
    settings.refuse_unless("scale_attn_weights", (True,), True)
    settings.refuse_unless("scale_attn_by_inverse_layer_idx", (False,), False)
    settings.refuse_unless("add_cross_attention", (False,), False)
    return TransformerConfig.gpt2(
        vocab_size=settings.integer("vocab_size"),
        context=settings.integer("n_positions"),
        layers=settings.integer("n_layer", maximum=LAYER_LIMIT),
        heads=settings.integer("n_head"),
        width=settings.integer("n_embd"),
        hidden=settings.optional_integer("n_inner"),
        norm_eps=settings.number("layer_norm_epsilon", 1e-5),
        tied=settings.boolean("tie_word_embeddings", True),
    )


def _rotary(settings: Entries, family: Family) -> TransformerConfig:
    """Llama and all that came from it: each adds a few keys of its own."""
    name = family.name
    gemma = name.startswith("gemma")
    layers = settings.integer("num_hidden_layers", maximum=LAYER_LIMIT)
    bias = name == "llama" and settings.boolean("attention_bias", False)
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
    rotary = rotary_from_json(settings, name)
    window, every = _windows(settings, family, layers)
    width = settings.integer("hidden_size")
    own: dict[str, Any] = {"qkv_bias": True} if name == "qwen2" else {"qk_norm": True} if name == "qwen3" else {}
    if gemma:
        own = {"activation": "gelu_tanh", "norm_weight_plus_one": True, "embedding_scale": math.sqrt(width)}
    if name in ("gemma2", "gemma3"):
        caps = (50.0, 30.0) if name == "gemma2" else (None, None)
        own |= {
            "post_norms": True,
            "qk_norm": name == "gemma3",
            "attention_scale": settings.number("query_pre_attn_scalar", 256) ** -0.5,
            "attention_softcap": settings.optional_number("attn_logit_softcapping", caps[0]),
            "logit_softcap": settings.optional_number("final_logit_softcapping", caps[1]),
        }
    else:
        for key in GEMMA_2_AND_3:
            settings.refuse_unless(key, (None,), None)
    return TransformerConfig.llama(
        vocab_size=settings.integer("vocab_size"),
        context=settings.integer("max_position_embeddings"),
        layers=layers,
        heads=settings.integer("num_attention_heads"),
        kv_heads=settings.optional_integer("num_key_value_heads", KV_HEADS.get(name)),
        head_dim=_head_width(settings, family),
        width=width,
        hidden=settings.integer("intermediate_size"),
        norm_eps=settings.number("rms_norm_eps", 1e-6),
        bias=bias,
        tied=settings.boolean("tie_word_embeddings", gemma),
        rotary_base=rotary.base,
        rotary_scaling=rotary.scaling,
        local_rotary_base=rotary.local_base,
        window=window,
        full_attention_every=every,
        **own,
    )


def _head_width(settings: Entries, family: Family) -> int | None:
    usual = {"qwen3": 128, "gemma": 256, "gemma2": 256, "gemma3": 256}.get(family.name)
    return settings.optional_integer("head_dim") or usual


def _windows(settings: Entries, family: Family, layers: int) -> tuple[int | None, int | None]:
    """The sliding window, and every how many layers there is one without it."""
    name = family.name
    if name in ("llama", "gemma"):
        return None, None
    window = settings.optional_integer("sliding_window", 4096)
    if name in ("qwen2", "qwen3") and not settings.boolean("use_sliding_window", False):
        window = None
    slides = _sliding_layers(settings, name, layers, window)
    if name == "mistral" and slides != [window is not None] * layers:
        raise InputError(
            f"{settings.source}: layer_types and sliding_window disagree about which layers have a window, and "
            "Transformers follows sliding_window alone. Remove layer_types to do the same."
        )
    if not any(slides) and not name.startswith("gemma"):
        return None, None
    if window is None:
        raise InputError(f"{settings.source}: some layers have a sliding window by layer_types, and no size is given.")
    every = slides.index(False) + 1 if False in slides else None
    if every is None and name.startswith("gemma"):
        every = _usual_every(settings, name)
    if slides != [every is None or (layer + 1) % every != 0 for layer in range(layers)]:
        raise InputError(
            f"{settings.source}: layer_types has layers without a sliding window at irregular places, and only every "
            "n-th layer can be one here."
        )
    return window, every


def _usual_every(settings: Entries, name: str) -> int:
    return settings.integer("sliding_window_pattern", 6) if name == "gemma3" else 2


def _sliding_layers(settings: Entries, name: str, layers: int, window: int | None) -> list[bool]:
    """Which layers have a window."""
    kinds = settings.values.get("layer_types")
    if kinds is not None:
        kinds = settings.array("layer_types")
        if len(kinds) != layers or not all(kind in ("sliding_attention", "full_attention") for kind in kinds):
            raise InputError(
                f"{settings.source}: layer_types must say 'sliding_attention' or 'full_attention' for each of "
                f"{layers} layers, and is {shown(kinds)}."
            )
        return [kind == "sliding_attention" for kind in kinds]
    if name == "mistral":
        return [window is not None] * layers
    if name.startswith("gemma"):
        every = _usual_every(settings, name)
        return [(layer + 1) % every != 0 for layer in range(layers)]
    first = settings.integer("max_window_layers", 28, minimum=0)
    return [window is not None and layer >= first for layer in range(layers)]


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
        "attention_bias": config.bias,
        "attention_dropout": 0.0,
        "hidden_activation" if name in ("gemma2", "gemma3") else "hidden_act": "gelu_pytorch_tanh" if gemma else "silu",
    }
    if name == "llama":
        values["mlp_bias"] = config.bias
    values |= rotary_to_json(config)
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
            "query_pre_attn_scalar": integer_if_close(scale**-2),
            "attn_logit_softcapping": config.attention_softcap,
            "final_logit_softcapping": config.logit_softcap,
        }
    if name == "gemma3":
        values["sliding_window_pattern"] = config.full_attention_every
    return values
