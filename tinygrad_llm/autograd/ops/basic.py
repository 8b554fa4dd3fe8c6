"""The ops that one training step of a transformer executes, each with its rule: nothing else is needed to follow it.

Builds on: `primitive`. Used by: every other file of `ops`, `nn.functional`, `Tensor`.

A rule takes the gradient g of the result and returns one per input, summed over what was broadcast (`unbroadcast`).
"""

import math

from tinygrad_llm.autograd.fused import fused
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.autograd.tensor import raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.kernels import cpu, segments


def is_number(x):
    """Python numbers take part in arithmetic but have no gradient."""
    return isinstance(x, int | float)


def unbroadcast(g, like):
    """Sum `g` to the shape of `like`: the one place where broadcasting is undone. None for a Python number.

    The gradient of a value that was repeated is the sum over its copies.
    """
    if is_number(like):
        return None
    if g.shape == like.shape:
        return g
    g = g.sum(axis=tuple(range(g.ndim - like.ndim)))
    axes = tuple(i for i, n in enumerate(like.shape) if n == 1 and g.shape[i] != 1)
    return g.sum(axis=axes, keepdims=True) if axes else g


# --- element by element: the shapes broadcast -----------------------------------------------------------------


@primitive
def add(x, y):
    """x + y; d/dx = 1, d/dy = 1.

    >>> x, y = Tensor([[1.0], [2.0]], requires_grad=True), Tensor([10.0, 20.0, 30.0], requires_grad=True)
    >>> ops.add(x, y).sum().backward()
    >>> print(x.grad.numpy().tolist(), y.grad.numpy())  # x was used three times, y twice
    [[3.0], [3.0]] [2. 2. 2.]
    """
    return x + y


@add.vjp
def add_vjp(g, out, x, y):
    return unbroadcast(g, x), unbroadcast(g, y)


@primitive
def subtract(x, y):
    """x - y; d/dx = 1, d/dy = -1."""
    return x - y


@subtract.vjp
def subtract_vjp(g, out, x, y):
    return unbroadcast(g, x), None if is_number(y) else unbroadcast(-g, y)


@primitive
def multiply(x, y):
    """x y; d/dx = y, d/dy = x.

    >>> x, y = Tensor([2.0, 3.0], requires_grad=True), Tensor([10.0, 100.0], requires_grad=True)
    >>> ops.multiply(x, y).sum().backward()
    >>> print(x.grad.numpy(), y.grad.numpy())
    [ 10. 100.] [2. 3.]
    """
    return x * y


@multiply.vjp
def multiply_vjp(g, out, x, y):
    return None if is_number(x) else unbroadcast(g * y, x), None if is_number(y) else unbroadcast(g * x, y)


@primitive
def divide(x, y):
    """x / y; d/dx = 1 / y, d/dy = -(x / y) / y."""
    return x / y


@divide.vjp
def divide_vjp(g, out, x, y):
    slope = g / y
    return unbroadcast(slope, x), None if is_number(y) else unbroadcast(-slope * out, y)


@primitive
def exp(x):
    """e^x; d/dx = e^x."""
    return array_module(x).exp(x)


@exp.vjp
def exp_vjp(g, out, x):
    return (g * out,)


@primitive
def sqrt(x):
    """√x; d/dx = 1 / (2 √x)."""
    return array_module(x).sqrt(x)


@sqrt.vjp
def sqrt_vjp(g, out, x):
    return (g / (2.0 * out),)


@primitive
def tanh(x):
    """The hyperbolic tangent; d/dx = 1 - tanh(x)²."""
    return array_module(x).tanh(x)


@tanh.vjp
def tanh_vjp(g, out, x):
    return (g * (1.0 - out * out),)


@primitive
def where(condition, x, y):
    """x where the condition holds, y elsewhere; each gets the gradient at its own positions. condition: booleans.

    >>> print(ops.where(np.array([True, False]), Tensor([1.0, 2.0]), -1.0).numpy())
    [ 1. -1.]
    """
    xp = array_module(next((z for z in (condition, x, y) if not is_number(z)), 0.0))
    return xp.where(condition, x, y)


