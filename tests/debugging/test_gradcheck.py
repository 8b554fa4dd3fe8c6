"""The checker finds what is wrong, and says what it is: mistakes planted in rules, each caught and named."""

import doctest
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ops_table import TABLE

from tinygrad_llm.autograd import Primitive, Tensor, fused, ops, primitive, raw
from tinygrad_llm.autograd.ops.basic import unbroadcast
from tinygrad_llm.debugging.gradcheck import GradientError, Report, gradcheck
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.segments import positions as positions_of

X = np.array([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6], [-0.9, 0.7, 1.1]])  # square, so that a transpose fits
Y = np.array([[0.2, 1.4, -0.5], [-1.3, 0.9, 0.6], [0.8, -0.1, 1.7]])
V = np.array([0.5, -1.5, 2.5, 1.0])
POSITIVE = np.array([0.4, 1.7, 2.3])


@dataclass
class Mistake:
    """An op with a wrong rule: what it computes, its rule, a point, and what the checker shall call it."""

    forward: Any
    rule: Any
    inputs: tuple
    diagnosis: str
    hint: str = ""
    options: Any = None
    order: int = 1

    def op(self, *inputs):
        wrong = primitive(self.forward)
        wrong.vjp(self.rule)
        return wrong(*inputs, **(self.options or {}))


def cube(x):
    return x * x * x


def product(x, y):
    return x * y


def total(x, *, axis):
    return x.sum(axis=axis)


def average(x):
    return x.mean()


def spread(x):
    return x.var(ddof=1)


def lookup(x, *, index):
    return x[index]


def swap(x):
    return x.swapaxes(0, 1)


def matrix_product(x, y):
    return x @ y


