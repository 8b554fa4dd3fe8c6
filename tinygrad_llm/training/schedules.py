"""The learning rate over a run: rise from 0, then fall. Functions of progress, which goes from 0 to 1, and of the step.

The first steps are small, because AdamW's averages know nothing yet and one large wrong step is not forgotten soon;
the last ones are small, so that the weights settle. What happens in between differs: each of the first functions is
the part after the warm-up, and returns how much of the way from `min_lr` up to `lr` is left.

Used by: `settings`, which names one of these; `trainer`; training loops of one's own, by `cosine_schedule` and its kin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tinygrad_llm.errors import InputError

DECAY_SHARE = 0.2  # of the run, for warm-up-stable-decay: the share that Hägele et al. found to be enough


def cosine(progress: float) -> float:
    """(1 + cos(π p)) / 2: slow at both ends (Loshchilov & Hutter 2017, equation 5, without restarts)."""
    return (1.0 + math.cos(math.pi * progress)) / 2.0


def linear(progress: float) -> float:
    """1 - p: straight down."""
    return 1.0 - progress


def warmup_stable_decay(progress: float) -> float:
    """1, then straight down over the last fifth (Hu et al. 2024, section 4; the share: Hägele et al. 2024, section 3).

    Its use: the long flat part is the same for every length, so a run can be prolonged from before the decay.
    """
    return min(1.0, (1.0 - progress) / DECAY_SHARE)


def constant(progress: float) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": cosine,
    "linear": linear,
    "warmup_stable_decay": warmup_stable_decay,
    "constant": constant,
}


def learning_rate(progress: float, *, schedule: str, lr: float, min_lr: float = 0.0, warmup: float = 0.0) -> float:
    """The learning rate at `progress`: straight up from 0 to `lr` while progress < warmup, then the schedule.

    The schedule sees the rest of the run as a progress of its own, from 0 to 1, and ends at `min_lr`. Before the start
    (progress < 0) the rate is that of 0, beyond the end (progress > 1) that of 1. warmup: a share of the run, 0 to 1.

    Raises InputError for an unknown schedule, a warmup outside 0 to 1, or a progress that is NaN.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"schedule must be one of {', '.join(SCHEDULES)}, it was {schedule!r}.")
    if not 0.0 <= warmup <= 1.0:
        raise InputError(f"warmup must be a share of the run between 0 and 1, it was {warmup!r}.")
    if math.isnan(progress):
        raise InputError("progress must be a number between 0 and 1, it was nan.")
    progress = min(1.0, max(0.0, progress))
    if progress < warmup:
        return lr * progress / warmup
    after_warmup = (progress - warmup) / (1.0 - warmup) if warmup < 1.0 else 0.0
    return min_lr + (lr - min_lr) * SCHEDULES[schedule](after_warmup)


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step: `schedule(step)`, where the first step is 0.

    It rises straight from 0 at step 0 to `lr` at step `warmup_steps`, falls along `shape` (one of "cosine", "linear",
    "warmup_stable_decay", "constant") to `min_lr` at step `steps`, and stays there.

    >>> schedule = cosine_schedule(lr=1.0, steps=100, warmup_steps=10, min_lr=0.2)
    >>> [round(schedule(step), 3) for step in (0, 5, 10, 55, 100, 200)]
    [0.0, 0.5, 1.0, 0.6, 0.2, 0.2]

    Raises InputError naming the value that cannot be.
    """

    shape: str
    lr: float
    steps: int
    warmup_steps: int = 0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SCHEDULES:
            raise InputError(f"shape must be one of {', '.join(SCHEDULES)}, it was {self.shape!r}.")
        if type(self.steps) is not int or self.steps < 1:
            raise InputError(f"steps must be a whole number of at least 1, it was {self.steps!r}.")
        if type(self.warmup_steps) is not int or not 0 <= self.warmup_steps <= self.steps:
            raise InputError(f"warmup_steps must lie between 0 and steps ({self.steps}), it was {self.warmup_steps!r}.")
        if not 0.0 <= self.lr < math.inf:
            raise InputError(f"lr must be a number of at least 0, it was {self.lr!r}.")
        if not 0.0 <= self.min_lr <= self.lr:
            raise InputError(f"min_lr must lie between 0 and lr ({self.lr}), it was {self.min_lr!r}.")

    def __call__(self, step: float) -> float:
        progress, warmup = step / self.steps, self.warmup_steps / self.steps
        return learning_rate(progress, schedule=self.shape, lr=self.lr, min_lr=self.min_lr, warmup=warmup)


def cosine_schedule(lr: float, steps: int, warmup_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """Up, then down along half a cosine: see `Schedule` and `cosine`."""
    return Schedule("cosine", lr, steps, warmup_steps, min_lr)


def linear_schedule(lr: float, steps: int, warmup_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """Up, then straight down: see `Schedule` and `linear`."""
    return Schedule("linear", lr, steps, warmup_steps, min_lr)


def warmup_stable_decay_schedule(lr: float, steps: int, warmup_steps: int = 0, min_lr: float = 0.0) -> Schedule:
    """Up, flat, and down over the last fifth of what follows the warm-up: see `Schedule`, `warmup_stable_decay`."""
    return Schedule("warmup_stable_decay", lr, steps, warmup_steps, min_lr)


def constant_schedule(lr: float, steps: int, warmup_steps: int = 0) -> Schedule:
    """Up, then constant: see `Schedule`."""
    return Schedule("constant", lr, steps, warmup_steps)
