"""A picture of a computation: every op with its shape, its values and the gradients that come back to it.

    graph(loss)                      # in a notebook this shows by itself
    graph(loss).save("loss.svg")     # or "loss.html"

Read it downwards: each box is made from the boxes above it. The two little pictures in a box are the values (left)
and the gradient of the loss (right), one cell per number, blue below zero and orange above, as strong as it is large
compared with the largest in its box. Point at a box for the details. With `remember_lines()` around the computation,
they include the line that made it; inside `plain()`, fused ops show their parts.

The picture is an SVG text made here, without any other program; `layout` says where the boxes go.

Comes before: `layout`, `names`. Comes after: `steps`, which walks through the same graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tinygrad_llm.autograd.engine import backward_pass, topological_order
from tinygrad_llm.autograd.fused import Fused
from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.debugging.graph_boxes import Box, curve, legend
from tinygrad_llm.debugging.layout import layered
from tinygrad_llm.debugging.lines import lines_of
from tinygrad_llm.debugging.names import Names, variables
from tinygrad_llm.drawing.colours import FAINT, INK
from tinygrad_llm.drawing.svg import Picture, document, path
from tinygrad_llm.errors import InputError

LARGEST = 1000  # boxes; more cannot be read
MARGIN = 18.0
LEGEND = 24.0  # height
PORT_GAP = 12.0  # between the ends of two arrows into one box
TIP = (  # of an arrow
    f"<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='6' markerHeight='6' orient='auto'>"
    f"<path d='M0 0.8 L7.5 4 L0 7.2 z' fill='{INK}' fill-opacity='{FAINT}'/></marker></defs>"
)


def graph(result: Tensor, names: Mapping[str, Tensor] | None = None) -> Graph:
    """The picture of how `result` was computed, with the gradient of (the sum of) `result` at every tensor.

    names: what to call tensors, for instance `dict(model.named_parameters())`; the caller's variables are
    known without.
    No `.grad` is touched, and the graph is kept: call it before `result.backward()`, which frees it.

    Raises InputError when `result` has no history, when that was freed, and for more than 1000 boxes.
    """
    return Graph(result, {**variables(0), **(names or {})})


class Graph(Picture):
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
        width, height = self.layout.width + 2 * MARGIN, self.layout.height + 2 * MARGIN + LEGEND
        top, shown = 0.0, min(height, most)
        if around is not None:
            top = max(0.0, min(self.layout.centres[self.number[id(around)]][1] - shown / 3, height - shown))
        parts = [TIP, f"<g transform='translate({MARGIN:.0f} {MARGIN:.0f})'>", *self.arrows()]
        for box, (x, y) in zip(self.boxes, self.layout.centres, strict=True):
            parts.append(box.svg(x - box.width / 2, y, strong=around is not None and box.thing is around))
        kinds = {box.kind for box in self.boxes}
        return document(width, shown, [*parts, legend(self.layout.height + LEGEND, kinds), "</g>"], top=top)

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
            found.append(path(curve(route), opacity=FAINT, more="marker-end='url(#tip)'"))
        return found

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
