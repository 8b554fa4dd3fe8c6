"""The first op that made a NaN or an infinity, forwards or backwards.

A loss that is NaN says nothing about where it became so: NaN spreads through everything that touches it. Inside
`find_bad_values()` every result and every gradient is looked at, and the first one that is bad although everything
that went into it was good stops the program, with the op, the line that called it, and its inputs.

An infinity that was put in on purpose (the -inf of a mask) is no fault; a NaN is, wherever it comes from.

Comes before: `lines`, `modes`. Comes after: whoever hunts one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.modes import observing
from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module, to_numpy
from tinygrad_llm.debugging.lines import Line, Lines, calling_lines, lines_of


@contextlib.contextmanager
def find_bad_values() -> Iterator[None]:
    """Inside, the first op to make a NaN or an infinity raises FloatingPointError and says where and from what.

    Covers the forward pass and, where `backward` is called inside too, the gradients. It reads every value (on a GPU
    it waits for every value), so it is for hunting, not for training.

    >>> x = Tensor([1.0, 0.0], requires_grad=True)
    >>> with np.errstate(divide="ignore"), find_bad_values():
    ...     y = x.log().sum()
    Traceback (most recent call last):
    FloatingPointError: the op 'log' made 1 infinity in 2 values, the first at [1]...
    """
    with observing(Finder()):
        yield


class Finder(Lines):
    """Looks at everything that is computed, and at every gradient."""

    def on_forward(self, op: Any, inputs: tuple, options: dict[str, Any], out: Tensor) -> None:
        super().on_forward(op, inputs, options, out)
        given = [raw(x) for x in (*inputs, *options.values())]
        for i, x in enumerate(inputs, 1):
            if is_bad(x, "nan"):
                fail(f"input {i} of the op '{op.name}' has", raw(x), "nan", inputs, calling_lines())
        for kind in ("nan", "inf"):
            if is_bad(out, kind) and not any(is_bad(x, kind) for x in given):
                fail(f"the op '{op.name}' made", out.data, kind, inputs, calling_lines())

    def on_backward(self, node: Node, out: Tensor, g: Any, gradients: tuple) -> None:
        for kind in ("nan", "inf"):
            if is_bad(g, kind):
                text = f"the gradient of the result of '{node.name}', summed over its uses, has"
                fail(text, raw(g), kind, node.inputs, lines_of(out))
            for i, gx in enumerate(gradients, 1):
                if is_bad(gx, kind) and (kind == "nan" or not any(is_bad(x, kind) for x in (*node.inputs, out))):
                    text = f"backward, the rule of '{node.name}' made, in the gradient of input {i},"
                    also = ("result", "gradient of the result")
                    fail(text, raw(gx), kind, (*node.inputs, out, g), lines_of(out), also)


def is_bad(x: Any, kind: str) -> bool:
    """Whether a tensor, array or number holds a NaN ("nan") or an infinity ("inf")."""
    x = raw(x)
    if isinstance(x, float):
        return bool(getattr(np, f"is{kind}")(x))
    if getattr(getattr(x, "dtype", None), "kind", "") != "f":
        return False
    return bool(getattr(array_module(x), f"is{kind}")(x).any())


def fail(
    what: str, bad: Any, kind: str, inputs: Sequence[Any], lines: Sequence[Line], also: Sequence[str] = ()
) -> None:
    """Raise the error: how many values, where, which line, and what went in. `also` names the last ones."""
    values = to_numpy(bad) if hasattr(bad, "shape") else np.asarray(bad)
    places = np.argwhere(np.isnan(values) if kind == "nan" else np.isinf(values))
    first = tuple(places[0].tolist())
    noun = "NaN" if kind == "nan" else "infinity" if len(places) == 1 else "infinities"
    names = [f"input {i}" for i in range(1, len(inputs) - len(also) + 1)] + list(also)
    report = [f"{what} {len(places)} {noun} in {values.size} values, the first at {list(first)}."]
    report += [f"  called at {line}" for line in lines]
    report += [f"  {name}: {summary(raw(x), values.shape, first)}" for name, x in zip(names, inputs, strict=True)]
    raise FloatingPointError("\n".join(report))


def summary(x: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> str:
    """Type, shape and range of an array, and its value at `place` where it has that shape."""
    if not hasattr(x, "dtype"):
        return repr(x)
    values = to_numpy(x)
    text = f"{values.dtype}{list(values.shape)}"
    good = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if good.size and values.dtype.kind in "fiu":
        text += f" from {good.min():.6g} to {good.max():.6g}"
    if values.dtype.kind == "f" and good.size < values.size:
        text += f", {int(np.isnan(values).sum())} NaN, {int(np.isinf(values).sum())} infinite"
    return text + (f", there {values[place]:.6g}" if values.shape == shape else "")
