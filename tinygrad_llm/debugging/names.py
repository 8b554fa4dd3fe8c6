"""What to call a tensor in a picture: by its variable where it has one, else by the op that made it.

Comes before: nothing. Comes after: `graph` and `steps`, which show tensors to people.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_llm.autograd.tensor import Tensor


def variables(depth: int) -> dict[str, Any]:
    """The tensors and arrays that a function can name, its locals before its globals; `depth` 0 is the caller's caller.

    Those in a list or a dictionary are named `blocks[0]` and `heads['q']`.
    """
    frame = sys._getframe(depth + 2)
    found: dict[str, Any] = {}
    for scope in (frame.f_globals, frame.f_locals):
        for name, value in scope.items():
            if not name.startswith("_"):
                found.update(named(name, value))
    return found


def named(name: str, value: Any) -> dict[str, Any]:
    """`value` under `name` if it is a tensor or an array, or its members if it is a list or dictionary of such."""
    if has_values(value):
        return {name: value}
    if isinstance(value, list | tuple):
        return {f"{name}[{i}]": x for i, x in enumerate(value) if has_values(x)}
    if isinstance(value, dict):
        return {f"{name}[{key!r}]": x for key, x in value.items() if has_values(x)}
    return {}


def has_values(x: Any) -> bool:
    """Whether x is a tensor, or an array of any library (and not, say, the class of one)."""
    return hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, type)


class Names:
    """A name for every tensor and array of a computation, given once and kept."""

    def __init__(self, given: Mapping[str, Any], order: Sequence[Any]) -> None:
        """given: names of some. order: all that shall be named, inputs before outputs."""
        self.of: dict[int, str] = {id(x): name for name, x in given.items()}
        self.given = set(self.of)
        count: dict[str, int] = {}
        for x in order:
            if id(x) not in self.of:
                stem = kind_of(x)
                count[stem] = count.get(stem, 0) + 1
                self.of[id(x)] = f"{stem}_{count[stem]}"

    def __getitem__(self, x: Any) -> str:
        return self.of[id(x)]

    def knows(self, x: Any) -> bool:
        return id(x) in self.of

    def is_given(self, x: Any) -> bool:
        """Whether somebody named it, rather than this class."""
        return id(x) in self.given


def kind_of(x: Any) -> str:
    """The op that made it, "leaf" for a tensor that wants gradients, "constant" for anything else."""
    if isinstance(x, Tensor) and x.node is not None:
        return x.node.name
    return "leaf" if isinstance(x, Tensor) and x.requires_grad else "constant"