@where.vjp
def where_vjp(g, out, condition, x, y):
    dx = None if is_number(x) else unbroadcast(where(condition, g, 0.0), x)
    dy = None if is_number(y) else unbroadcast(where(condition, 0.0, g), y)
    return None, dx, dy


# --- the same values in another shape -------------------------------------------------------------------------


@primitive
def reshape(x, *, shape):
    """The same values in the same order in another shape; one length may be -1. The gradient is reshaped back.

    >>> print(ops.reshape(Tensor([[1.0, 2.0], [3.0, 4.0]]), (4,)).numpy())
    [1. 2. 3. 4.]
    """
    return x.reshape(shape)


@reshape.vjp
def reshape_vjp(g, out, x, *, shape):
    return (g.reshape(x.shape),)


@primitive
def transpose(x, *, axes=None):
    """The axes in another order: (n_0, n_1, …) -> (n_axes[0], n_axes[1], …); reversed when `axes` is None.

    >>> print(ops.transpose(Tensor(np.zeros((2, 3, 4))), (1, 2, 0)).shape)
    (3, 4, 2)
    """
    return x.transpose(axes)


@transpose.vjp
def transpose_vjp(g, out, x, *, axes=None):
    if axes is None:
        return (transpose(g),)
    order = [axis % x.ndim for axis in axes]
    return (transpose(g, axes=tuple(order.index(axis) for axis in range(x.ndim))),)


@primitive
def swapaxes(x, *, axis1, axis2):
    """Two axes exchanged. The gradient is exchanged back."""
    return x.swapaxes(axis1, axis2)


@swapaxes.vjp
def swapaxes_vjp(g, out, x, *, axis1, axis2):
    return (swapaxes(g, axis1=axis1, axis2=axis2),)


@primitive
def expand_dims(x, *, axis):
    """A new axis of length 1 at `axis` of the result, or several. The gradient loses it again."""
    return array_module(x).expand_dims(x, axis)


@expand_dims.vjp
def expand_dims_vjp(g, out, x, *, axis):
    return (g.reshape(x.shape),)


