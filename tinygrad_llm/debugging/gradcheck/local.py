"""One op by itself: taken out of the graph, with copies of what went in.

So it can be run, moved and pulled as often as needed, and what is found wrong is not the fault of any other op.

Comes before: `differences`, `primitive` (the nodes). Comes after: `contracts`, `bends`, `wrong_rule`, `explanations`,
`wrong_second`: whatever looks at one op at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinygrad_llm.autograd.fused import Fused
from tinygrad_llm.autograd.primitive import Node, Primitive
from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.debugging.gradcheck.differences import host

FULL = 400  # inputs with up to so many elements are compared element by element


class Local:
    """An op taken out of the graph, with copies of what went in, in float64 unless told otherwise."""

    def __init__(self, node: Node, dtype: Any = np.float64) -> None:
        self.op, self.options = node.op, node.options
        self.tracked = [i for i, x in enumerate(node.inputs) if is_tracked(x)]
        self.arrays = [in_dtype(raw(x), dtype) for x in node.inputs]
        self.rng = np.random.default_rng(0)
        self.xp = array_module(self.arrays[self.tracked[0]])
        self.tensors, self.out = self.run(self.arrays)
        self.g = self.xp.asarray(self.rng.standard_normal(self.out.shape).astype(self.out.dtype))

    def run(self, arrays: list[Any]) -> tuple[list[Any], Tensor]:
        """The op on `arrays`, recorded."""
        tensors = [Tensor(x, requires_grad=True) if i in self.tracked else x for i, x in enumerate(arrays)]
        return tensors, self.op(*tensors, **self.options)

    def pull(self, g: Any, out: Tensor | None = None) -> tuple:
        """The gradients of all inputs by the rule, as raw arrays."""
        out = self.out if out is None else out
        assert out.node is not None
        return out.node.op.backward(out.node, g, out, [i in self.tracked for i in range(len(self.arrays))])

    def value(self, i: int, array: np.ndarray) -> np.ndarray:
        """The op's value when input i is replaced."""
        arrays = list(self.arrays)
        arrays[i] = self.xp.asarray(array)
        return host(raw(self.op(*arrays, **self.options)))

    def along(self, i: int, index: tuple[int, ...]) -> Callable[[float], float]:
        """t -> Σ g · value when one element of input i moves by t."""
        start, g = host(self.arrays[i]), host(self.g)

        def f(t: float) -> float:
            x = start.copy()
            x[index] += t
            return float(np.sum(g * self.value(i, x)))

        return f


def in_dtype(x: Any, dtype: Any) -> Any:
    """A copy of an array, in `dtype` if it is floating-point; numbers and the like as they are."""
    if not hasattr(x, "dtype"):
        return x
    return x.astype(dtype) if x.dtype.kind == "f" else x.copy()


def indices_of(x: Any) -> Iterator[tuple[int, ...]]:
    """Every index of an array, or FULL of them."""
    return itertools.islice(itertools.product(*map(range, x.shape)), FULL)


def nodes_of(outputs: list[Tensor]) -> list[Node]:
    """The nodes behind the outputs, inputs before outputs. Only ops whose forward can be run by itself."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack = [(y, False) for y in outputs]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen and tensor.node is not None:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((x, False) for x in tensor.node.inputs if is_tracked(x))
    return [y.node for y in order if y.node is not None and isinstance(y.node.op, Primitive | Fused)]


def low_precision(outputs: list[Tensor]) -> str | None:
    """The first op on the way that computes in less than float64, if any."""
    for node in nodes_of(outputs):
        floats = [raw(x).dtype for x in node.inputs if hasattr(raw(x), "dtype") and raw(x).dtype.kind == "f"]
        if any(dtype.itemsize < 8 for dtype in floats):
            return node.name
    small = [y.node.name for y in outputs if y.dtype.itemsize < 8 and y.node is not None]
    return small[0] if small else None
