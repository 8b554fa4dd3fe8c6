"""Which line of whose file called an op: kept only while somebody asks for it.

    with remember_lines():
        loss = model(batch)
    steps(loss)  # each step names the line that made the tensor

Looking up the call costs more than most small ops, so the ops themselves never do it.

Comes before: `modes`. Comes after: `bad_values`, `steps` and `graph`, which show the lines.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.autograd.tensor import Tensor

DEBUGGING = os.path.dirname(os.path.abspath(__file__)) + os.sep
PACKAGE = os.path.dirname(os.path.dirname(DEBUGGING)) + os.sep
INSIDE = (os.path.join(PACKAGE, "autograd") + os.sep, DEBUGGING)  # what calls ops on behalf of others


class Line(NamedTuple):
    """A place in a program: file, line number (from 1), the function it is in, and what is written there."""

    file: str
    number: int
    function: str
    text: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.number} in {self.function}: {self.text}"


def calling_lines() -> tuple[Line, ...]:
    """The line that called the op that is being computed, and the line of the user's program that led there.

    The first is the nearest outside `autograd` (it may be in `nn`); the second the nearest outside this package; one
    line where both are the same.
    """
    found: list[Line] = []
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(INSIDE) and (not found or not file.startswith(PACKAGE)):
            text = linecache.getline(file, frame.f_lineno, frame.f_globals).strip()
            found.append(Line(file, frame.f_lineno, frame.f_code.co_name, text))
            if not file.startswith(PACKAGE):
                break
        frame = frame.f_back
    return tuple(found)


class Lines(Observer):
    """Writes the calling lines into the node of every tensor that is made."""

    def on_forward(self, op: Any, inputs: tuple, options: dict[str, Any], out: Tensor) -> None:
        if out.node is not None:
            out.node.lines = calling_lines()


@contextlib.contextmanager
def remember_lines() -> Iterator[None]:
    """Inside, every recorded tensor remembers which line made it, for `steps`, `graph` and error messages."""
    with observing(Lines()):
        yield


def lines_of(tensor: Tensor) -> tuple[Line, ...]:
    """The lines that made a tensor, nearest first; none where they were not remembered."""
    return getattr(tensor.node, "lines", ())
