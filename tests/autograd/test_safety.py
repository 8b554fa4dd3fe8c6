"""Mistakes that would silently give a wrong gradient: each raises and says what to do."""

import warnings

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, no_grad, ops, plain
from tinygrad_llm.autograd.changes import SAMPLES, WHOLE_BYTES, fingerprint
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


# --- values changed in place before backward -------------------------------------------------------------------


def set_first(x):
    x.data[0] = 7.0


def add_one(x):
    x.data += 1.0


def exchange(x):
    x.data = x.data + 1.0


@pytest.mark.parametrize("change", [set_first, add_one, exchange])
class TestChangedInPlace:
    def test_a_leaf(self, change):
        x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
        loss = (x * w).sum()
        change(w)
        with pytest.raises(InputError, match=r"input 2 of the op 'multiply', float64\[2\], was changed in place"):
            loss.backward()
        assert x.grad is None and w.grad is None  # found before anything was handed out

    def test_an_input_that_wants_no_gradient(self, change):
        x, data = leaf(1.0, 2.0), Tensor(np.array([3.0, 4.0]))
        loss = (x * data).sum()
        change(data)
        with pytest.raises(InputError, match="input 2 of the op 'multiply'"):
            loss.backward()

    def test_an_input_of_a_fused_op(self, change):
        x, w = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((4, 3)), requires_grad=True)
        loss = F.linear(x, w).sum()
        change(w)
        with pytest.raises(InputError, match="input 2 of the op 'linear'"):
            loss.backward()

    def test_between_two_passes(self, change):
        w = leaf(3.0, 4.0)
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        change(w)
        with pytest.raises(InputError, match="changed in place"):
            loss.backward()


# Results of ops are read-only, so NumPy refuses at the line that tries; an exchange is found in backward.

RESULTS = {
    "an op": lambda x: ops.exp(x),
    "a fused op": lambda x: F.softmax(x),
    "a view of the input": lambda x: x.reshape(2, 1),
    "the input itself": lambda x: ops.squeeze(x),
    "a slice": lambda x: x[:1],
}


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("change", [set_first, add_one])
def test_writing_into_a_result_is_refused_at_once(name, change):
    x = leaf(1.0, 2.0)
    y = RESULTS[name](x)
    with pytest.raises(ValueError, match="read-only"):
        change(y.T)
    with pytest.raises(ValueError, match="read-only"):
        y.numpy()[...] = 0.0
    assert x.data.flags.writeable  # the user's array is not touched


def test_writing_one_number_into_a_large_result_is_refused():
    x = Tensor(np.ones((300, 300), np.float32), requires_grad=True)
    y = x * x
    with pytest.raises(ValueError, match="read-only"):
        y.data[150, 17] = 9.0


def test_exchanging_a_result_that_its_own_rule_needs():
    y = ops.exp(leaf(1.0, 2.0))
    exchange(y)
    with pytest.raises(InputError, match=r"the result of the op 'exp', float64\[2\], was changed"):
        y.sum().backward()


def test_exchanging_a_result_that_another_op_needs():
    y = leaf(1.0, 2.0) + leaf(3.0, 4.0)
    z = (y * y).sum()
    exchange(y)
    with pytest.raises(InputError, match="the result of the op 'add'"):
        z.backward()


def test_values_without_history_can_be_written():
    with no_grad():
        y = leaf(1.0, 2.0) * 2.0
    y.data[0] = 7.0
    z = Tensor([1.0, 2.0]) * 2.0
    z.data[0] = 7.0
    assert y.data[0] == z.data[0] == 7.0


@pytest.mark.parametrize("index", [(0, 0), (31, 17), (63, 63)])
def test_one_number_of_a_leaf_of_16_kilobytes(index):
    x = Tensor(np.ones((64, 64), np.float32), requires_grad=True)
    y = x * x
    x.data[index] = 9.0
    with pytest.raises(InputError, match="input 1 of the op 'multiply'"):
        y.sum().backward()


def test_an_array_changed_behind_the_tensor_is_noticed():
    batch = np.array([1, 2, 0])
    table = Tensor(np.eye(3), requires_grad=True)
    values = np.array([[2.0], [3.0], [4.0]])
    loss = (F.embedding(table, batch) * values).sum()
    values[1] = 0.0
    with pytest.raises(InputError, match="input 2 of the op 'multiply'"):
        loss.backward()


