"""Ops that put values into other places: padding, flipping, rolling, repeating, triangles.

Each is linear in x, so its rule is its transpose: what a place received, it gives back to where it came from.
"""

import numpy as np

from tinygrad_llm.autograd.ops.basic import (
    along,
    axis_from_front,
    broadcast_to,
    concatenate,
    getitem,
    is_number,
    reshape,
)
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.autograd.tensor import raw
from tinygrad_llm.backend import array_module


@primitive
def pad(x, *, pad_width, mode="constant", constant_values=0.0):
    """x with a border of one value. The gradient loses the border again.

    pad_width: n on every side, (before, after) on every axis, or one such pair per axis, as for `numpy.pad`.
    (n_0, …) -> (before_0 + n_0 + after_0, …).

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.pad(x, pad_width=(1, 2))
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [0. 1. 2. 0. 0.] [1. 1.]
    """
    if mode != "constant":
        raise ValueError(f"mode must be 'constant', it was {mode!r}; take or concatenate give the others")
    widths = border(pad_width, x.ndim) if x.ndim else pad_width
    return array_module(x).pad(x, widths, constant_values=constant_values)


@pad.vjp
def pad_vjp(g, out, x, *, pad_width, mode="constant", constant_values=0.0):
    befores = [before for before, _ in border(pad_width, x.ndim)]
    return (g[tuple(slice(before, before + n) for before, n in zip(befores, x.shape, strict=True))],)


def border(pad_width, ndim):
    """One (before, after) per axis, whichever way it was written."""
    return np.broadcast_to(pad_width, (ndim, 2)).tolist()


@primitive
def flip(x, *, axis=None):
    """The order reversed along an axis, several, or all. The gradient is reversed back. Shape as x.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = ops.flip(x)
    >>> y[0].backward()
    >>> print(y.numpy(), x.grad.numpy())
    [3. 2. 1.] [0. 0. 1.]
    """
    return array_module(x).flip(x, axis)


@flip.vjp
def flip_vjp(g, out, x, *, axis=None):
    return (flip(g, axis=axis),)


@primitive
def roll(x, *, shift, axis=None):
    """y[i] = x[i - shift], what falls off one end comes back at the other. The gradient is rolled back. Shape as x.

    shift, axis: an integer each or tuples of one length; axis None rolls the flattened values.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = ops.roll(x, shift=1)
    >>> y[0].backward()
    >>> print(y.numpy(), x.grad.numpy())
    [3. 1. 2.] [0. 0. 1.]
    """
    return array_module(x).roll(x, shift, axis)


@roll.vjp
def roll_vjp(g, out, x, *, shift, axis=None):
    back = tuple(-s for s in shift) if isinstance(shift, tuple | list) else -shift
    return (roll(g, shift=back, axis=axis),)


@primitive
def tril(x, *, k=0):
    """The lower triangle of the last two axes: 0 where column > row + k. The gradient is cut the same way. Shape as x.

    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> y = ops.tril(x)
    >>> y.sum().backward()
    >>> print(y.numpy().tolist(), x.grad.numpy().tolist())
    [[1.0, 0.0], [3.0, 4.0]] [[1.0, 0.0], [1.0, 1.0]]
    """
    return array_module(x).tril(as_matrices(x), k)


@tril.vjp
def tril_vjp(g, out, x, *, k=0):
    return (tril(g, k=k),)


def as_matrices(x):
    """x, if it has rows and columns."""
    if x.ndim < 2:
        raise ValueError("a triangle needs at least two axes")
    return x


@primitive
def triu(x, *, k=0):
    """The upper triangle of the last two axes: 0 where column < row + k. The gradient is cut the same way. Shape as x.

    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> y = ops.triu(x, k=1)
    >>> y.sum().backward()
    >>> print(y.numpy().tolist(), x.grad.numpy().tolist())
    [[0.0, 2.0], [0.0, 0.0]] [[0.0, 1.0], [0.0, 0.0]]
    """
    return array_module(x).triu(as_matrices(x), k)


@triu.vjp
def triu_vjp(g, out, x, *, k=0):
    return (triu(g, k=k),)


@composite
def diff(x, n=1, axis=-1, prepend=None, append=None):
    """Differences of neighbours along an axis, y_i = x_(i+1) - x_i, taken n times; one value fewer each time.

    prepend, append: values put in front of x and behind it first, as arrays; numbers count once.

    >>> print(ops.diff(Tensor([1.0, 4.0, 9.0])).numpy(), ops.diff(Tensor([1.0, 4.0, 9.0]), 2).numpy())
    [3. 5.] [2.]
    """
    if n < 0:
        raise ValueError(f"n must be at least 0, it was {n}")
    if n == 0:
        return x
    if x.ndim == 0:
        raise ValueError("x must have at least one axis")
    axis = axis_from_front(axis, x.ndim)
    ends = [
        end
        if getattr(end, "ndim", 0)
        else broadcast_to(
            array_module(raw(x)).asarray(end, dtype=x.dtype) if is_number(end) else end,
            shape=(*x.shape[:axis], 1, *x.shape[axis + 1 :]),
        )
        for end in (prepend, append)
        if end is not None
    ]
    parts = [*ends[: prepend is not None], x, *ends[prepend is not None :]]
    y = concatenate(parts, axis=axis) if ends else x
    for _ in range(n):
        y = y[along(axis, slice(1, None))] - y[along(axis, slice(None, -1))]
    return y


@composite
def repeat(x, repeats, axis=None):
    """Each value several times in a row: [a, b] becomes [a, a, b, b]. A value gets the sum of its copies' gradients.

    repeats: one integer for all, or one per place of the axis. axis None repeats the flattened values.
    (..., n, ...) -> (..., Σ repeats, ...).

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.repeat(x, [1, 3])
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [1. 2. 2. 2.] [1. 3.]
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = axis_from_front(axis, x.ndim)
    places = np.repeat(np.arange(x.shape[axis]), repeats)
    return getitem(x, index=along(axis, array_module(raw(x)).asarray(places)))


@composite
def tile(x, reps):
    """The whole of x several times side by side: [a, b] becomes [a, b, a, b]. The gradient is the sum over the copies.

    reps: how often along each axis, counted from the last; missing axes are put in front.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.tile(x, (2, 2))
    >>> y.sum().backward()
    >>> print(y.numpy().tolist(), x.grad.numpy())
    [[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]] [4. 4.]
    """
    reps = (reps,) if isinstance(reps, int) else tuple(reps)
    ndim = max(x.ndim, len(reps))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x.ndim) + x.shape
    apart = broadcast_to(
        reshape(x, shape=tuple(m for n in shape for m in (1, n))),  # (1, n_0, 1, n_1, …)
        shape=tuple(m for r, n in zip(reps, shape, strict=True) for m in (r, n)),  # (r_0, n_0, r_1, n_1, …)
    )
    return reshape(apart, shape=tuple(r * n for r, n in zip(reps, shape, strict=True)))
