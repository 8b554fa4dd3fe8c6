"""Adapters in a file of their own: a few megabytes that turn a model that others trained into a tuned one.

A safetensors file with the arrays A and B of every adapted layer, under their names in the model. Its metadata hold the
scale of each layer and a fingerprint of the base, because adapters on another base are noise.

Builds on: `lora`, `files`, `entries`.
Used by: `training.trainer`; `hub.adapters`, which reads and writes PEFT's folders as well.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.entries import Entries
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import atomic_write_bytes, parse_json_object, read_regular_file
from tinygrad_llm.nn.lora import AdapterValues, Model, adapters, attach, base_state, network_of
from tinygrad_llm.nn.transformer import Transformer

KIND = "tinygrad_llm adapters"
FORMAT = 2  # 1 had one rank and one alpha for all layers
SIZE_LIMIT = 1 << 36  # bytes
SAMPLED = 64  # numbers of each parameter that the fingerprint looks at
ADVICE = "Save the adapters again, or take another file."


def save_adapters(model: Any, path: str | Path) -> None:
    """Write the adapters of a LanguageModel or Transformer to a file.

    Raises InputError when it has none, MachineError when the disk is full or cannot be written; what was there before
    stays then.
    """
    from safetensors.numpy import save  # here, so that `import tinygrad_llm` stays quick

    network = network_of(model)
    found = adapter_values(network)
    about = {
        "kind": KIND,
        "format": FORMAT,
        "scales": {name: values.scale for name, values in found.items()},
        "base": fingerprint(network),
    }
    arrays = {f"{name}.{end}": x for name, (A, B, _) in found.items() for end, x in (("A", A), ("B", B))}
    contiguous = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    atomic_write_bytes(path, save(contiguous, {"about": json.dumps(about)}))


def load_adapters(model: Model, path: str | Path) -> Model:
    """Put the adapters of a file on `model`, in place, as `tg.lora` does; returns the model.

    Raises InputError when the file is missing, damaged or not a file of adapters, or they were made for another base;
    MachineError when it cannot be read. The model is unchanged then.
    """
    network = network_of(model)
    about, arrays = read_file(Path(path))
    if about.text("base") != fingerprint(network):
        raise InputError(f"the adapters in {path} were made for another model, with other weights. Load that one.")
    scales = _scales(about, arrays)
    for name in sorted({f"{layer}.{end}" for layer in scales for end in "AB"} ^ arrays.keys()):
        raise InputError(f"{path} is damaged: {name} is {'not in it' if name not in arrays else 'not expected'}.")
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(f"{path} is damaged: {name} holds something else than finite numbers.")
    attach_from(
        str(path), network, {k: AdapterValues(arrays[f"{k}.A"], arrays[f"{k}.B"], s) for k, s in scales.items()}
    )
    return model


def adapter_values(network: Transformer) -> dict[str, AdapterValues]:
    """The values of all adapters, on the host, by layer. Raises InputError when there are none."""
    found = adapters(network)
    if not found:
        raise InputError("save_adapters(model): it has no adapters. Put some on it with tg.lora(model, rank).")
    return {name: AdapterValues(layer.A.numpy(), layer.B.numpy(), layer.scale) for name, layer in found.items()}


def attach_from(source: str, network: Transformer, values: dict[str, AdapterValues]) -> None:
    """`attach`, whose errors name the file."""
    try:
        attach(network, values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _scales(about: Entries, arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """The scale of each layer."""
    if about.integer("format") == 1:
        scale = about.number("alpha") / about.integer("rank")
        return {name.removesuffix(".A"): scale for name in arrays if name.endswith(".A")}
    scales = about.object("scales")
    return {name: scales.number(name) for name in scales.values}


def read_file(path: Path) -> tuple[Entries, dict[str, np.ndarray]]:
    """What a file says about its adapters, and its arrays."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_regular_file(path, SIZE_LIMIT, ADVICE)
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:  # KeyError: a type that NumPy does not have
        raise InputError(f"{path} is damaged, or not a file of adapters ({error}).") from error
    header = parse_json_object(data[8 : 8 + int.from_bytes(data[:8], "little")], str(path), ADVICE)
    text = header.get("__metadata__", {}).get("about")
    if text is None:
        raise InputError(f"{path} is a safetensors file, but not one of adapters. {ADVICE}")
    about = Entries(parse_json_object(text, f"{path}, about", ADVICE), str(path), ADVICE)
    if about.values.get("kind") != KIND or about.values.get("format") not in (1, FORMAT):
        raise InputError(f"{path} is not a file of adapters, or of another version of this program.")
    return about, arrays


def fingerprint(network: Transformer) -> str:
    """A hash of the names, shapes and some numbers of all parameters, those of adapters left out.

    It tells one trained model from another, in any precision. It is not a checksum: not every number counts.
    """
    digest = hashlib.sha256()
    for name, x in sorted(base_state(network).items()):
        sample = x.reshape(-1)[:: max(1, x.size // SAMPLED)][:SAMPLED]
        digest.update(f"{name} {x.shape} ".encode() + sample.astype("<f4").tobytes())
    return digest.hexdigest()
