"""Make config_golden.json: what Transformers makes of config.json files with the same settings in many spellings.

    pip install torch==2.13.0 transformers==5.24.0
    python tests/golden/make_config_golden.py

Each case is a config.json and what the model computes by it: the sliding window of each layer, and the angle per
position of each rotary pair in layers without and with a window. A case that Transformers itself refuses is left out.
"""

import json
import random
from pathlib import Path

from transformers import AutoConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

CASES = 200
FAMILIES = {"llama": 3, "mistral": 1, "qwen2": 2, "qwen3": 1, "gemma": 1, "gemma2": 1, "gemma3_text": 4}
SCALINGS = (
    {"rope_type": "default"},
    {"rope_type": "linear", "factor": 4.0},
    {"type": "linear", "factor": 2.0},
    {"rope_type": "yarn", "factor": 4.0},
    {"rope_type": "dynamic", "factor": 2.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    {"rope_type": "linear", "type": "llama3", "factor": 3.0},
    {},
)


def rope_object(rng):
    rope = dict(rng.choice(SCALINGS))
    if rng.random() < 0.5:
        rope["rope_theta"] = rng.choice((500.0, 5e5))
    if rng.random() < 0.3:
        rope["original_max_position_embeddings"] = rng.choice((16, 32))
    return rope


def draw(rng):
    family = rng.choice([name for name, weight in FAMILIES.items() for _ in range(weight)])
    layers = rng.choice((2, 6, 7))
    values = {
        "model_type": family,
        "vocab_size": 32,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": rng.choice((64, 128)),
    }
    gemma3 = family == "gemma3_text"
    if rng.random() < 0.5:
        values["rope_theta"] = rng.choice((1000.0, 1e6))
    if gemma3 and rng.random() < 0.5:
        values["rope_local_base_freq"] = 700.0
    if rng.random() < 0.6:
        values["rope_scaling"] = rng.choice((None, rope_object(rng), rope_object(rng)))
    if rng.random() < 0.6:
        values["rope_parameters"] = rng.choice((None, rope_object(rng), rope_object(rng)))
        if rng.random() < (0.9 if gemma3 else 0.1):
            values["rope_parameters"] = {
                name: rng.choice((rope_object(rng), {"rope_type": "default"}))
                for name in ("full_attention", "sliding_attention")
                if rng.random() < 0.8
            }
    if rng.random() < 0.15:
        values["original_max_position_embeddings"] = rng.choice((16, 48))
    if rng.random() < 0.1:
        values["partial_rotary_factor"] = rng.choice((1.0, 0.5))
    if rng.random() < 0.5:
        values["sliding_window"] = rng.choice((None, 8, 16))
    if rng.random() < 0.5:
        values["use_sliding_window"] = rng.random() < 0.7
    if rng.random() < 0.3:
        values["max_window_layers"] = rng.choice((0, 1, 3, 28))
    if rng.random() < 0.2:
        values["sliding_window_pattern"] = rng.choice((2, 3))
    if rng.random() < 0.2:
        every = rng.choice((1, 2, 3, 6))
        values["layer_types"] = [
            "full_attention" if (layer + 1) % every == 0 else "sliding_attention" for layer in range(layers)
        ]
    return values


def computed(values):
    """What Transformers computes, or None where it refuses."""
    try:
        config = AutoConfig.for_model(**json.loads(json.dumps(values)))
        kinds = ["full_attention"] * config.num_hidden_layers
        if config.model_type == "mistral":
            kinds = ["full_attention" if config.sliding_window is None else "sliding_attention"] * len(kinds)
        elif config.model_type not in ("llama", "gemma"):
            kinds = config.layer_types
        if "sliding_attention" in kinds and config.sliding_window is None:
            return None  # the model refuses when it makes its mask
        if config.model_type == "gemma3_text":
            rotary = Gemma3RotaryEmbedding(config)
            angles = [getattr(rotary, f"{kind}_inv_freq") for kind in kinds]
            factors = {getattr(rotary, f"{kind}_attention_scaling") for kind in kinds}
            rotary_kinds = {rotary.rope_type[kind] for kind in kinds}
        else:
            rotary = LlamaRotaryEmbedding(config)
            angles, factors, rotary_kinds = (
                [rotary.inv_freq] * len(kinds),
                {rotary.attention_scaling},
                {rotary.rope_type},
            )
        windows = [config.sliding_window if kind == "sliding_attention" else None for kind in kinds]
    except Exception:
        return None
    pairs = values["head_dim"] // 2
    by_kind = {kind: [float(f"{x:.6g}") for x in layer.tolist()] for kind, layer in zip(kinds, angles, strict=True)}
    supported = factors == {1.0} and rotary_kinds <= {"default", "linear", "llama3"}
    supported = supported and all(len(layer) == pairs for layer in by_kind.values())
    return {"windows": windows, "angles": by_kind, "supported": supported}


def main():
    rng = random.Random(0)
    cases = []
    while len(cases) < CASES:
        values = draw(rng)
        if (answer := computed(values)) is not None:
            cases.append([values, answer])
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    Path(__file__).with_name("config_golden.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
