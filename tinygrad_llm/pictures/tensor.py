"""A Tensor in a notebook: its numbers on a heat map, and beside them the gradient that has arrived at them.

A small matrix shows every number; of a large one there is a heat map of some of its rows and columns, which says which.
More than two axes are shown as matrices of the last two, the first few of them.
Builds on: `drawing`. Used by: `Tensor`, when a notebook shows it.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor
from tinygrad_llm.backend import to_numpy
from tinygrad_llm.drawing.colours import UNDER_TEXT, signed
from tinygrad_llm.drawing.heat_map import heat_map, largest_of, span, thinned
from tinygrad_llm.drawing.html import MONO, area, beside, box, mono, quiet, title
from tinygrad_llm.drawing.svg import document

NUMBERS = (12, 10)  # the most rows and columns that are shown as numbers
CELLS = (40, 64)  # the most rows and columns of a heat map
CELL = 7.0  # its cells, in points; wider where there are few
SIDE = 90.0  # of a heat map with few rows or columns, at least, where cells may grow to it
LARGEST_CELL = 16.0
MATRICES = 4  # of an array with more axes


def html(tensor: Tensor) -> str:
    """The HTML form of a tensor."""
    values = to_numpy(tensor.data)
    facts = [str(values.shape) if values.ndim else "one number", str(values.dtype)]
    facts += [] if tensor.device == "cpu" else [tensor.device]
    facts += [f"made by {tensor.node.name}"] if tensor.node else ["requires_grad"] if tensor.requires_grad else []
    views = [array_view(values)]
    if tensor.grad is not None:
        gradient = tensor.grad.data if isinstance(tensor.grad, Tensor) else tensor.grad
        views = [quiet("values") + views[0], quiet("gradient") + array_view(to_numpy(gradient))]
    return box(title("Tensor", *facts), beside(*(f"<div>{view}</div>" for view in views)))


def array_view(array: np.ndarray) -> str:
    """The HTML of an array: numbers, or heat maps with a line that says what is in them."""
    if array.size == 0:
        return quiet("empty")
    if array.dtype.kind == "f":
        array = array.astype(np.float64)
    if array.ndim == 0:
        return mono(text_of(array.reshape(1, 1))[0][0])
    if array.ndim == 1:
        return matrix_view(array[None], array)
    if array.ndim == 2:
        return matrix_view(array, array)
    count, views = math.prod(array.shape[:-2]), []
    for index in list(np.ndindex(array.shape[:-2]))[:MATRICES]:
        views.append(f"<div>{quiet(str(list(index)))}{matrix_view(array[index], array)}</div>")
    rest = quiet(f"and {count - MATRICES:,} more matrices") if count > MATRICES else ""
    return beside(*views) + rest


def matrix_view(matrix: np.ndarray, whole: np.ndarray) -> str:
    """A matrix of an array, whose largest number has the strongest colour."""
    rows, columns = matrix.shape
    if rows <= NUMBERS[0] and columns <= NUMBERS[1]:
        return number_table(matrix, largest_of(whole))
    cells = thinned(matrix, *CELLS)
    width, height = (min(max(CELL, SIDE / n), LARGEST_CELL) for n in (cells.shape[1], cells.shape[0]))
    parts = heat_map(cells.astype(float), 1, 1, (width, height), largest_of(whole))
    sizes = zip(cells.shape, (rows, columns), ("rows", "columns"), strict=True)
    thin = ", ".join(f"{few} of {n} {name}" for few, n, name in sizes if few < n)
    picture = document(cells.shape[1] * width + 2, cells.shape[0] * height + 2, parts)
    return picture + quiet(f"{span(matrix)}{moments(matrix)}" + (f"; {thin}" if thin else ""))


def moments(array: np.ndarray) -> str:
    """The mean and the standard deviation of the finite numbers, in few letters."""
    finite = array[np.isfinite(array)].astype(np.float64)
    if not finite.size:
        return ""
    mean, deviation = finite.mean(), finite.std()
    return f", mean {0.0 if abs(mean) < 1e-12 * deviation else mean:.2g}, standard deviation {deviation:.2g}"


def number_table(matrix: np.ndarray, largest: float) -> str:
    """Every number of a small matrix, on the colour of its size."""
    rows = []
    for numbers, texts in zip(matrix, text_of(matrix), strict=True):
        cells = []
        for number, text in zip(numbers, texts, strict=True):
            colour = area(*signed(float(number), largest, UNDER_TEXT))
            style = f"{MONO};text-align:right;padding:2px 8px;border:0;white-space:nowrap;{colour}"
            cells.append(f"<td style='{style}'>{text}</td>")
        rows.append(f"<tr style='background:none'>{''.join(cells)}</tr>")
    return f"<table style='border-collapse:collapse;margin:2px 0'>{''.join(rows)}</table>"


def text_of(matrix: np.ndarray) -> list[list[str]]:
    """The numbers of a matrix as text, all with as many decimals."""
    if matrix.dtype.kind != "f":
        return [[str(number) for number in row] for row in matrix]
    finite = np.abs(matrix[np.isfinite(matrix) & (matrix != 0)])
    plain = not finite.size or (finite.max() < 1e5 and finite.max() >= 1e-2)
    whole = plain and bool(np.all(finite == finite.round()))
    style = ".0f" if whole else ".4f" if plain and finite.max() < 100 else ".2f" if plain else ".2e"
    return [[format(float(number), style) for number in row] for row in matrix]