def test_the_base_of_a_view_is_watched():
    """An optimizer steps through one flat buffer, of which the parameters are views."""
    flat = np.ones(6)
    w = Tensor(flat[:3].reshape(3, 1), requires_grad=True)
    loss = (w * w).sum()
    flat *= 0.9
    with pytest.raises(InputError, match="optimizer"):
        loss.backward()


def test_a_step_between_graphs_is_free():
    flat = np.ones(3)
    w = Tensor(flat, requires_grad=True)
    for _ in range(3):
        (w * w).sum().backward()
        flat -= 0.1 * w.grad.data
        w.zero_grad()
    assert flat.tolist() == pytest.approx([0.8**3] * 3)


def test_out_of_place_assignment_is_no_change():
    x = leaf(1.0, 2.0)
    y = x * x
    before = y
    y += 1.0
    assert y is not before
    (y * before).sum().backward()
    assert x.grad.data.tolist() == [2 * 1.0 * (1 + 2 * 1.0), 2 * 2.0 * (1 + 2 * 4.0)]


def test_nan_is_not_a_change():
    x = leaf(np.nan, 1.0)
    (x * 2.0).sum().backward()
    assert x.grad.data.tolist() == [2.0, 2.0]


def test_no_grad_keeps_no_fingerprints():
    x = leaf(1.0)
    with no_grad():
        y = x * 2.0
    y.data[0] = 5.0
    assert (y * 1.0).data[0] == 5.0


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (WHOLE_BYTES // 8,)])
def test_small_arrays_are_watched_whole(shape):
    array = np.zeros(shape)
    before = fingerprint(array)
    assert fingerprint(array) == before
    for i in range(array.size):
        array.reshape(-1)[i] = 1.0
        assert fingerprint(array) != before
        array.reshape(-1)[i] = 0.0


VIEWS = [lambda a: a, lambda a: a.T, lambda a: a[::2], lambda a: np.broadcast_to(a, (3, 300, 400))]


@pytest.mark.parametrize("view", VIEWS)
def test_large_arrays_are_sampled_cheaply(view):
    base = np.zeros((300, 400))
    array = view(base)
    before = fingerprint(array)
    assert len(before) <= (SAMPLES + 1) * 8
    base += 1e-300
    assert fingerprint(array) != before
    base[...] = 0.0
    base[0, 0] = 1.0  # the first value is always among the samples
    assert fingerprint(array) != before


# --- indices and assignments ------------------------------------------------------------------------------------


def test_assigning_into_a_tensor_says_how_to_do_it():
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=r"tensor\.at\(index\)\.set\(value\)"):
        x[0] = 5.0
    y = x.at(0).set(5.0)
    assert y.data.tolist() == [5.0, 2.0] and x.data.tolist() == [1.0, 2.0]


# --- the graph ------------------------------------------------------------------------------------------------


def test_backward_twice_says_how_to_keep_the_graph():
    x = leaf(1.0)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(InputError, match=r"already used and freed.*retain_graph=True"):
        loss.backward()
    assert x.grad.data[0] == 2.0


def test_half_a_freed_graph_is_found_before_anything_is_added():
    x = leaf(1.0)
    y = x * x
    first, second = (y * 2.0).sum(), (y * 3.0).sum() + (x * 1.0).sum()
    first.backward()
    with pytest.raises(InputError, match="the op 'multiply' was already used"):
        second.backward()
    assert x.grad.data[0] == 4.0


def test_backward_of_many_numbers_wants_a_gradient():
    with pytest.raises(InputError, match=r"shape \(2,\) is not a single number.*y\.backward\(gradient\)"):
        (leaf(1.0, 2.0) * 2.0).backward()


def test_a_gradient_of_another_shape():
    with pytest.raises(InputError, match=r"gradient has shape \(3,\).*\(2,\)"):
        (leaf(1.0, 2.0) * 2.0).backward(np.ones(3))


@pytest.mark.parametrize("make", [lambda: Tensor([1.0]).sum(), lambda: Tensor([1, 2]).sum()])
def test_backward_without_history(make):
    with pytest.raises(InputError, match="no history"):
        make().backward()


