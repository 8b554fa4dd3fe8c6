"""Ops that order values, or find them. Positions have no derivative; each value's gradient goes to where it stood.

Builds on: `basic`, whose take_along_axis does the moving.
"""

from tinygrad_llm.autograd.ops.basic import along, axis_from_front, take_along_axis
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.autograd.tensor import raw
from tinygrad_llm.backend import array_module


@composite
def sort(x, axis=-1):
    """Ascending along an axis, NaN last; dy_k/dx_i = 1 where x_i came to place k. Shape as x.

    axis None sorts the flattened values. Equal values keep their order.

    >>> x = Tensor([3.0, 1.0, 2.0], requires_grad=True)
    >>> y = ops.sort(x)
    >>> y[0].backward()
    >>> print(y.numpy(), x.grad.numpy())
    [1. 2. 3.] [0. 1. 0.]
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    values = raw(x)
    order = array_module(values).argsort(values, axis=axis, kind="stable")
    return take_along_axis(x, order, axis=axis)


@composite
def topk(x, k, axis=-1):
    """The k largest along an axis, largest first, and where they were: (values, places); the gradient of `sort`.

    (..., n, ...) -> twice (..., k, ...); places are a plain integer array. Of equal values the first comes first.

    >>> x = Tensor([3.0, 1.0, 2.0], requires_grad=True)
    >>> values, places = ops.topk(x, 2)
    >>> values[1].backward()
    >>> print(values.numpy(), places, x.grad.numpy())
    [3. 2.] [0 2] [0. 0. 1.]
    """
    axis = axis_from_front(axis, x.ndim)
    n = x.shape[axis]
    if not 0 <= k <= n:
        raise ValueError(f"k is {k}, it must be between 0 and {n}, the length of axis {axis}")
    backwards = along(axis, slice(None, None, -1))
    values = raw(x)[backwards]  # a stable ascending sort of the reversed values, read from its end
    order = n - 1 - array_module(values).argsort(values, axis=axis, kind="stable")[backwards]
    places = order[along(axis, slice(0, k))]
    return take_along_axis(x, places, axis=axis), places


@primitive
def argsort(x, *, axis=-1):
    """The positions that sort x along an axis, ascending, equal values in their order. Integers, shape as x.

    axis None sorts the flattened values.

    >>> print(ops.argsort(Tensor([3.0, 1.0, 2.0])).numpy())
    [1 2 0]
    """
    return array_module(x).argsort(x, axis=axis, kind="stable")


@primitive
def argmax(x, *, axis=None, keepdims=False):
    """The position of the largest value along an axis, or of the flattened values; of equal ones the first. Integers.

    >>> print(ops.argmax(Tensor([[3.0, 1.0], [2.0, 4.0]]), 1).numpy())
    [0 1]
    """
    return array_module(x).argmax(x, axis=axis, keepdims=keepdims)


@primitive
def argmin(x, *, axis=None, keepdims=False):
    """The position of the smallest value along an axis, or of the flattened values; of equal ones the first. Integers.

    >>> print(ops.argmin(Tensor([[3.0, 1.0], [2.0, 4.0]]), 1).numpy())
    [1 0]
    """
    return array_module(x).argmin(x, axis=axis, keepdims=keepdims)
