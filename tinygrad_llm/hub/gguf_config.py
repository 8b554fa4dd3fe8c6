"""The metadata of a GGUF file: to a TransformerConfig, and back.

The keys begin with the name of the architecture: `llama.block_count`. Every key that changes what llama.cpp computes is
honoured or refused by name. What llama.cpp has in its code, and not in the file, is here too: Gemma's scales, which
layers of Gemma have a window, and their rotary base.

Builds on: `entries`, `architectures`, `gguf`, `nn.config`.
Used by: `gguf_model`, which reads and writes whole models.
Left out on purpose: experts (MoE), YaRN and LongRoPE, rotary positions on a part of the channels.

Source: gguf-py's `constants.py`, and the conversion script and `llama-model.cpp` of llama.cpp.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.entries import Entries
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.architectures import FAMILIES, LAYER_LIMIT, Family, family_of
from tinygrad_llm.hub.gguf import GGUFFile
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.rotary import RotaryScaling

ROTARY_FACTORS = "rope_freqs.weight"  # (D/2,): what Llama 3 divides each angle by
LAYERS_OF_27B = {"gemma2": 46, "gemma3": 62}  # the one size whose attention scale is 1/√(C/H) and not 1/√D
FULL_ATTENTION_EVERY = {"gemma2": 2, "gemma3": 6}
LOCAL_ROTARY_BASE = 10_000.0
NEUTRAL: dict[str, tuple[Any, ...]] = {  # keys that other architectures have -> values that change nothing
    "expert_count": (0,),
    "use_parallel_residual": (False,),
    "attention.causal": (True,),
    **dict.fromkeys(("attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias"), (0,)),
    **dict.fromkeys(("attention.temperature_scale", "rope.scaling.yarn_log_multiplier"), (0,)),
    **dict.fromkeys(("logit_scale", "embedding_scale", "residual_scale", "rope.scaling.attn_factor"), (0, 1)),
}
SOFTCAPS = ("attn_logit_softcapping", "final_logit_softcapping")
PER_LAYER = ("attention.head_count", "attention.head_count_kv", "feed_forward_length")  # may be arrays


def config_from_gguf(file: GGUFFile) -> tuple[Family, TransformerConfig]:
    """The family and the config of the model in a file.

    Raises InputError that names what is missing, of the wrong type, or not supported.
    """
    source = str(file.path)
    architecture = file.metadata.get("general.architecture")
    family = next((family for family in FAMILIES.values() if family.name == architecture), None)
    if family is None or family.name == "mistral":  # in GGUF files Mistral's models are called llama
        known = ", ".join(name for name in FAMILIES if name != "mistral")
        raise InputError(f"{source}: the architecture {architecture!r} is not supported here. Supported are {known}.")
    prefix = f"{family.name}."
    values = {
        key.removeprefix(prefix): shortest(value) for key, value in file.metadata.items() if key.startswith(prefix)
    }
    for key in PER_LAYER:
        if isinstance(array := values.get(key), list) and array and array == array[:1] * len(array):
            values[key] = array[0]  # the same in every layer
    settings = Entries(values, f"{source}, {family.name}")
    for key, neutral in NEUTRAL.items():
        settings.refuse_unless(key, neutral, neutral[0])
    Entries(file.metadata, source).refuse_unless("general.type", ("model",), "model")
    try:
        config = _sizes(settings, file)
        if family.name not in FULL_ATTENTION_EVERY:
            for key in SOFTCAPS:
                settings.refuse_unless(key, (0,), 0)
            if family.name != "llama":
                _refuse_window(settings, config.context)
        return family, config if family.name == "gpt2" else _rotary(config, settings, family, file)
    except InputError as error:
        if str(error).startswith(source):
            raise
        raise InputError(f"{source}: {error}") from error  # the config itself refuses it


def _refuse_window(settings: Entries, context: int) -> None:
    """Qwen's files have a window where llama.cpp uses none; it must not matter."""
    window = settings.integer("attention.sliding_window", context, minimum=0)
    if 0 < window < context:
        raise InputError(f"{settings.source}: attention.sliding_window is {window}, which is not supported here.")


def shortest(value: Any) -> Any:
    """A float32 as the shortest decimal number that means it: 1e-05 for 9.999999747378752e-06."""
    return float(str(np.float32(value))) if isinstance(value, float) and math.isfinite(value) else value