@primitive
def broadcast_to(x, *, shape):
    """x repeated to `shape` by the broadcasting rules, without copying. The gradient is the sum over the repeats.

    >>> print(ops.broadcast_to(Tensor([[1.0], [2.0]]), (2, 3)).numpy().tolist())
    [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    return array_module(x).broadcast_to(x, shape)


@broadcast_to.vjp
def broadcast_to_vjp(g, out, x, *, shape):
    return (unbroadcast(g, x),)


@composite
def concatenate(arrays, axis=0):
    """Arrays joined along an existing axis, or flattened first if `axis` is None; each gets its part of the gradient.

    arrays: (..., n_i, ...), equal but for the length of `axis` -> (..., Σ n_i, ...).

    >>> print(ops.concatenate([Tensor([1.0, 2.0]), Tensor([3.0])]).numpy())
    [1. 2. 3.]
    """
    if len(arrays) == 0:
        raise ValueError("needs at least one array, it was given none")
    if axis is None:
        arrays, axis = [x.reshape(-1) for x in arrays], 0
    return concatenate_(*arrays, axis=axis)


@primitive
def concatenate_(*arrays, axis):  # its inputs are positional, so that each has a gradient
    return array_module(raw(arrays[0])).concatenate(arrays, axis=axis)


@concatenate_.vjp
def concatenate_vjp(g, out, *arrays, axis):
    gradients, start = [], 0
    for x in arrays:
        end = start + x.shape[axis]
        gradients.append(g[along(axis % g.ndim, slice(start, end))])
        start = end
    return tuple(gradients)


def along(axis, part):
    """The index that takes `part` (a slice, an integer, an array of positions) of one axis, counted from the front."""
    return (*(slice(None),) * axis, part)


# --- reductions: over all axes (axis=None), one, or a tuple ---------------------------------------------------


def with_axis(y, x, axis):
    """`y`, a reduction of x over `axis`, with the reduced axes put back as length 1, so that it broadcasts with x."""
    return y if axis is None or y.ndim == x.ndim else expand_dims(y, axis=axis)


@primitive
def sum_(x, *, axis=None, keepdims=False):
    """y = Σ x over `axis`; every term gets the whole gradient: dy/dx_i = 1. (..., n, ...) -> (..., ...).

    >>> print(ops.sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), 0).numpy())
    [4. 6.]
    """
    return x.sum(axis=axis, keepdims=keepdims)


@sum_.vjp
def sum_vjp(g, out, x, *, axis=None, keepdims=False):
    return (broadcast_to(with_axis(g, x, axis), shape=x.shape),)


@primitive
def mean(x, *, axis=None, keepdims=False):
    """y = (1/n) Σ x over `axis`, n the number of terms; dy/dx_i = 1/n. (..., n, ...) -> (..., ...).

    >>> print(ops.mean(Tensor([[1.0, 2.0], [3.0, 6.0]]), 0).numpy())
    [2. 4.]
    """
    return x.mean(axis=axis, keepdims=keepdims)


@mean.vjp
def mean_vjp(g, out, x, *, axis=None, keepdims=False):
    return (broadcast_to(with_axis(g, x, axis) * (out.size / max(1, x.size)), shape=x.shape),)


@primitive
def max_(x, *, axis=None, keepdims=False):
    """y = the largest x over `axis`; dy/dx_i = 1 there, in equal parts where several share it.

    >>> x = Tensor([1.0, 5.0, 5.0], requires_grad=True)
    >>> ops.max(x).backward()
    >>> print(x.grad.numpy())
    [0.  0.5 0.5]
    """
    return x.max(axis=axis, keepdims=keepdims)


@max_.vjp
def max_vjp(g, out, x, *, axis=None, keepdims=False):
    return (shared_by_extremes(g, out, x, axis),)


def shared_by_extremes(g, out, x, axis):
    """The gradient g of an extreme `out`, in equal parts at the positions where x reaches it."""
    is_extreme = x == with_axis(out, x, axis)
    share = is_extreme / is_extreme.sum(axis=axis, keepdims=True)  # counted in integers: float16 ends at 65,504
    return with_axis(g, x, axis) * share.astype(x.dtype)


@primitive
def logsumexp(x, *, axis=None, keepdims=False):
    """y = log Σ e^x over `axis`; dy/dx_i = e^(x_i - y) = softmax(x)_i. SciPy's `logsumexp`.

    Shifted by the largest x so that nothing overflows; -inf where every x is -inf.

    >>> print(ops.logsumexp(Tensor([1000.0, 1000.0])).numpy())  # 1000 + log 2
    1000.6932
    """
    xp = array_module(x)
    largest = x.max(axis=axis, keepdims=True)
    shift = xp.where(xp.isfinite(largest), largest, 0)
    wide = "float32" if x.dtype == "float16" else x.dtype  # a sum in float16 ends at 65,504
    total = xp.exp(x - shift).sum(axis=axis, keepdims=keepdims, dtype=wide)
    y = xp.log(total) + (shift if keepdims else shift.sum(axis=axis))  # that sum only drops axes of length 1
    return y.astype(x.dtype)


@logsumexp.vjp
def logsumexp_vjp(g, out, x, *, axis=None, keepdims=False):
    reached = with_axis(where(out == -math.inf, 0.0, out), x, axis)
    return (with_axis(g, x, axis) * exp(x - reached),)


# --- looking up, and its transpose ----------------------------------------------------------------------------


@primitive
def getitem(x, *, index):
    """x[index] by NumPy's rules; dL/dx_i = Σ dL/dy_k over all k that read position i.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> x[[2, 0, 2]].sum().backward()
    >>> print(x.grad.numpy())
    [1. 0. 2.]
    """
    return x[raw_index(index)]


@getitem.vjp
def getitem_vjp(g, out, x, *, index):
    return (add_at(g, index=index, shape=x.shape),)


@primitive
def add_at(values, *, index, shape):
    """Zeros of `shape` with values added at `index`, repeated positions counted each time: the transpose of x[index].

    dL/dvalues_k = dL/dy at the position of k. values: the shape of x[index], or one that broadcasts to it.
    """
    return segments.add_at(values, raw_index(index), shape)


@add_at.vjp
def add_at_vjp(g, out, values, *, index, shape):
    return (unbroadcast(getitem(g, index=index), values),)


def raw_index(index):
    """The index with arrays in place of Tensors."""
    return tuple(map(raw, index)) if isinstance(index, tuple) else raw(index)


@fused(cpu=cpu.embedding)
def embedding(weight, ids):
    """Row ids[...] of a table: (V, C), (...) integers -> (..., C). A row's gradient is the sum over all its uses.

    >>> print(ops.embedding(Tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 1, 0])).numpy().tolist())
    [[3.0, 4.0], [3.0, 4.0], [1.0, 2.0]]
    """
    return getitem(weight, index=ids)


@composite
def take_along_axis(x, indices, axis=-1):
    """One lookup per row: y[i, j] = x[i, indices[i, j]] for the last of two axes.

    indices: integers, x's shape but for the length of `axis`; other axes of length 1 broadcast.

    >>> print(ops.take_along_axis(Tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([[1], [0]])).numpy().tolist())
    [[2.0], [3.0]]
    """
    indices = raw(indices)
    if indices.ndim != x.ndim:
        raise ValueError(f"indices has {indices.ndim} dimensions, it must have as many as x: {x.ndim}")
    return getitem(x, index=grid(indices, axis_from_front(axis, x.ndim), x.shape))


def grid(indices, axis, lengths):
    """The advanced index with `indices` at `axis`, and 0, 1, 2, … along every other axis."""
    xp, ndim = array_module(indices), indices.ndim
    return tuple(
        indices if a == axis else xp.arange(n).reshape((1,) * a + (n,) + (1,) * (ndim - a - 1))
        for a, n in enumerate(lengths)
    )


def axis_from_front(axis, ndim):
    """`axis` as a number from 0 to ndim - 1."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of bounds for array of dimension {ndim}")
    return axis % ndim


