"""What is switched on at the moment: recording, fast pairs, and observers.

Used by: `primitive`, which looks here on every op.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_llm.autograd.primitive import Node, Op
    from tinygrad_llm.autograd.tensor import Tensor


class Observer:
    """Base of everything that follows a computation: `steps`, `find_bad_values`, `Profile`, ... See `observing`."""

    def on_forward(self, op: Op, inputs: tuple, options: dict[str, Any], out: Tensor) -> None:
        """Called when `op` has computed `out`, whether it was recorded or not."""

    def on_backward(self, node: Node, out: Tensor, g: Any, gradients: tuple) -> None:
        """Called when the gradient `g` of `out` has been turned into the `gradients` of the inputs of its node."""


class _Mode:
    """Changed only by the context managers below."""

    recording = True
    fast = os.environ.get("TINYGRAD_LLM_PLAIN", "") in ("", "0")
    observers: tuple[Observer, ...] = ()


mode = _Mode()


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """Inside, ops on tensors that require gradients are recorded, or not."""
    before, mode.recording = mode.recording, on
    try:
        yield
    finally:
        mode.recording = before


def no_grad() -> contextlib.AbstractContextManager[None]:
    """Inside, nothing is recorded: values only, as for generating text."""
    return recording(False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Inside, every fused op runs its plain definition: slower, and a debugger can step through every formula."""
    before, mode.fast = mode.fast, False
    try:
        yield
    finally:
        mode.fast = before


@contextlib.contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Inside, `observer` is called after every op and after every gradient rule."""
    before, mode.observers = mode.observers, (*mode.observers, observer)
    try:
        yield
    finally:
        mode.observers = before
