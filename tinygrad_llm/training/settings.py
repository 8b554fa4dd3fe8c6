"""How a model is trained: one frozen dataclass, checked when it is made, written into the run's config.json.

What the model is stands in `nn.config`. Comes before: `errors`. Comes after: `schedules` and `trainer`, which read
these numbers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from tinygrad_llm.errors import InputError
from tinygrad_llm.training.schedules import SCHEDULES


@dataclass(frozen=True)
class TrainingSettings:
    """Every number that a training run depends on, beside the model's config and the text.

    Exactly one of the two budgets: steps, or minutes (of wall-clock time, see `pace`).
    batch: B, windows that are computed together. accumulate: such batches per step; one step learns from
    accumulate · batch · T targets. context: T, tokens of a window; None: as many as the model can look at.
    begin_token: stands first in every window, for a model that knows its texts to begin so (see `text.batches`).
    optimizer: "adamw", or "muon" for the hidden matrices and AdamW for the rest (see `optimizers`).
    rate: the largest learning rate. min_rate: where the schedule ends. warmup: the share of the run in which the rate
    rises from 0. schedule: what it does after that (see `schedules`).
    weight_decay: of matrices, none of vectors; decoupled, so a step shrinks them by rate · weight_decay.
    beta1, beta2: how much of AdamW's two averages stays at each step. momentum: the same for Muon.
    clip: the largest norm of the whole gradient; None for no clipping.
    eval_every: steps between two evaluations. eval_windows: how many windows of validation text, None for all of it.
    checkpoint_every, checkpoint_minutes: save after so many steps, or when so much time has passed since the last
    time, whichever comes first; None switches that one off. Saving changes nothing in what is learned.
    seed: of the initial weights, the order of the windows and the dropout.

    Raises InputError naming the value that cannot be.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 24
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    rate: float = 1e-3
    min_rate: float = 1e-4
    warmup: float = 0.05
    schedule: Literal["cosine", "linear", "warmup_stable_decay", "constant"] = "cosine"
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    momentum: float = 0.95
    clip: float | None = 1.0
    eval_every: int = 250
    eval_windows: int | None = 512
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = 1.0
    seed: int = 0
    context: int | None = None
    begin_token: int | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise InputError(
                f"training: give either steps or minutes; they were steps={self.steps} and minutes={self.minutes}."
            )
        for name in ("steps", "batch", "accumulate", "eval_every", "eval_windows", "checkpoint_every", "context"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise InputError(f"{name} must be a whole number of at least 1, it was {value!r}.")
        for name in ("minutes", "rate", "clip", "checkpoint_minutes"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, it was {value!r}.")
        for name in ("warmup", "beta1", "beta2", "momentum"):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value < 1):
                raise InputError(f"{name} must be at least 0 and below 1, it was {value!r}.")
        if not (is_number(self.min_rate) and 0 <= self.min_rate <= self.rate):
            raise InputError(f"min_rate must lie between 0 and rate ({self.rate}), it was {self.min_rate!r}.")
        if not (is_number(self.weight_decay) and 0 <= self.weight_decay * self.rate < 1):
            raise InputError(f"weight_decay must be at least 0 and below 1 / rate, it was {self.weight_decay!r}.")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"seed must be a whole number of at least 0, it was {self.seed!r}.")
        for name, allowed in {"optimizer": ("adamw", "muon"), "schedule": tuple(SCHEDULES)}.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {allowed}, it was {getattr(self, name)!r}.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The settings that `to_dict` gave. Raises InputError naming what is unknown."""
        unknown = sorted(values.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"training: unknown entries {unknown}; they were written by another version.")
        return cls(**values)


def is_number(value: object) -> bool:
    """Whether it is an int or a float that is finite, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
