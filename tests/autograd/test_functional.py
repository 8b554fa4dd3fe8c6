"""Derivatives of functions, of any order, against finite differences, each other and hand arithmetic."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.autograd import Tensor, functional, no_grad, ops, plain
from tinygrad_llm.autograd.functional import (
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)
from tinygrad_llm.autograd.recompute import checkpoint
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F


def central(fn, x, h=1e-5):
    """The derivative of an array function along every coordinate of x, by central differences: fn's shape + x's."""
    x = np.asarray(x, np.float64)
    columns = []
    for i in range(x.size):
        step = np.zeros(x.size)
        step[i] = h
        step = step.reshape(x.shape)
        columns.append((fn(x + step) - fn(x - step)) / (2 * h))
    return np.stack(columns, axis=-1).reshape(np.shape(columns[0]) + x.shape)


def two_layers(rng, inputs=3, hidden=4):
    """The loss of a two-layer network as a function of all its parameters in one vector, and a point."""
    data, target = rng.standard_normal((5, inputs)), rng.standard_normal((5, 1))
    n = inputs * hidden

    def loss(p):
        h = ops.tanh(data @ p[:n].reshape(inputs, hidden) + p[n : n + hidden])
        error = h @ p[n + hidden :].reshape(hidden, 1) - target
        return (error * error).mean()

    return loss, rng.standard_normal(n + 2 * hidden) * 0.5


def transformer_loss(rng):
    """The loss of a one-layer transformer from the fused ops, as a function of its parameters, and a point."""
    V, T, C, H = 7, 5, 8, 2
    shapes = [(V, C), (C,), (C, C), (C, C), (C, C), (C, C), (C,), (2 * C, C), (C, 2 * C)]
    ids, targets = rng.integers(0, V, (2, T)), rng.integers(0, V, (2, T))

    def loss(table, norm1, wq, wk, wv, wo, norm2, up, down):
        x = F.embedding(table, ids)  # (B, T, C)
        h = F.rms_norm(x, norm1)
        q, k, v = (F.linear(h, w).reshape(2, T, H, C // H) for w in (wq, wk, wv))
        x = x + F.linear(F.attention(q, k, v).reshape(2, T, C), wo)
        x = x + F.linear(F.gelu(F.linear(F.layer_norm(x, norm2), up)), down)
        return F.cross_entropy(F.linear(x, table), targets)

    return loss, [rng.standard_normal(shape) * 0.5 + (len(shape) == 1) for shape in shapes]


# --- grad -----------------------------------------------------------------------------------------------------


def test_the_fourth_derivative_of_tanh():
    f = ops.tanh
    for _ in range(4):
        f = grad(f)
    for x in (-1.3, 0.0, 0.2, 2.5):
        t = math.tanh(x)
        wanted = (1 - t * t) * (16 * t - 24 * t**3)
        assert f(np.float64(x)).item() == pytest.approx(wanted, rel=1e-13, abs=1e-15)


@settings(max_examples=30)
@given(st.integers(1, 7), st.integers(1, 6), st.floats(-2, 2))
def test_repeated_grad_of_a_power(n, order, x):
    def f(x):
        return ops.prod(ops.broadcast_to(x, shape=(n,)))  # x^n

    for _ in range(order):
        f = grad(f)
    wanted = math.perm(n, order) * x ** (n - order) if order <= n else 0.0
    assert f(np.float64(x)).item() == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_value_and_grad_and_argnums():
    def f(x, y, *, scale):
        return (x * x * y).sum() * scale

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, (dx, dy) = value_and_grad(f, (0, 1))(x, y, scale=2.0)
    assert value.item() == 2 * (3 + 16)
    assert dx.data.tolist() == [12.0, 32.0] and dy.data.tolist() == [2.0, 8.0]
    assert grad(f, argnums=-1)(x, y, scale=1.0).data.tolist() == [1.0, 4.0]
    assert not value.requires_grad and dx.node is None


def test_the_inner_derivative_does_not_see_the_outer_variable():
    """Perturbation confusion: x · d/dy (x + y) is x · 1, and its derivative 1."""
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0).item() == 1.0
    assert grad(lambda x: grad(lambda y: x * y * y)(x))(3.0).item() == 4 * 3.0  # d/dx 2x²


def test_the_same_array_for_two_arguments_has_two_gradients():
    x = np.array([2.0])
    first, second = grad(lambda a, b: (a * a * b).sum(), (0, 1))(x, x)
    assert first.item() == 8.0 and second.item() == 4.0
    t = Tensor(x, requires_grad=True)
    first, second = grad(lambda a, b: (a * a * b).sum(), (0, 1))(t, t)
    assert first.item() == 8.0 and second.item() == 4.0


def test_a_gradient_of_tracked_tensors_can_be_differentiated_again():
    w = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    penalty = (grad(lambda x: (x * x * w).sum())(np.array([3.0, 4.0])) ** 2).sum()  # Σ (2 x w)²
    penalty.backward()
    assert w.grad.data.tolist() == [8 * 9 * 1.0, 8 * 16 * 2.0]


def test_inside_no_grad_the_answer_is_plain_values():
    w = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with no_grad():
        value, slope = value_and_grad(lambda x: (x * x * w).sum())(np.array([3.0, 4.0]))
    assert slope.data.tolist() == [6.0, 16.0]
    assert not slope.requires_grad and not value.requires_grad


def test_what_does_not_matter_has_derivative_zero():
    assert grad(lambda x: Tensor(1.0))(2.0).item() == 0.0
    assert grad(lambda x, y: x * 2.0, 1)(Tensor(2.0), 3.0).item() == 0.0
    assert hessian(lambda x: x.sum())(np.ones(2)).data.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: grad(lambda x: x)(3), r"argument 0 of <lambda> is int64.*pass 3\.0"),
        (lambda: grad(lambda x: x)(np.ones(3)), r"single number, it returned shape \(3,\).*jacobian"),
        (lambda: grad(lambda x: (x, x))(1.0), "single number"),
        (lambda: grad(lambda x: x.item())(3.0), r"returned float.*no \.item\(\)"),
        (lambda: grad(lambda x: x, 2)(3.0), "called with 1 arguments, there is no number 2"),
        (lambda: hvp(lambda x: x * x, (1.0,), (1.0, 2.0)), "as many gradients"),
        (lambda: vjp(lambda x: x * x, 1.0)[1](np.ones(3)), r"gradient has shape \(3,\)"),
    ],
)
def test_mistakes_say_what_to_do(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()


# --- vjp, jvp, jacobian -----------------------------------------------------------------------------------------


def curve(x, y):
    """Two outputs, of shapes (2, 3) and (), from inputs (3,) and (2, 1)."""
    z = ops.sin(x) * y + x * x
    return z, (z * x).sum()


def test_vjp_jvp_and_jacobian_are_one_matrix():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(3), rng.standard_normal((2, 1))
    u, v = (rng.standard_normal((2, 3)), rng.standard_normal(())), (rng.standard_normal(3), rng.standard_normal((2, 1)))
    blocks = jacobian(curve, (0, 1))(x, y)
    assert [[block.shape for block in row] for row in blocks] == [[(2, 3, 3), (2, 3, 2, 1)], [(3,), (2, 1)]]
    values, pull = vjp(curve, x, y)
    pulled, again = pull(u), pull(u)
    pushed_values, pushed = jvp(curve, (x, y), v)
    for k in range(2):  # outputs
        wanted = sum(np.tensordot(blocks[k][i].data, v[i], axes=v[i].ndim) for i in range(2))
        np.testing.assert_allclose(pushed[k].data, wanted, rtol=1e-12)
        np.testing.assert_array_equal(values[k].data, pushed_values[k].data)
    for i in range(2):  # inputs
        wanted = sum(np.tensordot(u[k], blocks[k][i].data, axes=u[k].ndim) for k in range(2))
        np.testing.assert_allclose(pulled[i].data, wanted, rtol=1e-12)
        np.testing.assert_array_equal(pulled[i].data, again[i].data)


def test_jacobian_against_finite_differences():
    rng = np.random.default_rng(1)
    y = rng.standard_normal((2, 1))
    x = rng.standard_normal(3)
    wanted = central(lambda x: np.sin(x) * y + x * x, x)
    np.testing.assert_allclose(jacobian(lambda x: curve(x, y)[0])(x).data, wanted, rtol=1e-8, atol=1e-9)


def test_jacobian_of_nothing_and_of_an_empty_argument():
    assert jacobian(lambda x: x[:0])(np.ones(3)).shape == (0, 3)
    assert jacobian(lambda x: x * 2.0)(np.ones(0)).shape == (0, 0)


@pytest.mark.parametrize("fn", [ops.tanh, F.softmax, F.gelu, lambda x: F.layer_norm(x, np.array([1.0, 2.0, 3.0]))])
def test_jvp_through_fused_ops_against_finite_differences(fn):
    rng = np.random.default_rng(2)
    x, v = rng.standard_normal(3), rng.standard_normal(3)
    _, slope = jvp(fn, (x,), (v,))
    h = 1e-6
    wanted = (fn(Tensor(x + h * v)).data - fn(Tensor(x - h * v)).data) / (2 * h)
    np.testing.assert_allclose(slope.data, wanted, rtol=1e-7, atol=1e-9)


def test_forward_over_reverse_is_reverse_over_reverse():
    loss, p = two_layers(np.random.default_rng(3))
    v = np.random.default_rng(4).standard_normal(p.shape)
    np.testing.assert_allclose(jvp(grad(loss), (p,), (v,))[1].data, hvp(loss, p, v).data, rtol=1e-10, atol=1e-13)


def test_grad_of_a_jvp():
    assert grad(lambda x: jvp(lambda y: y * y * x, (x,), (1.0,))[1])(3.0).item() == 12.0


# --- second order -----------------------------------------------------------------------------------------------


def test_hessian_of_a_two_layer_network_against_finite_differences():
    loss, p = two_layers(np.random.default_rng(5))
    H = hessian(loss)(p).data
    wanted = central(lambda p: grad(loss)(p).data, p)
    np.testing.assert_allclose(H, wanted, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(H, H.T, rtol=1e-12, atol=1e-14)


def test_hessian_blocks_of_several_arguments():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    (xx, xy), (yx, yy) = hessian(lambda x, y: (x * x * y).sum(), (0, 1))(x, y)
    assert xx.data.tolist() == [[6.0, 0.0], [0.0, 8.0]]
    assert xy.data.tolist() == yx.data.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert yy.data.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("is_plain", [False, True])
def test_hessian_vector_product_of_a_transformer_against_finite_differences(is_plain):
    rng = np.random.default_rng(6)
    loss, parameters = transformer_loss(rng)
    directions = [rng.standard_normal(p.shape) for p in parameters]
    h = 1e-5
    everything = tuple(range(len(parameters)))

    def slope(sign):
        moved = [p + sign * h * d for p, d in zip(parameters, directions, strict=True)]
        return grad(loss, everything)(*moved)

    wanted = [(a.data - b.data) / (2 * h) for a, b in zip(slope(1), slope(-1), strict=True)]
    if is_plain:
        with plain():
            found = hvp(loss, parameters, directions)
    else:
        found = hvp(loss, parameters, directions)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.data, b, rtol=1e-5, atol=1e-6 * np.abs(b).max())


def test_third_order_through_a_fused_op():
    """d³/dx³ of a GELU by three derivatives of the definition, and by a difference of two."""
    slope = grad(lambda x: F.gelu(x).sum())
    f = grad(lambda x: slope(x).sum())
    x, h = np.array([0.7]), 1e-5
    wanted = (f(x + h).item() - f(x - h).item()) / (2 * h)
    third = grad(lambda x: f(x).sum())
    assert third(x).item() == pytest.approx(wanted, rel=1e-8)


# --- every transform of every transform of every transform ---------------------------------------------------------
# Each makes a function of a vector to a number out of another such one. What stands beside it is the same from values
# alone, by finite differences. So a composition is held against differences of the composition without its outermost.

A = np.array([0.7, -0.4])


def along(h, x, v, step=1e-5):
    """dh/dx · v, by a central difference."""
    return (h(x + step * v) - h(x - step * v)) / (2 * step)


def curvature(h, x, u, v, step=2e-4):
    """uᵀ (d²h/dx²) v, by a difference of differences."""
    return along(lambda x: along(h, x, v, step), x, u, step)


TRANSFORMS = {
    "grad": (lambda h: lambda x: (grad(h)(x) * x).sum(), lambda h, x: along(h, x, x)),
    "vjp": (
        lambda h: lambda x: (vjp(h, x)[1]((x * x).sum())[0] * A).sum(),
        lambda h, x: (x * x).sum() * along(h, x, A),
    ),
    "jvp": (lambda h: lambda x: jvp(h, (x,), (ops.sin(x),))[1], lambda h, x: along(h, x, np.sin(x))),
    "hvp": (lambda h: lambda x: (hvp(h, x, x * x) * A).sum(), lambda h, x: curvature(h, x, A, x * x)),
    "jacobian": (lambda h: lambda x: (jacobian(h)(x) * ops.cos(x)).sum(), lambda h, x: along(h, x, np.cos(x))),
    "hessian": (
        lambda h: lambda x: (hessian(h)(x) * A[:, None] * x).sum(),
        lambda h, x: curvature(h, x, A, x),
    ),
    "value_and_grad": (
        lambda h: lambda x: (lambda value, slope: value * (slope * A).sum())(*value_and_grad(h)(x)),
        lambda h, x: h(x) * along(h, x, A),
    ),
    "checkpoint": (lambda h: lambda x: checkpoint(h)(x), lambda h, x: h(x)),
}


def innermost(x):
    return (ops.sin(x) * ops.exp(0.5 * x)).sum() + F.gelu(x * x[::-1]).sum()


@pytest.mark.parametrize("inner", TRANSFORMS)
@pytest.mark.parametrize("middle", TRANSFORMS)
@pytest.mark.parametrize("outer", TRANSFORMS)
def test_transforms_three_deep_against_finite_differences(outer, middle, inner):
    x = np.array([0.6, -0.3])
    two_deep = TRANSFORMS[middle][0](TRANSFORMS[inner][0](innermost))
    transform, by_differences = TRANSFORMS[outer]
    found = transform(two_deep)(Tensor(x))
    wanted = by_differences(lambda x: two_deep(Tensor(x)).item(), x)
    assert found.item() == pytest.approx(wanted, rel=2e-5, abs=2e-5)
    assert not found.requires_grad


def test_the_pullback_keeps_the_history_of_what_it_is_given():
    def f(v):
        return vjp(lambda x: ops.sin(x) * x, np.array([1.0, 2.0]))[1](v)[0].sum()

    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(grad(f)(np.ones(2)).data, np.cos(x) * x + np.sin(x), rtol=1e-12)  # 1.3818, 0.0770


def test_the_pullback_inside_no_grad_gives_plain_values():
    u = Tensor(np.ones(2), requires_grad=True)
    with no_grad():
        (found,) = vjp(lambda x: x * x, np.array([1.0, 2.0]))[1](u)
    assert not found.requires_grad and found.data.tolist() == [2.0, 4.0]


C = np.array([1.0, 2.0])
WITH_A_PLAIN_POINT_INSIDE = {
    "grad": lambda x: grad(lambda y: (x * x * y * y).sum())(C).sum(),
    "jvp": lambda x: jvp(lambda y: (x * x * y * y).sum(), (C,), (C,))[1],
    "vjp": lambda x: vjp(lambda y: x * x * y * y, C)[1](x)[0].sum(),
    "hvp": lambda x: hvp(lambda y: (x * x * y * y).sum(), (C,), (C,))[0].sum(),
    "jacobian": lambda x: jacobian(lambda y: x * x * y * y)(C).sum(),
    "hessian": lambda x: hessian(lambda y: (x * x * y * y).sum())(C).sum(),
}


@pytest.mark.parametrize("name", WITH_A_PLAIN_POINT_INSIDE)
def test_a_loop_of_nested_derivatives_keeps_no_history(name):
    """x was plain, so what comes out must be: the inner derivative's own variable is no reason for a history."""
    f = WITH_A_PLAIN_POINT_INSIDE[name]
    x = Tensor(C)
    for _ in range(2):
        x = x - 0.01 * grad(f)(x)
        assert not x.requires_grad and x.node is None


