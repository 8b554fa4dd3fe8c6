"""Adapters saved apart: a file of a few megabytes that turns a model that others trained into a tuned one.

A safetensors file with the arrays A and B of every adapted layer, under their names in the model. Its metadata say the
rest: rank, alpha, which layers, and a fingerprint of the base, because adapters on another base are noise.

Comes before: `lora`, `files`. Comes after: who tunes models and passes them on.
Left out on purpose: the folders of the library PEFT; a tuned model goes to other programs merged (`tg.export`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import to_device
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import atomic_write_bytes
from tinygrad_llm.nn.lora import Model, adapters, base_state, chosen_layers, lora, network_of, part_of
from tinygrad_llm.nn.transformer import Transformer

KIND, FORMAT = "tinygrad_llm adapters", 1
SAMPLED = 64  # numbers of each parameter that the fingerprint looks at


def save_adapters(model: Any, path: str | Path) -> None:
    """Write the adapters of a LanguageModel or Transformer to a file.

    Raises InputError when it has none, MachineError when the disk is full or cannot be written; what was there before
    stays then.
    """
    from safetensors.numpy import save  # here, so that `import tinygrad_llm` stays quick

    network = network_of(model)
    found = adapters(network)
    if not found:
        raise InputError("save_adapters(model): it has no adapters. Put some on it with tg.lora(model, rank).")
    rank, scale = next((len(adapter.A), adapter.scale) for adapter in found.values())
    about = {
        "kind": KIND,
        "format": FORMAT,
        "rank": rank,
        "alpha": scale * rank,
        "parts": list(dict.fromkeys(map(part_of, found))),
        "base": fingerprint(network),
    }
    arrays = {
        f"{name}.{end}": x.numpy() for name, layer in found.items() for end, x in (("A", layer.A), ("B", layer.B))
    }
    contiguous = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    atomic_write_bytes(path, save(contiguous, {"about": json.dumps(about)}))


def load_adapters(model: Model, path: str | Path) -> Model:
    """Put the adapters of a file on `model`, in place, as `tg.lora` does; returns the model.

    Raises InputError when the file is missing, damaged or no file of adapters, or they were made for another base;
    MachineError when it cannot be read. The model is unchanged then.
    """
    network = network_of(model)
    about, arrays = read_file(Path(path))
    try:
        rank, alpha, parts, base = (about[name] for name in ("rank", "alpha", "parts", "base"))
        if base != fingerprint(network):
            raise InputError(f"the adapters in {path} were made for another model, with other weights. Load that one.")
        chosen = chosen_layers(network, rank, parts)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: what it says about its adapters is incomplete ({error!r}).") from error
    shapes = {f"{name}.A": (rank, layer.weight.shape[1]) for name, layer in chosen.items()}
    shapes |= {f"{name}.B": (layer.weight.shape[0], rank) for name, layer in chosen.items()}
    for name in sorted(shapes.keys() | arrays.keys()):
        if name not in shapes or name not in arrays or shapes[name] != arrays[name].shape:
            raise InputError(f"{path} is damaged: {name} is not what adapters of rank {rank} on this model have.")
        if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
            raise InputError(f"{path} is damaged: {name} holds something else than finite numbers.")
    lora(model, rank, alpha, parts)
    for name, parameter in learned(network).items():
        parameter.data[...] = to_device(arrays[name], parameter.device)
    return model


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file says about its adapters, and its arrays."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"there is no file {path}. Check the path.") from error
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about = json.loads(header["__metadata__"]["about"])
        is_ours = about["kind"] == KIND
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or not a file of adapters ({error}).") from error
    if not is_ours or about.get("format") != FORMAT:
        raise InputError(f"{path} is not a file of adapters, or of another version of this program.")
    return about, arrays


def learned(network: Transformer) -> dict[str, Tensor]:
    """A and B of every adapter, by name."""
    found = adapters(network).items()
    return {f"{name}.{end}": x for name, layer in found for end, x in (("A", layer.A), ("B", layer.B))}


def fingerprint(network: Transformer) -> str:
    """A hash of the names, shapes and some numbers of all parameters, those of adapters left out.

    It tells one trained model from another, in any precision. It is no checksum: not every number is looked at.
    """
    digest = hashlib.sha256()
    for name, x in sorted(base_state(network).items()):
        sample = x.reshape(-1)[:: max(1, x.size // SAMPLED)][:SAMPLED]
        digest.update(f"{name} {x.shape} ".encode() + sample.astype("<f4").tobytes())
    return digest.hexdigest()
