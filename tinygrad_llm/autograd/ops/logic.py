"""Questions about values: comparisons, tests and their combinations. The answers are booleans, without gradient.

Builds on: `primitive`. Shapes broadcast.
"""

from tinygrad_llm.autograd.ops.elementwise import library
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


@primitive
def equal(x, y):
    """x == y.

    >>> print(ops.equal(Tensor([1.0, 2.0]), 2.0).numpy())
    [False  True]
    """
    return x == y


@primitive
def not_equal(x, y):
    """x != y.

    >>> print(ops.not_equal(Tensor([1.0, 2.0]), 2.0).numpy())
    [ True False]
    """
    return x != y


@primitive
def less(x, y):
    """x < y.

    >>> print(ops.less(Tensor([1.0, 2.0]), 2.0).numpy())
    [ True False]
    """
    return x < y


@primitive
def less_equal(x, y):
    """x <= y.

    >>> print(ops.less_equal(Tensor([1.0, 2.0, 3.0]), 2.0).numpy())
    [ True  True False]
    """
    return x <= y


@primitive
def greater(x, y):
    """x > y.

    >>> print(ops.greater(Tensor([1.0, 2.0, 3.0]), 2.0).numpy())
    [False False  True]
    """
    return x > y


@primitive
def greater_equal(x, y):
    """x >= y.

    >>> print(ops.greater_equal(Tensor([1.0, 2.0, 3.0]), 2.0).numpy())
    [False  True  True]
    """
    return x >= y


@primitive
def isnan(x):
    """Whether each x is not a number.

    >>> print(ops.isnan(Tensor([1.0, np.nan])).numpy())
    [False  True]
    """
    return array_module(x).isnan(x)


@primitive
def isinf(x):
    """Whether each x is ∞ or -∞.

    >>> print(ops.isinf(Tensor([1.0, -np.inf])).numpy())
    [False  True]
    """
    return array_module(x).isinf(x)


@primitive
def isfinite(x):
    """Whether each x is a number other than ∞ and -∞.

    >>> print(ops.isfinite(Tensor([1.0, np.nan, np.inf])).numpy())
    [ True False False]
    """
    return array_module(x).isfinite(x)


@primitive
def logical_and(x, y):
    """Whether both are true; a number is true if it is not 0.

    >>> print(ops.logical_and(np.array([True, True]), Tensor([0.0, 2.0])).numpy())
    [False  True]
    """
    return library(x, y).logical_and(x, y)


@primitive
def logical_or(x, y):
    """Whether at least one is true; a number is true if it is not 0.

    >>> print(ops.logical_or(np.array([True, False]), Tensor([0.0, 0.0])).numpy())
    [ True False]
    """
    return library(x, y).logical_or(x, y)


@primitive
def logical_not(x):
    """Whether x is false; a number is false if it is 0.

    >>> print(ops.logical_not(Tensor([0.0, 2.0])).numpy())
    [ True False]
    """
    return array_module(x).logical_not(x)


@primitive
def any_(x, *, axis=None, keepdims=False):
    """Whether at least one x over `axis` is true. (..., n, ...) -> (..., ...).

    >>> print(ops.any(Tensor([[True, False], [False, False]]), 1).numpy())
    [ True False]
    """
    return array_module(x).any(x, axis=axis, keepdims=keepdims)


@primitive
def all_(x, *, axis=None, keepdims=False):
    """Whether every x over `axis` is true. (..., n, ...) -> (..., ...).

    >>> print(ops.all(Tensor([[True, False], [True, True]]), 1).numpy())
    [False  True]
    """
    return array_module(x).all(x, axis=axis, keepdims=keepdims)
