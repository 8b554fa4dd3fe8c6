"""The fast pairs where their speed comes from a second path: large scores, long texts, many rows, several threads."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm import Tensor, no_grad, plain
from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.kernels import threads
from tinygrad_llm.kernels.cpu import attention, probabilities, tables
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention_variants import capped_attention


def value_and_gradients(fn, arrays, options, g):
    tensors = [Tensor(a, requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]
    y = fn(*tensors, **options)
    y.backward(g)
    return [y.data, *(t.grad.data for t in tensors if isinstance(t, Tensor))]


def assert_fast_is_plain(fn, *arrays, rtol=1e-9, atol=1e-12, **options):
    """atol: beside a share of the largest number, for where the formula says 0, as of a softmax over one number."""
    with plain():
        shape = fn(*arrays, **options).shape
    g = np.random.default_rng(99).standard_normal(shape).astype(arrays[0].dtype)
    fast = value_and_gradients(fn, arrays, options, g)
    with plain():
        slow = value_and_gradients(fn, arrays, options, g)
    for a, b in zip(fast, slow, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(np.abs(b).max(initial=0.0)) + atol)


def tolerances(dtype, scale=1.0):
    """scale: of the numbers that go in."""
    return {"rtol": 1e-9, "atol": 1e-12} if dtype is np.float64 else {"rtol": 1e-4, "atol": 1e-6 * scale}


def normal(*shape, scale=1.0, seed=0):
    return scale * np.random.default_rng([seed, *shape]).standard_normal(shape)


def drawn(rows, channels, outputs, dtype, seed):
    """Arrays that fit each other, of any size; rows: the leading axes."""
    rng = np.random.default_rng(seed)

    def numbers(*shape):
        return rng.standard_normal(shape).astype(dtype)

    return SimpleNamespace(
        x=numbers(*rows, channels),
        y=numbers(*rows, channels),
        weight=numbers(channels),
        bias=numbers(channels),
        matrix=numbers(outputs, channels),
        matrix_bias=numbers(outputs),
        ids=rng.integers(-outputs, outputs, rows),
        targets=rng.integers(-1, outputs, rows),
        classes=rng.integers(-1, channels, rows),
        draws=rng.integers(0, 65_536, (*rows, channels), np.uint16),
        heads=numbers(2, outputs, 3, 2 * channels),
        angles=numbers(2, outputs, channels),
    )


ANY_SHAPE = {
    "linear": lambda a: (F.linear, a.x, a.matrix, a.matrix_bias),
    "linear without bias": lambda a: (F.linear, a.x, a.matrix),
    "gelu_tanh": lambda a: (F.gelu_tanh, a.x),
    "swiglu": lambda a: (F.swiglu, a.x, a.y),
    "geglu_tanh": lambda a: (F.geglu_tanh, a.x, a.y),
    "layer_norm": lambda a: (F.layer_norm, a.x, a.weight, a.bias),
    "layer_norm without bias": lambda a: (F.layer_norm, a.x, a.weight),
    "rms_norm": lambda a: (F.rms_norm, a.x, a.weight),
    "apply_rotary": lambda a: (lambda x: F.apply_rotary(x, *a.angles), a.heads),
    "softmax": lambda a: (F.softmax, a.x),
    "log_softmax": lambda a: (F.log_softmax, a.x),
    "token_losses": lambda a: (F.token_losses, a.x, a.classes),
    "linear_cross_entropy": lambda a: (F.linear_cross_entropy, a.x, a.matrix, a.targets),
    "embedding": lambda a: (F.embedding, a.matrix, a.ids),
    "dropped": lambda a: (partial(F.dropped, p=0.3), a.x, a.draws),
}


@pytest.mark.parametrize("name", ANY_SHAPE)
@settings(max_examples=40)
@given(
    rows=st.lists(st.integers(0, 5), max_size=3), channels=st.integers(1, 9), outputs=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_shape(name, rows, channels, outputs, dtype, seed):
    op, *arrays = ANY_SHAPE[name](drawn(rows, channels, outputs, dtype, seed))
    assert_fast_is_plain(op, *arrays, **tolerances(dtype))


@settings(max_examples=80)
@given(
    st.integers(1, 3), st.integers(1, 5), st.integers(0, 4), st.integers(1, 3), st.integers(1, 3),
    st.sampled_from([1.0, 300.0]), st.none() | st.integers(1, 6), st.sampled_from([2, 3, 128]),
    st.sampled_from([None, 2.0]), st.none() | st.lists(st.integers(0, 8), min_size=3, max_size=3), st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_attention(batch, length, past, kv_heads, group, scale, window, query_block, softcap, padding, keeps, dtype):
    """Any heads, cached positions, windows, padding, caps, blocks of queries, and scores too large for e^score.

    keeps: what the forward pass computed, for the backward pass.
    """
    q = normal(batch, length, kv_heads * group, 4, scale=scale).astype(dtype)
    k, v = (normal(batch, past + length, kv_heads, 4, seed=seed).astype(dtype) for seed in (1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "QUERY_BLOCK", query_block)
        patch.setattr(attention, "KEPT_WIDTHS", 4 if keeps else 0)
        patch.setattr(attention, "SMALL_BYTES", 0)
        padding = None if padding is None else np.minimum(padding[:batch], past + length - 1)
        options = {"window": window, "softcap": softcap, "padding": padding}
        assert_fast_is_plain(capped_attention, q, k, v, **options, **tolerances(dtype, scale))


def test_attention_over_several_blocks_in_float32():
    q, k, v = (normal(2, 300, 4, 16, seed=i).astype(np.float32) for i in range(3))
    assert_fast_is_plain(F.causal_attention, q, k, v, rtol=1e-4)


def test_attention_does_not_hide_bad_values():
    q = normal(1, 4, 1, 4)
    q[0, 2] = np.nan
    y = F.attention(q, normal(1, 4, 1, 4), normal(1, 4, 1, 4))
    assert np.isnan(y[0, 2]).all()
    assert np.isfinite(y[0, :2]).all()


@pytest.mark.parametrize("block_bytes", [100, 1000, 1_500_000])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_any_split_of_the_rows_gives_the_same(cores, block_bytes, monkeypatch):
    monkeypatch.setattr(threads, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(threads, "SMALL_BYTES", 0)
    monkeypatch.setattr(threads.thread_pool, "cores", cores)
    x, gate, w, b = normal(5, 7, 6), normal(5, 7, 6, seed=1), normal(6), normal(6, seed=1)
    assert_fast_is_plain(F.gelu_tanh, x)
    assert_fast_is_plain(F.swiglu, x, gate)
    assert_fast_is_plain(F.geglu_tanh, x, gate)
    assert_fast_is_plain(F.softmax, x)
    assert_fast_is_plain(F.log_softmax, x)
    assert_fast_is_plain(F.layer_norm, x, w, b)
    assert_fast_is_plain(F.layer_norm, x, w)
    assert_fast_is_plain(F.rms_norm, x, w)
    assert_fast_is_plain(F.linear, x, normal(3, 6), normal(3))
    assert_fast_is_plain(F.linear, x, normal(3, 6))
    targets = np.random.default_rng(0).integers(-1, 6, (5, 7))
    assert_fast_is_plain(F.token_losses, x, targets)
    assert_fast_is_plain(F.dropped, x, np.random.default_rng(0).integers(0, 65536, x.shape, np.uint16), p=0.3)
    assert_fast_is_plain(F.linear_cross_entropy, x, normal(9, 6), targets)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_logits_spoil_no_more_than_they_do_by_the_formula(dtype):
    inf, nan = np.inf, np.nan
    rows = [[1, 2, 3], [inf, 1, 2], [-inf, 1, 2], [-inf, -inf, -inf], [inf, inf, 1], [nan, 1, 2], [inf, -inf, 0]]
    x, targets = np.array(rows, dtype), np.array([0, 1, 2, 0, 1, 1, 2])
    for fn, arrays in ((F.log_softmax, (x,)), (F.softmax, (x,)), (F.token_losses, (x, targets))):
        found = fn(*arrays)
        with plain():
            wanted = fn(*arrays)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert np.array_equal(F.log_softmax(x)[1], [nan, -inf, -inf], equal_nan=True)


def test_loss_without_gradients_in_pieces(monkeypatch):
    """Evaluation makes the logits piece by piece; the sum is the same."""
    x, w = normal(4, 9, 6), normal(11, 6)
    targets = np.random.default_rng(0).integers(-1, 11, (4, 9))
    whole = F.linear_cross_entropy(Tensor(x, requires_grad=True), Tensor(w), targets).item()
    monkeypatch.setattr(probabilities, "LOGITS_BYTES", 500)
    with no_grad():
        assert F.linear_cross_entropy(Tensor(x), Tensor(w), targets).item() == pytest.approx(whole, rel=1e-12)


def test_the_gradient_of_a_frozen_weight_is_not_computed():
    """It would be a third of the work of a product, and as large as the weight."""
    x, targets = Tensor(normal(2, 3, 4), requires_grad=True), np.zeros((2, 3), np.int64)
    found = []

    class Look(Observer):
        def on_backward(self, node, out, g, gradients):
            found.append((node.name, gradients[0] is not None, gradients[1] is not None))

    for frozen in (True, False):
        with observing(Look()):
            y = F.linear(x, Tensor(normal(4, 4), requires_grad=not frozen))
            F.linear_cross_entropy(y, Tensor(normal(5, 4), requires_grad=not frozen), targets).backward()
    names = ("linear_cross_entropy", "linear")
    assert found == [(name, True, wanted) for wanted in (False, True) for name in names]


def test_a_task_inside_a_task_stays_on_its_core(monkeypatch):
    monkeypatch.setattr(threads.thread_pool, "cores", 2)
    parts = []

    def outer(first, last):
        threads.parallel_for(lambda a, b: parts.append((first, a, b)), 10)

    threads.parallel_for(outer, 2)
    assert sorted(parts) == [(0, 0, 10), (1, 0, 10)]


def test_what_a_thread_raises_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(threads.thread_pool, "cores", 2)

    def work(first, last):
        raise ZeroDivisionError(f"stretch {first}")

    with pytest.raises(ZeroDivisionError):
        threads.parallel_for(work, 4)


def test_the_number_of_cores_can_be_chosen(monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_THREADS", "3")
    assert threads.core_count() == 3


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0)])
def test_single_numbers_and_empty_arrays(shape):
    assert_fast_is_plain(F.gelu_tanh, normal(*shape))
    assert_fast_is_plain(F.swiglu, normal(*shape), normal(*shape, seed=1))
    assert_fast_is_plain(F.dropped, normal(*shape), np.zeros(shape, np.uint16), p=0.3)


@pytest.mark.parametrize("small_table", [0, 32_000])
@pytest.mark.parametrize("width", [3, 200])
def test_embedding_of_small_and_large_tables(width, small_table, monkeypatch):
    """Ids that come several times, ids from the end, added to a gradient that is there already."""
    monkeypatch.setattr(tables, "SMALL_TABLE", small_table)
    ids = np.random.default_rng(0).integers(-7, 7, (4, 5))
    assert_fast_is_plain(F.embedding, normal(7, width), ids)
    table = Tensor(normal(7, width), requires_grad=True)
    table.grad_buffer = np.full(table.shape, np.nan)
    for _ in range(2):
        F.embedding(table, ids).sum().backward()
    counts = np.bincount(ids.reshape(-1) % 7, minlength=7)
    assert np.array_equal(table.grad.data, np.repeat(2.0 * counts[:, None], width, axis=1))
