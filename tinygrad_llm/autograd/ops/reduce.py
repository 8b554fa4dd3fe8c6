"""Ops that bring many values together: sums, means, extremes.

The gradient of a sum is handed to every term; that of an extreme goes to the place it came from.
"""

from tinygrad_llm.autograd.ops.elementwise import exp, log
from tinygrad_llm.autograd.ops.shape import broadcast_to, expand_dims, length
from tinygrad_llm.autograd.primitive import primitive


def with_axis(y, axis, keepdims):
    """`y`, a reduction over `axis`, with the reduced axes put back as length 1."""
    return y if axis is None or keepdims else expand_dims(y, axis=axis)


@primitive
def sum_(x, *, axis=None, keepdims=False):
    """y = Σ x over `axis`; every term gets the whole gradient: dy/dx_i = 1."""
    return x.sum(axis=axis, keepdims=keepdims)


@sum_.vjp
def sum_vjp(g, out, x, *, axis=None, keepdims=False):
    return (broadcast_to(with_axis(g, axis, keepdims), shape=x.shape),)


def mean(x, *, axis=None, keepdims=False):
    """(1/n) Σ x over `axis`, n the number of terms."""
    return x.sum(axis=axis, keepdims=keepdims) * (1.0 / length(x.shape, axis))


def var(x, *, axis=None, keepdims=False):
    """(1/n) Σ (x - mean)²: the population variance, as in layer normalisation."""
    centred = x - mean(x, axis=axis, keepdims=True)
    return mean(centred * centred, axis=axis, keepdims=keepdims)


@primitive
def max_(x, *, axis=None, keepdims=False):
    """The largest value; places that share it share the gradient equally."""
    return x.max(axis=axis, keepdims=keepdims)


@max_.vjp
def max_vjp(g, out, x, *, axis=None, keepdims=False):
    return (shared_by_extremes(g, out, x, axis, keepdims),)


@primitive
def min_(x, *, axis=None, keepdims=False):
    """The smallest value; places that share it share the gradient equally."""
    return x.min(axis=axis, keepdims=keepdims)


@min_.vjp
def min_vjp(g, out, x, *, axis=None, keepdims=False):
    return (shared_by_extremes(g, out, x, axis, keepdims),)


def shared_by_extremes(g, out, x, axis, keepdims):
    """The gradient g of an extreme `out`, in equal parts at the places where x reaches it."""
    is_extreme = (x == with_axis(out, axis, keepdims)).astype(x.dtype)
    share = is_extreme / is_extreme.sum(axis=axis, keepdims=True)
    return with_axis(g, axis, keepdims) * share


def logsumexp(x, *, axis=None, keepdims=False):
    """log Σ e^x, shifted by the largest x so that nothing overflows; its gradient is softmax(x)."""
    largest = constant_max(x, axis)
    y = log(exp(x - largest).sum(axis=axis, keepdims=True)) + largest
    return y if keepdims else y.sum(axis=axis)  # each reduced axis has length 1: the sum only drops it


def constant_max(x, axis):
    """max(x) with the reduced axes kept, as a constant: shifting by it changes neither value nor gradient."""
    values = x.detach() if hasattr(x, "detach") else x
    return values.max(axis=axis, keepdims=True)
