"""Products of one input as one product: the same numbers, and only where nothing is lost by it."""

import numpy as np
from tiny_models import tiny_network

import tinygrad_llm as tg
from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.nn.layers import outputs_of
from tinygrad_llm.nn.merged_linear import merged_weight, side_by_side

X = tg.Tensor(np.random.default_rng(0).standard_normal((2, 1, 32)).astype(np.float32))


class Count(Observer):
    def __init__(self):
        self.linear = 0

    def on_forward(self, op, inputs, options, out):
        self.linear += op.name == "linear"


def layers(network):
    attention = network.blocks[0].attention
    return attention.query, attention.key, attention.value


def loaded(name="llama"):
    """A network whose weights are neighbours in memory, as after loading."""
    network = tiny_network(name)
    return tg.Transformer.empty(network.config).load_state_dict(network.state_dict())


def test_neighbours_in_memory_are_one_matrix():
    weights = [layer.weight.data for layer in layers(loaded())]
    one = side_by_side(weights)
    assert np.shares_memory(one, weights[0]) and np.array_equal(one, np.concatenate(weights))
    assert side_by_side(weights[::-1]) is None
    assert side_by_side([weights[0], weights[1].copy()]) is None
    assert side_by_side([weights[0], np.ones((3, 5), np.float32)]) is None
    assert merged_weight(layers(tiny_network("llama")))[0] is None


def test_one_product_gives_what_three_give():
    network = loaded()
    separate = [layer(X).numpy() for layer in layers(network)]
    with tg.no_grad():
        merged = outputs_of(layers(network), X)
    for one, other in zip(merged, separate, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-5, atol=1e-6)


def test_gradients_observers_and_plain_see_each_layer():
    network = loaded()
    outputs = outputs_of(layers(network), X)
    assert [y.node.inputs[1] is layer.weight for y, layer in zip(outputs, layers(network), strict=True)] == [True] * 3
    count = Count()
    with tg.no_grad(), observing(count):
        outputs_of(layers(network), X)
    assert count.linear == 3


def test_hooks_are_called():
    network, seen = loaded(), []
    handle = layers(network)[1].register_forward_hook(lambda *_: seen.append(1))
    cache = GrowingCache(network.config)
    with tg.no_grad():
        network.hidden([[1]], cache=cache)
        handle.remove()
        network.hidden([[2]], cache=cache)
    assert seen == [1]


def test_changed_weights_are_seen():
    network = loaded()
    with tg.no_grad():
        outputs_of(layers(network), X)
        network.blocks[0].attention.key.weight.data[...] += 1.0  # in place
        changed = outputs_of(layers(network), X)[1].numpy()
        np.testing.assert_allclose(changed, layers(network)[1](X).numpy(), rtol=1e-5, atol=1e-5)
        weight = network.blocks[0].attention.key.weight
        weight.data = weight.data * 2.0  # another array
        changed = outputs_of(layers(network), X)[1].numpy()
        np.testing.assert_allclose(changed, layers(network)[1](X).numpy(), rtol=1e-5, atol=1e-5)


def test_adapters_count():
    network = loaded()
    tg.lora(network, rank=2)
    for name, parameter in network.named_parameters():
        if name.endswith(".B"):
            parameter.data += 1.0
    with tg.no_grad():
        for y, layer in zip(outputs_of(layers(network), X), layers(network), strict=True):
            np.testing.assert_array_equal(y.numpy(), layer(X).numpy())
