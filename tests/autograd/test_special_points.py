"""Values, gradients and second derivatives where formulas are fragile: 0, ±1, ties, ±∞, nan, empty arrays.

Every number of the tables was worked out by hand from the definition (limits where the formula has a gap). SKIP marks
what is left open: a derivative that does not exist, or a limit that floating-point arithmetic does not find (0 · ∞).
"""

import math

import numpy as np
import pytest
from ops_table import TABLE

from tinygrad_llm.autograd import Tensor, hessian, ops
from tinygrad_llm.autograd.tensor import raw

inf, nan, pi, SKIP = math.inf, math.nan, math.pi, None
LOG2, LOG10 = math.log(2.0), math.log(10.0)
TAN1 = math.tan(1.0)

# name: rows of (x, f(x), f'(x), f''(x))
ONE_ARGUMENT = {
    "negative": [(0, 0, -1, 0), (inf, -inf, -1, 0), (nan, nan, -1, 0)],
    "square": [(0, 0, 0, 2), (-1, 1, -2, 2), (inf, inf, inf, 2), (nan, nan, nan, 2)],
    "abs": [(0, 0, 0, 0), (-1, 1, -1, 0), (1, 1, 1, 0), (-inf, inf, -1, 0), (nan, nan, nan, SKIP)],
    "sign": [(0, 0, 0, 0), (-1, -1, 0, 0), (inf, 1, 0, 0)],
    "reciprocal": [(1, 1, -1, 2), (-1, -1, -1, -2), (0, inf, -inf, inf), (inf, 0, 0, 0), (nan, nan, nan, nan)],
    "exp": [(0, 1, 1, 1), (inf, inf, inf, inf), (-inf, 0, 0, 0), (nan, nan, nan, nan)],
    "expm1": [(0, 0, 1, 1), (inf, inf, inf, inf), (-inf, -1, 0, 0)],
    "exp2": [(0, 1, LOG2, LOG2**2), (1, 2, 2 * LOG2, 2 * LOG2**2), (-inf, 0, 0, 0)],
    "log": [(1, 0, 1, -1), (0, -inf, inf, -inf), (inf, inf, 0, 0), (nan, nan, nan, nan)],
    "log1p": [(0, 0, 1, -1), (-1, -inf, inf, -inf), (inf, inf, 0, 0)],
    "log2": [(1, 0, 1 / LOG2, -1 / LOG2), (0, -inf, inf, -inf), (inf, inf, 0, 0)],
    "log10": [(1, 0, 1 / LOG10, -1 / LOG10), (0, -inf, inf, -inf), (inf, inf, 0, 0)],
    "sqrt": [(1, 1, 0.5, -0.25), (0, 0, inf, -inf), (inf, inf, 0, 0), (-1, nan, nan, nan)],
    "rsqrt": [(1, 1, -0.5, 0.75), (0, inf, -inf, inf), (inf, 0, 0, 0)],
    "sin": [(0, 0, 1, 0), (inf, nan, nan, nan)],
    "cos": [(0, 1, 0, -1), (inf, nan, nan, nan)],
    "tan": [(0, 0, 1, 0), (1, TAN1, 1 + TAN1**2, 2 * TAN1 * (1 + TAN1**2)), (inf, nan, nan, nan)],
    "arcsin": [(0, 0, 1, 0), (1, pi / 2, inf, inf), (-1, -pi / 2, inf, -inf), (2, nan, nan, nan)],
    "arccos": [(0, pi / 2, -1, 0), (1, 0, -inf, -inf), (-1, pi, -inf, inf), (2, nan, nan, nan)],
    "arctan": [(0, 0, 1, 0), (1, pi / 4, 0.5, -0.5), (-inf, -pi / 2, 0, SKIP)],
    "sinh": [(0, 0, 1, 0), (inf, inf, inf, inf), (-inf, -inf, inf, -inf)],
    "cosh": [(0, 1, 0, 1), (inf, inf, inf, inf), (-inf, inf, -inf, inf)],
    "tanh": [(0, 0, 1, 0), (inf, 1, 0, 0), (-inf, -1, 0, 0), (nan, nan, nan, nan)],
    "arcsinh": [(0, 0, 1, 0), (inf, inf, 0, SKIP), (-inf, -inf, 0, SKIP)],
    "arccosh": [(1, 0, inf, -inf), (inf, inf, 0, 0), (0, nan, nan, nan)],
    "arctanh": [(0, 0, 1, 0), (1, inf, inf, inf), (-1, -inf, inf, -inf)],
    "floor": [(1, 1, 0, 0), (-0.5, -1, 0, 0), (inf, inf, 0, 0), (nan, nan, 0, 0)],
    "ceil": [(1, 1, 0, 0), (0.5, 1, 0, 0), (-inf, -inf, 0, 0)],
    "trunc": [(1, 1, 0, 0), (-0.5, 0, 0, 0), (inf, inf, 0, 0)],
    "round": [(1, 1, 0, 0), (0.5, 0, 0, 0), (1.5, 2, 0, 0), (inf, inf, 0, 0)],
    "nan_to_num": [(1, 1, 1, 0), (nan, 0, 0, 0), (inf, np.finfo(float).max, 0, 0), (-inf, -np.finfo(float).max, 0, 0)],
    "erf": [(0, 0, 2 / math.sqrt(pi), 0), (inf, 1, 0, SKIP), (-inf, -1, 0, SKIP), (nan, nan, nan, nan)],
    "relu": [(0, 0, 0, 0), (-1, 0, 0, 0), (1, 1, 1, 0), (inf, inf, 1, 0), (-inf, 0, 0, 0), (nan, nan, SKIP, SKIP)],
    "sigmoid": [(0, 0.5, 0.25, 0), (inf, 1, 0, 0), (-inf, 0, 0, 0), (nan, nan, nan, nan)],
    "softplus": [(0, LOG2, 0.5, 0.25), (inf, inf, 1, 0), (-inf, 0, 0, 0), (nan, nan, nan, nan)],
    "silu": [(0, 0, 0.5, 0.5), (nan, nan, nan, nan), (1000, 1000, 1, 0), (-1000, 0, 0, 0)],
    "gelu": [(0, 0, 0.5, math.sqrt(2 / pi)), (nan, nan, nan, nan), (1000, 1000, 1, 0), (-1000, 0, 0, 0)],
}

