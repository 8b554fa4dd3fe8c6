"""More ops that work element by element: powers, logarithms, choices and comparisons.

Builds on: `basic`, which has the four arithmetic ops, exp, sqrt, tanh and where.

Each rule is the derivative from the calculus book times the incoming gradient g, summed over what was broadcast.
A kink (abs at 0, maximum where both are equal) has no derivative; the rule takes the middle of the two sides.
"""

import math

from tinygrad_llm.autograd.ops.basic import is_number, unbroadcast, where
from tinygrad_llm.autograd.ops.composite import composite
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.backend import array_module


def library(*xs):
    """The array library of the first array among the operands (numbers belong to every library)."""
    return array_module(next((x for x in xs if not is_number(x)), 0.0))


@primitive
def negative(x):
    """-x; d/dx = -1. Any shape.

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
    """x^y; d/dx = y x^(y-1), d/dy = x^y log x (taken as 0 where x is not positive). Shapes broadcast.

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
        return (None if y == 0 else g if y == 1 else g * (y * power(x, y - 1))), None
    if is_number(x):
        return None, g * out * (math.log(x) if x > 0 else 0.0)
    dy = unbroadcast(g * out * log(where(x > 0, x, 1.0)), y)
    lowered = where(y == 0, 1.0, y - 1.0)  # at y = 0 the slope is 0 · x^-1: 0, also where x is 0
    return unbroadcast(g * (y * power(x, lowered)), x), dy


@primitive
def square(x):
    """x²; d/dx = 2x. Any shape.

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
    """|x|; d/dx = sign(x), 0 at 0. Any shape.

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


@primitive
def sign(x):
    """-1, 0 or 1; its derivative is 0 wherever it has one. Any shape.

    >>> print(ops.sign(Tensor([-3.0, 0.0, 2.0])).numpy())
    [-1.  0.  1.]
    """
    return array_module(x).sign(x)


@sign.vjp
def sign_vjp(g, out, x):
    return (None,)


# --- exponentials and their relatives -------------------------------------------------------------------------


@primitive
def expm1(x):
    """e^x - 1, exact also where x is tiny; d/dx = e^x. Any shape.

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
    """The natural logarithm; d/dx = 1 / x. Any shape.

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
def log1p(x):
    """log(1 + x), exact also where x is tiny; d/dx = 1 / (1 + x). Any shape.

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
    """1 / √x; d/dx = -1/2 x^(-3/2). Any shape.

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


@primitive
def sin(x):
    """sin x; d/dx = cos x. Any shape, in radians.

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
    """cos x; d/dx = -sin x. Any shape, in radians.

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
def clip(x, min=None, max=None):
    """min(max(x, low), high), NumPy's order when low > high; d/dx = 1 inside the bounds, 0 outside, 1/2 on them.

    min, max: numbers, arrays or Tensors that broadcast with x, or None for no bound. The bounds have a gradient too.

    >>> x = Tensor([-2.0, 0.5, 1.0, 3.0], requires_grad=True)
    >>> y = ops.clip(x, -1.0, 1.0)
    >>> y.sum().backward()
    >>> print(y.numpy(), x.grad.numpy())
    [-1.   0.5  1.   1. ] [0.  1.  0.5 0. ]
    """
    raised = x if min is None else maximum(x, min)
    return raised if max is None else minimum(raised, max)


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


# --- comparing: booleans, through which no gradient flows --------------------------------------------------------


@primitive
def equal(x, y):
    """x == y, element by element.

    >>> print(ops.equal(Tensor([1.0, 2.0]), 2.0).numpy())
    [False  True]
    """
    return x == y


@primitive
def not_equal(x, y):
    """x != y, element by element.

    >>> print(ops.not_equal(Tensor([1.0, 2.0]), 2.0).numpy())
    [ True False]
    """
    return x != y


@primitive
def less(x, y):
    """x < y, element by element.

    >>> print(ops.less(Tensor([1.0, 2.0]), 2.0).numpy())
    [ True False]
    """
    return x < y


@primitive
def less_equal(x, y):
    """x <= y, element by element.

    >>> print(ops.less_equal(Tensor([1.0, 2.0, 3.0]), 2.0).numpy())
    [ True  True False]
    """
    return x <= y


@primitive
def greater(x, y):
    """x > y, element by element.

    >>> print(ops.greater(Tensor([1.0, 2.0, 3.0]), 2.0).numpy())
    [False False  True]
    """
    return x > y


@primitive
def greater_equal(x, y):
    """x >= y, element by element.

    >>> print(ops.greater_equal(Tensor([1.0, 2.0, 3.0]), 2.0).numpy())
    [False  True  True]
    """
    return x >= y
