"""How long a run is, and how far it has come.

A budget in steps is simple: step k of N. A budget in minutes must become a number of steps, because the learning rate
follows the progress, and a run that is resumed must do exactly what it would have done. The rule: during the first
tenth of the time the progress is read off the clock; then the number of steps that fit into the rest is worked out
from the speed so far, and it does not change any more. It is part of every checkpoint, so from there on a resumed run
is bit-equal to an uninterrupted one. What it costs: when the machine becomes slower or faster later on, the run takes
longer or shorter than the minutes that were asked for.

Builds on: `settings`. Used by: `trainer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygrad_llm.training.settings import TrainingSettings

MEASURED_SHARE = 0.1  # of the minutes: as long as the speed is being measured


@dataclass
class Pace:
    """The length of one run.

    total: steps of the whole run, None before anything was measured. is_final: whether `total` stays as it is.
    evaluation_seconds: what all `evaluations` so far have taken.
    """

    settings: TrainingSettings
    total: int | None
    is_final: bool
    evaluation_seconds: float = 0.0
    evaluations: int = 0

    @classmethod
    def start(cls, settings: TrainingSettings) -> Pace:
        """The pace of a run that has not begun."""
        return cls(settings, total=settings.steps, is_final=settings.steps is not None)

    def progress(self, step: int, elapsed: float) -> float:
        """How much of the run lies behind at the middle of step `step` (counted from 0): between 0 and 1."""
        if self.is_final and self.total is not None:
            return min(1.0, (step + 0.5) / self.total)
        return min(1.0, elapsed / self.budget)

    @property
    def budget(self) -> float:
        """The time asked for, in seconds."""
        assert self.settings.minutes is not None, "a run with a number of steps has no budget of time"
        return 60.0 * self.settings.minutes

    def evaluated(self, seconds: float) -> None:
        """Take note of what one evaluation took."""
        self.evaluation_seconds += seconds
        self.evaluations += 1

    def stepped(self, steps: int, elapsed: float) -> None:
        """Take note that `steps` steps are done after `elapsed` seconds; work out the total if it is open."""
        if self.is_final:
            return
        # An evaluation costs its time every `eval_every` steps, and once more at the end.
        evaluation = self.evaluation_seconds / max(1, self.evaluations)
        per_step = (elapsed - self.evaluation_seconds) / steps + evaluation / self.settings.eval_every
        self.total = steps + max(0, int((self.budget - elapsed - evaluation) / per_step))
        self.is_final = elapsed >= MEASURED_SHARE * self.budget

    def state(self) -> dict[str, Any]:
        """What it needs to go on, for JSON."""
        return {
            "minutes": self.settings.minutes,
            "total": self.total,
            "is_final": self.is_final,
            "evaluation_seconds": self.evaluation_seconds,
            "evaluations": self.evaluations,
        }

    @classmethod
    def from_state(cls, settings: TrainingSettings, state: dict[str, Any]) -> Pace:
        """The pace of a run that goes on. If its budget is another one now, its length is worked out anew."""
        pace = cls.start(settings)
        pace.evaluation_seconds, pace.evaluations = state["evaluation_seconds"], state["evaluations"]
        if settings.minutes is not None and settings.minutes == state["minutes"]:
            pace.total, pace.is_final = state["total"], state["is_final"]
        return pace
