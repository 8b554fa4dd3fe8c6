"""Trigonometric and hyperbolic functions, element by element, in radians.

Builds on: `basic`, which has tanh.
"""

from tinygrad_llm.autograd.ops.basic import is_number, unbroadcast, where
from tinygrad_llm.autograd.ops.elementwise import library, reciprocal, rsqrt
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


@primitive
def sin(x):
    """sin x; d/dx = cos x.

    >>> x = Tensor([0.0, 1.0], requires_grad=True)
    >>> y = ops.sin(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [0.     0.8415] [1.     0.5403]
    """
    return array_module(x).sin(x)


@sin.vjp
def sin_vjp(g, out, x):
    return (g * cos(x),)


@primitive
def cos(x):
    """cos x; d/dx = -sin x.

    >>> x = Tensor([0.0, 1.0], requires_grad=True)
    >>> y = ops.cos(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [1.     0.5403] [-0.     -0.8415]
    """
    return array_module(x).cos(x)


@cos.vjp
def cos_vjp(g, out, x):
    return (-g * sin(x),)


@primitive
def tan(x):
    """tan x; d/dx = 1 + tan(x)².

    >>> print(ops.tan(Tensor([0.0, 1.0])).numpy())
    [0.     1.5574]
    """
    return array_module(x).tan(x)


@tan.vjp
def tan_vjp(g, out, x):
    return (g * (1.0 + out * out),)


@primitive
def arcsin(x):
    """The angle in [-π/2, π/2] with sine x; d/dx = 1 / √(1 - x²).

    >>> print(ops.arcsin(Tensor([0.0, 1.0])).numpy())
    [0.     1.5708]
    """
    return array_module(x).arcsin(x)


@arcsin.vjp
def arcsin_vjp(g, out, x):
    return (g * rsqrt(1.0 - x * x),)


@primitive
def arccos(x):
    """The angle in [0, π] with cosine x; d/dx = -1 / √(1 - x²).

    >>> print(ops.arccos(Tensor([0.0, 1.0])).numpy())
    [1.5708 0.    ]
    """
    return array_module(x).arccos(x)


@arccos.vjp
def arccos_vjp(g, out, x):
    return (-g * rsqrt(1.0 - x * x),)


@primitive
def arctan(x):
    """The angle in [-π/2, π/2] with tangent x; d/dx = 1 / (1 + x²).

    >>> print(ops.arctan(Tensor([0.0, 1.0])).numpy())
    [0.     0.7854]
    """
    return array_module(x).arctan(x)


@arctan.vjp
def arctan_vjp(g, out, x):
    return (g / (1.0 + x * x),)


@primitive
def arctan2(y, x):
    """The angle in [-π, π] of the point (x, y), y first; d/dy = x / (x² + y²), d/dx = -y / (x² + y²).

    >>> print(ops.arctan2(Tensor([1.0, 1.0]), Tensor([1.0, -1.0])).numpy())
    [0.7854 2.3562]
    """
    return library(y, x).arctan2(y, x)


@arctan2.vjp
def arctan2_vjp(g, out, y, x):
    radius = hypot(x, y)
    dy = None if is_number(y) else unbroadcast(g * ((x / radius) / radius), y)
    dx = None if is_number(x) else unbroadcast(-g * ((y / radius) / radius), x)
    return dy, dx


@primitive
def hypot(x, y):
    """r = √(x² + y²), without overflow; d/dx = x / r, d/dy = y / r, both taken as 0 where r is 0.

    >>> print(ops.hypot(Tensor([3.0]), Tensor([4.0])).numpy())
    [5.]
    """
    return library(x, y).hypot(x, y)


@hypot.vjp
def hypot_vjp(g, out, x, y):
    slope = g / where(out == 0, 1.0, out)
    return None if is_number(x) else unbroadcast(slope * x, x), None if is_number(y) else unbroadcast(slope * y, y)


# --- hyperbolic -----------------------------------------------------------------------------------------------


@primitive
def sinh(x):
    """(e^x - e^-x) / 2; d/dx = cosh x.

    >>> print(ops.sinh(Tensor([0.0, 1.0])).numpy())
    [0.     1.1752]
    """
    return array_module(x).sinh(x)


@sinh.vjp
def sinh_vjp(g, out, x):
    return (g * cosh(x),)


@primitive
def cosh(x):
    """(e^x + e^-x) / 2; d/dx = sinh x.

    >>> print(ops.cosh(Tensor([0.0, 1.0])).numpy())
    [1.     1.5431]
    """
    return array_module(x).cosh(x)


@cosh.vjp
def cosh_vjp(g, out, x):
    return (g * sinh(x),)


@primitive
def arcsinh(x):
    """The number with hyperbolic sine x; d/dx = 1 / √(1 + x²).

    >>> print(ops.arcsinh(Tensor([0.0, 1.0])).numpy())
    [0.     0.8814]
    """
    return array_module(x).arcsinh(x)


@arcsinh.vjp
def arcsinh_vjp(g, out, x):
    return (g * reciprocal(hypot(x, 1.0)),)


@primitive
def arccosh(x):
    """The number ≥ 0 with hyperbolic cosine x; d/dx = 1 / √(x² - 1).

    >>> print(ops.arccosh(Tensor([1.0, 2.0])).numpy())
    [0.    1.317]
    """
    return array_module(x).arccosh(x)


@arccosh.vjp
def arccosh_vjp(g, out, x):
    return (g * (rsqrt(x - 1.0) * rsqrt(x + 1.0)),)


@primitive
def arctanh(x):
    """The number with hyperbolic tangent x; d/dx = 1 / (1 - x²).

    >>> print(ops.arctanh(Tensor([0.0, 0.5])).numpy())
    [0.     0.5493]
    """
    return array_module(x).arctanh(x)


@arctanh.vjp
def arctanh_vjp(g, out, x):
    return (g / (1.0 - x * x),)
