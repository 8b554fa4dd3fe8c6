"""The methods of a Tensor that NumPy's arrays have, and a few that they lack: each is the op of the same name.

Left out on purpose: methods that write in place (`fill`, `sort` in place, `resize`), because gradients may need the
values; here `sort` returns a new tensor.

Used by: `tensor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm.autograd.op_table import ops
from tinygrad_llm.autograd.torch_names import refuse_arguments
from tinygrad_llm.backend import Array

if TYPE_CHECKING:
    from tinygrad_llm.autograd.ops.index import At
    from tinygrad_llm.autograd.tensor import Tensor

Axis = int | tuple[int, ...] | None


class ArrayMethods:
    """Mixin for `Tensor`. Arguments and results are those of NumPy's methods; gradients flow wherever there are any.

    `other` catches arguments that do not exist, so that the op can say what to write instead.
    """

    __slots__ = ()
    data: Array

    # --- values in another shape --------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape=as_one_tuple(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, axes=as_one_tuple(axes) or None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    def squeeze(self, axis: Axis = None, **other: Any) -> Tensor:
        return ops.squeeze(self, axis=axis, **other)

    def flatten(self) -> Tensor:
        return ops.reshape(self, shape=(-1,))

    def ravel(self) -> Tensor:
        return ops.reshape(self, shape=(-1,))

    def astype(self, dtype: Any) -> Tensor:
        return ops.astype(self, dtype=np.dtype(dtype))

    def copy(self) -> Tensor:
        """The same values in memory of their own, with the history."""
        return ops.astype(self, dtype=self.data.dtype)

    def repeat(self, repeats: Any, axis: int | None = None, **other: Any) -> Tensor:
        return ops.repeat(self, repeats, axis=axis, **other)

    def take(self, indices: Any, axis: int | None = None, **other: Any) -> Tensor:
        return ops.take(self, indices, axis=axis, **other)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return ops.diagonal(self, offset=offset, axis1=axis1, axis2=axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return ops.trace(self, offset=offset, axis1=axis1, axis2=axis2)

    def sort(self, axis: int | None = -1, **other: Any) -> Tensor:
        """A sorted copy. (NumPy's method sorts in place.)"""
        return ops.sort(self, axis=axis, **other)

    # --- bringing values together -------------------------------------------------------------------------------

    def sum(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.sum(self, axis=axis, keepdims=keepdims, **other)

    def mean(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.mean(self, axis=axis, keepdims=keepdims, **other)

    def max(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.max(self, axis=axis, keepdims=keepdims, **other)

    def min(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.min(self, axis=axis, keepdims=keepdims, **other)

    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.var(self, axis=axis, ddof=ddof, keepdims=keepdims, **other)

    def std(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.std(self, axis=axis, ddof=ddof, keepdims=keepdims, **other)

    def prod(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.prod(self, axis=axis, keepdims=keepdims, **other)

    def cumsum(self, axis: int | None = None, **other: Any) -> Tensor:
        return ops.cumsum(self, axis=axis, **other)

    def dot(self, other: Any) -> Tensor:
        return ops.dot(self, other)

    def any(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.any(self, axis=axis, keepdims=keepdims, **other)

    def all(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.all(self, axis=axis, keepdims=keepdims, **other)

    # --- element by element -------------------------------------------------------------------------------------

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clip(self, min, max)

    def round(self, decimals: int = 0) -> Tensor:
        return ops.round(self, decimals=decimals)

    # --- positions: plain integer arrays, without gradient --------------------------------------------------------

    def argmax(self, axis: int | None = None, keepdims: bool = False, **other: Any) -> Array:
        refuse_arguments("argmax", other)
        return self.data.argmax(axis=axis, keepdims=keepdims, **other)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **other: Any) -> Array:
        refuse_arguments("argmin", other)
        return self.data.argmin(axis=axis, keepdims=keepdims, **other)

    def argsort(self, axis: int | None = -1, **other: Any) -> Array:
        """The order that sorts; equal values keep theirs."""
        refuse_arguments("argsort", other)
        return self.data.argsort(axis=axis, kind="stable", **other)

    def nonzero(self) -> tuple[Array, ...]:
        return self.data.nonzero()

    def searchsorted(self, values: Any, side: str = "left") -> Array:
        return self.data.searchsorted(getattr(values, "data", values) if hasattr(values, "node") else values, side=side)

    # --- what NumPy has as functions, or not at all ---------------------------------------------------------------

    def exp(self) -> Tensor:
        return ops.exp(self)

    def log(self) -> Tensor:
        return ops.log(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def sin(self) -> Tensor:
        return ops.sin(self)

    def cos(self) -> Tensor:
        return ops.cos(self)

    def sign(self) -> Tensor:
        return ops.sign(self)

    def abs(self) -> Tensor:
        return ops.abs(self)

    def square(self) -> Tensor:
        return ops.square(self)

    def sigmoid(self) -> Tensor:
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        return ops.relu(self)

    def softmax(self, axis: int = -1, **other: Any) -> Tensor:
        return ops.softmax(self, axis=axis, **other)

    def log_softmax(self, axis: int = -1, **other: Any) -> Tensor:
        return ops.log_softmax(self, axis=axis, **other)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.logsumexp(self, axis=axis, keepdims=keepdims, **other)

    def norm(self, axis: Axis = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.norm(self, axis=axis, keepdims=keepdims, **other)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        return ops.masked_fill(self, mask, value)

    def at(self, index: Any) -> At:
        """The values self[index], to be replaced in a copy: x.at(i).set(v), x.at(i).add(v)."""
        return ops.at(self, index)


def as_one_tuple(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """NumPy lets one write x.reshape(2, 3) and x.reshape((2, 3)): both are (2, 3)."""
    if len(arguments) == 1 and isinstance(arguments[0], tuple | list):
        return tuple(arguments[0])
    return tuple(arguments)
