"""What a training run has done so far: the loss, the learning rate and the gradient norm of every step.

Builds on: `events`. Used by: `train`, which returns it; the command line, which draws the learning curve from it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygrad_llm.drawing.views import shown_by
from tinygrad_llm.errors import InputError
from tinygrad_llm.training.events import Evaluated, Event, Stepped
from tinygrad_llm.training.run_folder import RunFolder

EVENTS = {"step": Stepped, "evaluation": Evaluated}  # the lines of metrics.jsonl
BARS = "▁▂▃▄▅▆▇█"
BARS_SHOWN = 40


class History:
    """The steps and the evaluations of a run; it prints in a few lines.

    In a notebook it is a chart. steps, evaluations: lists of `Stepped` and `Evaluated`. losses, lrs, gradient_norms:
    (steps,) arrays, one number per step, the losses in nats per token. evaluation_steps, evaluation_losses:
    (evaluations,) arrays.
    """

    _repr_html_ = shown_by("tinygrad_llm.pictures.history")

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.steps: list[Stepped] = []
        self.evaluations: list[Evaluated] = []
        for event in events:
            self.append(event)

    @classmethod
    def of_run(cls, run: RunFolder) -> History:
        """What a run folder's metrics.jsonl says. Raises InputError naming a line that is damaged."""
        history = cls()
        for number, line in enumerate(run.metrics(), start=1):
            try:
                history.append(EVENTS[line["event"]](**{name: line[name] for name in line if name != "event"}))
            except (KeyError, TypeError) as error:
                path = run.path / "metrics.jsonl"
                raise InputError(f"line {number} of {path} is damaged ({error}). Delete the line.") from error
        return history

    def append(self, event: Event) -> None:
        """Take in an event of a run; only steps and evaluations are kept."""
        if isinstance(event, Stepped):
            self.steps.append(event)
        elif isinstance(event, Evaluated):
            self.evaluations.append(event)

    @property
    def events(self) -> list[Stepped | Evaluated]:
        """Steps and evaluations in their order; an evaluation stands after the step that it followed."""
        events: list[Stepped | Evaluated] = [*self.steps, *self.evaluations]
        return sorted(events, key=lambda event: (event.step, isinstance(event, Evaluated)))

    @property
    def losses(self) -> np.ndarray:
        return np.array([step.loss for step in self.steps])

    @property
    def lrs(self) -> np.ndarray:
        return np.array([step.lr for step in self.steps])

    @property
    def gradient_norms(self) -> np.ndarray:
        return np.array([step.gradient_norm for step in self.steps])

    @property
    def evaluation_steps(self) -> np.ndarray:
        return np.array([evaluation.step for evaluation in self.evaluations], np.int64)

    @property
    def evaluation_losses(self) -> np.ndarray:
        return np.array([evaluation.loss for evaluation in self.evaluations])

    def __repr__(self) -> str:
        if not self.steps:
            return "Training history: no steps yet"
        seconds, tokens = sum(s.seconds for s in self.steps), sum(s.tokens for s in self.steps)
        first, last, count = self.steps[0], self.steps[-1], len(self.steps)
        lines = [
            f"Training history: {count:,} step{'s' * (count != 1)}, {tokens:,} tokens in {seconds:,.1f} s",
            f"  training loss  {first.loss:.3f} → {last.loss:.3f} nats per token  {spark_line(self.losses)}",
        ]
        if self.evaluations:
            end, best = self.evaluations[-1], min(self.evaluations, key=lambda evaluation: evaluation.loss)
            lines.append(
                f"  held-out loss  {self.evaluations[0].loss:.3f} → {end.loss:.3f} nats per token, "
                f"{end.bits_per_byte:.3f} bits per byte; best {best.loss:.3f} after step {best.step:,}"
            )
        lines.append(f"  lr {first.lr:.2e} → {last.lr:.2e}, gradient norm {last.gradient_norm:.3g}")
        return "\n".join(lines)


def spark_line(values: np.ndarray, width: int = BARS_SHOWN) -> str:
    """Values (N,) as a row of at most `width` bars, each the mean of as many values as the others."""
    means = np.array([part.mean() for part in np.array_split(values, min(width, len(values)))])
    low, high = means.min(), means.max()
    if not np.isfinite([low, high]).all() or low == high:
        return BARS[0] * len(means)
    return "".join(BARS[round((len(BARS) - 1) * float((mean - low) / (high - low)))] for mean in means)
