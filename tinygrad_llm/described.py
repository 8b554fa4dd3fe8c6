"""Fields of a dataclass that say what they mean, so that a list of settings is written once.

A dataclass such as `TrainingSettings` or `SamplingConfig` is the one place where the names, types, defaults and
explanations of a group of settings stand: Python code makes it with keyword arguments, and the command line makes its
options from it.

Used by: `training.settings`, `generation.sampling_config`; `cli.options`, which turns the fields into options.
"""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any


def described(
    help: str, default: Any = MISSING, *, panel: str | None = None, typed: type | None = None, **option: Any
) -> Any:
    """A dataclass field with an explanation: `lr: float = described("Largest learning rate.", 1e-3)`.

    help: one sentence for the help page of the command line. default: the field has none if it is left out.
    panel: the heading of the help page under which the option stands. typed: the type on the command line, where it is
    another one, such as str for a dict in text form. option: further arguments of `typer.Option`,
    such as `metavar="FILE"`, `min=1`, or `show_default="as many as heads"` where the default is None.
    """
    return field(default=default, metadata={"help": help, "panel": panel, "typed": typed, "option": option})
