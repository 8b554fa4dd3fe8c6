"""A picture of a computation: every op with its shape, its values and the gradients that come back to it.

    graph(loss)                      # in a notebook this shows by itself
    graph(loss).save("loss.svg")     # or "loss.html"

Read it downwards: each box is made from the boxes above it. The two little pictures in a box are the values (left)
and the gradient of the loss (right), one cell per number, blue below zero and red above, as strong as it is large
compared with the largest in its box. Point at a box for the details. With `remember_lines()` around the computation,
they include the line that made it; inside `plain()`, fused ops show their parts.

The picture is an SVG text made here, without any other program; `layout` says where the boxes go.

Comes before: `layout`, `names`. Comes after: `steps`, which walks through the same graph.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.autograd.engine import backward_pass, topological_order
from tinygrad_llm.autograd.fused import Fused
from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module, to_numpy
from tinygrad_llm.debugging.layout import Layout, Point, layered
from tinygrad_llm.debugging.lines import lines_of
from tinygrad_llm.debugging.names import Names, variables
from tinygrad_llm.errors import InputError

LARGEST = 1000  # boxes; more cannot be read
MARGIN = 18.0
PADDING = 9.0
PORT_GAP = 12.0  # between the ends of two arrows into one box
THUMBNAIL = (66.0, 42.0)  # the largest little picture
CELLS = (8, 16)  # the most rows and columns in it
CELL = 11.0  # the largest cell
TITLE, TEXT, SMALL = 12.5, 10.5, 9.0  # font sizes
FILLS = {"parameter": "#fdeccd", "constant": "#eceff1", "op": "#e3edfb", "fused": "#e0f2e6", "result": "#1f3a5f"}
EDGES = {"parameter": "#d9a441", "constant": "#b0bec5", "op": "#8fb3e0", "fused": "#82bf98", "result": "#1f3a5f"}
KINDS = {"parameter": "wants gradients", "constant": "constant", "op": "op", "fused": "fused op", "result": "result"}
FONT = "font-family='DejaVu Sans, Verdana, Helvetica, Arial, sans-serif'"


def graph(result: Tensor, names: Mapping[str, Tensor] | None = None) -> Graph:
    """The picture of how `result` was computed, with the gradient of (the sum of) `result` at every tensor.

    names: what to call tensors, for instance `dict(model.named_parameters())`; the caller's variables are
    known without.
    No `.grad` is touched, and the graph is kept: call it before `result.backward()`, which frees it.

    Raises InputError when `result` has no history, when that was freed, and for more than 1000 boxes.
    """
    return Graph(result, {**variables(0), **(names or {})})


class Graph:
    """A drawn computation. Shows itself in a notebook; `svg()` is the text, `save(path)` writes it."""

    def __init__(self, result: Tensor, names: Mapping[str, Any], gradient: Any = None) -> None:
        """names: of tensors and arrays. gradient: that of `result` itself, ones without."""
        self.result = result
        self.gradient_of = all_gradients(result, gradient)
        self.things = everything(result)
        if len(self.things) > LARGEST:
            raise InputError(
                f"graph: the computation has {len(self.things)} tensors; more than {LARGEST} cannot be read. Draw "
                "a smaller part: one layer, a shorter sequence."
            )
        self.names = Names(names, self.things)
        self.number = {id(x): i for i, x in enumerate(self.things)}
        self.boxes = [self.box(x) for x in self.things]
        joined = [(x, y) for y in self.things for x in inputs_of(y) if not is_plain_number(x)]
        self.edges = [(self.number[id(x)], self.number[id(y)]) for x, y in joined]
        self.layout = layered([(box.width, box.height) for box in self.boxes], self.edges)

    def box(self, x: Any) -> Box:
        name, node = self.names[x], x.node if isinstance(x, Tensor) else None
        is_named = self.names.is_given(x)
        if node is None:
            kind = "parameter" if isinstance(x, Tensor) and x.requires_grad else "constant"
            title, rest = name if is_named else kind, ""
        else:
            kind = "result" if x is self.result else "fused" if isinstance(node.op, Fused) else "op"
            title, rest = call_text(node), f" → {name}" if is_named else ""
        return Box(x, kind, title + rest, self.gradient_of.get(id(x)), details(x, name))

    def svg(self, around: Tensor | None = None, most: float = math.inf) -> str:
        """The picture as the text of an SVG file.

        around: a tensor whose box gets a strong frame. most: show only this height of the picture, around that box.
        """
        width, height = self.layout.width + 2 * MARGIN, self.layout.height + 2 * MARGIN + 24
        top, shown = 0.0, min(height, most)
        if around is not None:
            top = max(0.0, min(self.layout.centres[self.number[id(around)]][1] - shown / 3, height - shown))
        parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 {top:.0f} {width:.0f} {shown:.0f}' "
            f"width='{width:.0f}' height='{shown:.0f}' style='max-width:100%;height:auto' {FONT}>",
            "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='6' markerHeight='6' orient='auto'>"
            "<path d='M0 0.8 L7.5 4 L0 7.2 z' fill='#78909c'/></marker></defs>",
            f"<rect width='{width:.0f}' height='{height:.0f}' rx='10' fill='#ffffff'/>",
            f"<g transform='translate({MARGIN:.0f} {MARGIN:.0f})'>",
            *self.arrows(),
        ]
        for box, (x, y) in zip(self.boxes, self.layout.centres, strict=True):
            parts.append(box.svg(x - box.width / 2, y, strong=around is not None and box.thing is around))
        return "\n".join([*parts, legend(self.layout, {box.kind for box in self.boxes}), "</g></svg>"])

    def arrows(self) -> list[str]:
        """The edges as curves; those into one box end side by side, in the order of the op's inputs."""
        arriving: dict[int, list[int]] = {}
        for k, (_, b) in enumerate(self.edges):
            arriving.setdefault(b, []).append(k)
        found = []
        for k, (_, b) in enumerate(self.edges):
            place, count = arriving[b].index(k), len(arriving[b])
            gap = min(PORT_GAP, (self.boxes[b].width - 20) / max(1, count))
            route = list(self.layout.routes[k])
            route[-1] = (route[-1][0] + (place - (count - 1) / 2) * gap, route[-1][1] - 1)
            style = "fill='none' stroke='#90a4ae' stroke-width='1.3' marker-end='url(#tip)'"
            found.append(f"<path d='{curve(route)}' {style}/>")
        return found

    def save(self, path: str | Path) -> None:
        """Write the picture to a file that ends in .svg or .html; neither needs anything else to be shown."""
        path = Path(path)
        if path.suffix == ".svg":
            text = self.svg()
        elif path.suffix == ".html":
            text = f"<!doctype html>\n<meta charset='utf-8'>\n<title>{html.escape(path.stem)}</title>\n{self.svg()}\n"
        else:
            raise InputError(f"graph.save: path must end in .svg or .html, it was {str(path)!r}.")
        path.write_text(text, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        count = f"{len(self.boxes)} tensors, {len(self.edges)} edges"
        return f"Graph({count}; show it in a notebook, or .save('graph.svg'))"


# --- what there is to draw ------------------------------------------------------------------------------------


def everything(result: Tensor) -> list[Any]:
    """Every tensor and array that `result` was made from, inputs before outputs."""
    found: list[Any] = []
    seen: set[int] = set()
    for tensor in topological_order([result]):
        for x in (*inputs_of(tensor), tensor):
            if id(x) not in seen and not is_plain_number(x):
                seen.add(id(x))
                found.append(x)
    return found


def inputs_of(x: Any) -> tuple:
    return x.node.inputs if isinstance(x, Tensor) and x.node is not None else ()


def is_plain_number(x: Any) -> bool:
    """Whether an input is written into its op's box rather than drawn as a box of its own (None too)."""
    return not hasattr(x, "shape")


def all_gradients(result: Tensor, gradient: Any) -> dict[int, Any]:
    """d(Σ result · gradient)/d(tensor) for every tensor behind `result`, by its id; as arrays. None is ones."""
    gradient = array_module(result.data).ones_like(result.data) if gradient is None else gradient
    first = result.first_gradient(gradient).data
    return {id(x): g for x, g in backward_pass([result], [first], retain_graph=True)}


def call_text(node: Node) -> str:
    """The op and what it was told: "transpose axes=(0, 2, 1)", "multiply 0.125"."""
    numbers = [short(x) for x in node.inputs if isinstance(x, int | float)]
    told = [(key, value) for key, value in node.options.items() if value is not None and value is not False]
    options = [f"{key}={short(value)}" for key, value in told if key != "shape"]
    text = " ".join([node.name, *numbers, *options])
    return text if len(text) <= 34 else text[:33] + "…"


def short(x: Any) -> str:
    """A number or an option in few letters."""
    if isinstance(x, float):
        return f"{x:.4g}"
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else str(x).replace(" ", "")


def details(x: Any, name: str) -> str:
    """What the box says when one points at it."""
    array = raw(x)
    text = [f"{name}: {array.dtype} {tuple(array.shape)}"]
    if isinstance(x, Tensor) and x.node is not None:
        text.append(f"made by {call_text(x.node)}")
        doc = (x.node.op.__doc__ or "").strip()
        text += [doc.splitlines()[0]] if doc else []
        text += [f"at {line}" for line in lines_of(x)]
    return "\n".join(text)


# --- drawing --------------------------------------------------------------------------------------------------


class Box:
    """One tensor in the picture: title, shape, and its values and gradient as little pictures."""

    def __init__(self, thing: Any, kind: str, title: str, gradient: Any, details: str) -> None:
        self.thing, self.kind, self.title, self.details = thing, kind, title, details
        values = to_numpy(raw(thing))
        self.shape = str(values.shape) if values.ndim else "one number"
        self.panels = [Panel(values)] + ([] if gradient is None else [Panel(to_numpy(raw(gradient)), "∇ ")])
        inside = sum(panel.width for panel in self.panels) + PADDING * (len(self.panels) - 1)
        self.width = 2 * PADDING + max(inside, text_width(title, TITLE, bold=True), text_width(self.shape, TEXT))
        self.height = 2 * PADDING + TITLE + 4 + TEXT + 5 + max(panel.height for panel in self.panels)

    def svg(self, x: float, y: float, strong: bool) -> str:
        ink = "#ffffff" if self.kind == "result" else "#1b2733"
        faint = "#c8d6e5" if self.kind == "result" else "#5f6f7d"
        frame = "stroke='#d84315' stroke-width='3'" if strong else f"stroke='{EDGES[self.kind]}' stroke-width='1.2'"
        middle = self.width / 2
        parts = [
            f"<g transform='translate({x:.1f} {y:.1f})'><title>{html.escape(self.details)}</title>",
            f"<rect width='{self.width:.1f}' height='{self.height:.1f}' rx='7' fill='{FILLS[self.kind]}' {frame}/>",
            words(middle, PADDING + TITLE - 2, self.title, TITLE, ink, "font-weight='bold'"),
            words(middle, PADDING + TITLE + 4 + TEXT - 2, self.shape, TEXT, faint),
        ]
        left = middle - (sum(panel.width for panel in self.panels) + PADDING * (len(self.panels) - 1)) / 2
        for panel in self.panels:
            parts.append(panel.svg(left, PADDING + TITLE + 4 + TEXT + 5, faint))
            left += panel.width + PADDING
        return "\n".join([*parts, "</g>"])


class Panel:
    """An array as a little picture with its range under it; a single number as a number."""

    def __init__(self, array: np.ndarray, label: str = "") -> None:
        self.is_number = array.size == 1
        self.cells = thinned(array)
        self.label = label + span(array)
        rows, columns = self.cells.shape
        self.cell = (min(CELL, THUMBNAIL[0] / max(1, columns)), min(CELL, THUMBNAIL[1] / max(1, rows)))
        picture = 0.0 if self.is_number else columns * self.cell[0]
        self.width = max(picture, text_width(self.label, SMALL))
        self.height = (0.0 if self.is_number else rows * self.cell[1] + 2) + SMALL + 1

    def svg(self, x: float, y: float, ink: str) -> str:
        parts = []
        if not self.is_number:
            rows, columns = self.cells.shape
            w, h = self.cell
            left, largest = x + (self.width - columns * w) / 2, largest_of(self.cells)
            parts = [
                f"<rect x='{left + j * w:.2f}' y='{y + i * h:.2f}' width='{w + 0.15:.2f}' height='{h + 0.15:.2f}' "
                f"fill='{colour(self.cells[i, j], largest)}'/>"
                for i in range(rows)
                for j in range(columns)
            ]
            frame = f"x='{left:.2f}' y='{y:.2f}' width='{columns * w:.2f}' height='{rows * h:.2f}'"
            parts.append(f"<rect {frame} fill='none' stroke='#9fb0bd' stroke-width='0.6'/>")
        return "\n".join([*parts, words(x + self.width / 2, y + self.height - 1, self.label, SMALL, ink)])


def thinned(array: np.ndarray) -> np.ndarray:
    """An array as a table of at most 8 × 16 of its numbers: the last axis across, all others down."""
    table = array.reshape(math.prod(array.shape[:-1]), array.shape[-1]) if array.ndim else array.reshape(1, 1)
    rows, columns = (
        np.linspace(0, n - 1, min(n, most)).round().astype(int) for n, most in zip(table.shape, CELLS, strict=True)
    )
    return table[np.ix_(rows, columns)].astype(float)


def span(array: np.ndarray) -> str:
    """The range of the values in few letters: "-1.2 … 0.5", or the one value."""
    if array.size == 0:
        return "empty"
    low, high = float(array.min()), float(array.max())
    return f"{low:.3g}" if low == high or array.size == 1 else f"{low:.2g} … {high:.2g}"


def largest_of(cells: np.ndarray) -> float:
    """The largest finite absolute value, 1 where there is none."""
    finite = np.abs(cells[np.isfinite(cells)])
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def colour(value: float, largest: float) -> str:
    """White at 0, blue at -largest, red at +largest; black for NaN."""
    if math.isnan(value):
        return "#000000"
    strength = min(1.0, abs(value) / largest)
    end = (178, 34, 52) if value > 0 else (33, 94, 171)
    return "#" + "".join(f"{round(250 + (c - 250) * strength):02x}" for c in end)


def curve(route: list[Point]) -> str:
    """A path through points, leaving and arriving downwards at each."""
    (x, y), *rest = route
    path = f"M{x:.1f} {y:.1f}"
    for a, b in rest:
        middle = (y + b) / 2
        path += f" L{a:.1f} {b:.1f}" if a == x else f" C{x:.1f} {middle:.1f} {a:.1f} {middle:.1f} {a:.1f} {b:.1f}"
        x, y = a, b
    return path


def words(x: float, y: float, text: str, size: float, ink: str, more: str = "") -> str:
    """A line of text, its middle at x."""
    place = f"x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{ink}' text-anchor='middle'"
    return f"<text {place} {more}>{html.escape(text)}</text>"


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a line of text will be."""
    return len(text) * size * (0.66 if bold else 0.58)


def legend(layout: Layout, kinds: set[str]) -> str:
    """The colours of the boxes, and what the little pictures show."""
    y, x, parts = layout.height + 24, 0.0, []
    for kind in (kind for kind in FILLS if kind in kinds):
        colours = f"fill='{FILLS[kind]}' stroke='{EDGES[kind]}'"
        parts.append(f"<rect x='{x:.1f}' y='{y - 9:.1f}' width='11' height='11' rx='2' {colours}/>")
        parts.append(f"<text x='{x + 15:.1f}' y='{y:.1f}' font-size='{SMALL}' fill='#5f6f7d'>{KINDS[kind]}</text>")
        x += 26 + text_width(KINDS[kind], SMALL)
    return "\n".join(parts)
