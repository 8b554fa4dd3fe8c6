"""The stand-in for a GPU array is as strict as it claims, and an op that leaks is caught by it."""

import numpy as np
import pytest
from strict_array import HostCopy, StrictArray, strict, unwrap

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
