"""Every op of the vocabulary through every check: value, shape, dtype, derivatives, precision, both ways to compute.

The rows stand in `ops_table.py`. With `--array=cupy` the same runs on a GPU; without one, the strict stand-in shows
that no op brings an array to the host.
"""

import doctest
import inspect
import math
from contextlib import nullcontext

import numpy as np
import pytest
from ops_table import CASES, TABLE
from strict_array import strict, unwrap

from tinygrad_llm.autograd import Tensor, ops, plain, raw
from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.backend import to_numpy
from tinygrad_llm.debugging.gradcheck import gradcheck
from tinygrad_llm.nn import functional as F

DIFFERENTIABLE = [name for name, (row, _) in CASES.items() if row.differentiable]
FAST = [name for name, (row, _) in CASES.items() if row.has_fast_pair]
SHAPES = [
    ((3, 1), (1, 4)),
    ((4,), (2, 4)),
    ((), (3,)),
    ((2, 1, 3), (4, 1)),
    ((3,), (1,)),
    ((0,), (1,)),
    ((2, 0), (2, 1)),
]


def is_float(x):
    return isinstance(getattr(x, "dtype", None), np.dtype) and x.dtype.kind == "f"


def in_float32(x):
    return x.astype(np.float32) if is_float(x) else x


def as_list(result):
    """The arrays that an op returned: one, or a list."""
    return [raw(y) for y in (result if isinstance(result, list | tuple) else [result])]


def on_tensors(row, inputs, options):
    """The op on Tensors that want gradients: (leaves, results)."""
    tensors = [Tensor(x, requires_grad=True) if is_float(x) else x for x in inputs]
    result = row.op(*tensors, **options)
    return [x for x in tensors if isinstance(x, Tensor)], result


def gradients(row, inputs, options):
    """The gradient of Σ cos(k) · result_k with respect to every floating-point input."""
    leaves, result = on_tensors(row, inputs, options)
    for y in result if isinstance(result, list | tuple) else [result]:
        if isinstance(y, Tensor) and y.requires_grad:
            y.backward(weights_like(y), retain_graph=True)
    return [None if x.grad is None else x.grad.data for x in leaves]


def weights_like(y):
    w = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
    return strict(w) if type(y.data).__name__ == "StrictArray" else Tensor(w).to(y.device).data


def assert_same(result, wanted, precision=1e-12):
    """Equal up to `precision`, measured by the largest wanted value; shape and dtype too."""
    result, wanted = to_numpy(unwrap(result)), np.asarray(wanted)
    assert result.shape == wanted.shape
    assert result.dtype == wanted.dtype
    finite = np.abs(wanted[np.isfinite(wanted)]) if is_float(wanted) else np.zeros(0)
    np.testing.assert_allclose(result, wanted, rtol=precision, atol=precision * max(1.0, finite.max(initial=0.0)))


@pytest.mark.parametrize("name", CASES)
def test_value_shape_and_dtype_are_the_references(name, to_array):
    row, case = CASES[name]
    inputs = case.draw()
    wanted = as_list(row.reference(*inputs, **case.options))
    _, result = on_tensors(row, to_array(inputs), to_array(case.options))
    results = as_list(result)
    assert len(results) == len(wanted)
    for y, w in zip(results, wanted, strict=True):
        assert_same(y, w)