def test_backward_of_what_no_grad_made():
    x = leaf(1.0)
    with no_grad():
        y = (x * 2.0).sum()
    with pytest.raises(InputError, match="outside no_grad"):
        y.backward()


@pytest.mark.parametrize("dtype", [np.int64, np.int32, bool])
def test_integers_have_no_gradient(dtype):
    with pytest.raises(InputError, match=r"only floating-point.*astype"):
        Tensor(np.ones(3, dtype), requires_grad=True)
    with pytest.raises(InputError, match="only floating-point"):
        Tensor(np.ones(3, dtype)).requires_grad_()


def test_a_tensor_of_a_tensor_and_of_nonsense():
    with pytest.raises(InputError, match="detach"):
        Tensor(leaf(1.0))
    with pytest.raises(InputError, match="'text'"):
        Tensor("text")


# --- NumPy's functions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, advice",
    [
        (lambda t: np.exp(t), r"np\.exp.*say tensor\.exp"),
        (lambda t: np.sum(t), r"np\.sum.*say tensor\.sum"),
        (lambda t: np.mean(t, axis=0), r"np\.mean.*say tensor\.mean"),
        (lambda t: np.concatenate([t, t]), r"ops\.concat"),
        (lambda t: np.einsum("ij->i", t), r"ops\.einsum"),
        (lambda t: np.isfinite(t), r"tensor\.numpy\(\)"),
        (lambda t: np.linalg.svd(t), r"np\.svd"),
        (lambda t: np.add.reduce(t), r"np\.add"),
        (lambda t: np.asarray(t), r"tensor\.numpy\(\)"),
        (lambda t: np.array([t, t]), r"ops\.stack"),
        (lambda t: np.exp(np.ones((2, 2)), out=t), r"cannot take a Tensor in place"),
        (lambda t: np.ones((2, 2)).__iadd__(t), r"array = array \+ tensor"),
        (lambda t: np.ones((2, 2)).dot(t), r"tensor\.numpy\(\)"),
    ],
)
def test_a_numpy_function_on_a_tensor_says_what_to_do(call, advice):
    with pytest.raises(TypeError, match=advice):
        call(Tensor(np.ones((2, 2)), requires_grad=True))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_array_on_the_left_of_an_operator_works(requires_grad):
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    t = Tensor(np.array([[2.0, 1.0], [0.5, 3.0]]), requires_grad)
    pairs = [
        (a + t, a + t.data),
        (a - t, a - t.data),
        (a * t, a * t.data),
        (a / t, a / t.data),
        (a**t, a**t.data),
        (a @ t, a @ t.data),
        (np.float32(2.0) * t, 2.0 * t.data),
        (a < t, a < t.data),
        (a == t, a == t.data),
        (a >= t, a >= t.data),
    ]
    for result, wanted in pairs:
        assert isinstance(result, Tensor)
        np.testing.assert_array_equal(result.data, wanted)
        assert result.requires_grad == (requires_grad and wanted.dtype.kind == "f")


def test_a_numpy_number_does_not_widen_float32():
    t = Tensor(np.ones(2, np.float32))
    assert (t * np.float64(0.5)).dtype == (np.float64(0.5) * t).dtype == np.float32


# --- mixing devices ---------------------------------------------------------------------------------------------


def test_tensors_on_two_devices_say_how_to_move_one():
    """Stand-ins: an array whose type says "cupy", and that refuses NumPy's arrays as CuPy's do."""

    class OnGpu:
        ndim, shape, dtype = 1, (2,), np.dtype(np.float32)

        def __array_ufunc__(self, *args, **kwargs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")

    OnGpu.__module__ = "cupy"
    with pytest.raises(InputError, match=r"add\(.*\).*on the cpu.*on the cuda.*tensor\.to\('cuda'\)"):
        Tensor(np.ones(2, np.float32)) + Tensor(OnGpu())


def test_a_mistake_names_the_op_and_what_it_was_given():
    with pytest.raises(ValueError, match=r"add\(float64\[2\], float64\[3\]\)"):
        leaf(1.0, 2.0) + leaf(1.0, 2.0, 3.0)


def test_safety_holds_in_plain_mode():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with plain(), warnings.catch_warnings():
        y = F.softmax(x)
        x.data[0, 0] = 9.0
        with pytest.raises(InputError, match="changed in place"):
            y.sum().backward()
