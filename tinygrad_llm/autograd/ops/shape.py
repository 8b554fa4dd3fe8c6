"""Ops that move values without changing them: reshaping, reordering, repeating, joining, cutting.

Their rules move the gradient the other way. Where a value was repeated, its gradients are summed.
"""

import math

import numpy as np

from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


def is_number(x):
    """Python numbers take part in arithmetic but have no gradient."""
    return isinstance(x, int | float)


def unbroadcast(g, like):
    """Sum `g` down to the shape of `like`: the one place where broadcasting is undone.

    Broadcasting repeats a value along new leading axes and along axes of length 1; the gradient of a repeated value
    is the sum of the gradients of its copies. A Python number gets None.
    """
    if is_number(like):
        return None
    if g.shape == like.shape:
        return g
    extra = g.ndim - like.ndim
    if extra:
        g = g.sum(axis=tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(like.shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=axes, keepdims=True) if axes else g


@primitive
def alias(x):
    """The same values under another name: y = x, dy/dx = 1."""
    return x


@alias.vjp
def alias_vjp(g, out, x):
    return (g,)


@primitive
def astype(x, *, dtype):
    """The values in another dtype. The gradient comes back in the dtype of x."""
    return x.astype(dtype)


@astype.vjp
def astype_vjp(g, out, x, *, dtype):
    return (g.astype(x.dtype),)


@primitive
def reshape(x, *, shape):
    """The same values in the same order under another shape; one length may be -1. The gradient is reshaped back."""
    return x.reshape(shape)


@reshape.vjp
def reshape_vjp(g, out, x, *, shape):
    return (g.reshape(x.shape),)


@primitive
def transpose(x, *, axes=None):
    """y[i_axes] = x[i]: axes reordered, or reversed when `axes` is None. The gradient takes the inverse order."""
    return x.transpose(axes)


@transpose.vjp
def transpose_vjp(g, out, x, *, axes=None):
    inverse = None if axes is None else tuple(np.argsort([axis % x.ndim for axis in axes]).tolist())
    return (transpose(g, axes=inverse),)


@primitive
def swapaxes(x, *, axis1, axis2):
    """Two axes exchanged. The gradient is exchanged back."""
    return x.swapaxes(axis1, axis2)


@swapaxes.vjp
def swapaxes_vjp(g, out, x, *, axis1, axis2):
    return (swapaxes(g, axis1=axis1, axis2=axis2),)


@primitive
def expand_dims(x, *, axis):
    """A new axis of length 1 at `axis` (several when it is a tuple)."""
    return array_module(x).expand_dims(x, axis)


@expand_dims.vjp
def expand_dims_vjp(g, out, x, *, axis):
    return (g.reshape(x.shape),)


@primitive
def squeeze(x, *, axis=None):
    """Axes of length 1 removed: all of them, or those in `axis`."""
    return x.squeeze(axis)


@squeeze.vjp
def squeeze_vjp(g, out, x, *, axis=None):
    return (g.reshape(x.shape),)


@primitive
def broadcast_to(x, *, shape):
    """x repeated to `shape` by NumPy's rules, without copying. The gradient is the sum over the repeats."""
    return array_module(x).broadcast_to(x, shape)


@broadcast_to.vjp
def broadcast_to_vjp(g, out, x, *, shape):
    return (unbroadcast(g, x),)


@primitive
def concat(*xs, axis=0):
    """Arrays joined along an axis that exists. Each gets its own piece of the gradient."""
    return array_module(xs[0]).concatenate(xs, axis=axis)


@concat.vjp
def concat_vjp(g, out, *xs, axis=0):
    axis = axis % out.ndim
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()
    starts = [0, *ends[:-1]]
    before = (slice(None),) * axis
    return tuple(g[(*before, slice(start, end))] for start, end in zip(starts, ends, strict=True))


def stack(*xs, axis=0):
    """Arrays of one shape joined along a new axis: expand_dims, then concat."""
    return concat(*(expand_dims(x, axis=axis) for x in xs), axis=axis)


def split(x, sizes, axis=0):
    """Cut an axis into pieces of the given sizes; returns a list. The inverse of `concat`."""
    if sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ValueError(f"split: sizes {tuple(sizes)} must add up to the length of axis {axis} of {x.shape}.")
    ends = np.cumsum(sizes).tolist()
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(end - size, end))] for end, size in zip(ends, sizes, strict=True)]


def length(shape, axis):
    """How many values a reduction over `axis` brings together (axis None, one, or several)."""
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))