def test_a_derivative_at_a_tensor_whose_graph_was_freed():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = x * 2.0
    y.sum().backward()
    assert grad(lambda y: (y * y).sum())(y).data.tolist() == [4.0, 8.0]


# --- gradients --------------------------------------------------------------------------------------------------


def test_gradients_are_total_derivatives():
    x = Tensor(2.0, requires_grad=True)
    y = 2 * x
    z = 3 * y + x
    assert [g.item() for g in gradients(z, [x, y])] == [7.0, 3.0]
    assert x.grad is None


def test_gradients_of_several_outputs():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = x * x
    found = gradients([y, y.sum()], x, [np.array([1.0, 10.0]), np.float64(100.0)])
    assert found.data.tolist() == [2 * 101.0, 4 * 110.0]
    with pytest.raises(InputError, match="output_gradients must be one per output, 2; there are 1"):
        gradients([x.sum(), x.sum()], x, [1.0])


def test_gradients_come_in_the_form_of_the_inputs():
    w, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0], requires_grad=True)
    loss = (w * b).sum()
    named = gradients(loss, {"w": w, "b": b}, retain_graph=True)
    assert list(named) == ["w", "b"] and named["b"].data.tolist() == [3.0]
    assert isinstance(gradients(loss, (w, b)), tuple)