def _sizes(settings: Entries, file: GGUFFile) -> TransformerConfig:
    embedding = file.shapes.get("token_embd.weight", ())
    if len(embedding) != 2:
        raise InputError(f"{file.path} has no token_embd.weight: it is not a whole language model.")
    return TransformerConfig.gpt2(
        vocab_size=embedding[0],
        context=settings.integer("context_length"),
        layers=settings.integer("block_count", maximum=LAYER_LIMIT),
        heads=settings.integer("attention.head_count"),
        width=settings.integer("embedding_length"),
        head_dim=settings.optional_integer("attention.key_length"),
        hidden=settings.integer("feed_forward_length"),
        norm_eps=settings.number(
            "attention.layer_norm_epsilon"
            if "attention.layer_norm_epsilon" in settings.values
            else "attention.layer_norm_rms_epsilon"
        ),
        tied="output.weight" not in file.shapes,
    )


def _rotary(config: TransformerConfig, settings: Entries, family: Family, file: GGUFFile) -> TransformerConfig:
    D = config.head_dim
    settings.refuse_unless("attention.value_length", (D,), D)
    settings.refuse_unless("rope.dimension_count", (D,), D)
    name = family.name
    own: dict[str, Any] = {"qkv_bias": True} if name == "qwen2" else {"qk_norm": True} if name == "qwen3" else {}
    if name == "llama":
        own["bias"] = "blk.0.attn_q.bias" in file.shapes
        own["window"] = settings.optional_integer("attention.sliding_window")
    if name.startswith("gemma"):
        own = {"activation": "gelu_tanh", "embedding_scale": math.sqrt(config.width)}
    if name in FULL_ATTENTION_EVERY:
        caps = (50.0, 30.0) if name == "gemma2" else (None, None)
        own |= {
            "post_norms": True,
            "qk_norm": name == "gemma3",
            "window": settings.integer("attention.sliding_window"),
            "full_attention_every": FULL_ATTENTION_EVERY[name],
            "local_rotary_base": LOCAL_ROTARY_BASE if name == "gemma3" else None,
            "attention_scale": gemma_scale(config, name),
            "attention_softcap": settings.optional_number("attn_logit_softcapping", caps[0]),
            "logit_softcap": settings.optional_number("final_logit_softcapping", caps[1]),
        }
        pattern = "attention.sliding_window_pattern"
        settings.refuse_unless(pattern, (FULL_ATTENTION_EVERY[name],), FULL_ATTENTION_EVERY[name])
        if own["local_rotary_base"]:
            settings.refuse_unless("rope.freq_base_swa", (LOCAL_ROTARY_BASE,), LOCAL_ROTARY_BASE)
    values: dict[str, Any] = {
        "positions": "rotary",
        "norm": "rms_norm",
        "activation": "silu",
        "gated": True,
        "bias": False,
        "kv_heads": settings.optional_integer("attention.head_count_kv"),
        "rotary_base": settings.number("rope.freq_base", 10_000.0),
        "rotary_scaling": _rotary_scaling(config, settings, family, file),
    }
    return config.with_(**values | own)


def gemma_scale(config: TransformerConfig, family: str) -> float:
    """The attention scale of Gemma 2 and 3, which is not in their files."""
    if config.layers == LAYERS_OF_27B[family]:
        return (config.width / config.heads) ** -0.5
    return config.head_dim**-0.5


