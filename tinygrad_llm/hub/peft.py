"""Adapters in a folder as Hugging Face's library PEFT reads and writes them.

    adapter_config.json          which layers, rank, alpha
    adapter_model.safetensors    base_model.model.LAYER.lora_A.weight (r, I) and lora_B.weight (O, r) of each layer

An adapter is W + scale · B A, with scale = alpha / r, or alpha / √r where `use_rslora` is true (Kalajdzievski 2023).
`rank_pattern` and `alpha_pattern` give single layers other values. Which layers have adapters is seen from the arrays;
`target_modules` and its relatives must not contradict them.

GPT-2's files have query, key and value in one matrix, and so one adapter where there are three here. Reading gives all
three the same A and a third of B each. Writing stacks the three A, and puts the three B on the diagonal.

Builds on: `architectures`, for the names; `nn.lora`, `safetensors`, `entries`. Used by: `adapters`.
Left out on purpose: weights in pickles (adapter_model.bin), because loading one runs code from the file; adapters on
embedding and head; DoRA and other kinds that compute something else: they are refused by name.

Source: `LoraConfig`, `LoraModel` and `get_pattern_key` of PEFT 0.21.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.entries import Entries, integer_if_close, shown
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object
from tinygrad_llm.hub.architectures import LAYER, family_of, mapping
from tinygrad_llm.hub.safetensors import SafetensorsFiles, write_safetensors
from tinygrad_llm.hub.staging import staged
from tinygrad_llm.nn.adapter_file import adapter_values, attach_from
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.lora import AdapterValues, LoRALinear, Model, layers_of_blocks, network_of, refuse_adapted
from tinygrad_llm.nn.transformer import Transformer

CONFIG, ARRAYS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
ARRAY_NAME = re.compile(re.escape(PREFIX) + r"(.+)\.lora_([AB])\.weight")
PLAIN_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]+")
NEUTRAL: dict[str, tuple[Any, ...]] = {  # keys of adapters that are not supported -> values that change nothing
    "bias": ("none", None),
    "task_type": ("CAUSAL_LM", None),
    # The others (PiSSA, OLoRA, …) change the weights of the base as well.
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
    **dict.fromkeys(("use_dora", "lora_bias", "use_qalora", "use_bdlora"), (False, None)),
    **dict.fromkeys(
        ("modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters"), (None, [])
    ),
    **dict.fromkeys(("alora_invocation_tokens", "megatron_config", "arrow_config", "kasa_config"), (None,)),
    **dict.fromkeys(("velora_config", "monteclora_config"), (None,)),
}


def is_peft_folder(path: Path) -> bool:
    """Whether a folder has the config of PEFT's adapters."""
    return (path / CONFIG).is_file()


# --- reading ----------------------------------------------------------------------------------------------------------


def load_peft(model: Model, folder: str | Path) -> Model:
    """Put the adapters of a folder on `model`, in place, as `tg.lora` does; returns the model.

    Nothing in the folder tells which weights the adapters were made for: load them on the model that
    adapter_config.json names as base_model_name_or_path.

    Raises InputError when a file is missing, damaged, does not fit the model, or asks for something that is not
    supported (which is named); MachineError when one cannot be read. The model is unchanged then.
    """
    folder, network = Path(folder), network_of(model)
    refuse_adapted(network)
    config = Entries(read_json_object(folder / CONFIG), str(folder / CONFIG))
    config.refuse_unless("peft_type", ("LORA",), None)
    for key, neutral in NEUTRAL.items():
        config.refuse_unless(key, neutral, neutral[0])
    if not (folder / ARRAYS).is_file() and (folder / PICKLE).is_file():
        raise InputError(f"{folder} has {PICKLE} and no {ARRAYS}. Only weights in safetensors are read.")
    source = str(folder / ARRAYS)
    modules, rows = _modules(network), _rows(network)
    values: dict[str, AdapterValues] = {}
    for module, (A, B) in _pairs(SafetensorsFiles(folder / ARRAYS), source).items():
        if module not in modules:
            raise InputError(f"{source} has an adapter on {module}, and this model has no such layer in its blocks.")
        scale = _scale(config, module, len(A))
        ends = np.cumsum([rows[name] for name in modules[module]])
        if len(B) != ends[-1]:
            raise InputError(f"{source}: B of {module} has {len(B)} rows, and this model needs {ends[-1]}.")
        for name, part in zip(modules[module], np.split(B, ends[:-1]), strict=True):
            values[name] = AdapterValues(A, part, scale)
    attach_from(source, network, values)
    return model


