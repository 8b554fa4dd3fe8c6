"""What every module can do: list its parameters, be looked into, and move."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module

CONFIG = tg.TransformerConfig.llama(vocab_size=11, context=8, layers=2, heads=2, width=16)
IDS = np.arange(8)[None, :]


def test_parameters_have_dotted_names_and_shared_ones_stand_once():
    names = [name for name, _ in tg.Transformer(CONFIG).named_parameters()]
    assert names[0] == "embedding.weight"
    assert "blocks.1.attention.query.weight" in names
    assert len(names) == len(set(names)) == 2 + 2 * 9

    pair = Module()
    pair.first = Linear(3, 3, bias=False, seed=0)
    pair.second = pair.first
    assert list(pair.named_parameters()) == [("first.weight", pair.first.weight)]
    assert list(pair.parameters()) == [pair.first.weight]


def test_a_hook_sees_every_call_and_can_be_removed():
    model = tg.Transformer(CONFIG)
    seen = []
    handle = model.blocks[1].mlp.register_forward_hook(
        lambda module, inputs, output: seen.append((module, output.shape))
    )
    model(IDS)
    assert seen == [(model.blocks[1].mlp, (1, 8, 16))]
    handle.remove()
    model(IDS)
    assert len(seen) == 1


def test_what_a_hook_returns_takes_the_place_of_the_output():
    model = tg.Transformer(CONFIG)
    before = model(IDS).data
    model.blocks[0].attention.register_forward_hook(lambda module, inputs, output: output * 0.0)
    model.blocks[0].mlp.register_forward_hook(lambda module, inputs, output: output * 0.0)
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

    model.blocks[0].register_forward_hook(watch)
    model.loss(IDS, IDS).backward()
    assert len(norms) == 1
    assert norms[0] > 0


def test_a_module_without_forward_cannot_be_called():
    with pytest.raises(TypeError, match="Module defines no forward"):
        Module()(1)


class Nest(Module):
    """Children in every kind of container."""

    def __init__(self):
        self.layers = [Linear(2, 2, bias=False, seed=0), (Linear(2, 3, seed=1),)]
        self.heads = {"a": Linear(3, 1, bias=False, seed=2), "b": [tg.Tensor([1.0], requires_grad=True)]}
        self.shift = np.arange(3)
        self.name = "nest"

    def forward(self, x):
        return self.heads["a"](self.layers[1][0](self.layers[0](x)))


def test_children_are_found_in_lists_tuples_and_dicts():
    nest = Nest()
    names = ["layers.0.weight", "layers.1.0.weight", "layers.1.0.bias", "heads.a.weight", "heads.b.0"]
    assert [name for name, _ in nest.named_parameters()] == names == list(nest.state_dict())
    assert [name for name, _ in nest.named_children()] == ["layers.0", "layers.1.0", "heads.a"]
    assert [name for name, _ in nest.named_modules()] == ["", "layers.0", "layers.1.0", "heads.a"]
    assert list(nest.modules())[1:] == list(nest.children())
    assert nest.num_parameters() == 4 + 6 + 3 + 3 + 1
    nest(tg.Tensor(np.ones((5, 2), np.float32))).sum().backward()
    assert all(p.grad is not None for name, p in nest.named_parameters() if name != "heads.b.0")
    nest.zero_grad()
    assert all(p.grad is None for p in nest.parameters())


def test_modules_inside_modules_have_dotted_names():
    names = [name for name, _ in tg.Transformer(CONFIG).named_modules()]
    assert names[:4] == ["", "embedding", "blocks.0", "blocks.0.attention_norm"]
    assert "blocks.1.mlp.down" in names


def test_apply_calls_children_before_their_parent():
    nest, seen = Nest(), []
    assert nest.apply(seen.append) is nest
    assert seen == [*nest.children(), nest]


def test_freezing_and_thawing():
    nest = Nest()
    assert nest.requires_grad_(False) is nest
    assert not any(p.requires_grad for p in nest.parameters())
    assert nest(tg.Tensor(np.ones((1, 2), np.float32))).node is None
    nest.requires_grad_()
    assert all(p.requires_grad for p in nest.parameters())


def test_values_are_loaded_from_arrays_and_tensors_by_name():
    one, other = Nest(), Nest()
    state = {name: tg.Tensor(values + 1.0) for name, values in one.state_dict().items()}
    assert other.load_state_dict(state) is other
    for name, values in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], values + 1.0)
    with pytest.raises(tg.InputError, match=r"missing \['heads.a.weight'\], not expected \['heads.c.weight'\]"):
        other.load_state_dict({name.replace("a.w", "c.w"): values for name, values in state.items()})
    with pytest.raises(tg.InputError, match=r"heads.b.0 has the shape \(2,\), the model's is \(1,\)"):
        other.load_state_dict({**state, "heads.b.0": np.ones(2)})
