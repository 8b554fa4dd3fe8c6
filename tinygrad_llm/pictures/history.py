"""The history of a training run in a notebook: its learning curve, and where it stands.

Builds on: `training.history`, `drawing.chart`. Used by: `History`, when a notebook shows it; `pictures.run`.
"""

from __future__ import annotations

from tinygrad_llm.drawing.chart import Line, chart
from tinygrad_llm.drawing.html import box, quiet, title
from tinygrad_llm.pictures.learning_curve import smoothed
from tinygrad_llm.training.history import History


def html(history: History) -> str:
    """The HTML form of a history."""
    return box(title("Training history"), *curves(history))


def curves(history: History) -> list[str]:
    """The chart of both losses and a line of words; without steps the words alone."""
    steps = history.steps
    if not steps:
        return [quiet("no steps yet")]
    lines = [Line("training text, smoothed", [s.step for s in steps], list(smoothed([s.loss for s in steps])))]
    # Without the untrained model: a straight line from there would tell of a slow start that never was.
    evaluations = [evaluation for evaluation in history.evaluations if evaluation.step > 0]
    told = f"{len(steps):,} steps"
    if evaluations:
        lines.append(Line("held-out text", [e.step for e in evaluations], [e.loss for e in evaluations], True))
        told += f"; held-out text: {evaluations[-1].loss:.3f} nats per token, "
        told += f"{evaluations[-1].bits_per_byte:.3f} bits per byte"
    return [chart(lines, "steps", "nats per token"), quiet(told)]
