"""How an op, an optimizer and an attention variant of one's own are made: the examples in the docstrings run."""

import doctest
import importlib

import numpy as np
import pytest

import tinygrad_llm as tg


@pytest.mark.parametrize(
    "name", ["tinygrad_llm.autograd.primitive", "tinygrad_llm.training.optimizer", "tinygrad_llm.nn.attention"]
)
def test_the_examples_in_the_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), extraglobs={"tg": tg, "np": np, "Tensor": tg.Tensor})
    assert result.attempted >= 2 and not result.failed