@pytest.mark.parametrize("name", CASES)
def test_arrays_give_what_tensors_give(name, to_array):
    row, case = CASES[name]
    inputs, options = to_array(case.draw()), to_array(case.options)
    with plain():
        from_arrays = as_list(row.op(*inputs, **options))
        from_tensors = as_list(on_tensors(row, inputs, options)[1])
    for x, y in zip(from_arrays, from_tensors, strict=True):
        assert np.array_equal(to_numpy(x), to_numpy(y))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivative(name, order, to_array):
    row, case = CASES[name]
    options = to_array(case.options)
    report = gradcheck(lambda *inputs: row.op(*inputs, **options), to_array(case.draw()), order=order)
    assert report.largest_difference < 1e-7


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("row", [row for row in TABLE if row.broadcasts], ids=lambda row: row.name)
def test_broadcasting(row, shapes, to_array):
    rng = np.random.default_rng(1)
    inputs = [row.broadcasts(*shape)(rng) for shape in shapes]
    assert_same(raw(row.op(*map(Tensor, to_array(inputs)))), row.reference(*inputs))
    gradcheck(row.op, to_array(inputs))
    gradcheck(row.op, to_array(inputs[::-1]))


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32_and_is_close_to_float64(name, to_array):
    row, case = CASES[name]
    narrow = [in_float32(x) for x in case.draw()]
    wide = [x.astype(np.float64) if is_float(x) else x for x in narrow]
    options = {key: in_float32(value) for key, value in case.options.items()}
    wanted = as_list(row.reference(*wide, **case.options))
    results = as_list(on_tensors(row, to_array(narrow), to_array(options))[1])
    for y, w in zip(results, wanted, strict=True):
        assert_same(y, w.astype(np.float32) if is_float(w) and not name.startswith("astype") else w, 5e-6)
    if row.differentiable:
        in_narrow = gradients(row, to_array(narrow), to_array(options))
        in_wide = gradients(row, to_array(wide), to_array(case.options))
        for g, w in zip(in_narrow, in_wide, strict=True):
            assert (g is None) == (w is None)
            if g is not None:
                assert_same(g, to_numpy(w).astype(np.float32), 1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FAST)
def test_fast_is_plain(name, dtype, to_array):
    row, case = CASES[name]
    inputs = to_array([x.astype(dtype) if is_float(x) else x for x in case.draw()])
    options = to_array({key: x.astype(dtype) if is_float(x) else x for key, x in case.options.items()})
    fast = [*as_list(row.op(*inputs, **options)), *gradients(row, inputs, options)]
    with plain():
        slow = [*as_list(row.op(*inputs, **options)), *gradients(row, inputs, options)]
    for x, y in zip(fast, slow, strict=True):
        assert_same(x, to_numpy(y), 1e-12 if dtype == np.float64 else 2e-6)


@pytest.mark.parametrize("switch", [nullcontext, plain])
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(("astype", "one_hot"))])
def test_half_precision_stays_half_precision(name, switch):
    """The value, the gradient that every rule gives, and its sums; fast and plain."""
    row, case = CASES[name]
    inputs = [x.astype(np.float16) if is_float(x) else x for x in case.draw()]
    options = {key: x.astype(np.float16) if is_float(x) else x for key, x in case.options.items()}
    rules = GradientDtypes()
    with switch(), observing(rules), np.errstate(all="ignore"):
        results = as_list(on_tensors(row, inputs, options)[1])
        found = gradients(row, inputs, options) if row.differentiable else []
    wanted = as_list(row.reference(*case.draw(), **case.options))
    assert [y.dtype for y in results] == [np.float16 if is_float(w) else w.dtype for w in wanted]
    assert all(g is None or g.dtype == np.float16 for g in found)
    assert rules.dtypes <= {np.dtype(np.float16)}


class GradientDtypes(Observer):
    """The dtypes of all gradients that rules give to inputs in floating point."""

    def __init__(self):
        self.dtypes = set()

    def on_backward(self, node, out, g, gradients):
        self.dtypes |= {
            gx.dtype
            for x, gx in zip(node.inputs, gradients, strict=True)
            if gx is not None and isinstance(x, Tensor) and x.requires_grad
        }


@pytest.mark.parametrize("op", [ops.max, ops.min, ops.mean, ops.logsumexp])
def test_the_gradients_of_70000_equal_half_precision_numbers_sum_to_1(op):
    x = Tensor(np.ones(70_000, np.float16), requires_grad=True)
    op(x).backward()
    assert x.grad.dtype == np.float16
    assert 0.99 < x.grad.numpy().sum(dtype=np.float64) < 1.01


