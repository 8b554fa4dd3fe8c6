"""Flat parameters: the same model, in one array; gradients land in the other without being cleared first."""

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.flat import FlatParameters


def ids_and_targets(config, rows=2):
    rng = np.random.default_rng(3)
    return rng.integers(0, config.vocab_size, (2, rows, config.context)).astype(np.int32)


def test_the_values_stay_and_share_the_flat_array(config):
    model, untouched = Transformer(config), Transformer(config)
    flat = FlatParameters(model)
    assert flat.values.size == flat.gradients.size == model.num_parameters()
    for name, parameter in model.named_parameters():
        assert np.array_equal(parameter.data, untouched.state_dict()[name])
        assert np.shares_memory(parameter.data, flat.values[flat.places[name]])
        assert np.shares_memory(parameter.grad_buffer, flat.gradients[flat.places[name]])
    flat.values += 1.0
    assert np.array_equal(model.embedding.weight.data, untouched.embedding.weight.data + 1.0)


def test_hidden_matrices_come_first_then_tables_then_vectors(config):
    model = Transformer(config.with_(tied=False))
    flat = FlatParameters(model)
    names = list(flat.places)
    kinds = [0 if n.startswith("blocks.") and "norm" not in n and "bias" not in n else 1 for n in names]
    assert kinds == sorted(kinds)
    tables = [n for n in names if n in ("embedding.weight", "position.weight", "head.weight")]
    assert names[kinds.count(0) : kinds.count(0) + len(tables)] == tables
    assert all(model.state_dict()[n].ndim == 2 for n in names[: kinds.count(0) + len(tables)])
    assert all(model.state_dict()[n].ndim == 1 for n in names[kinds.count(0) + len(tables) :])
    assert flat.hidden == slice(0, flat.tables.start)
    assert flat.matrices == slice(0, flat.tables.stop) == slice(0, flat.vectors.start)
    assert flat.vectors.stop == flat.values.size
    assert flat.places[tables[0]].start == flat.tables.start
    assert flat.places[tables[-1]].stop == flat.tables.stop


def assert_nearly_equal(x, y):
    """Up to rounding: in the flat buffer the terms of a sum may come in another order."""
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6 * np.abs(y).max())


def test_the_first_gradient_is_written_over_the_old_one_and_the_second_is_added(config):
    ids, targets = ids_and_targets(config)
    separate = Transformer(config)
    for _ in range(2):
        separate.loss(ids, targets).backward()
    model = Transformer(config)
    flat = FlatParameters(model)
    flat.gradients[...] = np.nan  # what is left of an earlier step
    flat.zero_grad()
    for _ in range(2):
        model.loss(ids, targets).backward()
    gradients = flat.split(flat.collect_gradients())
    for name, parameter in separate.named_parameters():
        assert_nearly_equal(gradients[name], parameter.grad.data)


def test_a_gradient_from_before_moves_along(config):
    ids, targets = ids_and_targets(config)
    before, after = Transformer(config), Transformer(config)
    before.loss(ids, targets).backward()
    flat_before = FlatParameters(before)
    flat_after = FlatParameters(after)
    after.loss(ids, targets).backward()
    assert_nearly_equal(flat_before.collect_gradients(), flat_after.collect_gradients())
    before.loss(ids, targets).backward()
    np.testing.assert_allclose(flat_before.collect_gradients(), 2 * flat_after.gradients, rtol=1e-5, atol=1e-8)


def test_zero_grad_leaves_the_memory_alone(config):
    flat = FlatParameters(Transformer(config))
    flat.gradients[...] = 7.0
    flat.zero_grad()
    assert (flat.gradients == 7.0).all()
    assert (flat.collect_gradients() == 0.0).all()


def test_a_gradient_set_by_hand_is_copied(config):
    model = Transformer(config)
    flat = FlatParameters(model)
    model.final_norm.weight.grad = Tensor(np.arange(config.width, dtype=np.float32))
    gradients = flat.split(flat.collect_gradients())
    assert np.array_equal(gradients["final_norm.weight"], np.arange(config.width))
    assert not gradients["embedding.weight"].any()


def test_frozen_parameters_stay_out(config):
    model = Transformer(config)
    model.embedding.weight.requires_grad_(False)
    flat = FlatParameters(model)
    assert "embedding.weight" not in flat.places
    assert flat.values.size == model.num_parameters() - model.embedding.weight.size


def test_split_of_the_last_part():
    model = Module()
    model.a, model.b = (
        Linear(2, 3, seed=0),
        Linear(3, 1, seed=0),
    )
    flat = FlatParameters(model)
    assert list(flat.places) == ["a.weight", "b.weight", "a.bias", "b.bias"]
    rest = flat.split(np.arange(4.0), start=flat.vectors.start)
    assert {name: piece.tolist() for name, piece in rest.items()} == {"a.bias": [0, 1, 2], "b.bias": [3]}
    first = flat.split(np.arange(9.0))
    assert first["a.weight"].shape == (3, 2) and first["b.weight"].tolist() == [[6, 7, 8]]


def test_a_model_that_lives_elsewhere_by_now_is_an_error(config):
    model = Transformer(config)
    old, _ = FlatParameters(model), FlatParameters(model)
    with pytest.raises(InputError, match="given another array since the optimizer was made"):
        old.collect_gradients()


def test_nothing_to_learn_and_mixed_dtypes_are_errors(config):
    with pytest.raises(InputError, match="no parameter of the model wants a gradient"):
        FlatParameters(Module())
    model = Transformer(config)
    model.final_norm.weight.data = model.final_norm.weight.data.astype(np.float64)
    with pytest.raises(InputError, match=r"one dtype.*float32.*float64"):
        FlatParameters(model)
