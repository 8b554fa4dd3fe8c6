"""What every module can do: list its parameters, be looked into, and move."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module

CONFIG = tg.TransformerConfig.llama(vocab_size=11, context=8, layers=2, heads=2, width=16)
IDS = np.arange(8)[None, :]


def test_parameters_have_dotted_names_and_shared_ones_stand_once():
    names = list(tg.Transformer(CONFIG).parameters())
    assert names[0] == "embedding.weight"
    assert "blocks.1.attention.query.weight" in names
    assert len(names) == len(set(names)) == 2 + 2 * 9

    pair = Module()
    pair.first = Linear(3, 3, np.random.default_rng(0), bias=False)
    pair.second = pair.first
    assert list(pair.parameters()) == ["first.weight"]


def test_a_hook_sees_every_call_and_can_be_removed():
    model = tg.Transformer(CONFIG)
    seen = []
    handle = model.blocks[1].mlp.register_hook(lambda module, inputs, output: seen.append((module, output.shape)))
    model(IDS)
    assert seen == [(model.blocks[1].mlp, (1, 8, 16))]
    handle.remove()
    model(IDS)
    assert len(seen) == 1


def test_what_a_hook_returns_takes_the_place_of_the_output():
    model = tg.Transformer(CONFIG)
    before = model(IDS).data
    model.blocks[0].attention.register_hook(lambda module, inputs, output: output * 0.0)
    model.blocks[0].mlp.register_hook(lambda module, inputs, output: output * 0.0)
    after = model(IDS).data
    assert not np.array_equal(before, after)
    skipped = tg.Transformer(CONFIG)
    skipped.blocks = skipped.blocks[1:]
    np.testing.assert_array_equal(after, skipped(IDS).data)


def test_gradients_are_hooked_at_outputs():
    model = tg.Transformer(CONFIG)
    norms = []

    def watch(module, inputs, output):
        output.register_hook(lambda g: norms.append(float((g * g).sum())))

    model.blocks[0].register_hook(watch)
    model.loss(IDS, IDS).backward()
    assert len(norms) == 1
    assert norms[0] > 0


def test_a_module_without_forward_cannot_be_called():
    with pytest.raises(TypeError, match="Module defines no forward"):
        Module()(1)