def _pairs(files: SafetensorsFiles, source: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A and B of each module in the file, as float32."""
    modules: dict[str, dict[str, str]] = {}
    for name in files.arrays:
        match = ARRAY_NAME.fullmatch(name)
        if match is None:
            raise InputError(f"{source} has the array {name}, which is not of an adapter that is supported here.")
        modules.setdefault(match[1], {})[match[2]] = name
    if not modules:
        raise InputError(f"{source} has no adapters in it. Fetch it again.")
    pairs = {}
    for module, names in modules.items():
        if len(names) < 2:
            raise InputError(f"{source} has only one of A and B of {module}. Fetch it again.")
        if any(len(shape := files.shapes[name]) != 2 or 0 in shape for name in names.values()):
            raise InputError(f"{source}: A and B of {module} are not matrices. Fetch it again.")
        pair = {end: np.empty(files.shapes[name], np.float32) for end, name in names.items()}
        for end, array in pair.items():
            files.read_into(names[end], array)
        pairs[module] = (pair["A"], pair["B"])
    return pairs


def _scale(config: Entries, module: str, rank: int) -> float:
    """alpha / r or alpha / √r. Raises InputError when the config and the arrays contradict each other."""
    targets = config.values.get("target_modules")  # or a regular expression, or "all-linear"
    if isinstance(targets, list) and not any(_names(str(target), module) for target in targets):
        raise InputError(f"{config.source}: target_modules has no {module}, and there is an adapter on it.")
    wanted = _value(config, module, "r", "rank_pattern")
    if wanted != rank:
        raise InputError(f"{config.source}: the rank of {module} is {wanted:g}, and its A has {rank} rows.")
    alpha = _value(config, module, "lora_alpha", "alpha_pattern")
    return alpha / math.sqrt(rank) if config.boolean("use_rslora", False) else alpha / rank


def _value(config: Entries, module: str, key: str, patterns: str) -> float:
    """What the config says for one module: the first pattern that names it, else the value for all."""
    of_modules = config.object(patterns, {})
    for pattern in of_modules.values:
        if not PLAIN_PATTERN.fullmatch(pattern):
            raise InputError(
                f"{config.source}: {patterns} has the regular expression {shown(pattern)}, and only names of modules, "
                "whole or their ends, are supported."
            )
        if _names(pattern, module):
            return of_modules.number(pattern)
    return config.number(key, 8.0)


def _names(pattern: str, module: str) -> bool:
    """Whether a pattern is the module's name or its end: "q_proj" for "model.layers.0.self_attn.q_proj". "^" before it
    means the whole name."""
    return module == pattern.removeprefix("^") or (pattern[:1] != "^" and module.endswith(f".{pattern}"))


def _modules(network: Transformer) -> dict[str, tuple[str, ...]]:
    """The matrices in attention and MLP: the name in Hugging Face's files -> the layers here."""
    layers, modules = _rows(network).keys(), {}
    for row in mapping(network.config, "hf"):
        for i in range(network.config.layers):
            file, *ours = (name.replace(LAYER, str(i)).removesuffix(".weight") for name in (row.file, *row.ours))
            if layers >= set(ours):
                modules[file] = tuple(ours)
    return modules


def _rows(network: Transformer) -> dict[str, int]:
    """How many rows the matrix of each layer has, with or without an adapter."""
    adapted = {name: len(layer.base.weight) for name, layer in layers_of_blocks(network, LoRALinear).items()}
    return adapted | {name: len(layer.weight) for name, layer in layers_of_blocks(network, Linear).items()}


# --- writing ----------------------------------------------------------------------------------------------------------


def save_peft(model: Any, folder: str | Path) -> None:
    """Write the adapters of a LanguageModel or Transformer to a folder, for `PeftModel.from_pretrained`.

    Adapters of an earlier save in the folder are replaced; other files in it stay.

    Raises InputError when the model has no adapters, or the folder holds something else, or no family that Transformers
    knows computes what this model does; MachineError when the disk fails.
    """
    folder, network = Path(folder), network_of(model)
    found = adapter_values(network)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file. Give the name of a folder, or of a file that ends in .safetensors.")
    if folder.exists() and any(folder.iterdir()) and not is_peft_folder(folder):
        raise InputError(f"{folder} holds something else than adapters. Choose another folder.")
    modules, rows = _modules(network), _rows(network)
    joined = {
        module: _joined([found.get(name) for name in names], [rows[name] for name in names])
        for module, names in modules.items()
        if any(name in found for name in names)
    }
    with staged(folder, stale=lambda: [folder / PICKLE]) as stage:
        arrays = {
            f"{PREFIX}{module}.lora_{end}.weight": getattr(v, end) for module, v in joined.items() for end in "AB"
        }
        write_safetensors(stage / ARRAYS, arrays)
        text = json.dumps(_config(joined, list(modules), family_of(network.config).name == "gpt2"), indent=2)
        (stage / CONFIG).write_text(text + "\n", encoding="utf-8")


def _joined(parts: list[AdapterValues | None], rows: list[int]) -> AdapterValues:
    """One adapter on the stacked matrices, of `rows` rows each, of several layers; None: a layer without one."""
    adapted = [part for part in parts if part is not None]
    first = adapted[0]
    if len(adapted) == len(parts) and all(p.scale == first.scale and np.array_equal(p.A, first.A) for p in adapted):
        return AdapterValues(first.A, np.concatenate([part.B for part in adapted]), first.scale)
    A = np.concatenate([part.A for part in adapted])  # (r of all, I)
    B = np.zeros((sum(rows), len(A)), A.dtype)
    row = column = 0
    for part, height in zip(parts, rows, strict=True):
        if part is not None:
            B[row : row + height, column : column + len(part.A)] = part.B * (part.scale / first.scale)
            column += len(part.A)
        row += height
    return AdapterValues(A, B, first.scale)


def _config(adapters: dict[str, AdapterValues], modules: list[str], transposed: bool) -> dict[str, Any]:
    """The adapter_config.json. modules: all that could have adapters. transposed: weights are (in, out) in the base."""
    ranks = {module: len(values.A) for module, values in adapters.items()}
    alphas = {module: integer_if_close(values.scale * len(values.A)) for module, values in adapters.items()}
    rank, alpha = (Counter(of.values()).most_common(1)[0][0] for of in (ranks, alphas))
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {f"^{module}": r for module, r in ranks.items() if r != rank},
        "alpha_pattern": {f"^{module}": a for module, a in alphas.items() if a != alpha},
        "target_modules": _targets(set(adapters), modules),
        "use_rslora": False,
        "fan_in_fan_out": transposed,
        "lora_dropout": 0.0,
        "bias": "none",
        "modules_to_save": None,
    }


def _targets(adapted: set[str], modules: list[str]) -> list[str]:
    """The shortest ends of names that mean just these modules, or the names themselves."""
    for parts in (1, 2):
        ends = sorted({".".join(module.split(".")[-parts:]) for module in adapted})
        if {module for module in modules if any(_names(end, module) for end in ends)} == adapted:
            return ends
    return sorted(adapted)
