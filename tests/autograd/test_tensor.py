"""A Tensor is NumPy's array with gradients: methods, conversions and operators agree with NumPy's."""

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, fused, no_grad, ops, primitive
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import cpu

X = np.array([[0.3, -1.25, 2.0], [2.0, 0.5, -0.75]])
ROW = [1.0, 2.0, 3.0]
METHODS = {
    "flatten": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "copy": lambda x: x.copy(),
    "reshape": lambda x: x.reshape(3, 2),
    "reshape of a tuple": lambda x: x.reshape((3, -1)),
    "transpose": lambda x: x.transpose(1, 0),
    "T": lambda x: x.T,
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "repeat": lambda x: x.repeat(2, 1),
    "take": lambda x: x.take([0, 2], 1),
    "diagonal": lambda x: x.diagonal(1),
    "trace": lambda x: x.trace(),
    "astype": lambda x: x.astype("float32"),
    "sum": lambda x: x.sum(0),
    "sum keepdims": lambda x: x.sum(axis=1, keepdims=True),
    "mean": lambda x: x.mean(1),
    "max": lambda x: x.max(),
    "min": lambda x: x.min(axis=0),
    "var": lambda x: x.var(0, ddof=1),
    "std": lambda x: x.std(),
    "prod": lambda x: x.prod(axis=1),
    "cumsum": lambda x: x.cumsum(1),
    "dot": lambda x: x.dot(x.T),
    "any": lambda x: (x > 1).any(0),
    "all": lambda x: (x > -2).all(),
    "clip": lambda x: x.clip(-1.0, 1.0),
    "round": lambda x: x.round(1),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(),
    "argsort": lambda x: x.argsort(0),
    "negative": lambda x: -x,
    "positive": lambda x: +x,
    "abs": abs,
    "add a list": lambda x: x + ROW,
    "times a list": lambda x: ROW * x,
    "power": lambda x: x**2,
    "power of": lambda x: 2.0**x,
    "remainder": lambda x: x % 0.7,
    "remainder of": lambda x: 3.0 % x,
    "floor division": lambda x: x // 0.7,
    "floor division of": lambda x: 3.0 // x,
    "divmod": lambda x: divmod(x, 0.7)[0] + divmod(x, 0.7)[1],
    "matmul": lambda x: x @ x.T,
    "array remainder": lambda x: np.full(3, 3.0) % x,
}
POSITIONS = ("argmax", "argmin", "argsort", "any", "all")


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_those_of_numpy(name):
    x = Tensor(X, requires_grad=True)
    found, wanted = METHODS[name](x), METHODS[name](X)
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    assert found.shape == np.shape(wanted) and found.dtype == wanted.dtype
    assert found.requires_grad == (name not in POSITIONS)


def test_sort_gives_a_sorted_copy():
    x = Tensor(X, requires_grad=True)
    assert x.sort(0).tolist() == np.sort(X, 0).tolist() and x.tolist() == X.tolist()


def test_copy_has_memory_and_gradient_of_its_own():
    x = Tensor(X, requires_grad=True)
    y = x.copy()
    assert not np.shares_memory(y.data, x.data)
    (y * 2.0).sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_nonzero_is_an_index():
    x = Tensor(np.array([[1.0, 0.0], [0.0, 3.0]]), requires_grad=True)
    y = x[x.nonzero()]
    y.sum().backward()
    assert y.tolist() == [1.0, 3.0] and x.grad.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_conversions_to_python():
    x = Tensor(np.float32(2.718281828))
    assert f"{x:.3f}" == "2.718" and f"{x:8.2e}" == "2.72e+00" and float(x) == pytest.approx(2.7182817)
    assert int(x) == 2 and bool(x) and round(x, 1).item() == pytest.approx(2.7)
    assert f"{Tensor([[0.5]]):.1f}" == "0.5"
    assert f"{Tensor([1.0, 2.0])}" == str(Tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match=r"':\.3f' is for one number, this tensor has shape \(2,\)"):
        format(Tensor([1.0, 2.0]), ".3f")
    assert ["a", "b", "c"][Tensor(1)] == "b" and list(range(5))[Tensor(1) : Tensor(3)] == [1, 2]
    with pytest.raises(TypeError):
        ["a", "b"][Tensor(1.0)]
    assert Tensor([[1, 2]]).tolist() == [[1, 2]] and len(Tensor([1, 2, 3])) == 3
    assert 2.0 in Tensor(X) and 7.0 not in Tensor(X) and Tensor(2.0) in Tensor(X)
    assert [row.tolist() for row in Tensor(X)] == X.tolist()
    np.testing.assert_allclose(Tensor(X).numpy(), X)


