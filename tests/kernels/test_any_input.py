"""Fast and plain give the same for every input that either accepts, and the same error for every other.

Inputs that fit are drawn for each op of the table that has a fast pair, and then spoiled: an axis too many or too few,
another length, another dtype, broadcasting, infinite and missing values, targets out of range.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_table import FAST, TABLE

from tinygrad_llm.autograd import Tensor, plain, raw

ROWS = {row.name: row for row in TABLE if row.name in FAST or row.name == "log_softmax"}
PROBABILITIES = {"softmax", "log_softmax", "token_losses"}  # logits of -∞ are ordinary, so gradients are compared too
ERRORS = (ValueError, IndexError, TypeError, ZeroDivisionError)


@st.composite
def spoiled(draw, x):
    """x, or x with one thing changed."""
    if not isinstance(x, np.ndarray):
        return x
    x = x.astype(draw(st.sampled_from([np.float64, np.float32]))) if x.dtype.kind == "f" else x
    change = draw(st.sampled_from(["nothing", "nothing", "nothing", *CHANGES]))
    return x if change == "nothing" else CHANGES[change](draw, x)


def another_axis(draw, x):
    return np.expand_dims(x, draw(st.integers(0, x.ndim)))


def one_axis_less(draw, x):
    return np.asarray(x.take(0, draw(st.integers(0, x.ndim - 1)))) if x.ndim and x.size else x


def another_length(draw, x):
    if not x.ndim or not x.size:
        return x
    axis = draw(st.integers(0, x.ndim - 1))
    return x.take(range(draw(st.integers(0, x.shape[axis] + 2))), axis, mode="wrap")


def another_dtype(draw, x):
    return x.astype(draw(st.sampled_from([np.float32, np.float64, np.int64])))


def a_special_value(draw, x):
    if x.dtype.kind != "f" or not x.size:
        return x
    x = x.copy()
    count = draw(st.integers(1, 3))
    places = draw(st.lists(st.integers(0, x.size - 1), min_size=count, max_size=count))
    x.reshape(-1)[places] = draw(st.sampled_from([np.inf, -np.inf, np.nan, 0.0, 30.0, -30.0]))
    return x


def an_integer_out_of_range(draw, x):
    if x.dtype.kind == "f" or not x.size:
        return x
    x = x.copy()
    x.reshape(-1)[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from([-1, -100, 99]))
    return x


CHANGES = {
    function.__name__: function
    for function in (
        *(another_axis, one_axis_less, another_length, another_dtype, a_special_value, an_integer_out_of_range),
    )
}


def outcome(op, inputs, options):
    """(value, gradients), or the class of the error."""
    tensors = [Tensor(x.copy(), requires_grad=True) if is_float(x) else x for x in inputs]
    try:
        values = op(*inputs, **options)
        recorded = op(*tensors, **options)
        assert raw(values).dtype == recorded.dtype
        if isinstance(recorded, Tensor) and recorded.requires_grad:
            weights = np.cos(np.arange(recorded.size)).reshape(recorded.shape).astype(recorded.dtype)
            recorded.backward(weights)
    except ERRORS as error:
        return error, []
    gradients = [None if x.grad is None else x.grad.data for x in tensors if isinstance(x, Tensor)]
    return None, [raw(values), raw(recorded), *gradients]


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=600, deadline=None)
@given(st.data())
def test_fast_and_plain_agree_on_any_input(name, data):
    row = ROWS[name]
    case = data.draw(st.sampled_from(row.cases))
    inputs = [data.draw(spoiled(x)) for x in case.draw()]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fast_error, fast = outcome(row.op, inputs, case.options)
        with plain():
            plain_error, slow = outcome(row.op, inputs, case.options)
    assert type(fast_error) is type(plain_error), (fast_error, plain_error)
    coarse = any(x.dtype == np.float32 for x in inputs if is_float(x))
    all_finite = all(np.isfinite(x).all() for x in inputs if is_float(x))
    for i, (x, y) in enumerate(zip(fast, slow, strict=True)):
        assert (x is None) == (y is None)
        if x is None:
            continue
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        if i > 1 and not all_finite:  # of a gradient, ∞ and nan say the same: there is none
            both = np.isfinite(x) & np.isfinite(y)
            assert name not in PROBABILITIES or np.array_equal(both, np.isfinite(x) | np.isfinite(y))
            x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
        finite = np.abs(y[np.isfinite(y)]).max(initial=1.0)
        precision = 2e-4 if coarse else 1e-9
        np.testing.assert_allclose(x, y, rtol=precision, atol=precision * finite)
