"""`ops/basic.py` holds what one training step executes, and is short enough to be read in one go."""

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm.autograd.ops as ops
from tinygrad_llm.autograd import plain
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.transformer import Transformer

OPS = Path(inspect.getfile(ops)).parent
SIZES = dict(vocab_size=17, context=8, layers=2, heads=2, width=8)
CONFIGS = {
    "gpt2": TransformerConfig.gpt2(**SIZES, dropout=0.1),
    "llama": TransformerConfig.llama(**SIZES, kv_heads=1),
}


def executed_functions(run):
    """(file, function) of everything in `ops` that `run` calls."""
    found = set()

    def trace(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.parent == OPS:
            found.add((path.name, frame.f_code.co_name))

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return found


@pytest.fixture(scope="module")
def executed():
    ids = np.arange(16).reshape(2, 8)
    found = {}
    for name, config in CONFIGS.items():
        model = Transformer(config)

        def step(model=model):
            model.loss(ids, ids[:, ::-1].copy(), rng=np.random.default_rng(0)).backward()

        with plain():
            found[name] = executed_functions(step)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_a_plain_training_step_stays_in_two_files(executed, name):
    files = {file for file, _ in executed[name]}
    assert files <= {"basic.py", "activations.py", "composite.py"}


def test_every_op_of_basic_is_executed(executed):
    called = {function for file, function in set.union(*executed.values()) if file == "basic.py"}
    defined = {
        name
        for name, value in vars(ops.basic).items()
        if getattr(value, "__module__", None) == ops.basic.__name__ and callable(value) and hasattr(value, "__name__")
    }
    # Rules that run only for a second derivative, or where a maximum is not just a shift.
    assert defined - called <= {
        *("max_vjp", "shared_by_extremes", "expand_dims_vjp", "broadcast_to_vjp", "add_at_vjp"),
    }


def test_basic_is_short():
    assert len((OPS / "basic.py").read_text().splitlines()) <= 450
