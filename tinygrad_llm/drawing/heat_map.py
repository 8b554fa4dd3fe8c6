"""A matrix as a picture: one cell per number, blue below zero, orange above, as strong as it is large.

Cells of one colour are one path: a map of 3,000 cells is 50 KB of text, not 300.
Builds on: `colours`, `svg`. Used by: `pictures.tensor`, `debugging.graph`.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tinygrad_llm.drawing.colours import INK, signed
from tinygrad_llm.drawing.svg import OUTLINE, rectangle

LEVELS = 24  # of strength on each side of zero


def heat_map(
    matrix: np.ndarray, x: float, y: float, cell: tuple[float, float], largest: float | None = None
) -> list[str]:
    """The parts of an SVG: a matrix (R, C), drawn from (x, y) with cells of this width and height, in a thin frame.

    largest: the absolute value of the strongest colour; None: the largest finite one in the matrix.
    """
    largest = largest_of(matrix) if largest is None else largest
    width, height = cell
    rows, columns = matrix.shape
    strength = np.nan_to_num(np.clip(matrix / largest, -1.0, 1.0) * LEVELS, nan=LEVELS + 1.0)
    paths: dict[int, list[str]] = defaultdict(list)
    for (i, j), level in np.ndenumerate(strength.round().astype(int)):
        if level:
            paths[int(level)].append(f"M{j} {i}h1v1h-1z")
    place = f"transform='translate({x:.2f} {y:.2f}) scale({width:.3f} {height:.3f})'"
    parts = [f"<g {place} shape-rendering='crispEdges'>"]
    for level, cells in sorted(paths.items()):
        hue, opacity = (INK, 1.0) if level > LEVELS else signed(level, LEVELS)
        parts.append(f"<path d='{''.join(cells)}' fill='{hue}' fill-opacity='{opacity:.3g}'/>")
    return [*parts, "</g>", rectangle(x, y, columns * width, rows * height, "none", more=OUTLINE)]


def thinned(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """At most so many rows and columns of a matrix, at equal distances, the first and the last among them."""
    sizes = zip(matrix.shape, (rows, columns), strict=True)
    return matrix[np.ix_(*(np.linspace(0, n - 1, min(n, most)).round().astype(int) for n, most in sizes))]


def largest_of(numbers: np.ndarray) -> float:
    """The largest finite absolute value, 1 where there is none."""
    finite = np.abs(numbers[np.isfinite(numbers)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def span(array: np.ndarray) -> str:
    """The range of the values in few letters: "-1.2 … 0.5", or the one value."""
    if array.size == 0:
        return "empty"
    low, high = float(array.min()), float(array.max())
    return f"{low:.3g}" if low == high or array.size == 1 else f"{low:.2g} … {high:.2g}"