def soft(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sine(x):
    return np.sin(x)


def exponential(x):
    return np.exp(x)


def hyperbolic(x):
    return np.tanh(x)


def running_sum(x):
    return np.cumsum(x, 0)


def backwards(x):
    return x[::-1]


def scaled(x, *, by):
    return x * by


def first_half(x):
    return x[:2]


def root(x):
    return np.sqrt(x)


def ordered(x):
    return np.sort(x)


def joined(x, y):
    return np.concatenate([x, y])


def largest(x):
    return x.max()


def log_of_sum(x):
    return np.log(np.exp(x).sum(-1))


BUFFER = np.zeros(4)


def into_buffer(g):
    BUFFER[...] = g
    return BUFFER


def written(array, factor):
    array *= factor
    return array


def overwritten(index, g, shape):
    out = np.zeros(shape, g.dtype)
    out[index] = g
    return out


PLANTED = {
    # signs and factors
    "sign of negative": Mistake(lambda x: -x, lambda g, out, x: (g,), (V,), "wrong rule: sign"),
    "sign of subtract": Mistake(lambda x, y: x - y, lambda g, out, x, y: (g, g), (X, Y), "wrong rule: sign", "input 1"),
    "sign of cos": Mistake(np.cos, lambda g, out, x: (g * ops.sin(x),), (V,), "wrong rule: sign"),
    "cube with 2 for 3": Mistake(
        cube, lambda g, out, x: (2.0 * g * x * x,), (V,), "wrong rule: constant factor", "1.5"
    ),
    "mean without 1/n": Mistake(
        average, lambda g, out, x: (ops.broadcast_to(g, shape=x.shape),), (X,), "wrong rule: constant factor", "1/n"
    ),
    "sum with 1/n": Mistake(
        lambda x: x.sum(),
        lambda g, out, x: (ops.broadcast_to(g / x.size, shape=x.shape),),
        (X,),
        "wrong rule: constant factor",
        "n, of a sum",
    ),
    "variance with the wrong ddof": Mistake(
        spread, lambda g, out, x: (g * (2.0 / x.size) * (x - ops.mean(x)),), (V,), "wrong rule: constant factor", "ddof"
    ),
    "gradient of 0": Mistake(cube, lambda g, out, x: (g * 0.0,), (V,), "wrong rule: constant factor", "0 everywhere"),
    "exp without its result": Mistake(
        exponential, lambda g, out, x: (g,), (V,), "wrong rule: dropped factor", "the result"
    ),
    "product without the other": Mistake(
        product, lambda g, out, x, y: (g, g * x), (V, V + 1), "wrong rule: dropped factor", "input 1"
    ),
    "log without 1/x": Mistake(
        np.log, lambda g, out, x: (g,), (POSITIVE,), "wrong rule: dropped factor", "1 / input 0"
    ),
    "quotient without the denominator's square": Mistake(
        lambda x, y: x / y,
        lambda g, out, x, y: (g / y, -g * x),
        (POSITIVE, POSITIVE + 1),
        "wrong rule: dropped factor",
        "1 / the square of input 1",
    ),
    "scale forgotten": Mistake(
        scaled, lambda g, out, x, *, by: (g,), (V,), "wrong rule: constant factor", "3", {"by": 3.0}
    ),
    "tanh without the square": Mistake(hyperbolic, lambda g, out, x: (g * (1.0 - out),), (V,), "wrong rule: value"),
    "root with x for its result": Mistake(
        root, lambda g, out, x: (g * 0.5 / x,), (POSITIVE,), "wrong rule: dropped factor", "the result"
    ),
    "soft without the second term": Mistake(soft, lambda g, out, x: (g * out,), (X,), "wrong rule: value"),
    # shapes and places
    "missing unbroadcast": Mistake(
        lambda x, y: x + y, lambda g, out, x, y: (g, g), (X, X[0]), "wrong rule: missing unbroadcast", "input 1"
    ),
    "missing unbroadcast of a column": Mistake(
        product,
        lambda g, out, x, y: (g * y, unbroadcast(g * x, y)),
        (X[:, :1], X),
        "wrong rule: missing unbroadcast",
        "input 0",
    ),
    "sum not spread out again": Mistake(
        total, lambda g, out, x, *, axis: (g,), (X,), "wrong rule: gradient shape", "(3, 3)", {"axis": 0}
    ),
    "slice given back short": Mistake(first_half, lambda g, out, x: (g,), (V,), "wrong rule: gradient shape"),
    "sum along the wrong axis": Mistake(
        total,
        lambda g, out, x, *, axis: (ops.broadcast_to(ops.expand_dims(g, axis=1), shape=x.shape),),
        (X,),
        "wrong rule: transposed",
        "",
        {"axis": 0},
    ),
    "softmax along the wrong axis": Mistake(
        soft,
        lambda g, out, x: (out * (g - (g * out).sum(axis=0, keepdims=True)),),
        (X,),
        "wrong rule: wrong places",
        "axis",
    ),
    "swap without swapping back": Mistake(swap, lambda g, out, x: (g,), (X,), "wrong rule: transposed", "(1, 0)"),
    "flip without flipping back": Mistake(
        backwards, lambda g, out, x: (g,), (V,), "wrong rule: transposed", "reversed"
    ),
    "matmul without the transpose": Mistake(
        matrix_product,
        lambda g, out, x, y: (g @ y, x.swapaxes(0, 1) @ g),
        (X, Y),
        "wrong rule: transposed",
        "input 1 swapped",
    ),
    "matmul with the wrong transpose": Mistake(
        matrix_product,
        lambda g, out, x, y: (g @ y.swapaxes(0, 1), x @ g),
        (X, Y),
        "wrong rule: transposed",
        "input 0 swapped",
    ),
    "running sum in the wrong direction": Mistake(
        running_sum, lambda g, out, x: (ops.cumsum(g, axis=0),), (V,), "wrong rule: wrong places"
    ),
    "roll in the same direction": Mistake(
        lambda x: np.roll(x, 1), lambda g, out, x: (ops.roll(g, shift=1),), (V,), "wrong rule: wrong places"
    ),
    "sort without its order": Mistake(ordered, lambda g, out, x: (g,), (V[::-1].copy(),), "wrong rule: wrong places"),
    "pieces handed out in the wrong order": Mistake(
        joined, lambda g, out, x, y: (g[3:], g[:3]), (X[0], X[1]), "wrong rule: wrong places"
    ),
    "maximum's gradient for everybody": Mistake(
        largest, lambda g, out, x: (ops.broadcast_to(g, shape=x.shape),), (V,), "wrong rule: wrong places"
    ),
    "log-sum-exp without its weights": Mistake(
        log_of_sum,
        lambda g, out, x: (ops.broadcast_to(ops.expand_dims(g, axis=-1), shape=x.shape),),
        (X,),
        "wrong rule: value",
    ),
    "wrong only where a place is read twice": Mistake(
        lookup,
        lambda g, out, x, *, index: (overwritten(index, g, x.shape),),
        (V,),
        "wrong rule: repeated places",
        "added up",
        {"index": [2, 0, 2]},
    ),
    "rows written instead of added": Mistake(
        lookup,
        lambda g, out, x, *, index: (overwritten(index, g, x.shape),),
        (X,),
        "wrong rule: repeated places",
        "added up",
        {"index": np.array([1, 1])},
    ),
    # the form of a rule
    "no gradient": Mistake(
        product, lambda g, out, x, y: (g * y, None), (V, V + 1), "wrong rule: no gradient", "input 1"
    ),
    "one gradient for two inputs": Mistake(
        product, lambda g, out, x, y: (g * y,), (V, V + 1), "wrong rule: number of gradients", "1 for 2"
    ),
    "incoming gradient ignored": Mistake(
        sine, lambda g, out, x: (ops.cos(x),), (V,), "wrong rule: ignores the incoming gradient"
    ),
    "incoming gradient squared": Mistake(sine, lambda g, out, x: (g * g * ops.cos(x),), (V,), "wrong rule: not linear"),
    "gradient in float64": Mistake(
        sine,
        lambda g, out, x: (g * ops.cos(x) * np.ones((), np.float64),),
        (V,),
        "wrong rule: gradient dtype",
        "float64",
    ),
    "rule that raises": Mistake(
        sine, lambda g, out, x: (g * x.no_such_thing,), (V,), "wrong rule: fails", "no_such_thing"
    ),
    "shapes that do not fit": Mistake(
        matrix_product,
        lambda g, out, x, y: (g @ y, x @ g),
        (X[:2], Y[:, :2]),
        "wrong rule: fails",
        "ValueError",
    ),
    "gradient that is not a number": Mistake(
        sine, lambda g, out, x: (g * ops.cos(x) / (x - x[0]) * (x - x[0]),), (V,), "wrong rule: value", "nan"
    ),
    # memory
    "incoming gradient written into": Mistake(
        sine, lambda g, out, x: (written(g, ops.cos(x)),), (V,), "wrong rule: changes an array in place", "its g"
    ),
    "input written into": Mistake(
        product,
        lambda g, out, x, y: (written(y, g), g * x),
        (V, V + 1),
        "wrong rule: changes an array in place",
        "an input",
    ),
    "result written into": Mistake(
        exponential, lambda g, out, x: (written(out, g),), (V,), "wrong rule: changes an array in place", "out"
    ),
    "one buffer for every gradient": Mistake(
        lambda x: 1.0 * x, lambda g, out, x: (into_buffer(g),), (V,), "wrong rule: reuses memory"
    ),
    "forward that writes into its input": Mistake(
        lambda x: written(x, 2.0), lambda g, out, x: (2.0 * g,), (V,), "wrong forward: changes an input", "input 0"
    ),
    "forward in float64": Mistake(
        lambda x: x * np.float64(2.0), lambda g, out, x: (2.0 * g,), (V,), "wrong forward: dtype", "float64"
    ),
    # the second derivative
    ".data of an input": Mistake(
        sine,
        lambda g, out, x: (g * np.cos(raw(x)),),
        (V,),
        "wrong second derivative: left the graph",
        "input 0",
        order=2,
    ),
    ".data of the result": Mistake(
        exponential, lambda g, out, x: (g * raw(out),), (V,), "wrong second derivative: left the graph", order=2
    ),
    ".data of the other factor": Mistake(
        product,
        lambda g, out, x, y: (g * raw(y), g * x),
        (V, V + 1),
        "wrong second derivative: left the graph",
        "input 1",
        order=2,
    ),
    ".data of the incoming gradient": Mistake(
        sine,
        lambda g, out, x: (raw(g) * ops.cos(x),),
        (V,),
        "wrong second derivative: left the graph",
        "incoming gradient",
        order=2,
    ),
    "detached half of a formula": Mistake(
        cube,
        lambda g, out, x: (g * (x * x + 2.0 * raw(x) * raw(x)),),
        (V,),
        "wrong second derivative: value",
        "lost its history",
        order=2,
    ),
    "NumPy function in a rule": Mistake(
        sine,
        lambda g, out, x: (g * np.cos(x),),
        (V,),
        "wrong second derivative: fails with Tensors",
        "np.cos",
        order=2,
    ),
}


def findings_of(fn, inputs, **options):
    with pytest.raises(GradientError) as caught:
        gradcheck(fn, inputs, **options)
    assert str(caught.value) == str(caught.value.report)
    return caught.value.report.findings


@pytest.mark.parametrize("name", PLANTED)
def test_planted_mistake_is_caught_and_named(name):
    mistake = PLANTED[name]
    (finding,) = findings_of(mistake.op, [x.copy() for x in mistake.inputs])
    assert finding.diagnosis == mistake.diagnosis, finding
    assert mistake.hint in finding.because, finding
    assert finding.op == primitive(mistake.forward).name
    assert finding.order == mistake.order


def test_example_in_the_docstring():
    module = importlib.import_module("tinygrad_llm.debugging.gradcheck")
    assert doctest.testmod(module).failed == 0


def test_at_least_thirty_mistakes_are_planted():
    assert len(PLANTED) >= 30


def test_the_wrong_op_is_found_among_many():
    wrong = primitive(hyperbolic)
    wrong.vjp(lambda g, out, x: (g * (1.0 + out * out),))
    (finding,) = findings_of(lambda x, w: ops.exp(wrong(x @ w).sum(axis=0)) * ops.sin(x), [X, Y])
    assert finding.op == "hyperbolic"
    assert finding.input in (0, 1) and len(finding.index) == 2
    assert finding.analytic != pytest.approx(finding.numeric, rel=1e-3)


@pytest.mark.parametrize("name", ["sign of negative", "exp without its result", ".data of an input"])
def test_mistakes_are_named_in_large_arrays_too(name):
    mistake = PLANTED[name]
    (finding,) = findings_of(mistake.op, [np.linspace(0.1, 3.0, 1200).reshape(30, 40)], max_elements=5)
    assert (finding.diagnosis, finding.order) == (mistake.diagnosis, mistake.order)


def test_report_names_input_index_and_both_numbers():
    mistake = PLANTED["product without the other"]
    (finding,) = findings_of(mistake.op, mistake.inputs)
    text = str(finding)
    assert "input 0[0]" in text and "multiply" not in text and "'product'" in text
    assert f"{finding.analytic:.9g}" in text and f"{finding.numeric:.9g}" in text


# --- every rule of the vocabulary, spoiled --------------------------------------------------------------------------

CONSTANT = {"sign", "floor", "ceil", "trunc", "round", "floor_divide"}  # their gradient is 0, whatever its sign
RULES = {
    row.name: row
    for row in TABLE
    if isinstance(row.op, Primitive) and row.op.rule is not None and row.name not in CONSTANT
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_negated_is_caught(name, monkeypatch):
    row, case = RULES[name], RULES[name].cases[0]
    right = row.op.rule

    def negated(*arguments, **options):
        return tuple(None if g is None else -g for g in right(*arguments, **options))

    monkeypatch.setattr(row.op, "rule", negated)
    (finding,) = findings_of(lambda *inputs: row.op(*inputs, **case.options), case.draw())
    assert (finding.diagnosis, finding.op) == ("wrong rule: sign", row.op.name)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_that_leaves_the_graph_is_caught(name, monkeypatch):
    row, case = RULES[name], RULES[name].cases[0]
    right = row.op.rule

    def detached(*arguments, **options):
        return right(*map(raw, arguments), **options)

    monkeypatch.setattr(row.op, "rule", detached)
    (finding,) = findings_of(lambda *inputs: row.op(*inputs, **case.options), case.draw())
    assert (finding.diagnosis, finding.op) == ("wrong second derivative: left the graph", row.op.name)


# --- fused ops ------------------------------------------------------------------------------------------------


def test_wrong_fast_backward_is_found():
    @fused(cpu=FastPair(lambda x: (x * x, None), lambda g, saved, x: (g * x,)))
    def squared(x):
        return x * x

    (finding,) = findings_of(squared, [V])
    assert (finding.op, finding.diagnosis) == ("squared", "wrong rule: constant factor")


def test_fast_pair_that_differs_from_its_definition_is_found():
    @fused(cpu=FastPair(lambda x: (x * x, None), lambda g, saved, x: (2.0 * g * x,)))
    def squared(x):
        return x * x * x

    (finding,) = findings_of(squared, [V])
    assert (finding.op, finding.diagnosis) == ("squared", "wrong second derivative: definition differs")


# --- no mistake, and yet no derivative ----------------------------------------------------------------------------


def test_kink_is_called_a_kink():
    (finding,) = findings_of(lambda x: 2.0 * ops.relu(x), [np.array([1.0, 0.0])])
    assert (finding.diagnosis, finding.op, finding.index) == ("kink here", "relu", (1,))


def test_kink_beside_the_point_is_no_mistake():
    assert gradcheck(ops.relu, [np.array([1.0, 1e-5])], order=1).findings == []


def test_middle_of_a_kink_passes_order_one():
    assert gradcheck(ops.abs, [np.array([0.0, 1.0])], order=1).findings == []
    (finding,) = findings_of(ops.abs, [np.array([0.0, 1.0])], order=2)
    assert (finding.diagnosis, finding.order) == ("not differentiable", 2)


def test_kink_of_the_gradient_is_told_at_order_two():
    (finding,) = findings_of(lambda x: ops.relu(x) * x, [np.array([0.0])])
    assert (finding.diagnosis, finding.order) == ("kink here", 2)


def test_wrong_rule_at_a_kink_is_still_wrong():
    wrong = primitive(np.abs)
    wrong.vjp(lambda g, out, x: (5.0 * g,))
    (finding,) = findings_of(wrong, [np.array([0.0])])
    assert finding.diagnosis.startswith("wrong rule")


def test_jump_is_not_differentiable():
    (finding,) = findings_of(ops.sign, [np.array([0.0])])
    assert (finding.diagnosis, finding.op) == ("not differentiable", "sign")


@pytest.mark.parametrize(("op", "at"), [(ops.sqrt, 0.0), (ops.log, 0.0)])
def test_edge_of_the_domain_is_not_differentiable(op, at):
    (finding,) = findings_of(op, [np.array([at])])
    assert (finding.diagnosis, finding.op) == ("not differentiable", op.name)


def test_float32_is_called_too_coarse():
    (finding,) = findings_of(lambda x: ops.exp(x.astype("float32")), [V])
    assert finding.diagnosis == "float32 too coarse"
    assert finding.op in ("exp", "astype")


def test_float32_inputs_are_checked_in_float64():
    assert gradcheck(ops.exp, [V.astype(np.float32)]).largest_difference < 1e-9


def test_graph_cut_is_told_from_a_wrong_rule():
    (finding,) = findings_of(lambda x: ops.exp(x) * x.detach(), [V])
    assert (finding.diagnosis, finding.op) == ("graph cut", None)
    (finding,) = findings_of(lambda x: Tensor(np.exp(x.data)), [V])
    assert finding.diagnosis == "graph cut"


def test_randomness_is_told():
    rng = np.random.default_rng(0)
    (finding,) = findings_of(lambda x: x * rng.random(), [V])
    assert finding.diagnosis == "not deterministic"


# --- what is right passes -----------------------------------------------------------------------------------------


def test_right_gradients_pass_and_are_counted():
    report = gradcheck(lambda x, w: ops.tanh(x @ w), [X, Y])
    assert isinstance(report, Report)
    assert (report.inputs, report.elements, report.orders) == (2, 18, (1, 2))
    assert report.largest_difference < 1e-9
    assert "2 inputs, 18 elements" in str(report)


def test_only_so_many_elements_are_moved():
    assert gradcheck(ops.exp, [np.linspace(0, 1, 50)], max_elements=7).elements == 7


def test_several_results_and_integers_and_none():
    def fn(x, ids, nothing):
        assert nothing is None
        return [ops.exp(x), x[ids], 3]

    assert gradcheck(fn, [V, np.array([1, 1]), None]).inputs == 1


def test_inputs_are_left_as_they_were():
    before = V.copy()
    gradcheck(ops.exp, [V])
    assert np.array_equal(V, before)


@pytest.mark.parametrize(
    ("fn", "inputs", "order", "words"),
    [
        (ops.exp, [np.array([1, 2])], 1, "none of the inputs"),
        (lambda x: 3, [V], 1, "no floating-point Tensor"),
        (ops.exp, [V], 3, "order must be 1 or 2"),
    ],
)
def test_nothing_to_check_is_an_error(fn, inputs, order, words):
    with pytest.raises(InputError, match=words):
        gradcheck(fn, inputs, order=order)


def test_positions_of_an_index_are_flat_positions():
    positions, rest = positions_of(([0, 2], slice(None)), (3, 2, 5), np)
    assert positions.tolist() == [[0, 1], [4, 5]] and rest == (5,)


# --- inputs of every size -------------------------------------------------------------------------------------------

JUMPS = {*CONSTANT, "remainder"}  # they jump once per unit: inputs far from 1 have no neighbourhood without a jump
SCALED = {row.name: row for row in TABLE if row.differentiable and row.name not in JUMPS}


def scaled(case, scale):
    return [x * scale if getattr(x, "dtype", np.dtype(bool)).kind == "f" else x for x in case.draw()]


@pytest.mark.parametrize("exponent", [-8, -5, -2, 2, 5, 8])
@pytest.mark.parametrize("name", SCALED)
def test_right_rules_are_right_for_inputs_of_every_size(name, exponent):
    row = SCALED[name]
    for case in row.cases[:2]:
        inputs = scaled(case, 10.0**exponent)
        with np.errstate(all="ignore"):
            values = row.reference(*inputs, **case.options)
        if all(np.isfinite(y).all() for y in (values if isinstance(values, list | tuple) else [values])):
            gradcheck(lambda *inputs, case=case: row.op(*inputs, **case.options), inputs)


@pytest.mark.parametrize("exponent", [-8, -6, -4, -2, 0, 2, 4, 6, 8])
def test_wrong_rules_are_wrong_for_inputs_of_every_size(exponent):
    x = V * 10.0**exponent
    squared = primitive(lambda x: x * x)
    squared.vjp(lambda g, out, x: (g * (2.001 * x),))
    (finding,) = findings_of(squared, [x])
    assert (finding.order, finding.diagnosis) == (1, "wrong rule: constant factor")
    squared = primitive(lambda x: x * x)
    squared.vjp(lambda g, out, x: (g * (2.0 * raw(x)),))
    (finding,) = findings_of(squared, [x])
    assert (finding.order, finding.diagnosis) == (2, "wrong second derivative: left the graph")


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e6, 1e8])
def test_squares_of_large_and_small_numbers_are_right(size):
    report = gradcheck(lambda x: (x * x).sum(), [np.full(3, size)])
    assert report.largest_difference < 1e-7


@pytest.mark.parametrize("gap", [1.4e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("op", [ops.sort, ops.max, ops.relu, lambda x: ops.cumsum(ops.sort(x * x)) ** 2])
def test_a_kink_nearby_is_not_taken_for_a_mistake(op, gap):
    x = np.array([0.3, 1.7, -0.8, 1.7 + gap, gap, -1.1, 0.9])
    gradcheck(op, [x])
    gradcheck(op, [-x])