# name: rows of (x, y, f, ∂f/∂x, ∂f/∂y, ∂²f/∂x², ∂²f/∂x∂y, ∂²f/∂y²)
TWO_ARGUMENTS = {
    "add": [(inf, 1, inf, 1, 1, 0, 0, 0), (0, 0, 0, 1, 1, 0, 0, 0)],
    "subtract": [(inf, 1, inf, 1, -1, 0, 0, 0), (inf, inf, nan, 1, -1, 0, 0, 0)],
    "multiply": [(0, 0, 0, 0, 0, 0, 1, 0), (inf, 2, inf, 2, inf, 0, 1, 0), (0, inf, nan, inf, 0, 0, 1, 0)],
    "divide": [
        (0, 1, 0, 1, 0, 0, -1, 0),
        (1, 0, inf, inf, -inf, 0, -inf, inf),
        (1, inf, 0, 0, 0, 0, 0, 0),
        (0, 0, nan, inf, nan, 0, -inf, nan),
    ],
    "power": [
        (2, 0, 1, 0, LOG2, 0, 0.5, LOG2**2),
        (2, 1, 2, 1, 2 * LOG2, 0, 1 + LOG2, 2 * LOG2**2),
        (1, 5, 1, 5, 0, 20, 1, 0),
        (4, 0.5, 2, 0.25, 2 * math.log(4), -1 / 32, 0.5 + 0.25 * math.log(4), 2 * math.log(4) ** 2),
        (0, 2, 0, 0, 0, 2, 0, 0),
        (0, 1, 0, 1, 0, 0, SKIP, 0),
        (0, 0, 1, 0, 0, SKIP, SKIP, SKIP),
        (0, -1, inf, -inf, -inf, inf, SKIP, inf),
        (-2, 3, -8, 12, nan, -12, nan, nan),
        (-2, 0, 1, 0, nan, 0, nan, nan),
        (inf, 2, inf, inf, inf, 2, SKIP, inf),
        (nan, 2, nan, nan, nan, 2, nan, nan),
    ],
    "maximum": [(1, 1, 1, 0.5, 0.5, 0, 0, 0), (inf, 1, inf, 1, 0, 0, 0, 0), (0, -0.0, 0, 0.5, 0.5, 0, 0, 0)],
    "minimum": [(1, 1, 1, 0.5, 0.5, 0, 0, 0), (-inf, 1, -inf, 1, 0, 0, 0, 0)],
    "logaddexp": [
        (0, 0, LOG2, 0.5, 0.5, 0.25, -0.25, 0.25),
        (-inf, 0, 0, 0, 1, 0, 0, 0),
        (-inf, -inf, -inf, 0, 0, 0, 0, 0),
        (1000, 0, 1000, 1, 0, 0, 0, 0),
    ],
    "hypot": [
        (3, 4, 5, 0.6, 0.8, 16 / 125, -12 / 125, 9 / 125),
        (0, 0, 0, 0, 0, SKIP, SKIP, SKIP),
        (0, 2, 2, 0, 1, 0.5, 0, 0),
        (3e200, 4e200, 5e200, 0.6, 0.8, 0, 0, 0),
    ],
    "arctan2": [  # arctan2(y, x): the first argument is y
        (0, 1, 0, 1, 0, 0, -1, 0),
        (1, 0, pi / 2, 0, -1, 0, 1, 0),
        (0, -1, pi, -1, 0, 0, -1, 0),
        (3e200, 4e200, math.atan2(3, 4), 1.6e-201, -1.2e-201, 0, 0, 0),
    ],
    "remainder": [(7, 3, 1, 1, -2, 0, 0, 0), (-7, 3, 2, 1, 3, 0, 0, 0), (6, 3, 0, 1, -2, 0, 0, 0)],
    "floor_divide": [(7, 3, 2, 0, 0, 0, 0, 0), (-7, 3, -3, 0, 0, 0, 0, 0), (6, 3, 2, 0, 0, 0, 0, 0)],
}

