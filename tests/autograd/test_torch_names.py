"""PyTorch's names of tensors, functions and arguments are errors that give the line to write, and those lines run."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.autograd import ops
from tinygrad_llm.autograd.torch_names import ATTRIBUTES, FUNCTIONS, KEYWORDS
from tinygrad_llm.errors import InputError, MachineError


def names():
    """What the lines speak of: a tensor of shape (1, 2, 3) for reshaping, (2, 3) and (3, 3) for arithmetic."""
    w = tg.rand(3, 3, seed=0, requires_grad=True)
    tensor = w * 1.0
    x = tg.rand(3, 3, seed=1)
    return {
        "tg": tg, "print": print, "list": list, "min": 0.0, "max": 1.0,
        "tensor": tensor, "other": x, "x": x, "y": x, "vector": x[0], "loss": tensor.sum(),
        "value": 2.0, "exponent": 2.0, "array": np.ones((3, 3), np.float32), "shape": (3, 3),
        "axis": 0, "shift": 1, "repeats": 2, "k": 1,
        "indices": np.zeros((1, 3), int), "values": np.ones((1, 3), np.float32), "mask": np.eye(3, dtype=bool),
        "condition": np.eye(3, dtype=bool), "path": "", "model": SimpleNamespace(save=str, to=str),
    }  # fmt: skip


def run(line):
    """Run the line on a tensor that fits: one that was computed, or a leaf outside a graph where it writes."""
    given = names()
    if "reshape(2, 3)" in line:
        given["tensor"] = tg.rand(6, seed=0)
    if "(0, 2, 1)" in line:
        given["tensor"] = given["x"] = tg.rand(1, 2, 3, seed=0)
    if ".data[" in line or ".data " in line:
        given["tensor"] = tg.rand(3, 3, seed=0, requires_grad=True)
    try:
        exec(line, given)
    except MachineError:
        assert "cuda" in line  # which this machine need not have


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_says_what_to_write(name):
    with pytest.raises(InputError) as caught:
        getattr(tg.ones(2), name)
    assert isinstance(caught.value, AttributeError) and not hasattr(tg.ones(2), name)
    assert str(caught.value).endswith(f"write {ATTRIBUTES[name]}.")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("place", [tg, ops])
def test_a_function_says_what_to_write(place, name):
    with pytest.raises(InputError) as caught:
        getattr(place, name)
    assert isinstance(caught.value, AttributeError) and not hasattr(place, name)
    assert str(caught.value).endswith(f"write {FUNCTIONS[name]}.")


@pytest.mark.parametrize("line", sorted({*ATTRIBUTES.values(), *FUNCTIONS.values()}))
def test_the_lines_run(line):
    for alternative in line.split(", or "):
        run(alternative)


@pytest.mark.parametrize("name", KEYWORDS)
def test_an_argument_says_what_to_write(name):
    x = tg.ones(2, 3)
    methods = (x.sum, x.mean, x.argmax, x.sort, x.softmax)
    for call in (ops.sum, ops.var, ops.concatenate, ops.softmax, ops.squeeze, *methods):
        given = () if call in methods else ([x, x],) if call is ops.concatenate else (x,)
        with pytest.raises(InputError) as caught:
            call(*given, **{name: 0})
        assert isinstance(caught.value, TypeError)
        assert str(caught.value).endswith(f"there is no argument '{name}': write {KEYWORDS[name]}.")


def test_the_arguments_to_write_exist():
    x = tg.rand(2, 3, seed=0)
    assert ops.var(x, axis=0, keepdims=True, ddof=1).shape == (1, 3)
    assert ops.transpose(x, axes=(1, 0)).shape == (3, 2)


def test_size_is_a_number_and_says_shape_when_called():
    x = tg.ones(2, 3)
    assert x.size == 6 and x.size + 1 == 7 and f"{x.size}" == "6"
    with pytest.raises(InputError, match=r"write tensor\.shape\."):
        x.size()
    with pytest.raises(InputError, match=r"write tensor\.shape\[0\]\."):
        x.size(0)


def test_other_attributes_are_ordinary_errors():
    x = tg.ones(2)
    with pytest.raises(AttributeError, match="has no 'quux'"):
        x.quux  # noqa: B018
    with pytest.raises(AttributeError, match="quux"):
        ops.quux  # noqa: B018
    assert not hasattr(x, "__array_interface__")


def test_a_tensor_can_be_copied_and_pickled():
    x = tg.rand(2, seed=0, requires_grad=True)
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad and y.tolist() == x.tolist()
