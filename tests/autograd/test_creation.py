"""New tensors: values, shapes, dtypes, seeds."""

import doctest

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.autograd import Tensor, creation
from tinygrad_llm.errors import InputError

MAKERS = {
    "tensor": lambda **o: tg.tensor([[1.5, 2.0]], **o),
    "zeros": lambda **o: tg.zeros(2, 3, **o),
    "ones": lambda **o: tg.ones((2, 3), **o),
    "full": lambda **o: tg.full((2, 3), 0.5, **o),
    "arange": lambda **o: tg.arange(0.0, 3.0, **o),
    "linspace": lambda **o: tg.linspace(0, 1, 4, **o),
    "eye": lambda **o: tg.eye(2, 3, **o),
    "rand": lambda **o: tg.rand(2, 3, seed=0, **o),
    "randn": lambda **o: tg.randn(2, 3, seed=0, **o),
    "zeros_like": lambda **o: tg.zeros_like(tg.ones(2), **o),
    "ones_like": lambda **o: tg.ones_like(tg.ones(2), **o),
    "full_like": lambda **o: tg.full_like(tg.ones(2), 3, **o),
}


@pytest.mark.parametrize("name", MAKERS)
def test_float32_on_the_cpu_without_gradient_unless_told_otherwise(name):
    x = MAKERS[name]()
    assert isinstance(x, Tensor) and x.dtype == np.float32 and x.device == "cpu" and not x.requires_grad
    y = MAKERS[name](dtype="float64", requires_grad=True, device="cpu")
    assert y.dtype == np.float64 and y.requires_grad and y.shape == x.shape
    np.testing.assert_allclose(y.numpy(), x.numpy(), rtol=1e-6)
    with pytest.raises(InputError, match="device must be one of"):
        MAKERS[name](device="tpu")


def test_values():
    assert tg.full((2,), 7).tolist() == [7, 7] and tg.full((), 2.5).item() == 2.5
    assert tg.arange(2, 8, 3).tolist() == [2, 5] and tg.arange(3).dtype == np.int64
    assert tg.arange(3, requires_grad=True).dtype == np.float32
    assert tg.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert tg.zeros().shape == () and tg.zeros(3).shape == (3,) and tg.ones([2, 1]).shape == (2, 1)
    assert tg.tensor(True).dtype == bool and tg.tensor(3).dtype == np.int64


def test_tensor_copies_and_takes_tensors():
    array = np.ones(2)
    x = tg.tensor(array)
    array[0] = 5.0
    assert x.tolist() == [1.0, 1.0] and x.dtype == np.float64
    y = tg.tensor(x * 2.0, requires_grad=True)
    assert y.node is None and y.tolist() == [2.0, 2.0]


def test_the_same_seed_gives_the_same_numbers():
    for draw in (tg.rand, tg.randn):
        assert draw(5, seed=3).tolist() == draw(5, seed=3).tolist() != draw(5, seed=4).tolist()
        rng = np.random.default_rng(3)
        assert draw(5, seed=rng).tolist() == draw(5, seed=3).tolist() != draw(5, seed=rng).tolist()
        assert draw(5).tolist() != draw(5).tolist()
    assert tg.randint(10, shape=9, seed=0).tolist() == tg.randint(0, 10, 9, seed=0).tolist()


def test_distributions():
    x, n, k = (
        tg.rand(100_000, seed=0).numpy(),
        tg.randn(100_000, seed=0).numpy(),
        tg.randint(2, 5, 1000, seed=0).numpy(),
    )
    assert x.min() >= 0 and x.max() < 1 and abs(x.mean() - 0.5) < 0.005
    assert abs(n.mean()) < 0.02 and abs(n.std() - 1) < 0.02
    assert set(k.tolist()) == {2, 3, 4}
    assert tg.rand(100_000, seed=0, dtype="float16").numpy().max() < 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: tg.zeros(-1), r"zeros: a shape must be integers of at least 0.*\(-1,\)"),
        (lambda: tg.rand(2.5), r"rand: a shape must be integers"),
        (lambda: tg.ones(2, seed=1), None),
        (lambda: tg.randn(2, seed="one"), r"randn: seed must be an integer.*'one'"),
        (lambda: tg.rand(2, seed=-1), r"rand: seed must be"),
        (lambda: tg.randint(3, 3), r"randint: high must be above low.*low=3 and high=3"),
        (lambda: tg.zeros(2, dtype="int64", requires_grad=True), "only floating-point tensors have gradients"),
        (lambda: tg.tensor("text"), "'text'"),
    ],
)
def test_mistakes_say_what_to_do(call, message):
    with pytest.raises(TypeError if message is None else InputError, match=message):
        call()


def test_examples_in_the_docstrings_run():
    result = doctest.testmod(creation, extraglobs={"Tensor": Tensor})
    assert result.attempted > 12 and result.failed == 0
