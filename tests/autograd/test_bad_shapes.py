"""Whatever is thrown at an op, it does what NumPy does, or says which op, which argument and which shapes went wrong.

Shapes that do not broadcast, axes that do not exist or come twice, places out of range, empty arrays, axes of length 0,
scalars, reversed views, NaN and infinity: Hypothesis draws them.
"""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_llm.autograd import Tensor, ops, raw
from tinygrad_llm.nn import functional as F

shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
axes = st.one_of(st.none(), st.integers(-4, 3), st.lists(st.integers(-3, 3), max_size=3).map(tuple))
values = st.one_of(st.floats(-4, 4, width=32), st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e-30, -1e30]))


@st.composite
def arrays(draw, shape=shapes, elements=values):
    """Any array: scalars, empty ones, NaN and infinity, and views that run backwards."""
    x = draw(hnp.arrays(np.float64, draw(shape) if hasattr(shape, "example") else shape, elements=elements))
    if x.ndim and draw(st.booleans()):
        x = x[..., ::-1]
    return x


FAILURES = (ValueError, IndexError, TypeError)


def agree(name, ours, numpys, *inputs, quirk=False):
    """Ours equals NumPy's, gradients have their inputs' shapes; or both fail, ours with a sentence.

    quirk: NumPy gives a result here for historical reasons, ours may be an error.
    """
    leaves = [Tensor(x, requires_grad=True) if is_float(x) else x for x in inputs]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            wanted = numpys(*inputs)
        except (*FAILURES, ZeroDivisionError):
            wanted = None
        try:
            result = ours(*leaves)
        except FAILURES as error:
            assert wanted is None or quirk, error
            explains(str(error), name, inputs)
            return
        assert wanted is not None, "NumPy refuses, ours does not"
        for y, w in zip(*(x if isinstance(x, list) else [x] for x in (result, wanted)), strict=True):
            assert (raw(y).shape, raw(y).dtype) == (np.shape(w), np.asarray(w).dtype)
            np.testing.assert_allclose(raw(y), w, rtol=1e-12, atol=1e-12)
            if isinstance(y, Tensor) and y.requires_grad:
                y.backward(np.ones(y.shape), retain_graph=True)
        for x, leaf in zip(inputs, leaves, strict=True):
            if isinstance(leaf, Tensor) and leaf.grad is not None:
                assert (leaf.grad.shape, leaf.grad.dtype) == (x.shape, x.dtype)


finite = arrays(elements=st.floats(-5, 5, width=32))


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def explains(message, name, inputs):
    """The error names the op, and every array's dtype and shape."""
    assert name in message
    for x in inputs:
        if isinstance(x, np.ndarray):
            assert f"{x.dtype}{list(x.shape)}" in message, message


# --- shapes that do not fit -----------------------------------------------------------------------------------------

BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "matmul": np.matmul,
    "outer": np.outer,
    "equal": np.equal,
    "less": np.less,
}


@pytest.mark.parametrize("name", BINARY)
@given(arrays(), arrays())
def test_two_arrays(name, x, y):
    agree(name, getattr(ops, name), BINARY[name], x, y)


@given(arrays(elements=st.floats(-3, 3)), arrays(elements=st.floats(-3, 3)))
def test_power(x, y):
    agree("power", ops.power, np.power, x, y)


@given(hnp.arrays(np.bool_, shapes), arrays(), arrays())
def test_where(condition, x, y):
    agree("where", ops.where, np.where, condition, x, y)


@given(arrays(), arrays(), arrays())
def test_clip(x, low, high):
    assume(not np.isnan(x).any() and not np.isnan(low).any() and not np.isnan(high).any())
    assume(np.broadcast_shapes(x.shape, low.shape, high.shape) == x.shape if fits(x, low, high) else True)
    agree("clip", ops.clip, np.clip, x, low, high)


def fits(*xs):
    try:
        np.broadcast_shapes(*(x.shape for x in xs))
    except ValueError:
        return False
    return True


@given(st.lists(arrays(), min_size=1, max_size=3), st.integers(-4, 3))
def test_joining(xs, axis):
    agree("concatenate", lambda *xs: ops.concatenate(xs, axis), lambda *xs: np.concatenate(xs, axis), *xs)
    agree("stack", lambda *xs: ops.stack(xs, axis), lambda *xs: np.stack(xs, axis), *xs)


@given(finite, finite, st.one_of(st.integers(0, 3), st.tuples(*[st.lists(st.integers(-3, 3), max_size=2)] * 2)))
def test_tensordot(x, y, axes):
    agree("tensordot", lambda x, y: ops.tensordot(x, y, axes), lambda x, y: np.tensordot(x, y, axes), x, y)


term = st.text("ijk", max_size=3)


