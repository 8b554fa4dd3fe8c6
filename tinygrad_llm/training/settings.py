"""How a model is trained: one frozen dataclass, checked when it is made, written into the run's config.json.

The command line makes its options from the fields that are `described`. What the model is stands in `nn.config`.

Builds on: `schedules`. Used by: `trainer`, `pace`, `run_folder`, `cli.train`, `cli.tune`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from tinygrad_llm.described import described
from tinygrad_llm.drawing.terminal import call_text
from tinygrad_llm.errors import InputError
from tinygrad_llm.training.schedules import SCHEDULES

BUDGET, LEARNING, RUN = "How long", "How it learns", "The run"  # headings of the command line's help page


@dataclass(frozen=True)
class TrainingSettings:
    """Every number that a training run depends on, beside the model's config and the text.

    Exactly one of the two budgets: steps, or minutes (of wall-clock time, see `pace`).
    batch: B, windows that are computed together. accumulate: such batches per step; one step learns from
    accumulate · batch · T targets. context: T, tokens of a window; None: as many as the model can look at.
    begin_token: stands first in every window, for a model that knows its texts to begin so (see `text.batches`).
    optimizer: "adamw", or "muon" for the hidden matrices and AdamW for the rest (see `adamw`, `muon`).
    lr: the largest learning rate. min_lr: where the schedule ends; None: a tenth of lr. warmup: the share of the run
    in which the learning rate rises from 0. schedule: what it does after that (see `schedules`).
    weight_decay: of matrices, none of vectors; decoupled, so a step shrinks them by lr · weight_decay.
    beta1, beta2: how much of AdamW's two averages stays at each step. momentum: the same for Muon.
    clip: the largest norm of the whole gradient; None or 0 for no clipping.
    eval_every: steps between two evaluations. eval_windows: how many windows of validation text, None for all of it.
    checkpoint_every, checkpoint_minutes: save after so many steps, or when so much time has passed since the last
    time, whichever comes first; None switches that one off. Saving changes nothing in what is learned.
    seed: of the initial weights, the order of the windows and the dropout.

    Raises InputError naming the value that cannot be.
    """

    steps: int | None = described("Train for so many steps, however long they take.", None, panel=BUDGET)
    minutes: float | None = described("Train this long (a resumed run: all in all).", None, panel=BUDGET)
    batch: int = described("Windows of text that are computed together.", 24, panel=LEARNING)
    accumulate: int = described("Batches per step.", 1, panel=LEARNING)
    optimizer: Literal["adamw", "muon"] = described("The optimizer.", "adamw", panel=LEARNING)
    lr: float = described("Largest learning rate.", 1e-3, panel=LEARNING)
    min_lr: float = described("Learning rate at the end.", None, panel=LEARNING)
    warmup: float = described("Share of the run in which the learning rate rises from 0.", 0.05, panel=LEARNING)
    schedule: Literal["cosine", "linear", "warmup_stable_decay", "constant"] = described(
        "How the learning rate falls after the warm-up.", "cosine", panel=LEARNING
    )
    weight_decay: float = described("Of matrices.", 0.1, panel=LEARNING)
    beta1: float = described("How much of AdamW's average gradient stays at each step.", 0.9, panel=LEARNING)
    beta2: float = described("The same of the average squared gradient.", 0.99, panel=LEARNING)
    momentum: float = described("How much of Muon's sum of gradients stays at each step.", 0.95, panel=LEARNING)
    clip: float | None = described("Largest norm of the gradient; 0: any.", 1.0, panel=LEARNING)
    eval_every: int = described("Measure and show a sample every so many steps.", 250, panel=BUDGET)
    eval_windows: int | None = 512
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = 1.0
    seed: int = described("Of the first weights, the order of the text, the dropout.", 0, panel=RUN)
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
        for name in ("minutes", "lr", "checkpoint_minutes"):
            value = getattr(self, name)
            if (value is not None or name == "lr") and not (is_number(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, it was {value!r}.")
        if self.clip is not None and not (is_number(self.clip) and self.clip >= 0):
            raise InputError(f"clip must be a number above 0, or 0 for no clipping, it was {self.clip!r}.")
        if not (is_number(self.warmup) and 0 <= self.warmup <= 1):
            raise InputError(f"warmup must be a share of the run between 0 and 1, it was {self.warmup!r}.")
        for name in ("beta1", "beta2", "momentum"):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value < 1):
                raise InputError(f"{name} must be at least 0 and below 1, it was {value!r}.")
        if self.min_lr is None:
            object.__setattr__(self, "min_lr", self.lr / 10)
        if not (is_number(self.min_lr) and 0 <= self.min_lr <= self.lr):
            raise InputError(f"min_lr must lie between 0 and lr ({self.lr}), it was {self.min_lr!r}.")
        if not (is_number(self.weight_decay) and 0 <= self.weight_decay * self.lr < 1):
            raise InputError(f"weight_decay must be at least 0 and below 1 / lr, it was {self.weight_decay!r}.")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError(f"seed must be a whole number of at least 0, it was {self.seed!r}.")
        for name, allowed in {"optimizer": ("adamw", "muon"), "schedule": tuple(SCHEDULES)}.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {allowed}, it was {getattr(self, name)!r}.")

    def __repr__(self) -> str:
        return call_text(self)

    def with_(self, **changes: Any) -> Self:
        """The same settings but for `changes`.

        A budget of one kind takes the place of the other, and a new lr takes min_lr along in proportion.

        Raises InputError naming what is unknown.
        """
        if changes.get("steps") is not None or changes.get("minutes") is not None:
            changes = {"steps": None, "minutes": None} | changes
        if is_number(changes.get("lr")):
            changes = {"min_lr": self.min_lr * changes["lr"] / self.lr} | changes
        unknown = sorted(changes.keys() - {field.name for field in fields(self)})
        if unknown:
            raise InputError(f"training: unknown settings {unknown}; there are {[f.name for f in fields(self)]}.")
        return replace(self, **changes)

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