# (f, x, f(x), f'(x), f''(x)): the same with a Python number on one side, which takes other paths.
WITH_A_NUMBER = [
    (lambda x: x**0, [(2, 1, 0, 0), (0, 1, 0, 0), (-1, 1, 0, 0)]),
    (lambda x: x**1, [(2, 2, 1, 0), (0, 0, 1, 0), (inf, inf, 1, 0)]),
    (lambda x: x**2, [(2, 4, 4, 2), (0, 0, 0, 2), (-inf, inf, -inf, 2)]),
    (lambda x: x**3, [(2, 8, 12, 12), (0, 0, 0, 0), (-1, -1, 3, -6)]),
    (lambda x: x**0.5, [(4, 2, 0.25, -1 / 32), (0, 0, inf, -inf)]),
    (lambda x: x**1.5, [(4, 8, 3, 3 / 8), (0, 0, 0, inf)]),
    (lambda x: x**-1, [(1, 1, -1, 2), (0, inf, -inf, inf), (inf, 0, 0, 0)]),
    (lambda x: 2.0**x, [(0, 1, LOG2, LOG2**2), (-inf, 0, 0, 0)]),
    (lambda x: 1.0**x, [(0, 1, 0, 0), (5, 1, 0, 0)]),
    (lambda x: 0.0**x, [(2, 0, 0, 0), (0, 1, 0, SKIP), (-1, inf, -inf, SKIP)]),
    (lambda x: (-2.0) ** x, [(3, -8, nan, nan)]),
    (lambda x: 1.0 / x, [(0, inf, -inf, inf), (inf, 0, 0, 0)]),
    (lambda x: x / 0.0, [(1, inf, inf, 0)]),
    (lambda x: ops.maximum(x, 0.0), [(0, 0, 0.5, 0), (1, 1, 1, 0)]),
    (lambda x: ops.clip(x, -1.0, 1.0), [(1, 1, 0.5, 0), (-1, -1, 0.5, 0), (2, 1, 0, 0), (inf, 1, 0, 0)]),
    (lambda x: ops.clip(x, 1.0, 1.0), [(1, 1, 0.25, 0)]),
    (lambda x: ops.logaddexp(x, 0.0), [(0, LOG2, 0.5, 0.25), (-inf, 0, 0, 0)]),
    (lambda x: ops.where(x > 0, x, 0.0), [(0, 0, 0, 0), (-inf, 0, 0, 0), (inf, inf, 1, 0)]),
]


def assert_is(found, wanted):
    if wanted is not SKIP:
        np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)


def derivatives(f, x):
    """f, f' and f'' at x."""
    x = Tensor(np.array(float(x)), requires_grad=True)
    y = f(x)
    y.backward(create_graph=True)
    first, x.grad = x.grad, None
    if first.requires_grad:
        first.backward()
    return y.item(), first.item(), 0.0 if x.grad is None else x.grad.item()


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_one_argument(name):
    check_each(getattr(ops, name), ONE_ARGUMENT[name])