def _rotary_scaling(
    config: TransformerConfig, settings: Entries, family: Family, file: GGUFFile
) -> RotaryScaling | None:
    """As llama.cpp reads it: a factor without a type is linear, and the older name of the factor is read too."""
    settings.refuse_unless("rope.scaling.type", ("none", "linear"), "linear")
    linear = settings.values.get("rope.scaling.type") != "none"
    key = "rope.scaling.factor" if "rope.scaling.factor" in settings else "rope.scale_linear"
    factor = settings.number(key, 1.0, minimum=0.0) or 1.0
    if linear and factor != 1.0:
        if ROTARY_FACTORS in file.shapes:
            raise InputError(f"{file.path} has both {key} and {ROTARY_FACTORS}, which is not supported here.")
        return RotaryScaling("linear", factor)
    if family.name != "llama" or ROTARY_FACTORS not in file.shapes:
        return None
    pairs = config.head_dim // 2
    if file.shapes[ROTARY_FACTORS] != (pairs,):
        raise InputError(f"{file.path}: {ROTARY_FACTORS} is {file.shapes[ROTARY_FACTORS]}, and should be {(pairs,)}.")
    factors = np.empty(pairs, np.float32)
    file.read_into(ROTARY_FACTORS, factors)
    # The slowest pair is divided by the whole factor. The other three numbers are the same in all Llamas.
    scaling = RotaryScaling(
        "llama3",
        factor=shortest(float(factors.max())),
        original_context=settings.integer("rope.scaling.original_context_length", 8192),
    )
    base = settings.number("rope.freq_base", 10_000.0)
    if not np.allclose(rotary_factors(scaling, config.head_dim, base), factors, rtol=1e-4):
        raise InputError(f"{file.path}: {ROTARY_FACTORS} is not Llama 3's scaling, and no other is supported here.")
    return scaling


def rotary_factors(scaling: RotaryScaling, width: int, base: float) -> np.ndarray:
    """What `scaling` divides the angle of each pair by, (D/2,)."""
    frequencies = base ** (-np.arange(0, width, 2) / width)  # (D/2,)
    return frequencies / scaling(frequencies)


# --- writing ----------------------------------------------------------------------------------------------------------


def config_to_gguf(config: TransformerConfig) -> dict[str, int | float | str]:
    """The metadata of a model with this config; `config_from_gguf` gives it back.

    Raises InputError when no family has such a config, or llama.cpp would compute something else.
    """
    family = family_of(config)
    _refuse_what_is_not_written(config, family)
    values: dict[str, int | float | str] = {
        "vocab_size": config.vocab_size,
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.layers,
        "feed_forward_length": config.hidden,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
    }
    epsilon = "layer_norm_epsilon" if config.norm == "layer_norm" else "layer_norm_rms_epsilon"
    values[f"attention.{epsilon}"] = config.norm_eps
    if config.positions == "rotary":
        D = config.head_dim
        values |= {"attention.key_length": D, "attention.value_length": D, "rope.dimension_count": D}
        values["rope.freq_base"] = config.rotary_base
    if config.window is not None:
        values["attention.sliding_window"] = config.window
    if config.attention_softcap is not None:
        values["attn_logit_softcapping"] = config.attention_softcap
    if config.logit_softcap is not None:
        values["final_logit_softcapping"] = config.logit_softcap
    if (scaling := config.rotary_scaling) is not None:
        if scaling.kind == "linear":
            values |= {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}
        else:  # the factors themselves are an array of their own
            values["rope.scaling.original_context_length"] = scaling.original_context
    return {"general.architecture": family.name} | {f"{family.name}.{key}": value for key, value in values.items()}


def _refuse_what_is_not_written(config: TransformerConfig, family: Family) -> None:
    """GGUF has no place for some settings, because llama.cpp knows them by heart or not at all."""
    wrong = []
    if config.window is not None and family.name not in FULL_ATTENTION_EVERY:
        wrong.append("a sliding window")
    if family.name in FULL_ATTENTION_EVERY:
        scale = config.attention_scale or config.head_dim**-0.5
        if config.full_attention_every != FULL_ATTENTION_EVERY[family.name]:
            wrong.append(f"full attention every {config.full_attention_every} layers")
        if not math.isclose(scale, gemma_scale(config, family.name), rel_tol=1e-6):
            wrong.append(f"an attention scale of {scale}")
        if family.name == "gemma2" and (config.attention_softcap is None or config.logit_softcap is None):
            wrong.append("no soft caps")
        if family.name == "gemma3" and config.local_rotary_base != LOCAL_ROTARY_BASE:
            wrong.append(f"a local rotary base of {config.local_rotary_base}")
    scaling = config.rotary_scaling
    if scaling is not None and scaling.kind == "llama3" and family.name != "llama":
        wrong.append("Llama 3's scaling of rotary positions")
    if scaling is not None and (scaling.low_frequency_factor, scaling.high_frequency_factor) != (1.0, 4.0):
        wrong.append("unusual frequency factors of the rotary scaling")
    if wrong:
        raise InputError(
            f"this {family.name} model has {' and '.join(wrong)}, which llama.cpp does not compute for "
            f"{family.name}. Export it with format 'hf'."
        )