def test_gradients_flow_through_iteration():
    x = Tensor(X, requires_grad=True)
    a, b = x
    (a * b).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), X[::-1])


# --- nothing detaches in silence -------------------------------------------------------------------------------


def test_moving_to_a_device_has_a_gradient():
    w = Tensor([1.0, 2.0], requires_grad=True)
    (w * 2).to("cpu").sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]
    assert w.to("cpu") is w
    y = ops.to_device(w * 3.0, "cpu")
    slope = ops.to_device(y * y, "cpu").sum()
    w.zero_grad()
    slope.backward(create_graph=True)
    assert w.grad.tolist() == [18.0, 36.0] and w.grad.requires_grad
    with pytest.raises(InputError, match="device must be one of"):
        w.to("tpu")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x * (1 + 0.2j),
        lambda x: (1 + 0.2j) * x,
        lambda x: x.astype("complex64"),
        lambda x: x + np.ones(2) * 1j,
    ],
)
def test_a_complex_result_is_an_error_where_a_gradient_would_be_lost(call):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(InputError, match=r"the result is complex.*x\.detach\(\)"):
        call(x)
    with no_grad():
        assert call(x).dtype.kind == "c"
    assert call(x.detach()).dtype.kind == "c"


def test_an_op_without_a_rule_is_an_error_where_a_gradient_would_be_lost():
    @primitive
    def cube(x):
        return x * x * x

    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(InputError, match=r"cube\(float32\[2\]\): the op has no rule.*@cube\.vjp"):
        cube(x)
    assert cube(x.detach()).tolist() == [1.0, 8.0]

    @cube.vjp
    def cube_vjp(g, out, x):
        return (g * 3.0 * x * x,)

    cube(x).sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_an_accumulated_gradient_with_a_history_keeps_it_beside_a_buffer():
    x = Tensor([1.0, 2.0], requires_grad=True)
    x.grad_buffer = np.zeros(2, np.float32)
    (x * x * x).sum().backward(create_graph=True)
    (slope,) = (x.grad,)
    assert slope.requires_grad and slope.tolist() == [3.0, 12.0]
    x.zero_grad()
    slope.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0] and x.grad.data is x.grad_buffer


# --- arguments of ops ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, Tensor])
def test_options_by_position_as_in_numpy(kind):
    x = kind(X)

    def same(found, wanted):
        np.testing.assert_allclose(getattr(found, "data", found) if kind is Tensor else found, wanted)

    same(ops.sum(x, 0), X.sum(0))
    same(ops.sum(x, 1, True), X.sum(1, keepdims=True))
    same(ops.roll(x, 1), np.roll(X, 1))
    same(ops.reshape(x, (6,)), X.reshape(6))
    same(ops.broadcast_to(x, (2, 2, 3)), np.broadcast_to(X, (2, 2, 3)))
    same(ops.pad(x, 1), np.pad(X, 1))
    same(ops.swapaxes(x, 0, 1), X.T)
    same(ops.expand_dims(x, 0), X[None])
    same(ops.transpose(x, (1, 0)), X.T)
    same(ops.astype(x, "float32"), X.astype("float32"))
    same(ops.getitem(x, (0, slice(1))), X[0, :1])


@fused(cpu=cpu.linear)
def affine(x, weight, bias=None):
    y = x @ weight.swapaxes(0, 1)
    return y if bias is None else y + bias


def test_inputs_by_name_have_gradients():
    x, w, b = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True), Tensor([1.0, 2.0], requires_grad=True)
    affine(x, bias=b.astype("float64"), weight=w).sum().backward()
    assert w.grad.shape == (2, 3) and b.grad.tolist() == [2.0, 2.0]
    y = ops.multiply(x, y=w)
    y.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * X.sum(0) * [[1.0], [1.0]] * 0.5 + X)


def test_wrong_arguments_name_the_op():
    x = Tensor(X)
    with pytest.raises(TypeError, match="sum: takes at most 3 arguments, 4 were given"):
        ops.sum(x, 0, True, 1)
    with pytest.raises(TypeError, match="sum: got two values for axis"):
        ops.sum(x, 0, axis=0)
    with pytest.raises(TypeError, match="multiply: got two values for y"):
        ops.multiply(x, x, y=x)
    with pytest.raises(TypeError, match="affine: the argument weight is missing"):
        affine(x, bias=x)
    with pytest.raises(TypeError, match=r"sum\(float64\[2, 3\], colour=1\)"):
        ops.sum(x, colour=1)