@pytest.mark.parametrize("i", range(len(WITH_A_NUMBER)))
def test_with_a_number(i):
    check_each(*WITH_A_NUMBER[i])


def check_each(f, rows):
    for x, *wanted in rows:
        with np.errstate(all="ignore"):
            found = derivatives(f, x)
        for order, (y, w) in enumerate(zip(found, wanted, strict=True)):
            try:
                assert_is(y, w)
            except AssertionError as error:
                raise AssertionError(f"at {x}, order {order}: {error}") from None


@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_two_arguments(name):
    op = getattr(ops, name)
    for x, y, *wanted in TWO_ARGUMENTS[name]:
        inputs = [Tensor(np.array(float(v)), requires_grad=True) for v in (x, y)]
        with np.errstate(all="ignore"):
            z = op(*inputs)
            z.backward()
            dx, dy = (v.grad.item() for v in inputs)
            (hxx, hxy), (hyx, hyy) = hessian(op, (0, 1))(*(Tensor(v.data) for v in inputs))
        found = [z.item(), dx, dy, raw(hxx), raw(hxy), raw(hyy), raw(hyx)]
        names = ("f", "fx", "fy", "fxx", "fxy", "fyy", "fyx")
        for what, f, w in zip(names, found, [*wanted, wanted[4]], strict=True):
            try:
                assert_is(f, w)
            except AssertionError as error:
                raise AssertionError(f"{what} at {x}, {y}: {error}") from None


def test_every_elementwise_op_has_special_points():
    elementwise = {row.name for row in TABLE if row.op is getattr(ops, row.name, None) and row.differentiable}
    elementwise &= {name for name in vars(np) if isinstance(getattr(np, name), np.ufunc)}
    elementwise -= {"matmul"}
    assert elementwise <= set(ONE_ARGUMENT) | set(TWO_ARGUMENTS)


# (what, op, x, weights of the outputs, value, gradient of Σ weights · value)
REDUCTIONS = [
    ("max of ties", ops.max, [1.0, 3.0, 3.0], 1.0, 3.0, [0.0, 0.5, 0.5]),
    ("max of equals", ops.max, [2.0, 2.0, 2.0, 2.0], 1.0, 2.0, [0.25] * 4),
    ("max of infinities", ops.max, [-inf, inf, inf], 1.0, inf, [0.0, 0.5, 0.5]),
    ("max of -inf", ops.max, [-inf, -inf], 1.0, -inf, [0.5, 0.5]),
    ("max of nan", ops.max, [1.0, nan], 1.0, nan, [nan, nan]),
    ("min of ties", ops.min, [1.0, 3.0, 1.0], 1.0, 1.0, [0.5, 0.0, 0.5]),
    ("norm of 0", ops.norm, [0.0, 0.0], 1.0, 0.0, [0.0, 0.0]),
    ("std of equals", ops.std, [2.0, 2.0], 1.0, 0.0, [0.0, 0.0]),
    ("std of one", ops.std, [2.0], 1.0, 0.0, [0.0]),
    ("var of one, ddof 1", lambda x: ops.var(x, ddof=1), [2.0], 1.0, nan, [nan]),
    ("prod with one 0", ops.prod, [0.0, 2.0, 3.0], 1.0, 0.0, [6.0, 0.0, 0.0]),
    ("prod with two 0", ops.prod, [0.0, 0.0, 3.0], 1.0, 0.0, [0.0, 0.0, 0.0]),
    ("cumprod with 0", ops.cumprod, [2.0, 0.0, 3.0], [1.0, 1.0, 1.0], [2.0, 0.0, 0.0], [1.0, 8.0, 0.0]),
    ("sum with inf", ops.sum, [inf, 1.0], 1.0, inf, [1.0, 1.0]),
    ("logsumexp of -inf", ops.logsumexp, [-inf, -inf], 1.0, -inf, [0.0, 0.0]),
    ("logsumexp with -inf", ops.logsumexp, [0.0, -inf], 1.0, 0.0, [1.0, 0.0]),
    ("softmax with -inf", ops.softmax, [0.0, -inf, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.25, 0.0, -0.25]),
    ("softmax of one", ops.softmax, [5.0], [1.0], [1.0], [0.0]),
    ("log_softmax with -inf", ops.log_softmax, [0.0, -inf], [1.0, 0.0], [0.0, -inf], [0.0, 0.0]),
    ("sort of ties", ops.sort, [2.0, 1.0, 2.0], [1.0, 10.0, 100.0], [1.0, 2.0, 2.0], [10.0, 1.0, 100.0]),
    ("sort with nan", ops.sort, [nan, 1.0, inf], [1.0, 10.0, 100.0], [1.0, inf, nan], [100.0, 1.0, 10.0]),
    ("topk of ties", lambda x: ops.topk(x, 2)[0], [2.0, 1.0, 2.0, 2.0], [1.0, 10.0], [2.0, 2.0], [1.0, 0.0, 10.0, 0.0]),
    ("sum of nothing", ops.sum, [], 1.0, 0.0, []),
    ("mean of nothing", ops.mean, [], 1.0, nan, []),
    ("prod of nothing", ops.prod, [], 1.0, 1.0, []),
    ("norm of nothing", ops.norm, [], 1.0, 0.0, []),
    ("cumsum of nothing", ops.cumsum, [], [], [], []),
    ("cumprod of nothing", ops.cumprod, [], [], [], []),
    ("sort of nothing", ops.sort, [], [], [], []),
    ("diff of one", ops.diff, [3.0], [], [], [0.0]),
    ("trace of nothing", lambda x: ops.trace(x.reshape(0, 0)), [], 1.0, 0.0, []),
]


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize("row", REDUCTIONS, ids=lambda row: row[0])
def test_many_values(row):
    _, op, x, weights, value, gradient = row
    x = Tensor(np.array(x), requires_grad=True)
    with np.errstate(all="ignore"):
        y = op(x)
        y.backward(np.array(weights))
    assert_is(y.numpy(), value)
    assert_is(x.grad.numpy(), gradient)


