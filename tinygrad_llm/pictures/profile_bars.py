"""A profile as a picture: one bar per op, forward and backward, and in each the time that it could not do without.

Comes before: `debugging.profile`. Comes after: `tinygrad-llm profile --plot`.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tinygrad_llm.debugging.profile import Profile, Work
from tinygrad_llm.kernels.peaks import Peaks
from tinygrad_llm.pictures.learning_curve import GRID, INK, QUIET, ROUND_STEPS

FORWARD, BACKWARD, OUTSIDE, BEST = "#5b8db8", "#d98c5f", "#b4bcc4", "#22303c"
SMALL = 0.005  # of the whole: what takes less shares the last bar
BAR_HEIGHT = 0.62
INCHES_PER_BAR, OTHER_INCHES = 0.34, 1.75
REST = "the rest"


def profile_bars(profile: Profile, peaks: Peaks, title: str, subtitle: str = "") -> Figure:
    """Bars of milliseconds, the costliest op on top.

    The dark line in a bar is the time that the op would take at the machine's peaks (`Peaks.least_seconds`).
    """
    bars = grouped(profile)
    figure = Figure(figsize=(9.6, OTHER_INCHES + INCHES_PER_BAR * len(bars)), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    style(axes)
    scale, whole = 1000.0, profile.total().seconds
    parts = {"forward": FORWARD, "backward": BACKWARD, "outside the ops": OUTSIDE}
    for row, (name, works) in enumerate(bars):
        together, left = sum(works, start=Work()), 0.0
        for work, colour in zip(works, parts.values(), strict=True):
            axes.barh(row, scale * work.seconds, BAR_HEIGHT, left=left, color=colour, linewidth=0)
            left += scale * work.seconds
        least = scale * together.least_seconds(peaks)
        if least:
            axes.plot([least, least], [row - BAR_HEIGHT / 2, row + BAR_HEIGHT / 2], color=BEST, linewidth=2.2)
        axes.annotate(
            note(together, whole, peaks, with_rates=name != REST), (max(left, least), row), xytext=(7, 0),
            textcoords="offset points", va="center", color=INK, fontsize=8.5,
        )  # fmt: skip
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.6)
    longest = max(sum(work.seconds for work in works) for _, works in bars)
    axes.set_xlim(0, 1.32 * scale * longest)  # room for the notes
    for name, colour in parts.items():
        if any(works[list(parts).index(name)].seconds for _, works in bars):
            axes.barh([0], [0], color=colour, label=name)
    axes.plot([], [], color=BEST, linewidth=2.2, label="the machine at best")
    axes.legend(loc="lower right", frameon=False, fontsize=9.5, labelcolor=INK)
    axes.set_title(title, loc="left", fontsize=12.5, color=INK, fontweight="bold", pad=28 if subtitle else 12)
    axes.annotate(
        subtitle, (0, 1), xytext=(0, 12), xycoords="axes fraction", textcoords="offset points",
        color=QUIET, fontsize=9.5,
    )  # fmt: skip
    return figure


def grouped(profile: Profile) -> list[tuple[str, list[Work]]]:
    """(name, [forward, backward, outside]) of each bar; the last one holds all that is too small for one of its own."""
    whole, rest = profile.total().seconds, [Work(), Work(), Work()]
    bars = []
    for name in profile.names:
        works = [part.get(name, Work()) for part in (profile.forward, profile.backward, profile.outside)]
        if sum(work.seconds for work in works) >= SMALL * whole:
            bars.append((name, works))
        else:
            rest = [one + more for one, more in zip(rest, works, strict=True)]
    return [*bars, (REST, rest)] if any(work.calls for work in rest) else bars


def note(work: Work, whole: float, peaks: Peaks, with_rates: bool) -> str:
    """Beside a bar: its share of the whole, and how fast it went, in the unit that its peak is closer in."""
    share = f"{work.seconds / whole:.1%}"
    if not (with_rates and work.seconds):
        return share
    operations, moved = work.operations / work.seconds, work.moved / work.seconds
    if operations / peaks.operations > moved / peaks.bandwidth:
        return f"{share}   {operations / 1e9:,.0f} GFLOP/s"
    return f"{share}   {moved / 1e9:,.1f} GB/s" if moved else share


def style(axes: Axes) -> None:
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(QUIET)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=9.5, length=0, pad=6)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=ROUND_STEPS))
    axes.set_xlabel("milliseconds", color=INK, fontsize=10, labelpad=6)
