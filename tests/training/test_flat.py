"""Flat parameters: the same model, in one array; gradients land in the other without being cleared first."""

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.flat import FlatParameters


def flat_of(model):
    return FlatParameters(dict(model.named_parameters()))


def gradients_of(flat):
    """The whole gradient, with zeros where there is none."""
    flat.collect()
    flat.zero_missing()
    return flat.gradients


def ids_and_targets(config, rows=2):
    rng = np.random.default_rng(3)
    return rng.integers(0, config.vocab_size, (2, rows, config.context)).astype(np.int32)


def test_the_values_stay_and_share_the_flat_array(config):
    model, untouched = Transformer(config), Transformer(config)
    flat = flat_of(model)
    assert flat.values.size == flat.gradients.size == model.num_parameters()
    for name, parameter in model.named_parameters():
        assert np.array_equal(parameter.data, untouched.state_dict()[name])
        assert np.shares_memory(parameter.data, flat.values[flat.slices[name]])
        assert np.shares_memory(parameter.grad_buffer, flat.gradients[flat.slices[name]])
    flat.values += 1.0
    assert np.array_equal(model.embedding.weight.data, untouched.embedding.weight.data + 1.0)


def assert_nearly_equal(x, y):
    """Up to rounding: in the flat buffer the terms of a sum may come in another order."""
    np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6 * np.abs(y).max())


def test_the_first_gradient_is_written_over_the_old_one_and_the_second_is_added(config):
    ids, targets = ids_and_targets(config)
    separate = Transformer(config)
    for _ in range(2):
        separate.loss(ids, targets).backward()
    model = Transformer(config)
    flat = flat_of(model)
    flat.gradients[...] = np.nan  # what is left of an earlier step
    flat.zero_grad()
    for _ in range(2):
        model.loss(ids, targets).backward()
    gradients = flat.split(gradients_of(flat))
    for name, parameter in separate.named_parameters():
        assert_nearly_equal(gradients[name], parameter.grad.data)


def test_a_gradient_from_before_moves_along(config):
    ids, targets = ids_and_targets(config)
    before, after = Transformer(config), Transformer(config)
    before.loss(ids, targets).backward()
    flat_before = flat_of(before)
    flat_after = flat_of(after)
    after.loss(ids, targets).backward()
    assert_nearly_equal(gradients_of(flat_before), gradients_of(flat_after))
    before.loss(ids, targets).backward()
    np.testing.assert_allclose(gradients_of(flat_before), 2 * flat_after.gradients, rtol=1e-5, atol=1e-8)


def test_zero_grad_leaves_the_memory_alone(config):
    flat = flat_of(Transformer(config))
    flat.gradients[...] = 7.0
    flat.zero_grad()
    assert (flat.gradients == 7.0).all()
    assert (gradients_of(flat) == 0.0).all()


def test_a_gradient_set_by_hand_is_copied(config):
    model = Transformer(config)
    flat = flat_of(model)
    model.final_norm.weight.grad = Tensor(np.arange(config.width, dtype=np.float32))
    gradients = flat.split(gradients_of(flat))
    assert np.array_equal(gradients["final_norm.weight"], np.arange(config.width))
    assert not gradients["embedding.weight"].any()


def test_data_that_was_assigned_moves_back(config):
    model = Transformer(config)
    flat = flat_of(model)
    model.final_norm.weight.data = np.full(config.width, 2.0, np.float32)
    flat.collect()
    assert (flat.values[flat.slices["final_norm.weight"]] == 2.0).all()
    assert np.shares_memory(model.final_norm.weight.data, flat.values)


def test_another_shape_or_dtype_is_an_error(config):
    model = Transformer(config)
    flat = flat_of(model)
    model.final_norm.weight.data = np.ones(config.width + 1, np.float32)
    with pytest.raises(InputError, match=r"final_norm.weight was moved to another device or reshaped"):
        flat.collect()
    model = Transformer(config)
    model.final_norm.weight.data = model.final_norm.weight.data.astype(np.float64)
    with pytest.raises(InputError, match=r"one dtype.*float32.*float64"):
        flat_of(model)


def test_runs_are_neighbours_with_a_gradient_and_the_same_count():
    names = ["a", "b", "c", "d", "e"]
    parameters = {name: Tensor(np.ones(i + 1, np.float32), requires_grad=True) for i, name in enumerate(names)}
    flat = FlatParameters(parameters)  # slices: 0:1, 1:3, 3:6, 6:10, 10:15
    for name in "abde":
        parameters[name].grad = Tensor(np.ones_like(parameters[name].data))
    assert flat.runs(dict.fromkeys(names, 0)) == [(slice(0, 3), 0), (slice(6, 15), 0)]
    counts = {**dict.fromkeys(names, 1), "e": 0}
    assert flat.runs(counts) == [
        (slice(0, 3), 1),
        (slice(6, 10), 1),
        (slice(10, 15), 0),
    ]
