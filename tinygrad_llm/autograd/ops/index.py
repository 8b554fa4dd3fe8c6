"""Ops that look values up by position, and their opposite: writing and adding values at positions.

Reading a place twice means that its gradient is added twice. That is why the rule of indexing is not "write the
gradient back" but "add it up there". The order of the additions is fixed, so results repeat to the last bit on
both backends.
"""

import math

from tinygrad_llm.autograd.ops.basic import (
    add_at,
    along,
    axis_from_front,
    getitem,
    grid,
    is_number,
    raw_index,
    unbroadcast,
    where,
)
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.autograd.tensor import raw
from tinygrad_llm.backend import DEFAULT_DTYPE, array_module
from tinygrad_llm.kernels.segments import names_each_once


@composite
def take(x, indices, axis=None):
    """x[..., indices, ...]: whole slices along an axis, by NumPy's `take`; the gradient is added up at their places.

    indices: (I...) integers. (..., n, ...) -> (..., I..., ...). axis None takes from the flattened values.

    >>> x = Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    >>> y = ops.take(x, [0, 0, 2], axis=1)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [[1. 1. 3.]] [[2. 0. 1.]]
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    return getitem(x, index=along(axis_from_front(axis, x.ndim), indices))


@composite
def gather(x, indices, axis=-1):
    """y[i, j] = x[i, indices[i, j]] (for the last axis of two), only as far as `indices` reaches.

    PyTorch's `gather`. indices: integers, as many axes as x, on other axes at most as long -> the shape of indices.
    The gradient is added up at the places that were read.

    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    >>> y = ops.gather(x, np.array([[1, 1, 0]]))
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy().tolist())
    [[2. 2. 1.]] [[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    """
    return getitem(x, index=grid_of_indices(x, indices, axis))


def grid_of_indices(x, indices, axis):
    """The same for `gather` and `scatter_add`, where `indices` says how far to walk along the other axes."""
    indices, axis = raw(indices), axis_from_front(axis, x.ndim)
    fits = indices.ndim == x.ndim and all(
        a == axis or m <= n for a, (m, n) in enumerate(zip(indices.shape, x.shape, strict=True))
    )
    if not fits:
        raise ValueError(
            f"indices of shape {indices.shape} must have as many axes as x, {x.shape}, "
            f"and be no longer than x except on axis {axis}"
        )
    return grid(indices, axis, indices.shape)


# --- writing --------------------------------------------------------------------------------------------------


@primitive
def set_at(x, values, *, index):
    """A copy of x with `values` written at `index`; d/dx = 0 at the positions written, d/dvalues = 1.

    values: the shape that the index reads, or one that broadcasts to it. A place that is named twice keeps the
    last value, and only that one has a gradient.

    >>> x, values = Tensor([1.0, 2.0, 3.0], requires_grad=True), Tensor([10.0, 20.0], requires_grad=True)
    >>> y = ops.set_at(x, values, index=[0, 0])
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy(), values.grad.numpy())
    [20.  2.  3.] [0. 1. 1.] [0. 1.]
    """
    xp, index = array_module(x), raw_index(index)
    flat = x.flatten()  # a copy
    out = flat.reshape(x.shape)
    values = xp.broadcast_to(xp.asarray(values, dtype=x.dtype), out[index].shape)
    if names_each_once(index):
        out[index] = values
        return out
    positions = flat_positions(index, x.shape, xp)
    is_last = is_last_writer(positions, xp)
    flat[positions[is_last]] = values[is_last]
    return flat.reshape(x.shape)


@set_at.vjp
def set_at_vjp(g, out, x, values, *, index):
    dx = set_at(g, 0.0, index=index)
    if is_number(values):
        return dx, None
    return dx, unbroadcast(where(stays(x, index=index), getitem(g, index=index), 0.0), values)


@primitive
def stays(x, *, index):
    """Which of the values written at x[index] stay: all but those that a later one overwrites. Booleans."""
    xp, index = array_module(x), raw_index(index)
    return is_last_writer(flat_positions(index, x.shape, xp), xp)


def flat_positions(index, shape, xp):
    """The flat position of every entry that an index reads."""
    return xp.arange(math.prod(shape)).reshape(shape)[index]


def is_last_writer(positions, xp):
    """For each flat position whether it is not named again later."""
    flat = positions.reshape(-1)
    order = xp.argsort(flat, kind="stable")
    ordered = flat[order]
    is_last = xp.ones(flat.shape, dtype=bool)
    is_last[order[:-1]] = ordered[:-1] != ordered[1:]
    return is_last.reshape(positions.shape)


class At:
    """The places x[index], for changes that leave x itself alone: `at(x, index).set(values)` and `.add(values)`."""

    def __init__(self, x, index):
        self.x, self.index = x, index

    def set(self, values):
        """A copy of x with `values` at these places. See `set_at`."""
        return set_at(self.x, values, index=self.index)

    def add(self, values):
        """x with `values` added at these places, as often as each is named. d/dx = 1, d/dvalues = 1."""
        if is_number(values):
            values = array_module(raw(self.x)).asarray(values, dtype=self.x.dtype)
        return self.x + add_at(values, index=self.index, shape=self.x.shape)


def at(x, index):
    """The places x[index], to be written without changing x: `at(x, index).set(values)`, `at(x, index).add(values)`.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = ops.at(x, [0, 0]).add(10.0)  # or x.at([0, 0]).add(10.0)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [21.  2.  3.] [1. 1. 1.]
    """
    return At(x, index)


@composite
def scatter_add(x, indices, values, axis=-1):
    """y = x, and y[i, indices[i, j]] += values[i, j] (for the last axis of two): the opposite of `gather`.

    indices: integers, as for `gather`; values: of their shape, or one that broadcasts to it. A place that is named
    twice gets both. d/dx = 1; dL/dvalues = gather(dL/dy, indices).

    >>> x, values = Tensor([0.0, 0.0], requires_grad=True), Tensor([1.0, 2.0, 4.0], requires_grad=True)
    >>> y = ops.scatter_add(x, np.array([1, 0, 1]), values)
    >>> y[1].backward()
    >>> print(y.numpy(), x.grad.numpy(), values.grad.numpy())
    [2. 5.] [0. 1.] [1. 0. 1.]
    """
    return x + add_at(values, index=grid_of_indices(x, indices, axis), shape=x.shape)


@composite
def one_hot(ids, classes, dtype=DEFAULT_DTYPE):
    """1 at place ids[...] of a new last axis, 0 elsewhere (everywhere when the id is out of range). No gradient.

    ids: (...) integers -> (..., classes).

    >>> print(ops.one_hot(np.array([2, 0]), 3))
    [[0. 0. 1.]
     [1. 0. 0.]]
    """
    return (ids[..., None] == array_module(raw(ids)).arange(classes)).astype(dtype)