@given(st.tuples(term, term, st.one_of(st.none(), term), st.booleans()), finite, finite)
def test_einsum(parts, x, y):
    left, right, result, dots = parts
    dots = "..." * dots
    subscripts = f"{dots}{left},{right}{dots}" + ("" if result is None else f"->{dots}{result}")
    agree("einsum", lambda x, y: ops.einsum(subscripts, x, y), lambda x, y: np.einsum(subscripts, x, y), x, y)


# --- axes that do not exist ---------------------------------------------------------------------------------------

REDUCTIONS = {
    "sum": np.sum,
    "mean": np.mean,
    "var": np.var,
    "std": np.std,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@given(arrays(), axes, st.booleans())
def test_reductions(name, x, axis, keepdims):
    assume(name not in ("var", "std") or np.isfinite(x).all())
    ours, numpys = getattr(ops, name), REDUCTIONS[name]
    agree(
        name,
        lambda x: ours(x, axis=axis, keepdims=keepdims),
        lambda x: numpys(x, axis=axis, keepdims=keepdims),
        np.asarray(np.clip(x, -1e3, 1e3)) if name in ("var", "std", "prod") else x,
        quirk=name == "prod" and x.ndim == 0 and axis in (0, -1),
    )


one_axis = st.integers(-4, 3)
small_shape = st.lists(st.integers(-1, 4), max_size=3).map(tuple)
REARRANGING = {
    "reshape": (st.tuples(small_shape), lambda x, s: ops.reshape(x, shape=s), np.reshape),
    "broadcast_to": (st.tuples(small_shape), lambda x, s: ops.broadcast_to(x, shape=s), np.broadcast_to),
    "transpose": (st.tuples(axes), lambda x, a: ops.transpose(x, axes=a), np.transpose),
    "swapaxes": (
        st.tuples(one_axis, one_axis),
        lambda x, a, b: ops.swapaxes(x, axis1=a, axis2=b),
        np.swapaxes,
    ),
    "expand_dims": (st.tuples(axes), lambda x, a: ops.expand_dims(x, axis=a), np.expand_dims),
    "squeeze": (st.tuples(axes), lambda x, a: ops.squeeze(x, axis=a), np.squeeze),
    "flip": (st.tuples(axes), lambda x, a: ops.flip(x, axis=a), np.flip),
    "roll": (st.tuples(st.integers(-5, 5), axes), lambda x, s, a: ops.roll(x, shift=s, axis=a), np.roll),
    "cumsum": (st.tuples(st.one_of(st.none(), one_axis)), lambda x, a: ops.cumsum(x, axis=a), np.cumsum),
    "sort": (st.tuples(st.one_of(st.none(), one_axis)), ops.sort, np.sort),
    "tril": (st.tuples(st.integers(-3, 3)), lambda x, k: ops.tril(x, k=k), np.tril),
    "triu": (st.tuples(st.integers(-3, 3)), lambda x, k: ops.triu(x, k=k), np.triu),
    "pad": (
        st.tuples(st.one_of(st.integers(-1, 2), st.lists(st.integers(-1, 2), min_size=2, max_size=2))),
        lambda x, w: ops.pad(x, pad_width=w),
        lambda x, w: np.pad(x, w, constant_values=0.0),
    ),
    "repeat": (
        st.tuples(
            st.one_of(st.integers(-1, 3), st.lists(st.integers(0, 2), max_size=3)), st.one_of(st.none(), one_axis)
        ),
        ops.repeat,
        np.repeat,
    ),
    "tile": (st.tuples(st.one_of(st.integers(0, 3), hnp.array_shapes(min_side=0, max_side=3))), ops.tile, np.tile),
    "split": (
        st.tuples(st.one_of(st.integers(0, 3), st.lists(st.integers(0, 4), max_size=3).map(sorted)), one_axis),
        ops.split,
        np.split,
    ),
}


@pytest.mark.parametrize("name", REARRANGING)
@given(st.data(), arrays())
def test_rearranging(name, data, x):
    options, ours, numpys = REARRANGING[name]
    drawn = data.draw(options)
    quirk = x.ndim < {"tril": 2, "triu": 2, "repeat": 1}.get(name, 0)
    agree(name, lambda x: ours(x, *drawn), lambda x: numpys(x, *drawn), x, quirk=quirk)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@given(arrays(elements=st.floats(-5, 5)), one_axis)
def test_softmax_along_any_axis(name, x, axis):
    def reference(x):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        p = e / e.sum(axis=axis, keepdims=True)
        return p if name == "softmax" else np.log(p)

    agree(name, lambda x: getattr(ops, name)(x, axis=axis), reference, x, quirk=x.ndim == 0)


# --- places out of range ------------------------------------------------------------------------------------------

part = st.one_of(
    st.integers(-4, 4),
    st.slices(3),
    st.none(),
    st.just(...),
    st.lists(st.integers(-4, 3), max_size=3),
    hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=2), elements=st.integers(-3, 2)),
    hnp.arrays(np.bool_, hnp.array_shapes(max_dims=2, max_side=3)),
)


