"""What is switched on at the moment: recording, fast pairs, and who is looking on.

Comes before: nothing but the language. Comes after: `primitive`, which asks on every op.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_llm.autograd.primitive import Fused, Node, Primitive
    from tinygrad_llm.autograd.tensor import Tensor


class Watcher:
    """Someone who looks on while ops are computed and gradients flow; the base of `steps`, `find_bad_values`, ..."""

    def computed(self, op: Primitive | Fused, inputs: tuple, options: dict[str, Any], out: Tensor) -> None:
        """`op` has just made `out`, whether it was recorded or not."""

    def pulled(self, node: Node, out: Tensor, g: Any, gradients: tuple) -> None:
        """The gradient `g` of `out` has just been turned into the `gradients` of what went into its node."""


class _Mode:
    """Changed only by the context managers below."""

    recording = True
    fast = os.environ.get("TINYGRAD_LLM_PLAIN", "") in ("", "0")
    watchers: tuple[Watcher, ...] = ()


mode = _Mode()


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """Inside, ops on tensors that want gradients are recorded, or not."""
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
    """Inside, every fused op runs its plain definition: slower, and every step can be read."""
    before, mode.fast = mode.fast, False
    try:
        yield
    finally:
        mode.fast = before


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Inside, `watcher` is told of every op and every gradient."""
    before, mode.watchers = mode.watchers, (*mode.watchers, watcher)
    try:
        yield
    finally:
        mode.watchers = before
