"""Checkpoints: everything a run needs to go on as if nothing had happened, in one file.

A checkpoint is a safetensors file. Its arrays are the weights and the optimizer's averages; the JSON in its metadata
holds the rest (step, position in the text, state of the random generator, length of the logs). No pickle, so opening
one runs no code. It is written to a temporary name, synced and renamed, and it carries a checksum of all it holds. One
that is damaged or cannot be used is recognised, and the one before it is used. The last two are kept.

Builds on: `files`, which writes whole files or none. Used by: `trainer`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import atomic_write_bytes
from tinygrad_llm.training.stored_json import entry, parse_object

KEPT = 2
NAME = "step-{:08d}.safetensors"
NAMES = re.compile(r"step-([0-9]{8,})\.safetensors")
ADVICE = "Use the checkpoint before it."


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
    older = [other for other in list_checkpoints(folder) if step_of(other) < checkpoint.step]
    for other in list_checkpoints(folder):
        if other not in (path, *older[: KEPT - 1]):
            other.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first, readable or not."""
    files = [path for path in folder.glob("step-*.safetensors") if NAMES.fullmatch(path.name) and path.is_file()]
    return sorted(files, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The number of steps in the name of a checkpoint."""
    return int(path.stem.removeprefix("step-"))


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises InputError, saying why, when the file is not a checkpoint or not as it was written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise InputError(f"{path} is damaged: it cannot be read as a checkpoint ({error}). {ADVICE}") from error
    source = str(path)
    header = parse_object(data[8 : 8 + int.from_bytes(data[:8], "little")], source, ADVICE)
    metadata = entry(header, "__metadata__", dict, source, ADVICE)
    state, written = (entry(metadata, key, str, source, ADVICE) for key in ("state", "sha256"))
    if checksum(arrays, state) != written:
        raise InputError(f"{path} is damaged: its contents are not what was written (wrong checksum). {ADVICE}")
    values = parse_object(state, f"the state in {path}", ADVICE)
    step = entry(values, "step", int, f"the state in {path}", ADVICE)
    if step < 0 or (NAMES.fullmatch(path.name) and step != step_of(path)):
        raise InputError(f"the state in {path} is damaged: 'step' is {step}. {ADVICE}")
    return Checkpoint(step, arrays, entry(values, "state", dict, f"the state in {path}", ADVICE))


def newest_checkpoint(
    folder: Path, restore: Callable[[Checkpoint], None] = lambda checkpoint: None
) -> tuple[Path | None, Checkpoint | None, tuple[str, ...]]:
    """The newest checkpoint that can be used, its path, and why newer ones cannot; (None, None, ()) if there is none.

    restore: is called with the checkpoint. One whose state has another structure than it expects counts as damaged; an
    InputError of `restore` is passed on.

    Raises InputError when there are checkpoints and none of them can be used.
    """
    damaged: list[str] = []
    for path in list_checkpoints(folder):
        try:
            checkpoint = read_checkpoint(path)
        except (InputError, MachineError) as error:
            damaged.append(str(error))
            continue
        try:
            restore(checkpoint)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            why = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            damaged.append(f"the state in {path} cannot be used: {why}. {ADVICE}")
            continue
        return path, checkpoint, tuple(damaged)
    if damaged:
        raise InputError(f"no checkpoint in {folder} can be read: {' '.join(damaged)} Start again with --overwrite.")
    return None, None, ()


def checksum(arrays: dict[str, np.ndarray], state: str) -> str:
    """SHA-256 of names, dtypes, shapes and bytes of all arrays, and of the state."""
    digest = hashlib.sha256(state.encode(errors="surrogatepass"))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
