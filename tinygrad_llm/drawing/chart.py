"""A chart of lines over a common x axis, as an SVG: few ticks at round numbers, names beside the ends of the lines.

Builds on: `svg`, `colours`. Used by: `pictures.history`.
Left out on purpose: logarithmic axes, error bars, a second y axis; matplotlib draws the picture that a run saves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinygrad_llm.drawing.colours import FAINT, LINE, QUIET, SERIES
from tinygrad_llm.drawing.svg import document, path, rectangle, text_width, words

WIDTH, HEIGHT = 620.0, 260.0  # of the whole, without the names of the lines
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 24.0, 38.0  # margins
TEXT = 11.0
TICKS = 5  # about as many, on each axis
MOST_POINTS = 400  # of a line; more cannot be seen
ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
END = "text-anchor='end'"


class Line(NamedTuple):
    """A line of the chart. dots: mark every point, for few points that were measured."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    dots: bool = False


def chart(lines: Sequence[Line], x_name: str, y_name: str) -> str:
    """The chart as an SVG. Points that are not finite are left out; a line may have a single point."""
    lines = [finite(line) for line in lines]
    points = [(x, y) for line in lines for x, y in zip(line.xs, line.ys, strict=True)]
    x_low, x_high = spread(x for x, _ in points)
    y_low, y_high = spread(y for _, y in points)
    names = 12 + max((text_width(line.name, TEXT) for line in lines), default=0.0)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [words(4, 12, y_name, TEXT, QUIET), words(WIDTH - RIGHT, HEIGHT - 4, x_name, TEXT, QUIET, more=END)]
    for y in ticks(y_low, y_high):
        height = place(x_low, y)[1]
        parts.append(path(f"M{LEFT:.1f} {height:.1f} H{WIDTH - RIGHT:.1f}", width=1, opacity=LINE))
        parts.append(words(LEFT - 6, height + 4, f"{y:g}", TEXT, QUIET, more=END))
    for x in ticks(x_low, x_high):
        across = place(x, y_low)[0]
        parts.append(path(f"M{across:.1f} {HEIGHT - BOTTOM:.1f} v4", width=1, opacity=FAINT))
        parts.append(words(across, HEIGHT - BOTTOM + 16, f"{x:,g}", TEXT, QUIET, more="text-anchor='middle'"))
    ends = []
    for i, line in enumerate(lines):
        hue = SERIES[i % len(SERIES)]
        drawn = [place(x, y) for x, y in zip(line.xs, line.ys, strict=True)]
        step = max(1, math.ceil(len(drawn) / MOST_POINTS))
        thin = [*drawn[:-1:step], *drawn[-1:]]
        if len(thin) > 1:
            parts.append(path("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in thin), hue, 1.8))
        if line.dots or len(thin) == 1:
            parts += [
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{hue}'><title>{true_y:.4g}</title></circle>"
                for (x, y), true_y in zip(drawn, line.ys, strict=True)
            ]
        if drawn:
            ends.append((drawn[-1][1], line.name, hue))
    previous = -math.inf
    for y, name, hue in sorted(ends):  # the names stand beside the ends of their lines, and not on each other
        previous = max(y, previous + 1.3 * TEXT)
        parts.append(rectangle(WIDTH - RIGHT + 4, previous - 4, 8, 8, hue, more="rx='2'"))
        parts.append(words(WIDTH - RIGHT + 16, previous + 4, name, TEXT))
    return document(WIDTH + names + 8, HEIGHT, parts)


def finite(line: Line) -> Line:
    """The line without the points at which x or y is infinite or not a number."""
    kept = [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    return line._replace(xs=[x for x, _ in kept], ys=[y for _, y in kept])


def spread(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest value, some distance apart: (0, 1) of no values."""
    found = list(values)
    low, high = min(found, default=0.0), max(found, default=1.0)
    room = 0.03 * (high - low) if high > low else max(1.0, abs(low)) * 0.5
    return (low, high + room) if low == 0.0 else (low - room, high + room)


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers between `low` and `high`.

    >>> ticks(0.0, 9.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(r * power for r in ROUND if r * power >= rough * 0.999)
    return [round(k * step, 12) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