def test_a_frozen_tensor_gets_no_gradient_and_cannot_be_asked():
    w, frozen = Tensor([1.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    frozen.requires_grad_(False)
    loss = (w * frozen).sum()
    with pytest.raises(InputError, match=r"inputs\[1\] requires no gradient"):
        gradients(loss, [w, frozen])
    loss.backward()
    assert w.grad.data.tolist() == [2.0] and frozen.grad is None


def test_detach_stops_the_gradient():
    x = Tensor([3.0], requires_grad=True)
    assert gradients((x * x.detach()).sum(), x).item() == 3.0


def test_gradients_own_their_memory():
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    dx, dy = gradients((x + y).sum(), [x, y])
    dx.data[...] = 0.0
    assert dy.data.tolist() == [1.0, 1.0]


def test_only_the_way_to_the_inputs_is_walked():
    """The gradient with respect to a late tensor must not run the rules of what lies before it."""
    x = Tensor([1.0], requires_grad=True)
    called = []
    early = x * 2.0
    early.register_hook(lambda g: called.append("early"))
    late = early * 3.0
    assert gradients((late * late).sum(), late).item() == 12.0
    assert called == []


def test_examples_in_the_docstrings_run():
    names = {"np": np, "Tensor": Tensor, "ops": ops}
    result = doctest.testmod(functional, extraglobs=names)
    assert result.attempted > 8 and result.failed == 0
