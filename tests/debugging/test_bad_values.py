"""`find_bad_values` names the first op that made a NaN or an infinity, where it was called and from what."""

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, no_grad, ops, plain
from tinygrad_llm.autograd.functional import gradients
from tinygrad_llm.debugging.bad_values import find_bad_values
from tinygrad_llm.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


def report(call):
    with pytest.raises(FloatingPointError) as error, find_bad_values():
        call()
    return str(error.value)


def test_the_op_the_place_the_line_and_the_inputs():
    x = leaf(1.0, 0.0, 4.0)
    text = report(lambda: (x.log() * 2.0).sum())  # the line that is named
    assert text.startswith("the op 'log' made 1 infinity in 3 values, the first at [1].")
    assert "test_bad_values.py" in text and "# the line that is named" in text
    assert "input 1: float64[3] from 0 to 4, there 0" in text


def test_only_the_first_of_many():
    x = leaf(-1.0, 2.0)
    assert report(lambda: (x.sqrt() + x).exp().sum()).startswith(
        "the op 'sqrt' made 1 NaN in 2 values, the first at [0]"
    )


def test_a_nan_made_of_infinities():
    x = leaf(800.0, 1.0)
    assert report(lambda: x.exp()).startswith("the op 'exp' made 1 infinity")
    wall = Tensor(np.array([np.inf, 1.0]))
    assert report(lambda: (x + wall) - wall).startswith("the op 'subtract' made 1 NaN in 2 values, the first at [0]")


def test_a_nan_that_was_there_before():
    x = leaf(1.0, np.nan)
    assert report(lambda: x * 2.0).startswith("input 1 of the op 'multiply' has 1 NaN in 2 values, the first at [1]")


def test_a_mask_of_infinities_is_no_fault():
    x = leaf(1.0, 2.0, 3.0)
    with find_bad_values():
        masked = ops.where(np.array([True, True, False]), x, -np.inf)
        F.softmax(masked)[0].backward()
        q = Tensor(np.ones((1, 3, 1, 2)), requires_grad=True)
        with plain():
            F.attention(q, q, q).sum().backward()
    assert np.isfinite(x.grad.data).all()


def test_a_wholly_masked_row_is_a_fault():
    assert "made 1 NaN" in report(lambda: F.softmax(leaf(0.0) - np.inf))


def test_a_rule_that_makes_it_backwards():
    x = leaf(4.0, 0.0)
    text = report(lambda: x.sqrt().sum().backward())
    assert text.startswith("backward, the rule of 'sqrt' made, in the gradient of input 1, 1 infinity")
    assert "result: float64[2] from 0 to 2, there 0" in text
    assert "gradient of the result: float64[2] from 1 to 1, there 1" in text
    assert "x.sqrt().sum().backward()" in text


def test_a_rule_that_makes_it_at_second_order():
    x = leaf(0.0)

    def call():
        slope = gradients(x.power(1.5).sum() if hasattr(x, "power") else (x**1.5).sum(), x, create_graph=True)
        gradients(slope.sum(), x)

    assert "infinity" in report(call)


def test_gradients_that_are_too_large_only_together():
    x = Tensor(np.array([1.0], np.float32), requires_grad=True)
    y = x * 1.0
    big = np.float32(2e38)
    text = report(lambda: ((y * big).sum() + (y * big).sum() - 3e38).backward())
    assert "the op" in text or "summed over its uses" in text


def test_a_seed_that_is_bad():
    x = leaf(1.0)
    text = report(lambda: (x * 2.0).backward(np.array([np.nan])))
    assert text.startswith("the gradient of the result of 'multiply', summed over its uses, has 1 NaN")


def test_also_where_nothing_is_recorded():
    with no_grad():
        assert report(lambda: leaf(0.0).log()).startswith("the op 'log' made 1 infinity")


def test_numbers_and_integers_are_looked_at_rightly():
    with find_bad_values():
        assert (Tensor([1, 2]) + 1).data.tolist() == [2, 3]
    assert report(lambda: leaf(1.0) * float("nan")).startswith("input 2 of the op 'multiply' has 1 NaN in 1 values")


def test_outside_nothing_is_checked():
    assert np.isinf(leaf(0.0).log().data[0])
