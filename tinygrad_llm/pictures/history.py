"""A training run in a notebook: its learning curve so far, and the numbers at its end.

Builds on: `training.history`. Used by: `History` and `RunFolder`, when a notebook shows them.
"""

from __future__ import annotations

from tinygrad_llm.drawing.chart import Line, chart
from tinygrad_llm.drawing.html import box, quiet, title
from tinygrad_llm.pictures.learning_curve import smoothed
from tinygrad_llm.training.history import History
from tinygrad_llm.training.run_folder import RunFolder


def html(shown: History | RunFolder) -> str:
    """The HTML form of a history, or of a run folder."""
    if isinstance(shown, History):
        return box(title("Training history"), learning_curve(shown))
    config = shown.config
    facts = f"{config.layers} layers", f"width {config.width}", f"{config.vocab_size:,} tokens"
    return box(title(f"Run {shown.path}", *facts), learning_curve(History.of_run(shown)))


def learning_curve(history: History) -> str:
    """The losses as a chart, and a line about the end."""
    if not history.steps:
        return quiet("no steps yet")
    xs = [step.step for step in history.steps]
    lines = [Line("training text, smoothed", xs, list(smoothed(list(history.losses))))]
    told = f"{xs[-1]:,} steps, the last loss {history.losses[-1]:.3f}"
    if history.evaluations:
        last = history.evaluations[-1]
        told += f"; held-out text: {last.loss:.3f} nats per token, {last.bits_per_byte:.3f} bits per byte"
        # Without the untrained model: a straight line from there would tell of a slow start that never was.
        learned = [one for one in history.evaluations if one.step > 0]
        lines.append(Line("held-out text", [one.step for one in learned], [one.loss for one in learned], dots=True))
    return chart(lines, "steps", "nats per token") + quiet(told)
