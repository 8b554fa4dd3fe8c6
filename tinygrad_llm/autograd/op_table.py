"""The ops that the operators and methods of `Tensor` call, under their names.

`autograd.ops` is written with `Tensor`, and `Tensor` calls ops. So that no import points down, `Tensor` looks them up
in this table, and `autograd.ops` fills it when it is imported.

Used by: `tensor`, `array_methods`, `ops`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class OpTable:
    """One attribute per op."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


ops = OpTable()
