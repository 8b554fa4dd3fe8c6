"""The learning curve of a run: the loss on the text it learns from and on text it never sees, step by step.

Two units, one on each side. Nats per token is what is minimised; bits per byte says the same about the bytes that the
tokens stand for, so it compares between tokenizers (8 is what plain bytes cost). For one validation text the two
differ by a constant factor: one curve, two axes. The dotted line is where a model begins that knows nothing but the
size of its vocabulary, ln V.

Comes before: `training.events`, which a run wrote down. Comes after: `cli.train`, which asks for the picture.
Left out on purpose: several runs in one picture, and a window (pyplot): a picture is drawn the same way with no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import write_atomically
from tinygrad_llm.training.events import Evaluated, Event, Stepped

INK, QUIET, GRID = "#22303c", "#7b8794", "#e6e9ed"
TRAIN, VALIDATION = "#5b8db8", "#d1495b"
ROUND_STEPS = (1, 2, 5, 10)  # between two ticks, times a power of ten
SMOOTHING_SHARE = 0.02  # of the run: half the width of the window that the training loss is averaged over
RISE_ALLOWED = 1.1  # how far above its first value the loss may be drawn, for runs that diverge


def learning_curve(events: Iterable[Event], title: str, subtitle: str = "", vocab_size: int | None = None) -> Figure:
    """The picture of a run from its `Stepped` and `Evaluated` events; others are passed over.

    vocab_size: V, to show what knowing nothing costs. Raises InputError when the run has no steps.
    """
    events = list(events)
    steps = [event for event in events if isinstance(event, Stepped)]
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    if not steps:
        raise InputError("events: the run has no steps yet, and so no learning curve. Train it first.")
    figure = Figure(figsize=(8.6, 4.9), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    style(axes)
    draw_training(axes, steps)
    axes.set_ylim(limits([event.loss for event in steps], [event.loss for event in evaluations]))
    if evaluations:
        draw_validation(axes, evaluations)
        add_bits_per_byte(axes, evaluations)
    if vocab_size is not None and math.log(vocab_size) < axes.get_ylim()[1]:  # a tuned model begins far below
        draw_ignorance(axes, vocab_size)
    axes.set_xlim(0, max(event.step for event in steps))
    axes.set_title(title, loc="left", fontsize=12.5, color=INK, fontweight="bold", pad=28 if subtitle else 12)
    axes.annotate(
        subtitle, (0, 1), xytext=(0, 12), xycoords="axes fraction", textcoords="offset points",
        color=QUIET, fontsize=9.5,
    )  # fmt: skip
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.9), frameon=False, fontsize=9.5, labelcolor=INK)
    return figure


def save_picture(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file, whole or not at all. Raises what `files.write_atomically` raises."""
    write_atomically(path, lambda file: figure.savefig(file, format="png", facecolor="white"))


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """The mean of `losses` (N,) over a window around each: (N,).

    The window reaches as far forward as back, so that the curve does not lag behind. It grows from a single loss at the
    start, where losses fall steeply, to `SMOOTHING_SHARE` of the run on either side; the end of the run cuts it off.
    """
    count = len(losses)
    i = np.arange(count)
    reach = np.minimum(i // 3, round(SMOOTHING_SHARE * count))
    first, after_last = i - reach, np.minimum(i + reach + 1, count)
    totals = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    return (totals[after_last] - totals[first]) / (after_last - first)


def style(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=9.5, length=0, pad=6)
    axes.tick_params(axis="x", length=3)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=ROUND_STEPS, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=ROUND_STEPS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("steps", color=INK, fontsize=10, labelpad=6)
    axes.set_ylabel("nats per token", color=INK, fontsize=10, labelpad=8)


def draw_training(axes: Axes, steps: list[Stepped]) -> None:
    xs, losses = [event.step for event in steps], [event.loss for event in steps]
    axes.plot(xs, losses, color=TRAIN, linewidth=0.5, alpha=0.35)
    axes.plot(xs, smoothed(losses), color=TRAIN, linewidth=1.8, label="training text, smoothed")


def limits(training: Sequence[float], validation: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest loss that the axis reaches to."""
    top = min(max([*training, *validation]), RISE_ALLOWED * training[0]) + 0.05 * training[0]
    lowest = min([*training, *validation])
    return lowest - 0.05 * (top - lowest), top


def draw_validation(axes: Axes, evaluations: list[Evaluated]) -> None:
    # Not joined to the untrained model's value: a straight line from there would tell of a slow start that never was.
    learned = [event for event in evaluations if event.step > 0]
    axes.plot([event.step for event in learned], [event.loss for event in learned], color=VALIDATION, linewidth=0.9)
    axes.plot(
        [event.step for event in evaluations], [event.loss for event in evaluations],
        linestyle="none", marker="o", markersize=5.5, color=VALIDATION, markeredgecolor="white",
        label="held-out text, never trained on", clip_on=False, zorder=3,
    )  # fmt: skip
    last = evaluations[-1]
    axes.annotate(
        f"{last.loss:.2f} nats per token\n{last.bits_per_byte:.2f} bits per byte",
        (last.step, last.loss), xytext=(0, 22), textcoords="offset points", ha="right", va="bottom",
        color=VALIDATION, fontsize=9.5, fontweight="bold", linespacing=1.35,
    )  # fmt: skip


def add_bits_per_byte(axes: Axes, evaluations: list[Evaluated]) -> None:
    bits_per_nat = evaluations[-1].bits_per_byte / evaluations[-1].loss

    def to_bits(nats: ArrayLike) -> np.ndarray:
        return np.asarray(nats, np.float64) * bits_per_nat

    def to_nats(bits: ArrayLike) -> np.ndarray:
        return np.asarray(bits, np.float64) / bits_per_nat

    right = axes.secondary_yaxis("right", functions=(to_bits, to_nats))
    right.spines["right"].set_visible(False)
    right.tick_params(colors=QUIET, labelcolor=INK, labelsize=9.5, length=0, pad=6)
    right.set_ylabel("bits per byte", color=INK, fontsize=10, labelpad=8)


def draw_ignorance(axes: Axes, vocab_size: int) -> None:
    height = math.log(vocab_size)
    axes.axhline(height, color=QUIET, linewidth=1.0, linestyle=(0, (1, 2.5)))
    axes.annotate(
        f"knowing nothing: ln {vocab_size:,} = {height:.2f}", (1, height), xytext=(0, 4), ha="right",
        xycoords=axes.get_yaxis_transform(), textcoords="offset points", color=QUIET, fontsize=8.5,
    )  # fmt: skip
