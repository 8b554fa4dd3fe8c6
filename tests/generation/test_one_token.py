"""The short path for one more token: the same as the model itself, and only where nobody would miss the modules."""

import gc
import weakref

import numpy as np
import pytest
from tiny_models import CONFIGS, tiny_network

import tinygrad_llm as tg
from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.generation.batch import read_together
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.generate import next_log_probabilities
from tinygrad_llm.generation.one_token import one_token_hidden, parts_of, side_by_side


def both(network, rows=2, read=9, more=12):
    """The vectors of `more` tokens, one at a time: by the short path, and by the model itself."""
    ids = np.random.default_rng(0).integers(0, network.config.vocab_size, (rows, read + more))
    short, plain = GrowingCache(network.config), GrowingCache(network.config)
    found, wanted = [], []
    with tg.no_grad():
        for cache in (short, plain):
            network.hidden(ids[:, :read], cache=cache)
        for t in range(read, read + more):
            found.append(one_token_hidden(network, ids[:, t : t + 1], short))
            wanted.append(network.hidden(ids[:, t : t + 1], cache=plain).data)
            assert short.length == plain.length
    return found, wanted


def assert_same(network, **sizes):
    for found, wanted in zip(*both(network, **sizes), strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        assert np.abs(found - wanted).max() < (1e-11 if found.dtype == np.float64 else 1e-4) * np.abs(wanted).max()


def is_short(network):
    """Whether the short path is taken."""
    return one_token_hidden(network, np.array([[1]]), GrowingCache(network.config)) is not None


def in_float64(network):
    for parameter in network.parameters().values():
        parameter.data = parameter.data.astype(np.float64)
    return network


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family(name):
    network = tiny_network(name)
    assert_same(network, rows=1)
    assert_same(in_float64(network), rows=3)


def test_weights_side_by_side_are_one_product():
    apart, together = tiny_network("llama"), tiny_network("llama")
    tg.AdamW(together)  # which moves them into one array
    for network, is_one in ((apart, False), (together, True)):
        assert_same(network)
        layer = parts_of[network].layers[0]
        assert (layer.query_key_value.weight is not None) == (layer.up.weight is not None) == is_one
    values = [linear.weight.data for linear in parts_of[together].layers[0].up.layers]
    one = side_by_side(values)
    assert np.shares_memory(one, values[0]) and np.array_equal(one, np.concatenate(values))
    assert side_by_side(values[::-1]) is None
    assert side_by_side([values[0], values[1].T]) is None
    assert side_by_side([values[0], values[1].copy()]) is None


def test_rows_that_are_padded():
    for name in ("gpt2", "llama", "gemma3"):
        network = in_float64(tiny_network(name))
        texts = [[1, 2, 3, 4, 5, 6], [7, 8], [9, 10, 11]]
        new = np.array([[12], [13], [14]])
        _, cache = read_together(network, texts)
        assert cache.starts is not None
        found = next_log_probabilities(network, new, cache)
        for text, token, row in zip(texts, new, found, strict=True):
            alone = next_log_probabilities(network, [*text, *token], GrowingCache(network.config))
            assert np.abs(row - alone).max() < 1e-10


def test_changed_weights_are_seen():
    network = tiny_network("llama")
    assert_same(network)
    network.blocks[0].mlp.down.weight.data += 1.0  # in place
    assert_same(network)
    for name in ("blocks.1.attention.key.weight", "final_norm.weight"):
        network.parameters()[name].data = network.parameters()[name].data * 2.0  # another array
        assert_same(network)
    network.blocks[1] = tiny_network("llama", seed=5).blocks[1]
    assert_same(network)
    tg.AdamW(network)
    assert_same(network)


class Nobody(Observer):
    pass


def test_whoever_looks_on_sees_the_model_itself():
    network = tiny_network("llama")
    assert is_short(network)
    with tg.plain():
        assert not is_short(network)
    with observing(Nobody()):
        assert not is_short(network)
    seen = []
    for module in (network.blocks[1].mlp.down, network.embedding):
        handle = module.register_hook(lambda *_: seen.append(1))
        assert not is_short(network)
        next_log_probabilities(network, [1], GrowingCache(network.config))
        handle.remove()
        assert is_short(network)
    assert len(seen) == 2


def test_adapters_take_the_long_way_and_count():
    network = tiny_network("llama")
    before = next_log_probabilities(network, [3], GrowingCache(network.config))
    tg.lora(network, 2)
    for name, parameter in network.parameters().items():
        if name.endswith(".B"):
            parameter.data += 1.0
    assert not is_short(network)
    with_adapters = next_log_probabilities(network, [3], GrowingCache(network.config))
    assert np.abs(with_adapters - before).max() > 1e-3
    tg.merge(network)
    assert_same(network)
    assert np.abs(next_log_probabilities(network, [3], GrowingCache(network.config)) - with_adapters).max() < 1e-3


def test_a_full_context_is_said_by_the_model():
    network = tiny_network("gpt2")
    cache = GrowingCache(network.config)
    ids = np.zeros((1, network.config.context), np.int64)
    next_log_probabilities(network, ids, cache)
    with pytest.raises(tg.InputError, match="shorten it"):
        next_log_probabilities(network, [1], cache)


def test_a_model_that_nobody_needs_is_not_kept():
    network = tiny_network("llama")
    assert_same(network)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None