def test_half_precision_of_a_large_vocabulary_does_not_overflow():
    logits = np.zeros((2, 70_000), np.float16)
    for switch in (nullcontext, plain):
        with switch():
            losses = F.token_losses(Tensor(logits), np.array([0, 1]))
            log_probabilities = ops.log_softmax(Tensor(logits))
        np.testing.assert_allclose(losses.numpy(), math.log(70_000), rtol=1e-3)
        np.testing.assert_allclose(log_probabilities.numpy(), -math.log(70_000), rtol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_memory_layout_does_not_matter(name, to_array):
    """Reversed, strided and Fortran-ordered inputs give the same values and gradients as their copies."""
    row, case = CASES[name]
    inputs = case.draw()
    for layout in (reversed_view, strided_view, fortran_order):
        views = [layout(x) if isinstance(x, np.ndarray) and x.ndim else x for x in inputs]
        results = as_list(on_tensors(row, views, case.options)[1])
        for y, w in zip(results, as_list(row.reference(*inputs, **case.options)), strict=True):
            assert_same(y, w)
        if row.differentiable:
            for g, w in zip(gradients(row, views, case.options), gradients(row, inputs, case.options), strict=True):
                assert (g is None and w is None) or np.allclose(g, w, rtol=1e-12, atol=1e-13)


def reversed_view(x):
    backwards = (slice(None, None, -1),) * x.ndim
    return x[backwards].copy()[backwards]


def strided_view(x):
    return np.repeat(x[..., None], 2, -1)[..., 0]


def fortran_order(x):
    return np.asfortranarray(x)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_brought_to_the_host(name):
    """The definition, its gradient, and the gradient's gradient on arrays that refuse to become NumPy's."""
    row, case = CASES[name]
    inputs, options = case.draw(), case.options
    strict_options = {key: strict(value) for key, value in options.items()}
    with plain():
        results = as_list(on_tensors(row, strict(inputs), strict_options)[1])
        for y, w in zip(results, as_list(on_tensors(row, inputs, options)[1]), strict=True):
            assert_same(y, w)
        if row.differentiable:
            found = [*gradients(row, strict(inputs), strict_options), *second(row, strict(inputs), strict_options)]
            wanted = [*gradients(row, inputs, options), *second(row, inputs, options)]
            for g, w in zip(found, wanted, strict=True):
                assert (g is None) == (w is None)
                if g is not None:
                    assert type(g).__name__ == "StrictArray"
                    assert_same(g, w)


def second(row, inputs, options):
    """The gradient of Σ of the gradient's elements, weighted."""
    leaves, result = on_tensors(row, inputs, options)
    for y in result if isinstance(result, list | tuple) else [result]:
        if isinstance(y, Tensor) and y.requires_grad:
            y.backward(Tensor(weights_like(y), requires_grad=True), create_graph=True)
    first = [x.grad for x in leaves]
    for x in leaves:
        x.grad = None
    for g in first:
        if g is not None and g.requires_grad:
            g.backward(weights_like(g), retain_graph=True)
    return [None if x.grad is None else x.grad.data for x in leaves]


# --- the table is complete, the examples run ------------------------------------------------------------------------

# Documented by a formula alone.
EVIDENT = {"subtract", "divide", "exp", "sqrt", "tanh", "swapaxes", "expand_dims", "concat"}
NOT_NUMPYS = {
    *(
        "erf",
        "logsumexp",
        "softmax",
        "log_softmax",
        "norm",
        "rsqrt",
        "relu",
        "sigmoid",
        "softplus",
        "silu",
        "gelu",
        "gelu_tanh",
    ),
    *("one_hot", "embedding", "topk", "gather", "scatter_add", "masked_fill"),
}


def test_every_op_has_a_row():
    assert set(ops.__all__) - {"concat"} - {row.name for row in TABLE} == set()
    assert ops.concat is ops.concatenate


def test_all_is_what_the_package_shows():
    assert dir(ops) == ops.__all__
    assert all(callable(getattr(ops, name)) for name in ops.__all__)


def test_names_are_numpys_or_are_listed_with_their_origin():
    assert {name for name in ops.__all__ if not hasattr(np, name)} == NOT_NUMPYS
    assert all(f"`{name}`" in ops.__doc__ for name in NOT_NUMPYS)


INPUTS = {"x", "y", "arrays", "xs", "subscripts"}  # their names differ in NumPy itself: a, x, x1, array, arr, m, v


@pytest.mark.parametrize("name", sorted(set(ops.__all__) - NOT_NUMPYS))
def test_parameters_have_numpys_names_order_and_defaults(name):
    ours = list(inspect.signature(getattr(ops, name)).parameters.values())
    theirs = inspect.signature(getattr(np, name)).parameters
    count = next((i for i, parameter in enumerate(ours) if parameter.name not in INPUTS), len(ours))
    first_option = [n for n in theirs if n not in UFUNC_OPTIONS][count:]
    options = {parameter.name: parameter.default for parameter in ours[count:]}
    options.pop("constant_values", None)  # of pad, among NumPy's **kwargs
    assert [n for n in first_option if n in options] == list(options)
    for option, default in options.items():
        if theirs[option].default.__class__ in (int, float, str, bool):  # else None, or NumPy's mark for "not given"
            assert default == theirs[option].default


UFUNC_OPTIONS = {"where", "casting", "subok", "signature"}
BY_POSITION = {
    "sum": (0,),
    "mean": (1,),
    "max": (-1,),
    "any": (0,),
    "argmax": (1,),
    "cumsum": (0,),
    "reshape": ((4, 3),),
    "transpose": ((1, 0),),
    "swapaxes": (0, 1),
    "moveaxis": (0, 1),
    "expand_dims": (1,),
    "broadcast_to": ((2, 3, 4),),
    "roll": (1, 0),
    "flip": (0,),
    "pad": (1, "constant"),
    "tril": (1,),
    "clip": (-0.5, 0.5),
    "round": (1,),
    "take": ([0, 2], 1),
    "repeat": (2, 0),
    "tile": ((2, 1),),
    "split": (2, 1),
    "sort": (0,),
    "diff": (1, 0),
    "trace": (1,),
    "diag": (1,),
    "diagonal": (0, 1, 0),
    "nan_to_num": (True, 0.0),
    "prod": (0,),
    "var": (0,),
    "cumprod": (1,),
}


@pytest.mark.parametrize("name", BY_POSITION)
def test_numpys_calls_by_position(name):
    x = np.random.default_rng(0).standard_normal((3, 4))
    wanted = getattr(np, name)(x, *BY_POSITION[name])
    for y in (x, Tensor(x)):
        for z, w in zip(as_list(getattr(ops, name)(y, *BY_POSITION[name])), as_list(wanted), strict=True):
            assert_same(z, w)


def test_numpys_calls_by_name():
    x = np.random.default_rng(0).standard_normal((3, 4))
    t = Tensor(x)
    assert_same(ops.clip(t, a_min=0.0, a_max=1.0).data, np.clip(x, 0.0, 1.0))
    assert_same(ops.clip(t, min=0.0, max=1.0).data, np.clip(x, 0.0, 1.0))
    assert_same(ops.concatenate((t, t), axis=None).data, np.concatenate((x, x), axis=None))
    assert_same(ops.moveaxis(t, source=0, destination=1).data, np.moveaxis(x, 0, 1))
    assert_same(ops.take_along_axis(t, indices=np.argsort(x), axis=1).data, np.sort(x))
    with pytest.raises(ValueError, match="twice"):
        ops.clip(t, 0.0, min=0.0)
    with pytest.raises(ValueError, match="mode must be 'constant', it was 'reflect'"):
        ops.pad(t, 1, "reflect")


@pytest.mark.parametrize("name", sorted(set(ops.__all__) - EVIDENT))
def test_example_in_the_docstring(name):
    text = getattr(ops, name).__doc__
    assert ">>>" in text, f"{name} has no example"
    example = doctest.DocTestParser().get_doctest(text, {"np": np, "Tensor": Tensor, "ops": ops}, name, None, 0)
    with np.printoptions(precision=4, suppress=True):
        report: list[str] = []
        failed, _ = doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not failed, "".join(report)


# --- what a table cannot say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 2.0), (np.float32, 1.5)])
def test_erf_is_exact_to_two_roundings(dtype, bound):
    x = np.concatenate([np.linspace(-7, 7, 20001), np.logspace(-30, 1, 501), [0.0, -0.0, np.inf, -np.inf]]).astype(
        dtype
    )
    wanted = np.array([math.erf(v) for v in x])
    error = np.abs(ops.erf(x).astype(np.float64) - wanted) / np.maximum(np.abs(wanted), 1e-300)
    assert error.max() <= bound * np.finfo(dtype).eps
    assert np.isnan(ops.erf(np.array([np.nan], dtype))).all()


def test_repeated_places_are_added_in_the_same_order_every_time():
    rng = np.random.default_rng(0)
    x, ids = rng.standard_normal((50, 3)).astype(np.float32), rng.integers(0, 50, 2000)
    first, again = (gradients_of_lookup(x, ids) for _ in range(2))
    assert np.array_equal(first, again)
    assert_same(first, gradients_of_lookup(x.astype(np.float64), ids).astype(np.float32), 1e-5)


def gradients_of_lookup(x, ids):
    table = Tensor(x, requires_grad=True)
    y = table[ids]
    y.backward(weights_like(y))
    return table.grad.data


def test_softmax_of_huge_and_tiny_scores():
    x = np.array([1e4, 0.0, -1e4])
    assert np.array_equal(ops.softmax(x), [1.0, 0.0, 0.0])
    assert np.array_equal(ops.log_softmax(x), [0.0, -1e4, -2e4])
    assert ops.logsumexp(x) == 1e4
    with np.errstate(divide="ignore"):
        assert ops.logsumexp(np.full(3, -np.inf)) == -np.inf
    assert ops.softplus(np.array([1e4, -1e4])).tolist() == [1e4, 0.0]
    assert ops.sigmoid(np.array([1e4, -1e4])).tolist() == [1.0, 0.0]


def test_logsumexp_of_nothing_possible_has_no_gradient():
    x = Tensor(np.array([[-np.inf, -np.inf], [0.0, 0.0]]), requires_grad=True)
    with np.errstate(divide="ignore"):
        ops.logsumexp(x, axis=1)[1].backward()
    assert x.grad.numpy().tolist() == [[0.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize("op", [ops.norm, ops.std])
def test_length_zero_has_gradient_zero(op):
    x = Tensor(np.zeros(3), requires_grad=True)
    op(x).backward()
    assert x.grad.numpy().tolist() == [0.0, 0.0, 0.0]


def test_power_of_zero_has_no_nan():
    x = Tensor(np.array([0.0, 0.0, 0.0, 2.0]), requires_grad=True)
    y = Tensor(np.array([2.0, 1.0, 0.0, 0.0]), requires_grad=True)
    (x**y).sum().backward()
    assert x.grad.numpy().tolist() == [0.0, 1.0, 0.0, 0.0]
    assert y.grad.numpy().tolist() == [0.0, 0.0, 0.0, math.log(2.0)]


def test_a_tensor_of_integers_is_an_index():
    x = Tensor(np.arange(4.0), requires_grad=True)
    y = x[Tensor(np.array([3, 3]))]
    y.sum().backward()
    assert y.numpy().tolist() == [3.0, 3.0] and x.grad.numpy().tolist() == [0.0, 0.0, 0.0, 2.0]


def test_methods_are_the_functions():
    x = np.random.default_rng(0).uniform(0.5, 2.0, (3, 4))
    t = Tensor(x)
    plain_calls = (
        "exp log sqrt tanh sum mean max min var std prod cumsum softmax log_softmax logsumexp norm relu sigmoid"
    )
    for name in plain_calls.split():
        assert np.array_equal(getattr(t, name)().data, getattr(ops, name)(x)), name
    assert np.array_equal(t.clip(0.7, 1.5).data, np.clip(x, 0.7, 1.5))
    assert np.array_equal(t.repeat(2, axis=1).data, np.repeat(x, 2, 1))
    assert np.array_equal(t.take([1, 0], axis=1).data, np.take(x, [1, 0], 1))
    assert np.array_equal(t.masked_fill(x > 1, 0.0).data, np.where(x > 1, 0.0, x))
    assert np.array_equal(t.at(0).set(9.0).data[0], np.full(4, 9.0))
    assert np.array_equal(t.at(0).add(1.0).data[0], x[0] + 1.0)
    assert np.array_equal(x, t.data)
    assert np.array_equal(t.std(axis=0, ddof=1).data, x.std(axis=0, ddof=1))
