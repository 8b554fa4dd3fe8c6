"""Ops that work on each element by itself, with NumPy's broadcasting.

Each rule is the derivative from the calculus book times the incoming gradient g, summed over what was broadcast.
A kink (abs at 0, maximum where both are equal) has no derivative; the rule takes the middle of the two sides.
"""

from tinygrad_llm.autograd.ops.shape import is_number, unbroadcast
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


def library(*xs):
    """The array library of the first array among the operands (numbers belong to every library)."""
    return array_module(next((x for x in xs if not is_number(x)), 0.0))


# --- arithmetic -----------------------------------------------------------------------------------------------


@primitive
def add(x, y):
    """x + y; d/dx = 1, d/dy = 1."""
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
    """x y; d/dx = y, d/dy = x."""
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
def negative(x):
    """-x; d/dx = -1."""
    return -x


@negative.vjp
def negative_vjp(g, out, x):
    return (-g,)


@primitive
def power(x, y):
    """x^y; d/dx = y x^(y-1), d/dy = x^y log x (taken as 0 where x is not positive)."""
    if is_number(y) and y == 2:
        return x * x  # NumPy's general power costs about forty times as much as a product
    if is_number(y) and y == 3:
        return x * x * x
    return x**y


@power.vjp
def power_vjp(g, out, x, y):
    dx = None if is_number(x) else unbroadcast(g * (y * power(x, y - 1)), x)
    if is_number(y):
        return dx, None
    base = where(x > 0, x, 1.0)
    return dx, unbroadcast(g * out * log(base), y)


@primitive
def abs_(x):
    """|x|; d/dx = sign(x), 0 at 0."""
    return abs(x)


@abs_.vjp
def abs_vjp(g, out, x):
    return (g * sign(x),)


@primitive
def sign(x):
    """-1, 0 or 1; its derivative is 0 wherever it has one."""
    return array_module(x).sign(x)


@sign.vjp
def sign_vjp(g, out, x):
    return (None,)


# --- exponentials and their relatives -------------------------------------------------------------------------


@primitive
def exp(x):
    """e^x; d/dx = e^x."""
    return array_module(x).exp(x)


@exp.vjp
def exp_vjp(g, out, x):
    return (g * out,)


@primitive
def log(x):
    """Natural logarithm; d/dx = 1 / x."""
    return array_module(x).log(x)


@log.vjp
def log_vjp(g, out, x):
    return (g / x,)


@primitive
def sqrt(x):
    """The square root; d/dx = 1 / (2 sqrt(x))."""
    return array_module(x).sqrt(x)


@sqrt.vjp
def sqrt_vjp(g, out, x):
    return (g / (2.0 * out),)


@primitive
def sin(x):
    """sin x; d/dx = cos x."""
    return array_module(x).sin(x)


@sin.vjp
def sin_vjp(g, out, x):
    return (g * cos(x),)


@primitive
def cos(x):
    """cos x; d/dx = -sin x."""
    return array_module(x).cos(x)


@cos.vjp
def cos_vjp(g, out, x):
    return (-g * sin(x),)


@primitive
def tanh(x):
    """The hyperbolic tangent; d/dx = 1 - tanh(x)^2."""
    return array_module(x).tanh(x)


@tanh.vjp
def tanh_vjp(g, out, x):
    return (g * (1.0 - out * out),)


@primitive
def sigmoid(x):
    """1 / (1 + e^-x), computed as (1 + tanh(x/2)) / 2, which cannot overflow; d/dx = s (1 - s)."""
    return 0.5 * (1.0 + array_module(x).tanh(0.5 * x))


@sigmoid.vjp
def sigmoid_vjp(g, out, x):
    return (g * out * (1.0 - out),)


# --- choosing -------------------------------------------------------------------------------------------------


@primitive
def maximum(x, y):
    """The larger of x and y; the gradient goes to the larger, half to each where they are equal."""
    return library(x, y).maximum(x, y)


@maximum.vjp
def maximum_vjp(g, out, x, y):
    share = 0.5 * ((x == out) * 1.0 - (y == out) * 1.0 + 1.0)  # 1 where x is larger, 0 where y is, 1/2 for both
    return unbroadcast(g * share, x), unbroadcast(g * (1.0 - share), y)


@primitive
def minimum(x, y):
    """The smaller of x and y; the gradient goes to the smaller, half to each where they are equal."""
    return library(x, y).minimum(x, y)


@minimum.vjp
def minimum_vjp(g, out, x, y):
    share = 0.5 * ((x == out) * 1.0 - (y == out) * 1.0 + 1.0)
    return unbroadcast(g * share, x), unbroadcast(g * (1.0 - share), y)


@primitive
def where(condition, x, y):
    """x where the condition holds, y elsewhere; each gets the gradient of its own places. 0 d(condition)."""
    return library(condition, x, y).where(condition, x, y)


@where.vjp
def where_vjp(g, out, condition, x, y):
    dx = None if is_number(x) else unbroadcast(where(condition, g, 0.0), x)
    dy = None if is_number(y) else unbroadcast(where(condition, 0.0, g), y)
    return None, dx, dy


# --- comparing: booleans, through which no gradient flows --------------------------------------------------------


@primitive
def equal(x, y):
    """x == y."""
    return x == y


@primitive
def not_equal(x, y):
    """x != y."""
    return x != y


@primitive
def less(x, y):
    """x < y."""
    return x < y


@primitive
def less_equal(x, y):
    """x <= y."""
    return x <= y


@primitive
def greater(x, y):
    """x > y."""
    return x > y


@primitive
def greater_equal(x, y):
    """x >= y."""
    return x >= y