@settings(max_examples=300)
@given(arrays(), st.one_of(part, st.lists(part, max_size=3).map(tuple)))
def test_indexing(x, index):
    assume(not (isinstance(index, list) and not index))  # an empty list is an index of floats
    assume(not (isinstance(index, tuple) and any(isinstance(p, list) and not p for p in index)))
    agree("getitem", lambda x: x[index], lambda x: x[index], x)
    try:
        picked = x[index]
    except IndexError:
        return
    weights = np.cos(np.arange(picked.size)).reshape(picked.shape)
    wanted = np.zeros(x.shape)
    np.add.at(wanted, index, weights)
    leaf = Tensor(x, requires_grad=True)
    leaf[index].backward(weights)
    np.testing.assert_allclose(leaf.grad.numpy(), wanted, rtol=1e-12, atol=1e-12)


@given(arrays(), hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=3), elements=st.integers(-3, 3)), one_axis)
def test_looking_up_along_an_axis(x, ids, axis):
    agree("take", lambda x: ops.take(x, ids, axis), lambda x: np.take(x, ids, axis), x, quirk=0 in (x.size, x.ndim))
    agree(
        "take_along_axis",
        lambda x, ids: ops.take_along_axis(x, ids, axis),
        lambda x, ids: np.take_along_axis(x, ids, axis),
        x,
        ids,
    )


@given(arrays(elements=st.floats(-5, 5)), st.integers(-1, 4), one_axis)
def test_topk(x, k, axis):
    def reference(x):
        if not 0 <= k <= x.shape[axis]:
            raise ValueError("k")
        return np.flip(np.sort(x, axis), axis).take(range(k), axis)

    agree("topk", lambda x: ops.topk(x, k, axis)[0], reference, x)


@given(arrays(), arrays(), st.lists(st.integers(-4, 3), min_size=1, max_size=3))
def test_writing_at_places(x, values, index):
    def reference(x, values):
        y = x.copy()
        y[index] = values
        return y

    agree("set_at", lambda x, values: x.at(index).set(values), reference, x, values, quirk=values.ndim > x.ndim)


@pytest.mark.parametrize("op", [ops.gather, lambda x, ids, axis: ops.scatter_add(x, ids, 1.0, axis)])
def test_gather_refuses_indices_that_reach_too_far(op):
    x = Tensor(np.ones((2, 3)))
    for ids, axis in ((np.zeros((3, 1), int), 1), (np.zeros(2, int), 0), (np.zeros((2, 2), int), 2)):
        with pytest.raises(ValueError, match=r"float64\[2, 3\]"):
            op(x, ids, axis)


# --- values that are not finite -------------------------------------------------------------------------------------

UNARY = {
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "square": np.square,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "negative": np.negative,
    "relu": lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize("name", UNARY)
@given(arrays())
def test_one_array(name, x):
    agree(name, getattr(ops, name), UNARY[name], x)


@pytest.mark.parametrize("op", [ops.gelu, ops.softplus, ops.sigmoid, ops.silu, ops.erf, F.softmax, ops.logsumexp])
def test_nan_comes_through(op):
    with np.errstate(all="ignore"):
        assert np.isnan(np.asarray(op(np.array([1.0, np.nan, 2.0])))).any()


# --- wrong kinds --------------------------------------------------------------------------------------------------


@given(st.one_of(hnp.arrays(np.int64, shapes, elements=st.integers(-3, 3)), hnp.arrays(np.bool_, shapes)), arrays())
def test_integers_and_booleans_are_promoted_as_numpy_does(x, y):
    agree("multiply", ops.multiply, np.multiply, x, y)
    result = ops.exp(Tensor(x))
    assert result.dtype == np.exp(x).dtype and not result.requires_grad


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x[1.5], "getitem"),
        (lambda x: x["a"], "getitem"),
        (lambda x: x.sum(axis="rows"), "sum"),
        (lambda x: ops.reshape(x, shape="abc"), "reshape"),
        (lambda x: ops.einsum("ij,jk->ik", x), "einsum"),
        (lambda x: ops.einsum("ij->iz", x), "einsum"),
        (lambda x: ops.einsum("ij->ii", x), "einsum"),
        (lambda x: ops.einsum("i1->i", x), "einsum"),
        (lambda x: ops.einsum("...->", x), "einsum"),
        (lambda x: ops.split(x, 0), "split"),
        (lambda x: ops.stack([x, x[0]]), "stack"),
        (lambda x: ops.concatenate([]), "concatenate"),
        (lambda x: ops.topk(x, 9), "topk"),
        (lambda x: x + "a", "add"),
    ],
)
def test_a_wrong_argument_is_named(call, words):
    with pytest.raises((ValueError, IndexError, TypeError)) as caught:
        call(Tensor(np.ones((2, 3)), requires_grad=True))
    assert words in str(caught.value)
    if words != "concatenate":
        assert "[2, 3]" in str(caught.value)
