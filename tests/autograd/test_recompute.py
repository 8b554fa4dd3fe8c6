"""`checkpoint` changes what is remembered, never a gradient."""

import tracemalloc

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, no_grad, ops
from tinygrad_llm.autograd.functional import gradients, hvp
from tinygrad_llm.autograd.recompute import checkpoint
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F


def leaf(rng, *shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def same(fn, rng=None):
    return fn


def loss_of(wrap, W, x, seed=0):
    """Two calls of one layer with a residual from outside, dropout, and parameters that are not handed in."""
    rng = np.random.default_rng(seed)
    outside = x * 2.0

    def layer(h):
        return F.dropout(F.gelu(F.linear(h, W) + outside) * h, 0.3, rng)

    layer = wrap(layer, rng=rng)
    y = layer(layer(outside))  # `outside` is handed in and captured
    return (y * y).sum()


@pytest.fixture
def tensors():
    rng = np.random.default_rng(1)
    return leaf(rng, 4, 4), leaf(rng, 3, 4)


def test_gradients_are_the_same_also_of_what_is_captured(tensors):
    plain = gradients(loss_of(same, *tensors), tensors)
    short = gradients(loss_of(checkpoint, *tensors), tensors)
    for a, b in zip(plain, short, strict=True):
        np.testing.assert_allclose(b.data, a.data, rtol=1e-13)


def test_backward_too(tensors):
    W, x = tensors
    loss_of(same, W, x).backward()
    wanted = W.grad.data
    W.zero_grad()
    loss_of(checkpoint, W, x).backward()
    np.testing.assert_allclose(W.grad.data, wanted, rtol=1e-13)


def test_second_derivatives_are_the_same(tensors):
    def penalty(wrap):
        first = gradients(loss_of(wrap, *tensors), tensors, create_graph=True)
        return gradients(sum(((g * g).sum() for g in first), Tensor(np.float64(0.0))), tensors)

    for a, b in zip(penalty(same), penalty(checkpoint), strict=True):
        np.testing.assert_allclose(b.data, a.data, rtol=1e-11)


def test_hessian_vector_product_through_nested_checkpoints():
    rng = np.random.default_rng(2)
    x, v = rng.standard_normal(5), rng.standard_normal(5)
    deep = checkpoint(lambda x: checkpoint(ops.tanh)(x * x).sum())
    np.testing.assert_allclose(hvp(deep, x, v).data, hvp(lambda x: (x * x).tanh().sum(), x, v).data, rtol=1e-13)


def test_options_and_constants_pass_through():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    mask = np.array([True, False, True])
    y = checkpoint(lambda x, mask, *, scale: ops.where(mask, x, 0.0) * scale)(x, mask, scale=3.0)
    y.sum().backward()
    assert x.grad.data.tolist() == [[3.0, 0.0, 3.0]] * 2


def test_a_function_that_returns_its_input():
    x = Tensor(np.ones(2), requires_grad=True)
    checkpoint(lambda x: x)(x).sum().backward()
    assert x.grad.data.tolist() == [1.0, 1.0]


def test_the_generator_goes_on_as_if_nothing_had_happened(tensors):
    _, x = tensors
    rng = np.random.default_rng(3)
    loss = checkpoint(lambda x: F.dropout(x, 0.5, rng), rng=rng)(x).sum()
    state = rng.bit_generator.state
    loss.backward()
    assert rng.bit_generator.state == state


def test_other_values_the_second_time_are_noticed(tensors):
    _, x = tensors
    rng = np.random.default_rng(3)
    loss = checkpoint(lambda x: F.dropout(x, 0.5, rng))(x).sum()
    with pytest.raises(InputError, match=r"other values.*rng=generator"):
        loss.backward()


def test_it_must_return_a_tensor():
    with pytest.raises(InputError, match="must return one Tensor, it returned tuple"):
        checkpoint(lambda x: (x, x))(Tensor([1.0], requires_grad=True))


def test_without_recording_it_is_the_function():
    with no_grad():
        assert checkpoint(lambda x: x + 1.0)(Tensor([1.0], requires_grad=True)).node is None
    assert checkpoint(lambda x: x + 1.0)(Tensor([1.0])).node is None


def test_memory_is_what_goes_in_and_comes_out():
    """Eight layers with ten intermediate results each: the forward pass keeps one result per layer."""
    x = Tensor(np.ones(50_000), requires_grad=True)

    def layer(x):
        for _ in range(10):
            x = ops.tanh(x)
        return x

    def held(wrap):
        tracemalloc.start()
        try:
            y = x
            for _ in range(8):
                y = wrap(layer)(y)
            forward = tracemalloc.get_traced_memory()[0]
            y.sum().backward()
            return forward, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            x.zero_grad()

    size = x.data.nbytes
    forward, peak = held(same)
    assert forward > 80 * size
    forward, peak = held(checkpoint)
    assert forward < 9 * size
    assert peak < 25 * size  # the eight, the inside of one layer, and the gradients in flight
