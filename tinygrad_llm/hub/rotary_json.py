"""The rotary settings of a config.json, in both spellings.

Files are spelled in two ways. The older one has `rope_theta` and, where positions are scaled, `rope_scaling`, both at
the top. The newer one has one object, `rope_parameters`, with both. Many files mix them, and the two programs must read
the same from each mixture. Transformers 5 resolves one so:

- `rope_scaling`, unless it is null or empty, stands in place of all of `rope_parameters`.
- The base is the `rope_theta` of that object, else the one at the top, else 10,000.
- The kind of scaling is its `rope_type`, else its `type` (the oldest name), else "default".
- "llama3" was trained with the `original_max_position_embeddings` at the top, else the one of the object, else with
  `max_position_embeddings`.
- Gemma 3 has two sets, as `rope_parameters.full_attention` and `.sliding_attention`; `rope_scaling` is merged into the
  first. The bases at the top are `rope_theta` and `rope_local_base_freq`.

Builds on: `entries`, `nn.rotary`. Used by: `config_json`.
Left out on purpose: YaRN, LongRoPE, dynamic scaling and positions on a part of the channels; each is refused by name.

Source: `RotaryEmbeddingConfigMixin` and `Gemma3TextConfig` of Transformers 5.24.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygrad_llm.entries import Entries, shown
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.rotary import RotaryScaling

LAYER_TYPES = ("full_attention", "sliding_attention")


class RotarySettings(NamedTuple):
    """base: of the angles. scaling: of all layers, or of those without a window. local_base: of layers with a window,
    where it is another."""

    base: float
    scaling: RotaryScaling | None
    local_base: float | None


def rotary_from_json(config: Entries, family: str) -> RotarySettings:
    """The rotary settings of a config.json. Raises InputError that names the key when one is wrong or not supported."""
    _refuse_parts(config)
    return _gemma3(config) if family == "gemma3" else _one_set(config)


def _one_set(config: Entries) -> RotarySettings:
    objects = [config.optional_object(key) for key in ("rope_scaling", "rope_parameters")]
    rope = next((found for found in objects if found is not None and found.values), Entries({}, config.source))
    for layer_type in LAYER_TYPES:
        rope.refuse_unless(layer_type, (None,), None)
    base = rope.number("rope_theta", config.number("rope_theta", 10_000.0))
    context = config.integer("max_position_embeddings")
    trained = config.optional_integer("original_max_position_embeddings")
    return RotarySettings(base, _scaling(rope, context, trained), None)


def _gemma3(config: Entries) -> RotarySettings:
    parameters = config.optional_object("rope_parameters") or Entries({}, config.source)
    for key, value in parameters.values.items():
        if key not in LAYER_TYPES:
            raise InputError(
                f"{parameters.source} has {key} ({shown(value)}) outside of 'full_attention' and 'sliding_attention', "
                "so it is not clear which layers it is for."
            )
    full, local = (parameters.object(layer_type, {}) for layer_type in LAYER_TYPES)
    older = config.optional_object("rope_scaling") or Entries({}, config.source)
    if "type" in older and "rope_type" not in older:
        raise InputError(f"{older.source}: Transformers does not read the key type for this model. Name it rope_type.")
    full = Entries(full.values | older.values, older.source if older.values else full.source)
    _refuse_parts(local)
    local.refuse_unless("rope_type", ("default",), local.values.get("type", "default"))
    base = full.number("rope_theta", config.number("rope_theta", 1e6))
    local_base = local.number("rope_theta", config.number("rope_local_base_freq", 1e4))
    return RotarySettings(base, _scaling(full, config.integer("max_position_embeddings"), None), local_base)


def _scaling(rope: Entries, context: int, trained: int | None) -> RotaryScaling | None:
    """context: of the model. trained: the context it was trained with first, where the top of the file says it."""
    _refuse_parts(rope)
    key = "rope_type" if "rope_type" in rope.values else "type"
    rope.refuse_unless(key, ("default", "linear", "llama3"), "default")
    kind = rope.values.get(key, "default")
    if kind == "default":
        return None
    if kind == "linear":
        return RotaryScaling("linear", rope.number("factor"))
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    if high <= low:
        raise InputError(f"{rope.source}: high_freq_factor must be above low_freq_factor ({low}), and is {high}.")
    original = trained or rope.integer("original_max_position_embeddings", context)
    return RotaryScaling("llama3", rope.number("factor"), low, high, original)


def _refuse_parts(rope: Entries) -> None:
    rope.refuse_unless("partial_rotary_factor", (1, None), None)


# --- writing ----------------------------------------------------------------------------------------------------------


def rotary_to_json(config: TransformerConfig) -> dict[str, Any]:
    """The entries of config.json, in the older spelling, which old and new versions of Transformers read."""
    values: dict[str, Any] = {"rope_theta": config.rotary_base}
    if config.local_rotary_base is not None:
        values["rope_local_base_freq"] = config.local_rotary_base
    if (scaling := config.rotary_scaling) is not None:
        values["rope_scaling"] = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            values["rope_scaling"] |= {
                "low_freq_factor": scaling.low_frequency_factor,
                "high_freq_factor": scaling.high_frequency_factor,
                "original_max_position_embeddings": scaling.original_context,
            }
    return values
