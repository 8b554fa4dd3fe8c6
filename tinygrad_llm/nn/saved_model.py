"""A transformer in one file: the format safetensors, with the config in the file's metadata. Nothing in it is executed.

It holds no tokenizer. Run folders (`training.run_folder`) and the files of other programs (`hub`) do, and `tg.load`
reads those.

Builds on: `config`, `files`. Used by: `Transformer.save` and `Transformer.load`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import atomic_write_bytes
from tinygrad_llm.nn.config import TransformerConfig

KIND, FORMAT = "tinygrad_llm transformer", 1


def write_model(path: str | Path, config: TransformerConfig, state: Mapping[str, np.ndarray]) -> None:
    """Write a config and the values of all parameters, whole or not at all; an earlier file of that name is replaced.

    Raises InputError when the model has LoRA adapters or `path` cannot name a file, MachineError when the disk is full
    or cannot be written.
    """
    from safetensors.numpy import save  # imported here, so that `import tinygrad_llm` stays quick

    if any(".base." in name for name in state):
        raise InputError(
            "save: the model has LoRA adapters. Call tg.merge(model) first, or save the adapters alone with "
            "tg.save_adapters(model, path)."
        )
    about = {"kind": KIND, "format": FORMAT, "config": config.to_dict()}
    arrays = {name: np.ascontiguousarray(values) for name, values in state.items()}
    atomic_write_bytes(path, save(arrays, {"about": json.dumps(about)}))


def read_model(path: str | Path) -> tuple[TransformerConfig, dict[str, np.ndarray]]:
    """Config and values in a file that `write_model` wrote.

    Raises InputError when there is no such file, or it is damaged or of another kind; MachineError when it cannot be
    read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}. Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder. Transformer.load reads one file; for a folder use tg.load.") from error
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or not a safetensors file ({error}).") from error
    return config_in(header, path), arrays


def config_in(header: dict[str, Any], path: Path) -> TransformerConfig:
    """The config in the header of a safetensors file."""
    try:
        about = json.loads(header["__metadata__"]["about"])
        kind, format, values = about["kind"], about["format"], about["config"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} holds no config of a Transformer. Give a file that Transformer.save wrote; tg.load reads the "
            "files of other programs."
        ) from error
    if kind != KIND or format != FORMAT:
        raise InputError(f"{path} is of the kind {kind!r}, format {format!r}; wanted are {KIND!r} and {FORMAT}.")
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged: its config is {values!r}, and must be an object.")
    try:
        return TransformerConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
