"""More ops that work element by element: powers, logarithms, choices and comparisons.

Builds on: `basic`, which has the four arithmetic ops, exp, sqrt, tanh and where.

Each rule is the derivative from the calculus book times the incoming gradient g, summed over what was broadcast.
A kink (abs at 0, maximum where both are equal) has no derivative; the rule takes the middle of the two sides.
"""

import math

from tinygrad_llm.autograd.ops.basic import exp, is_number, unbroadcast, where
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


def library(*xs):
    """The array library of the first array among the operands (numbers belong to every library)."""
    return array_module(next((x for x in xs if not is_number(x)), 0.0))


@primitive
def negative(x):
    """-x; d/dx = -1.

    >>> x = Tensor([1.0, -2.0], requires_grad=True)
    >>> y = ops.negative(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [-1.  2.] [-1. -1.]
    """
    return -x


@negative.vjp
def negative_vjp(g, out, x):
    return (-g,)


@primitive
def power(x, y):
    """x^y; d/dx = y x^(y-1), d/dy = x^y log x, which is nan where x is negative. Shapes broadcast.

    >>> x, y = Tensor([2.0, 3.0], requires_grad=True), Tensor([3.0, 0.0], requires_grad=True)
    >>> z = ops.power(x, y)
    >>> z.sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy())  # 3 · 2², 0 and 8 log 2, 1 log 3
    [8. 1.] [12.  0.] [5.5452 1.0986]
    """
    if is_number(y) and y == 2:
        return x * x  # NumPy's general power costs about forty times as much as a product
    if is_number(y) and y == 3:
        return x * x * x
    return x**y


@power.vjp
def power_vjp(g, out, x, y):
    if is_number(y):
        return (0.0 * g if y == 0 else g if y == 1 else g * (y * power(x, y - 1))), None
    if is_number(x):
        if x == 0:
            return None, where(y >= 0, 0.0, g * out * -math.inf)
        return None, g * out * (math.log(x) if x > 0 else math.nan)
    at_origin = (x == 0) * (y == 0)  # 0 · 0^-1 is taken as 0
    dx = g * (y * power(x, where(at_origin, 1.0, y - 1.0)))
    dy = g * (out * log(where((x == 0) * (y >= 0), 1.0, x)))  # the limit of x^y log x at x = 0 is 0
    return unbroadcast(dx, x), unbroadcast(dy, y)


@primitive
def sign(x):
    """-1, 0 or 1; d/dx = 0.

    >>> print(ops.sign(Tensor([-3.0, 0.0, 2.0])).numpy())
    [-1.  0.  1.]
    """
    return array_module(x).sign(x)


@sign.vjp
def sign_vjp(g, out, x):
    return (0.0 * g,)


@primitive
def reciprocal(x):
    """1 / x; d/dx = -1 / x².

    >>> print(ops.reciprocal(Tensor([2.0, -4.0])).numpy())
    [ 0.5  -0.25]
    """
    return array_module(x).reciprocal(x)


@reciprocal.vjp
def reciprocal_vjp(g, out, x):
    return (-g * (out * out),)


@primitive
def square(x):
    """x²; d/dx = 2x.

    >>> x = Tensor([3.0, -4.0], requires_grad=True)
    >>> y = ops.square(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [ 9. 16.] [ 6. -8.]
    """
    return x * x


@square.vjp
def square_vjp(g, out, x):
    return (g * (2.0 * x),)


@primitive
def abs_(x):
    """|x|; d/dx = sign(x), 0 at 0.

    >>> x = Tensor([-3.0, 0.0, 2.0], requires_grad=True)
    >>> y = ops.abs(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [3. 0. 2.] [-1.  0.  1.]
    """
    return abs(x)


@abs_.vjp
def abs_vjp(g, out, x):
    return (g * sign(x),)


# --- exponentials and their relatives -------------------------------------------------------------------------


@primitive
def expm1(x):
    """e^x - 1, exact also where x is tiny; d/dx = e^x.

    >>> x = Tensor([0.0, 1e-20], requires_grad=True)
    >>> y = ops.expm1(x)
    >>> y.sum().backward()
    >>> print(y.numpy()[1], x.grad.numpy())  # exp(1e-20) - 1 would give 0
    1e-20 [1. 1.]
    """
    return array_module(x).expm1(x)


@expm1.vjp
def expm1_vjp(g, out, x):
    return (g * (out + 1.0),)


@primitive
def log(x):
    """The natural logarithm; d/dx = 1 / x.

    >>> x = Tensor([1.0, 4.0], requires_grad=True)
    >>> y = ops.log(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [0.     1.3863] [1.   0.25]
    """
    return array_module(x).log(x)


@log.vjp
def log_vjp(g, out, x):
    return (g / x,)


@primitive
def log2(x):
    """The logarithm to base 2; d/dx = 1 / (x log 2).

    >>> print(ops.log2(Tensor([1.0, 8.0])).numpy())
    [0. 3.]
    """
    return array_module(x).log2(x)


@log2.vjp
def log2_vjp(g, out, x):
    return (g / (x * math.log(2.0)),)


@primitive
def log10(x):
    """The logarithm to base 10; d/dx = 1 / (x log 10).

    >>> print(ops.log10(Tensor([1.0, 1000.0])).numpy())
    [0. 3.]
    """
    return array_module(x).log10(x)


@log10.vjp
def log10_vjp(g, out, x):
    return (g / (x * math.log(10.0)),)


@primitive
def exp2(x):
    """2^x; d/dx = 2^x log 2.

    >>> print(ops.exp2(Tensor([0.0, 3.0])).numpy())
    [1. 8.]
    """
    return array_module(x).exp2(x)