# --- matrix products ------------------------------------------------------------------------------------------


@primitive
def matmul(x, y):
    """z_ij = Σ_k x_ik y_kj over the last two axes, the leading ones broadcast; vectors as in NumPy's `@`.

    dL/dx = g yᵀ, dL/dy = xᵀ g. (..., n, k) @ (..., k, m) -> (..., n, m).

    >>> x, y = Tensor([[1.0, 2.0]], requires_grad=True), Tensor([[3.0], [4.0]], requires_grad=True)
    >>> ops.matmul(x, y).sum().backward()
    >>> print(x.grad.numpy(), y.grad.numpy().tolist())
    [[3. 4.]] [[1.0], [2.0]]
    """
    return x @ y


@matmul.vjp
def matmul_vjp(g, out, x, y):
    if x.ndim == 1 and y.ndim == 1:  # a dot product: the result is a single number
        return g * y, g * x
    if x.ndim == 1:  # a row vector in front of matrices
        dx, dy = matmul_vjp(expand_dims(g, axis=-2), None, expand_dims(x, axis=0), y)
        return dx.reshape(x.shape), dy
    if y.ndim == 1:  # a column vector behind matrices
        dx, dy = matmul_vjp(expand_dims(g, axis=-1), None, x, expand_dims(y, axis=-1))
        return dx, dy.reshape(y.shape)
    return unbroadcast(g @ y.swapaxes(-1, -2), x), unbroadcast(x.swapaxes(-1, -2) @ g, y)
