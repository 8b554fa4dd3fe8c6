"""A training run in a notebook: what is trained on what, and its learning curve so far.

Builds on: `training.run_folder`, whose metrics it draws. Used by: `RunFolder`, when a notebook shows it.
"""

from __future__ import annotations

from tinygrad_llm.drawing.chart import Line, chart
from tinygrad_llm.drawing.html import box, quiet, title
from tinygrad_llm.pictures.learning_curve import smoothed
from tinygrad_llm.training.run_folder import RunFolder


def html(run: RunFolder) -> str:
    """The HTML form of a run."""
    config, metrics = run.config, run.metrics()
    facts = f"{config.layers} layers", f"width {config.width}", f"{config.vocab_size:,} tokens"
    steps = [line for line in metrics if line.get("event") == "step"]
    # Without the untrained model: a straight line from there would tell of a slow start that never was.
    evaluations = [line for line in metrics if line.get("event") == "evaluation" and line["step"] > 0]
    if not steps:
        return box(title(f"Run {run.path}", *facts), quiet("no steps yet"))
    lines = [Line("training text, smoothed", [s["step"] for s in steps], list(smoothed([s["loss"] for s in steps])))]
    if evaluations:
        lines.append(Line("held-out text", [e["step"] for e in evaluations], [e["loss"] for e in evaluations], True))
    told = f"{steps[-1]['step']:,} steps"
    if evaluations:
        told += f"; held-out text: {evaluations[-1]['loss']:.3f} nats per token, "
        told += f"{evaluations[-1]['bits_per_byte']:.3f} bits per byte"
    return box(title(f"Run {run.path}", *facts), chart(lines, "steps", "nats per token"), quiet(told))
