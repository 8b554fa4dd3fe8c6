"""Functions that are constant between jumps: whole numbers and remainders.

Builds on: `basic`. Their derivative is 0 wherever it exists, and 0 is what the rules give at the jumps too.
"""

from tinygrad_llm.autograd.ops.basic import is_number, unbroadcast
from tinygrad_llm.autograd.ops.elementwise import library
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


@primitive
def floor(x):
    """The largest whole number that is not above x; d/dx = 0.

    >>> print(ops.floor(Tensor([-1.5, 1.5])).numpy())
    [-2.  1.]
    """
    return array_module(x).floor(x)


@primitive
def ceil(x):
    """The smallest whole number that is not below x; d/dx = 0.

    >>> print(ops.ceil(Tensor([-1.5, 1.5])).numpy())
    [-1.  2.]
    """
    return array_module(x).ceil(x)


@primitive
def trunc(x):
    """x without its fraction; d/dx = 0.

    >>> print(ops.trunc(Tensor([-1.5, 1.5])).numpy())
    [-1.  1.]
    """
    return array_module(x).trunc(x)


@floor.vjp
@ceil.vjp
@trunc.vjp
def constant_vjp(g, out, x):
    return (0.0 * g,)


@primitive
def round_(x, *, decimals=0):
    """x to the nearest number with so many decimals, of two equally near to the even one; d/dx = 0.

    >>> print(ops.round(Tensor([0.5, 1.5, 2.25])).numpy(), ops.round(Tensor([2.25]), 1).numpy())
    [0. 2. 2.] [2.2]
    """
    return array_module(x).round(x, decimals)


@round_.vjp
def round_vjp(g, out, x, *, decimals=0):
    return (0.0 * g,)


@primitive
def floor_divide(x, y):
    """floor(x / y); d/dx = d/dy = 0. Shapes broadcast.

    >>> print(ops.floor_divide(Tensor([-7.0, 7.0]), 2.0).numpy())
    [-4.  3.]
    """
    return library(x, y).floor_divide(x, y)


@floor_divide.vjp
def floor_divide_vjp(g, out, x, y):
    return unbroadcast(0.0 * g, x), unbroadcast(0.0 * g, y)


@primitive
def remainder(x, y):
    """x - y · floor(x / y), with the sign of y; d/dx = 1, d/dy = -floor(x / y). Shapes broadcast.

    >>> x, y = Tensor([-7.0, 7.0], requires_grad=True), Tensor(3.0, requires_grad=True)
    >>> z = ops.remainder(x, y)
    >>> z.sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy())
    [2. 1.] [1. 1.] 1.0
    """
    return library(x, y).remainder(x, y)


@remainder.vjp
def remainder_vjp(g, out, x, y):
    return unbroadcast(g, x), None if is_number(y) else unbroadcast(-g * floor_divide(x, y), y)
