"""The folder of a run: everything that training leaves behind, by fixed names.

    config.json         the model's config, how it is trained, where its text came from; marks the folder as a run
    tokenizer.json      text <-> ids
    model.safetensors   the weights, as of the last checkpoint; adapters are merged into them
    adapters.safetensors  the adapters alone, where they are what learns (`nn.adapter_file`)
    metrics.jsonl       one line per step and per evaluation
    samples.txt         what the model wrote on the way
    loss.png            the learning curve
    checkpoints/        to go on from

Files of the user are never overwritten: a folder that is not empty is refused, and `overwrite` deletes these files
only, and only in a folder that a run has made.

Builds on: `files`, `text.tokenizer`, `nn.transformer`. Used by: `trainer`, and everything that loads a model.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tinygrad_llm.drawing.views import shown_by
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import atomic_write_bytes, read_text, remove_leftovers
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.training.checkpoints import list_checkpoints
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.stored_json import entry, parse_object
from tinygrad_llm.version import __version__

KIND = "tinygrad_llm run"
FORMAT = 1  # of config.json and of the folder; goes up when older programs could not read it
LOGS = ("metrics.jsonl", "samples.txt")  # files that only ever grow, at their end
ADAPTERS = "adapters.safetensors"
ADVICE = "Put back a copy of the file, or train again."
FILES = ("model.safetensors", ADAPTERS, "tokenizer.json", *LOGS, "loss.png", "config.json")


class RunFolder:
    """The run in the folder `path`; `RunFolder.create` makes a new one.

    config: the model's shape. settings: how it is trained. source: where its text comes from, as the caller of `create`
    described it (JSON).

    Raises InputError when there is no such folder, or it is not a run's, damaged, or of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError(f"there is no folder {path}. Give the folder of a run, or make one: tinygrad-llm train.")
        values, file = read_config(self.path), str(self.path / "config.json")
        model, training, source = (entry(values, key, dict, file, ADVICE) for key in ("model", "training", "source"))
        self.source: dict[str, Any] = source
        key = "model"
        try:
            self.config = TransformerConfig.from_dict(model)
            key = "training"
            self.settings = TrainingSettings.from_dict(training)
        except (InputError, TypeError, AttributeError, ArithmeticError) as error:
            raise InputError(f"{file}: the entry {key!r} cannot be used: {str(error).rstrip('.')}. {ADVICE}") from error

    _repr_html_ = shown_by("tinygrad_llm.pictures.history")

    def __repr__(self) -> str:
        config = self.config
        return (
            f"RunFolder({str(self.path)!r}, {config.layers} layers, width {config.width}, {config.vocab_size:,} tokens)"
        )

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: TransformerConfig,
        settings: TrainingSettings,
        tokenizer: Tokenizer,
        source: dict[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> RunFolder:
        """A new run folder with config.json and tokenizer.json in it; missing parents are made.

        overwrite: delete the run that is there now (its own files, nothing else in the folder).
        Raises InputError when the folder is not empty and may not be overwritten, MachineError when it cannot be
        written.
        """
        path = Path(path)
        check_free(path, overwrite)
        with disk_errors(path):
            remove_run(path)
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        # First of all files, so that a folder left half made is known as a run's and can be overwritten.
        write_config(path, config, settings, source or {})
        tokenizer.save(path / "tokenizer.json")
        return cls(path)

    def change_budget(self, *, steps: int | None = None, minutes: float | None = None) -> None:
        """Give the run another length, and write that down; minutes count from its beginning.

        The schedule of the learning rate is stretched to the new length, while the steps that are done stay as they
        are; so this is not the run that would have had the new length from the start. Raises InputError unless exactly
        one of them is given.
        """
        self.settings = replace(self.settings, steps=steps, minutes=minutes)
        write_config(self.path, self.config, self.settings, self.source)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def load_tokenizer(self) -> Tokenizer:
        """Raises InputError when tokenizer.json is missing or damaged."""
        return Tokenizer.load(self.path / "tokenizer.json")

    def load_model(self) -> tuple[Transformer, Tokenizer]:
        """The model with the weights in model.safetensors, and its tokenizer.

        Raises InputError when one of them is missing or damaged.
        """
        tokenizer = self.load_tokenizer()
        path = self.path / "model.safetensors"
        if not path.is_file():
            raise InputError(f"{self.path} has no model.safetensors yet: nothing was saved. Train it on with --resume.")
        with disk_errors(path):
            data = path.read_bytes()
        try:
            weights = load(data)
            check_sizes(self.config, weights)
            return Transformer.empty(self.config).load_state_dict(weights), tokenizer
        except (SafetensorError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError) as error:
            raise InputError(f"{path} is damaged ({error}). Resume the run, which writes it again.") from error

    def save_model(self, weights: dict[str, np.ndarray]) -> None:
        """Write model.safetensors. Raises MachineError when the disk is full or cannot be written."""
        atomic_write_bytes(self.path / "model.safetensors", save(weights))

    # --- logs: files that only grow ---------------------------------------------------------------------------------

    def append_metrics(self, values: dict[str, Any]) -> None:
        """One more line in metrics.jsonl."""
        self._append("metrics.jsonl", json.dumps(values) + "\n")

    def append_sample(self, step: int, text: str) -> None:
        """One more sample in samples.txt, under a line with the step."""
        self._append("samples.txt", f"--- after {step} steps ---\n{text}\n\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: {"event": "step" or "evaluation", "step": …, "loss": …, …}."""
        path = self.path / "metrics.jsonl"
        lines = read_text(path).splitlines() if path.exists() else []
        metrics = []
        for number, line in enumerate(lines, start=1):
            source, advice = f"line {number} of {path}", "Delete the line."
            values = parse_object(line, source, advice)
            entry(values, "event", str, source, advice)
            entry(values, "step", int, source, advice)
            metrics.append(values)
        return metrics

    def sync_logs(self) -> dict[str, int]:
        """Bring the logs to the disk; returns their lengths in bytes, to which `cut_logs` can take them back."""
        lengths = {}
        for name in LOGS:
            if (self.path / name).exists():
                with disk_errors(self.path / name), open(self.path / name, "rb") as file:
                    os.fsync(file.fileno())
                    lengths[name] = os.fstat(file.fileno()).st_size
        return lengths

    def cut_logs(self, lengths: dict[str, int]) -> None:
        """Take the logs back to these lengths (0 where none is given); a log that is shorter is left as it is."""
        for name in LOGS:
            path = self.path / name
            if path.exists() and path.stat().st_size > lengths.get(name, 0):
                with disk_errors(path):
                    os.truncate(path, lengths.get(name, 0))

    def remove_leftovers(self) -> None:
        """Delete temporary files of a process that was killed. Only when nobody else writes to this run."""
        remove_leftovers(self.path)
        remove_leftovers(self.checkpoints)

    def _append(self, name: str, text: str) -> None:
        # Opened and closed each time: a line is in the file when this returns, whatever happens next.
        with disk_errors(self.path / name), open(self.path / name, "a", encoding="utf-8") as file:
            file.write(text)


def check_sizes(config: TransformerConfig, weights: dict[str, np.ndarray]) -> None:
    """Raise ValueError when a model of this config would be larger than the weights, before anything is allocated."""
    numbers = sum(array.size for array in weights.values())
    if config.layers > len(weights):
        raise ValueError(f"config.json says {config.layers} layers, and there are {len(weights)} arrays")
    for name, count in (
        ("vocab_size · width", config.vocab_size * config.width),
        ("width · hidden", config.width * config.hidden),
        ("width · heads · head_dim", config.width * config.heads * config.head_dim),
        ("context · width", config.context * config.width if config.positions == "learned" else 0),
    ):
        if count > numbers:
            raise ValueError(f"{name} is {count} in config.json, and all arrays together have {numbers} numbers")


def check_free(path: Path, overwrite: bool) -> None:
    """Raise InputError unless a run may be created at `path`. Call it early, before hours of other work."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file. Give the name of a folder for the run.")
    if not path.exists() or not any(path.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{path} is not empty. Choose another folder, or say --resume to go on, or --overwrite.")
    if not is_run(path):
        raise InputError(f"{path} is not a run of this program, so --overwrite leaves it alone. Choose another folder.")


def is_run(path: Path) -> bool:
    """Whether a run of this program, of whatever version, has made the folder."""
    try:
        return parse_object((path / "config.json").read_bytes(), "config.json", ADVICE).get("kind") == KIND
    except (OSError, InputError):
        return False


def write_config(path: Path, config: TransformerConfig, settings: TrainingSettings, source: dict[str, Any]) -> None:
    """Write config.json. Raises MachineError when the disk is full or cannot be written."""
    values = {
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "model": config.to_dict(),
        "training": settings.to_dict(),
        "source": source,
    }
    atomic_write_bytes(path / "config.json", json.dumps(values, indent=2).encode() + b"\n")


def read_config(path: Path) -> dict[str, Any]:
    """config.json of the run at `path`. Raises InputError when it is missing, damaged or from another version."""
    if not (path / "config.json").exists():
        raise InputError(f"{path} is not the folder of a run: there is no config.json in it.")
    with disk_errors(path / "config.json"):
        data = (path / "config.json").read_bytes()
    values = parse_object(data, str(path / "config.json"), ADVICE)
    if values.get("kind") != KIND:
        raise InputError(f"{path} is not the folder of a run: its config.json is of another program.")
    if values.get("format") != FORMAT:
        raise InputError(
            f"{path} was made by version {values.get('version')} of tinygrad_llm, whose folders have another format "
            f"({values.get('format')}; this version reads {FORMAT}). Use that version, or train again."
        )
    return values


def remove_run(path: Path) -> None:
    """Delete the files of a run, config.json last, and nothing else."""
    for name in FILES[:-1]:
        (path / name).unlink(missing_ok=True)
    for checkpoint in list_checkpoints(path / "checkpoints"):
        checkpoint.unlink(missing_ok=True)
    (path / FILES[-1]).unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Inside, a failure of the disk becomes a MachineError that names `path`."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror or error}. Check the disk, or choose another folder.") from error
