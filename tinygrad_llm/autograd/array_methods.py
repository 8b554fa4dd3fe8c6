"""The methods of a Tensor that NumPy's arrays have, and a few that they lack: each is the op of the same name.

Left out on purpose: methods that write in place (`fill`, `sort` in place, `resize`), because gradients may need the
values; here `sort` returns a new tensor.

Used by: `tensor`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tinygrad_llm.autograd.op_table import ops
from tinygrad_llm.backend import Array, to_numpy
from tinygrad_llm.drawing.views import shown_by
from tinygrad_llm.errors import InputError

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
    requires_grad: bool
    node: Any

    # --- values as Python and NumPy see them ----------------------------------------------------------------------

    def item(self) -> Any:
        """The one number in this tensor, as a Python number. On a GPU this waits for the result."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, without history.

        Shares memory on the CPU; of a tensor that backward may need it is read-only. `.numpy().copy()` can be written.
        """
        return to_numpy(self.data)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def tolist(self) -> Any:
        """The values as Python numbers in nested lists."""
        return self.data.tolist()

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (ops.getitem(self, index=i) for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool(ops.equal(self, value).data.any())

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __index__(self) -> int:
        return self.data.__index__()

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.data.size != 1:
            raise TypeError(f"a format such as ':{spec}' is for one number, this tensor has shape {self.data.shape}.")
        return format(self.data.item(), spec)

    def __round__(self, decimals: int = 0) -> Tensor:
        return ops.round(self, decimals=decimals)

    _repr_html_ = shown_by("tinygrad_llm.pictures.tensor")

    # --- writing in place is an error -----------------------------------------------------------------------------

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            "tensor[index] = value would change a value that gradients may need. Make a new tensor: "
            "tensor = tensor.at(index).set(value); or, for a parameter outside a graph, write into tensor.data[index]."
        )

    def _in_place(self, other: Any) -> Any:
        """`w -= x` would give the name w to a new tensor and leave a parameter w as it was: an error for those."""
        if self.requires_grad and self.node is None:
            raise InputError(
                "+=, -=, *= and /= make a new tensor and leave a tensor that requires gradients as it was: write "
                "w.data -= lr * w.grad.data, or use an optimizer such as tg.optim.SGD."
            )
        return NotImplemented  # and Python computes w = w - x

    __iadd__ = __isub__ = __imul__ = __itruediv__ = _in_place

    # --- values in another shape --------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape=as_one_tuple(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, axes=as_one_tuple(axes) or None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    @property
    def T(self) -> Tensor:
        return ops.transpose(self)

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

    # --- positions: integers, without gradient --------------------------------------------------------------------

    def argmax(self, axis: int | None = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.argmax(self, axis=axis, keepdims=keepdims, **other)

    def argmin(self, axis: int | None = None, keepdims: bool = False, **other: Any) -> Tensor:
        return ops.argmin(self, axis=axis, keepdims=keepdims, **other)

    def argsort(self, axis: int | None = -1, **other: Any) -> Tensor:
        """The order that sorts; equal values keep theirs."""
        return ops.argsort(self, axis=axis, **other)

    def nonzero(self) -> tuple[Array, ...]:
        """Where the values are not zero: one array of indices per axis, so that x[x.nonzero()] are those values."""
        return self.data.nonzero()

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
