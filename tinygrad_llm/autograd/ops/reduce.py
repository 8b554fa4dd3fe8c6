"""More reductions: variance, norm, products, the minimum; and running sums.

Builds on: `basic`, which has sum, mean, max and logsumexp. `axis` is None (all axes), one axis or a tuple; `keepdims`
keeps the reduced axes with length 1.
"""

import math

from tinygrad_llm.autograd.ops.basic import (
    along,
    axis_from_front,
    concatenate_,
    expand_dims,
    mean,
    shared_by_extremes,
    transpose,
    where,
    with_axis,
)
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.ops.rearrange import flip
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


@primitive
def var(x, *, axis=None, ddof=0, keepdims=False):
    """y = Σ (x - mean)² / (n - ddof) over `axis`; dy/dx_i = 2 (x_i - mean) / (n - ddof). (..., n, ...) -> (..., ...).

    ddof = 0 is the variance of these values, as in layer normalisation; ddof = 1 the estimate from a sample.

    >>> x = Tensor([1.0, 3.0], requires_grad=True)
    >>> y = ops.var(x)
    >>> y.backward()
    >>> print(y.numpy(), x.grad.numpy(), ops.var(x, ddof=1).numpy())
    1.0 [-1.  1.] 2.0
    """
    return x.var(axis=axis, ddof=ddof, keepdims=keepdims)


@var.vjp
def var_vjp(g, out, x, *, axis=None, ddof=0, keepdims=False):
    centred = x - mean(x, axis=axis, keepdims=True)
    return (with_axis(g, x, axis) * (2.0 / freedom(x, axis, ddof)) * centred,)


@primitive
def std(x, *, axis=None, ddof=0, keepdims=False):
    """y = √var; dy/dx_i = (x_i - mean) / ((n - ddof) y), taken as 0 where y is 0. (..., n, ...) -> (..., ...).

    >>> x = Tensor([1.0, 5.0], requires_grad=True)
    >>> y = ops.std(x)
    >>> y.backward()
    >>> print(y.numpy(), x.grad.numpy())
    2.0 [-0.5  0.5]
    """
    return x.std(axis=axis, ddof=ddof, keepdims=keepdims)


@std.vjp
def std_vjp(g, out, x, *, axis=None, ddof=0, keepdims=False):
    centred = x - mean(x, axis=axis, keepdims=True)
    spread = with_axis(where(out == 0, 1.0, out), x, axis)
    return (with_axis(g, x, axis) * (1.0 / freedom(x, axis, ddof)) * (centred / spread),)


def freedom(x, axis, ddof):
    """n - ddof: what the sum of squares is divided by. Where it is not positive there is no variance: NaN."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    degrees = math.prod(x.shape[a] for a in axes) - ddof
    return degrees if degrees > 0 else math.nan


@primitive
def norm(x, *, axis=None, keepdims=False):
    """y = √(Σ x²) over `axis`: the length of a vector; dy/dx_i = x_i / y, taken as 0 where y is 0.

    (..., n, ...) -> (..., ...). `numpy.linalg.norm` of vectors; axis None takes all values as one vector.

    >>> x = Tensor([3.0, 4.0], requires_grad=True)
    >>> y = ops.norm(x)
    >>> y.backward()
    >>> print(y.numpy(), x.grad.numpy())
    5.0 [0.6 0.8]
    """
    return array_module(x).sqrt((x * x).sum(axis=axis, keepdims=keepdims))


@norm.vjp
def norm_vjp(g, out, x, *, axis=None, keepdims=False):
    size = with_axis(where(out == 0, 1.0, out), x, axis)
    return (with_axis(g, x, axis) * (x / size),)


@primitive
def cumsum(x, *, axis=None):
    """y_i = x_0 + … + x_i along an axis; x_i is in every later sum: dL/dx_i = Σ_(j ≥ i) dL/dy_j. Shape as x.

    axis None runs through the flattened values: (...) -> (n,).

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = ops.cumsum(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [1. 3. 6.] [3. 2. 1.]
    """
    return array_module(x).cumsum(x, axis)


@cumsum.vjp
def cumsum_vjp(g, out, x, *, axis=None):
    along_axis = 0 if axis is None else axis
    return (flip(cumsum(flip(g, axis=along_axis), axis=along_axis), axis=along_axis).reshape(x.shape),)


@composite
def cumprod(x, axis=None):
    """y_i = x_0 · … · x_i along an axis; dy_j/dx_i = Π of the other factors of y_j, also where some are 0. Shape as x.

    Doubles the length of the products in each round (Hillis & Steele 1986), so it never divides by x. axis None runs
    through the flattened values: (...) -> (n,).

    >>> x = Tensor([2.0, 0.0, 5.0], requires_grad=True)
    >>> y = ops.cumprod(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [2. 0. 0.] [ 1. 12.  0.]
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = axis_from_front(axis, x.ndim)
    y, span = x, 1
    while span < x.shape[axis]:
        front, back = y[along(axis, slice(None, span))], y[along(axis, slice(span, None))]
        y = concatenate_(front, back * y[along(axis, slice(None, -span))], axis=axis)
        span *= 2
    return y


@composite
def prod(x, axis=None, keepdims=False):
    """y = Π x over `axis`; dy/dx_i = Π_(j ≠ i) x_j, also where some x are 0. (..., n, ...) -> (..., ...).

    The halves are multiplied, and their halves again: a tree of products, whose gradient never divides by x.

    >>> x = Tensor([2.0, 0.0, 5.0], requires_grad=True)
    >>> y = ops.prod(x)
    >>> y.backward()
    >>> print(y.numpy(), x.grad.numpy())
    0.0 [ 0. 10.  0.]
    """
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = [axis_from_front(a, x.ndim) for a in axes]
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    kept = [a for a in range(x.ndim) if a not in axes]
    n = math.prod(x.shape[a] for a in axes)
    y = transpose(x, axes=(*axes, *kept)).reshape((n, *(x.shape[a] for a in kept)))  # (n, ...)
    while n > 1:
        half = n // 2
        pairs = y[:half] * y[half : 2 * half]
        y = concatenate_(pairs, y[2 * half :], axis=0) if n % 2 else pairs
        n = n - half
    y = y.sum(axis=0) if n else y.sum(axis=0) + 1  # one row is left, or there was none: the empty product is 1
    return expand_dims(y, axis=tuple(axes)) if keepdims else y


# --- extremes -------------------------------------------------------------------------------------------------


@primitive
def min_(x, *, axis=None, keepdims=False):
    """y = the smallest x over `axis`; dy/dx_i = 1 there, in equal parts where several share it.

    >>> x = Tensor([[1.0, 5.0], [7.0, 5.0]], requires_grad=True)
    >>> y = ops.min(x, axis=1)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy().tolist())
    [1. 5.] [[1.0, 0.0], [0.0, 1.0]]
    """
    return x.min(axis=axis, keepdims=keepdims)


@min_.vjp
def min_vjp(g, out, x, *, axis=None, keepdims=False):
    return (shared_by_extremes(g, out, x, axis),)
