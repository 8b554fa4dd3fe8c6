"""The stand-in for a GPU array is as strict as it claims, and an op that leaks is caught by it."""

import numpy as np
import pytest
from strict_array import HostCopy, StrictArray, strict, unwrap

import tinygrad_llm as tg
from tinygrad_llm.autograd import Tensor, primitive
from tinygrad_llm.backend import array_module


@pytest.mark.parametrize(
    "leak",
    [
        np.asarray,
        np.sum,
        float,
        int,
        bool,
        list,
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x + np.ones(3),
        lambda x: np.ones(3) * x,
        lambda x: x[np.array([0, 1])],
        lambda x: np.ones(3)[x],
        lambda x: array_module(x).where(np.ones(3, bool), x, 0.0),
        lambda x: array_module(x).concatenate([x, np.ones(3)]),
    ],
)
def test_what_would_leave_the_device_is_refused(leak):
    with pytest.raises((HostCopy, TypeError, IndexError)):
        leak(strict(np.arange(3.0)))


def test_what_both_libraries_share_works():
    x = strict(np.arange(6.0).reshape(2, 3))
    xp = array_module(x)
    y = xp.exp(x).sum(axis=0, keepdims=True) * 2.0 + xp.asarray(np.ones(3))
    assert isinstance(y, StrictArray)
    assert np.array_equal(unwrap(y), np.exp(np.arange(6.0).reshape(2, 3)).sum(0, keepdims=True) * 2.0 + 1.0)
    with pytest.raises(AttributeError):
        xp.frobnicate(x)


def test_an_op_that_leaks_is_caught():
    @primitive
    def leaky(x):
        return np.tanh(x)

    with pytest.raises(TypeError):
        leaky(Tensor(strict(np.ones(3)), requires_grad=True))


MODELS = {
    "gpt2": tg.TransformerConfig.gpt2(vocab_size=11, context=6, layers=2, heads=2, width=8, dropout=0.25),
    "llama": tg.TransformerConfig.llama(vocab_size=11, context=6, layers=2, heads=4, kv_heads=2, width=16),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_whole_transformer_leaks_nothing(kind):
    """Loss, gradient, and the gradient's gradient of a transformer on strict arrays are those on NumPy's."""
    ids = np.random.default_rng(0).integers(0, 11, (2, 6))
    targets = np.where(ids == 3, -1, ids[:, ::-1])
    wanted, found = (loss_and_gradients(MODELS[kind], ids, targets, move) for move in (lambda x: x, strict))
    for w, f in zip(wanted, found, strict=True):
        assert isinstance(f, StrictArray)
        np.testing.assert_allclose(unwrap(f), w, rtol=1e-5, atol=1e-6)


def loss_and_gradients(config, ids, targets, move):
    model = tg.Transformer(config)
    for parameter in model.parameters():
        parameter.data = move(parameter.data)
    parameters = list(model.parameters())
    with tg.plain():
        loss = model.loss(move(ids), move(targets), rng=np.random.default_rng(1))
        loss.backward(create_graph=True)
        first = [p.grad for p in parameters]
        for p in parameters:
            p.grad = None
        for g in first:
            g.backward(move(np.full(g.shape, 0.1, np.float32)), retain_graph=True)
    return [loss.data, *(g.data for g in first), *(p.grad.data for p in parameters)]
