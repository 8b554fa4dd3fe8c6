"""Checkpoints: everything a run needs to go on as if nothing had happened, in one file.

A checkpoint is a safetensors file. Its arrays are the weights and the optimizer's averages; the JSON in its metadata
holds the rest (step, place in the text, state of the random numbers, length of the logs). No pickle, so opening one
runs no code. It is written to a temporary name, synced and renamed, and it carries a checksum of all it holds: one
that a failing disk has changed is recognised, and the one before it is used. The last two are kept.

Comes before: `files` (whole or untouched). Comes after: `trainer`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import atomic_write_bytes

KEPT = 2
NAME = "step-{:08d}.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """arrays: name -> array. state: anything JSON can hold. step: how many steps are done."""

    step: int
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write step-NNNNNNNN.safetensors into `folder`, then delete all but it and the one before; returns its path.

    Newer ones are deleted too: they were damaged, or the run would have gone on from them.
    Raises MachineError when the disk is full or cannot be written; older checkpoints are untouched then.
    """
    state = json.dumps({"step": checkpoint.step, "state": checkpoint.state})
    metadata = {"state": state, "sha256": checksum(checkpoint.arrays, state)}
    path = folder / NAME.format(checkpoint.step)
    atomic_write_bytes(path, save(checkpoint.arrays, metadata))
    older = [other for other in list_checkpoints(folder) if other.name < path.name]
    for other in list_checkpoints(folder):
        if other not in (path, *older[: KEPT - 1]):
            other.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first, readable or not."""
    return sorted(folder.glob(NAME.format(0).replace("0" * 8, "*")), reverse=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises InputError, saying why, when the file is not a checkpoint or not as it was written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        arrays = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        state, written = metadata["state"], metadata["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: it cannot be read as a checkpoint ({error}).") from error
    if checksum(arrays, state) != written:
        raise InputError(f"{path} is damaged: its contents are not what was written (wrong checksum).")
    values = json.loads(state)
    return Checkpoint(values["step"], arrays, values["state"])


def newest_checkpoint(folder: Path) -> tuple[Path | None, Checkpoint | None, tuple[str, ...]]:
    """The newest checkpoint that is whole, its path, and why newer ones are not; (None, None, ()) if there is none.

    Raises InputError when there are checkpoints and none of them is whole.
    """
    damaged: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return path, read_checkpoint(path), tuple(damaged)
        except (InputError, MachineError) as error:
            damaged.append(str(error))
    if damaged:
        raise InputError(f"no checkpoint in {folder} can be read: {' '.join(damaged)} Start again with --overwrite.")
    return None, None, ()


def checksum(arrays: dict[str, np.ndarray], state: str) -> str:
    """SHA-256 of names, dtypes, shapes and bytes of all arrays, and of the state."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