# (f, x, Hessian): where second derivatives are fragile
HESSIANS = [
    ("prod with two 0", ops.prod, [0.0, 0.0, 3.0], [[0, 3, 0], [3, 0, 0], [0, 0, 0]]),
    ("prod with three 0", ops.prod, [0.0, 0.0, 0.0], np.zeros((3, 3))),
    ("logsumexp with -inf", ops.logsumexp, [0.0, 0.0, -inf], [[0.25, -0.25, 0], [-0.25, 0.25, 0], [0, 0, 0]]),
    ("logsumexp of -inf", ops.logsumexp, [-inf, -inf], np.zeros((2, 2))),
    ("max of ties", ops.max, [1.0, 1.0], np.zeros((2, 2))),
    ("softmax with -inf", lambda x: ops.softmax(x)[0], [0.0, -inf], np.zeros((2, 2))),
    ("var", ops.var, [2.0, 2.0], [[0.5, -0.5], [-0.5, 0.5]]),
    ("sum of squares", lambda x: (x * x).sum(), [0.0, inf], 2.0 * np.eye(2)),
    ("norm", ops.norm, [3.0, 4.0], [[16 / 125, -12 / 125], [-12 / 125, 9 / 125]]),
    ("max of a square", lambda x: ops.max(x * x), [-1.0, 1.0], np.eye(2)),
]


@pytest.mark.parametrize("row", HESSIANS, ids=lambda row: row[0])
def test_second_derivatives_of_many_values(row):
    _, f, x, wanted = row
    with np.errstate(all="ignore"):
        assert_is(raw(hessian(f)(Tensor(np.array(x)))), wanted)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
@pytest.mark.parametrize("name", [*ONE_ARGUMENT, "softmax", "log_softmax", "cumsum", "flip", "sort", "tile", "repeat"])
def test_nothing_in_nothing_out_at_both_orders(name, shape):
    if name in ("softmax", "log_softmax") and shape[-1] == 0:
        return  # a softmax needs one value at least
    extra = {"tile": (2,), "repeat": (2,)}.get(name, ())
    x = Tensor(np.zeros(shape), requires_grad=True)
    y = getattr(ops, name)(x, *extra)
    (y * y).sum().backward(create_graph=True)
    assert x.grad.shape == shape
    first, x.grad = x.grad, None
    first.sum().backward()
    assert y.size == 0 and (x.grad is None or x.grad.shape == shape)


@pytest.mark.parametrize("name", TWO_ARGUMENTS)
def test_nothing_with_something(name):
    x, y = Tensor(np.zeros((2, 0)), requires_grad=True), Tensor(np.ones((2, 1)), requires_grad=True)
    z = getattr(ops, name)(x, y)
    z.sum().backward()
    assert z.shape == x.grad.shape == (2, 0)
    assert y.grad.numpy().tolist() == [[0.0], [0.0]]
