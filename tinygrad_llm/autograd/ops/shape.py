"""Ops that move values without changing them: reshaping, reordering, joining, cutting.

Their rules move the gradient the other way. Where a value was repeated, its gradients are summed.
"""

import math

import numpy as np

from tinygrad_llm.autograd.ops.composite import composite
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


def length(shape, axis):
    """How many values a reduction over `axis` brings together (axis None, one, or several)."""
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in ((axis,) if isinstance(axis, int) else axis))


def along(axis, part):
    """The index that takes `part` (a slice, an integer, an array of places) of one axis, counted from the front."""
    return (*(slice(None),) * axis, part)


def axis_from_front(axis, ndim):
    """`axis` as a number from 0 to ndim - 1."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of bounds for array of dimension {ndim}")
    return axis % ndim


@primitive
def alias(x):
    """The same values under another name: y = x, dy/dx = 1. Any shape.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.alias(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [1. 2.] [1. 1.]
    """
    return x


@alias.vjp
def alias_vjp(g, out, x):
    return (g,)


@primitive
def astype(x, *, dtype):
    """The values in another dtype, dy/dx = 1; the gradient comes back in the dtype of x. Any shape.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.astype(x, dtype=np.float64)
    >>> y.sum().backward()
    >>> print(y.dtype, x.grad.dtype)
    float64 float32
    """
    return x.astype(dtype)


@astype.vjp
def astype_vjp(g, out, x, *, dtype):
    return (g.astype(x.dtype),)


@primitive
def reshape(x, *, shape):
    """The same values in the same order under another shape; one length may be -1. The gradient is reshaped back.

    >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> y = ops.reshape(x, shape=(4,))
    >>> y[3].backward()
    >>> print(y.numpy(), x.grad.numpy().tolist())
    [1. 2. 3. 4.] [[0.0, 0.0], [0.0, 1.0]]
    """
    return x.reshape(shape)


@reshape.vjp
def reshape_vjp(g, out, x, *, shape):
    return (g.reshape(x.shape),)


@primitive
def transpose(x, *, axes=None):
    """y[i_axes] = x[i]: axes reordered, or reversed when `axes` is None. The gradient takes the inverse order.

    (n_0, n_1, …) -> (n_axes[0], n_axes[1], …).

    >>> x = Tensor(np.zeros((2, 3, 4), np.float32), requires_grad=True)
    >>> y = ops.transpose(x, axes=(1, 2, 0))
    >>> y[2, 3, 1].backward()
    >>> print(y.shape, x.grad.numpy()[1, 2, 3])
    (3, 4, 2) 1.0
    """
    return x.transpose(axes)


@transpose.vjp
def transpose_vjp(g, out, x, *, axes=None):
    if axes is None:
        return (transpose(g),)
    from_front = np.array(axes, dtype=int).reshape(-1) % max(1, x.ndim)
    return (transpose(g, axes=tuple(np.argsort(from_front).tolist())),)


@composite
def permute_dims(x, axes):
    """`transpose` under its name in the array API: y[i_axes] = x[i]. The gradient takes the inverse order.

    >>> print(ops.permute_dims(Tensor(np.zeros((2, 3, 4))), (2, 0, 1)).shape)
    (4, 2, 3)
    """
    return transpose(x, axes=axes)


@primitive
def swapaxes(x, *, axis1, axis2):
    """Two axes exchanged. The gradient is exchanged back.

    >>> x = Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    >>> y = ops.swapaxes(x, axis1=0, axis2=1)
    >>> y[2].sum().backward()
    >>> print(y.shape, x.grad.numpy())
    (3, 1) [[0. 0. 1.]]
    """
    return x.swapaxes(axis1, axis2)


@swapaxes.vjp
def swapaxes_vjp(g, out, x, *, axis1, axis2):
    return (swapaxes(g, axis1=axis1, axis2=axis2),)


@primitive
def expand_dims(x, *, axis):
    """A new axis of length 1 at `axis` of the result (several when it is a tuple). The gradient loses it again.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = ops.expand_dims(x, axis=0)
    >>> y.sum().backward()
    >>> print(y.shape, x.grad.shape)
    (1, 2) (2,)
    """
    return array_module(x).expand_dims(x, axis)


@expand_dims.vjp
def expand_dims_vjp(g, out, x, *, axis):
    return (g.reshape(x.shape),)


@primitive
def squeeze(x, *, axis=None):
    """Axes of length 1 removed: all of them, or those in `axis`. The gradient gets them back.

    >>> x = Tensor([[1.0, 2.0]], requires_grad=True)
    >>> y = ops.squeeze(x)
    >>> y.sum().backward()
    >>> print(y.shape, x.grad.shape)
    (2,) (1, 2)
    """
    return x.squeeze(axis)


@squeeze.vjp
def squeeze_vjp(g, out, x, *, axis=None):
    return (g.reshape(x.shape),)


@primitive
def broadcast_to(x, *, shape):
    """x repeated to `shape` by NumPy's rules, without copying. The gradient is the sum over the repeats.

    >>> x = Tensor([[1.0], [2.0]], requires_grad=True)
    >>> y = ops.broadcast_to(x, shape=(2, 3))
    >>> y.sum().backward()
    >>> print(y.numpy().tolist(), x.grad.numpy().tolist())
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]] [[3.0], [3.0]]
    """
    return array_module(x).broadcast_to(x, shape)


@broadcast_to.vjp
def broadcast_to_vjp(g, out, x, *, shape):
    return (unbroadcast(g, x),)


@primitive
def join(*xs, axis=0):
    """The primitive under `concat` and `stack`: its inputs stand one by one, so that each has a gradient.

    >>> print(ops.join(Tensor([1.0]), Tensor([2.0, 3.0])).numpy())
    [1. 2. 3.]
    """
    return array_module(xs[0]).concatenate(xs, axis=axis)


@join.vjp
def join_vjp(g, out, *xs, axis=0):
    axis = axis % out.ndim
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()
    return tuple(g[along(axis, slice(end - x.shape[axis], end))] for x, end in zip(xs, ends, strict=True))


@composite
def concat(xs, axis=0):
    """Arrays joined along an axis that exists. Each gets its own piece of the gradient.

    xs: a list of (..., n_i, ...), equal but for the length of `axis` -> (..., Σ n_i, ...).

    >>> x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0], requires_grad=True)
    >>> z = ops.concat([x, y])
    >>> (z * np.array([10.0, 20.0, 30.0], np.float32)).sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy())
    [1. 2. 3.] [10. 20.] [30.]
    """
    return join(*xs, axis=axis)


@composite
def stack(xs, axis=0):
    """Arrays of one shape joined along a new axis. Each gets its own slice of the gradient.

    xs: a list of n arrays of shape (...) -> (..., n, ...), the new axis at `axis` of the result.

    >>> x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    >>> z = ops.stack([x, y], axis=1)
    >>> z[0].sum().backward()
    >>> print(z.numpy().tolist(), x.grad.numpy(), y.grad.numpy())
    [[1.0, 3.0], [2.0, 4.0]] [1. 0.] [1. 0.]
    """
    shapes = [x.shape for x in xs]
    if len(set(shapes)) != 1:
        raise ValueError(f"all arrays must have one shape, they have {shapes}")
    return join(*(expand_dims(x, axis=axis) for x in xs), axis=axis)


@composite
def split(x, indices_or_sections, axis=0):
    """An axis cut into pieces: the inverse of `concat`. Returns a list; the gradients of the pieces are joined again.

    indices_or_sections: how many equal pieces, or the places to cut at: [2, 5] makes [:2], [2:5] and [5:].

    >>> x = Tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    >>> a, b = ops.split(x, [1])
    >>> b.sum().backward()
    >>> print(a.numpy(), b.numpy(), x.grad.numpy())
    [1.] [2. 3. 4.] [0. 1. 1. 1.]
    """
    axis = axis_from_front(axis, x.ndim)
    cuts = indices_or_sections
    if isinstance(cuts, int):
        if cuts < 1 or x.shape[axis] % cuts:
            raise ValueError(f"axis {axis} of length {x.shape[axis]} does not divide into {cuts} equal pieces")
        size = x.shape[axis] // cuts
        cuts = range(size, x.shape[axis], size) if size else [0] * (cuts - 1)
    return [x[along(axis, slice(start, end))] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