@exp2.vjp
def exp2_vjp(g, out, x):
    return (g * (out * math.log(2.0)),)


@primitive
def logaddexp(x, y):
    """log(e^x + e^y), without overflow; d/dx = e^(x - out), d/dy = e^(y - out). Shapes broadcast.

    >>> print(ops.logaddexp(Tensor([0.0, 1000.0]), Tensor([0.0, 0.0])).numpy())  # log 2
    [   0.6931 1000.    ]
    """
    return library(x, y).logaddexp(x, y)


@logaddexp.vjp
def logaddexp_vjp(g, out, x, y):
    reached = where(out == -math.inf, 0.0, out)
    dx = None if is_number(x) else unbroadcast(g * exp(x - reached), x)
    return dx, None if is_number(y) else unbroadcast(g * exp(y - reached), y)


@primitive
def log1p(x):
    """log(1 + x), exact also where x is tiny; d/dx = 1 / (1 + x).

    >>> x = Tensor([1e-20, 3.0], requires_grad=True)
    >>> y = ops.log1p(x)
    >>> y.sum().backward()
    >>> print(y.numpy()[0], x.grad.numpy())  # log(1 + 1e-20) would give 0
    1e-20 [1.   0.25]
    """
    return array_module(x).log1p(x)


@log1p.vjp
def log1p_vjp(g, out, x):
    return (g / (1.0 + x),)


@primitive
def rsqrt(x):
    """1 / √x; d/dx = -1/2 x^(-3/2).

    >>> x = Tensor([1.0, 4.0], requires_grad=True)
    >>> y = ops.rsqrt(x)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [1.  0.5] [-0.5    -0.0625]
    """
    return 1.0 / array_module(x).sqrt(x)


@rsqrt.vjp
def rsqrt_vjp(g, out, x):
    return (g * (-0.5 * out * out * out),)


# --- choosing -------------------------------------------------------------------------------------------------


@primitive
def maximum(x, y):
    """The larger of x and y; the gradient goes to the larger, half to each where they are equal. Shapes broadcast.

    >>> x, y = Tensor([1.0, 5.0, 3.0], requires_grad=True), Tensor([2.0, 4.0, 3.0], requires_grad=True)
    >>> z = ops.maximum(x, y)
    >>> z.sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy())
    [2. 5. 3.] [0.  1.  0.5] [1.  0.  0.5]
    """
    return library(x, y).maximum(x, y)


@maximum.vjp
def maximum_vjp(g, out, x, y):
    return winners_share(g, x > y, x, y), winners_share(g, y > x, y, x)


@primitive
def minimum(x, y):
    """The smaller of x and y; the gradient goes to the smaller, half to each where they are equal. Shapes broadcast.

    >>> x, y = Tensor([1.0, 5.0, 3.0], requires_grad=True), Tensor([2.0, 4.0, 3.0], requires_grad=True)
    >>> z = ops.minimum(x, y)
    >>> z.sum().backward()
    >>> print(z.numpy(), x.grad.numpy(), y.grad.numpy())
    [1. 4. 3.] [1.  0.  0.5] [0.  1.  0.5]
    """
    return library(x, y).minimum(x, y)


@minimum.vjp
def minimum_vjp(g, out, x, y):
    return winners_share(g, x < y, x, y), winners_share(g, y < x, y, x)


def winners_share(g, wins, x, other):
    """What x gets of g: all where it wins against the other, half where they are equal."""
    return None if is_number(x) else unbroadcast(where(wins, g, where(x == other, 0.5 * g, 0.0)), x)


@composite
def clip(x, a_min=None, a_max=None, *, min=None, max=None):
    """min(max(x, low), high), NumPy's order when low > high; d/dx = 1 inside the bounds, 0 outside, 1/2 on them.

    a_min, a_max, or min, max: the bounds: numbers, arrays or Tensors that broadcast with x, or None for no bound. They
    have a gradient too.

    >>> x = Tensor([-2.0, 0.5, 1.0, 3.0], requires_grad=True)
    >>> y = ops.clip(x, -1.0, 1.0)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [-1.   0.5  1.   1. ] [0.  1.  0.5 0. ]
    """
    if (a_min is not None and min is not None) or (a_max is not None and max is not None):
        raise ValueError("a bound was given twice: pass either a_min and a_max, or min and max")
    low, high = a_min if min is None else min, a_max if max is None else max
    raised = x if low is None else maximum(x, low)
    return raised if high is None else minimum(raised, high)


@primitive
def nan_to_num(x, *, copy=True, nan=0.0, posinf=None, neginf=None):
    """x with numbers in place of nan, ∞ and -∞; d/dx = 1 where x is finite, else 0.

    posinf, neginf: None for the largest and the smallest number of the dtype. copy: always True; Tensors do not change.

    >>> print(ops.nan_to_num(Tensor([1.0, np.nan, np.inf]), posinf=9.0).numpy())
    [1. 0. 9.]
    """
    return array_module(x).nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


@nan_to_num.vjp
def nan_to_num_vjp(g, out, x, *, copy=True, nan=0.0, posinf=None, neginf=None):
    return (where(abs(x) < math.inf, g, 0.0),)  # false for nan too


@composite
def masked_fill(x, mask, value):
    """`value` where the mask holds, x elsewhere; d/dx = 0 under the mask, 1 elsewhere. Shapes broadcast.

    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = ops.masked_fill(x, np.array([False, True, False]), -np.inf)
    >>> print(y.numpy())
    [  1. -inf   3.]
    >>> y[::2].sum().backward()
    >>> print(x.grad.numpy())
    [1. 0. 1.]
    """
    return where(mask, value, x)
