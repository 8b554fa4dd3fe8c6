"""How the boxes of a graph are drawn: title, shape, and the values and the gradient as two little heat maps.

Builds on: `drawing`. Used by: `graph`.
"""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np

from tinygrad_llm.autograd.tensor import raw
from tinygrad_llm.backend import to_numpy
from tinygrad_llm.debugging.layout import Point
from tinygrad_llm.drawing.colours import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, QUIET, RED
from tinygrad_llm.drawing.heat_map import heat_map, span, thinned
from tinygrad_llm.drawing.svg import rectangle, text_width, words

PADDING = 9.0
THUMBNAIL = (66.0, 42.0)  # the largest little picture
CELLS = (8, 16)  # the most rows and columns in it
CELL = 11.0  # the largest cell
TITLE, TEXT, SMALL = 12.5, 10.5, 9.0  # font sizes
HUES = {"parameter": ORANGE, "constant": INK, "op": BLUE, "fused": GREEN, "result": PURPLE}
FILL = {"parameter": 0.16, "constant": 0.06, "op": 0.14, "fused": 0.14, "result": 0.32}  # opacities
KINDS = {"parameter": "wants gradients", "constant": "constant", "op": "op", "fused": "fused op", "result": "result"}
MIDDLE = "text-anchor='middle'"


class Box:
    """One tensor in the picture."""

    def __init__(self, thing: Any, kind: str, title: str, gradient: Any, details: str) -> None:
        self.thing, self.kind, self.title, self.details = thing, kind, title, details
        values = to_numpy(raw(thing))
        self.shape = str(values.shape) if values.ndim else "one number"
        self.panels = [Panel(values)] + ([] if gradient is None else [Panel(to_numpy(raw(gradient)), "∇ ")])
        self.inside = sum(panel.width for panel in self.panels) + PADDING * (len(self.panels) - 1)
        self.width = 2 * PADDING + max(self.inside, text_width(title, TITLE, bold=True), text_width(self.shape, TEXT))
        self.height = 2 * PADDING + TITLE + 4 + TEXT + 5 + max(panel.height for panel in self.panels)

    def svg(self, x: float, y: float, strong: bool) -> str:
        """The box with its upper left corner at (x, y); `strong` gives it a frame that stands out."""
        hue, middle = HUES[self.kind], self.width / 2
        frame = (RED, 3.0, 1.0) if strong else (hue, 1.2, FAINT if hue == INK else 1.0)
        edge = "rx='7' stroke='{}' stroke-width='{:g}' stroke-opacity='{:g}'".format(*frame)
        parts = [
            f"<g transform='translate({x:.1f} {y:.1f})'><title>{html.escape(self.details)}</title>",
            rectangle(0, 0, self.width, self.height, hue, FILL[self.kind], edge),
            words(middle, PADDING + TITLE - 2, self.title, TITLE, more=f"{MIDDLE} font-weight='bold'"),
            words(middle, PADDING + TITLE + 4 + TEXT - 2, self.shape, TEXT, QUIET, more=MIDDLE),
        ]
        left = middle - self.inside / 2
        for panel in self.panels:
            parts += panel.svg(left, PADDING + TITLE + 4 + TEXT + 5)
            left += panel.width + PADDING
        return "\n".join([*parts, "</g>"])


class Panel:
    """An array as a little picture with its range under it; a single number as a number."""

    def __init__(self, array: np.ndarray, label: str = "") -> None:
        self.is_number = array.size == 1
        self.cells = cells_of(array)
        self.label = label + span(array)
        rows, columns = self.cells.shape
        self.cell = (min(CELL, THUMBNAIL[0] / max(1, columns)), min(CELL, THUMBNAIL[1] / max(1, rows)))
        self.drawn = 0.0 if self.is_number else columns * self.cell[0]
        self.width = max(self.drawn, text_width(self.label, SMALL))
        self.height = (0.0 if self.is_number else rows * self.cell[1] + 2) + SMALL + 1

    def svg(self, x: float, y: float) -> list[str]:
        """The parts of the panel with its upper left corner at (x, y)."""
        left = x + (self.width - self.drawn) / 2
        parts = [] if self.is_number else heat_map(self.cells, left, y, self.cell)
        return [*parts, words(x + self.width / 2, y + self.height - 1, self.label, SMALL, QUIET, more=MIDDLE)]


def cells_of(array: np.ndarray) -> np.ndarray:
    """An array as a table of at most 8 × 16 of its numbers: the last axis across, all others down."""
    table = array.reshape(math.prod(array.shape[:-1]), array.shape[-1]) if array.ndim else array.reshape(1, 1)
    return thinned(table, *CELLS).astype(float)


def curve(route: list[Point]) -> str:
    """A path through points, leaving and arriving downwards at each."""
    (x, y), *rest = route
    path = f"M{x:.1f} {y:.1f}"
    for a, b in rest:
        middle = (y + b) / 2
        path += f" L{a:.1f} {b:.1f}" if a == x else f" C{x:.1f} {middle:.1f} {a:.1f} {middle:.1f} {a:.1f} {b:.1f}"
        x, y = a, b
    return path


def legend(y: float, kinds: set[str]) -> str:
    """The colours of the boxes, on one line whose baseline is y."""
    x, parts = 0.0, []
    for kind in (kind for kind in HUES if kind in kinds):
        edge = f"rx='2' stroke='{HUES[kind]}' stroke-opacity='{FAINT if HUES[kind] == INK else 1.0}'"
        parts.append(rectangle(x, y - 9, 11, 11, HUES[kind], FILL[kind], edge))
        parts.append(words(x + 15, y, KINDS[kind], SMALL, QUIET))
        x += 26 + text_width(KINDS[kind], SMALL)
    return "\n".join(parts)
