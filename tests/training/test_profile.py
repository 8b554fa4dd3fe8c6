"""The profile of a training step: it counts the model's own products, and changes nothing that is learned."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.nn import functional as F
from tinygrad_llm.training.plan import hidden_matrices, optimizer_flops
from tinygrad_llm.training.profile import BATCH, ENGINE, NORM, UPDATE, profile_training
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.shapes import SHAPES, Shape
from tinygrad_llm.training.trainer import train_step

GPT2 = Shape(layers=2, heads=2, width=12, context=10, batch=3, vocab_size=17)
LLAMA = Shape(layers=3, heads=4, kv_heads=2, width=16, context=8, batch=2, vocab_size=11, model="llama")


def random_batches(shape):
    return tg.Batches(np.arange(1000) * 7 % shape.vocab_size, shape.batch, shape.context, seed=0)


@pytest.mark.parametrize("shape", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_the_operations_of_a_step_are_those_of_its_formula(shape):
    config, tokens = shape.config, shape.tokens
    model = tg.Transformer(config)
    profile = profile_training(model, tg.AdamW(model), random_batches(shape), steps=1)
    numbers = sum(rows * columns for rows, columns in hidden_matrices(config))
    assert profile.total("linear").operations == 6 * numbers * tokens
    assert profile.total("linear_cross_entropy").operations == 6 * config.vocab_size * config.width * tokens
    pairs = F.causal_mask(shape.context, shape.context).sum()
    attention = 12 * shape.layers * shape.heads * config.head_dim * pairs * shape.batch
    assert profile.total("causal_attention").operations == attention
    per_layer = 6 if shape.model == "gpt2" else 7
    norm = "layer_norm" if shape.model == "gpt2" else "rms_norm"
    calls = {"linear": per_layer * shape.layers, "causal_attention": shape.layers, norm: 2 * shape.layers + 1}
    for name, count in calls.items():
        assert profile.forward[name].calls == profile.backward[name].calls == count
    assert profile.outside.keys() == {BATCH, ENGINE, NORM, UPDATE}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_optimizer_costs_what_it_reads_and_writes(kind):
    model = tg.Transformer(LLAMA.config)
    optimizer = tg.AdamW(model) if kind == "adamw" else tg.Muon(model)
    profile = profile_training(model, optimizer, random_batches(LLAMA), steps=1)
    state = sum(array.nbytes for name, array in optimizer.state_dict().items() if "/" in name and name[:3] != "lr/")
    assert profile.outside[UPDATE].moved == 3 * optimizer.flat.values.nbytes + 2 * state
    settings = TrainingSettings(steps=1, optimizer=kind)
    assert profile.outside[UPDATE].operations == optimizer_flops(LLAMA.config, settings)


def test_looking_on_changes_nothing():
    watched, alone = tg.Transformer(GPT2.config), tg.Transformer(GPT2.config)
    optimizer, other = tg.AdamW(watched), tg.AdamW(alone)
    profile_training(watched, optimizer, random_batches(GPT2), steps=3, warmup=1, lr=1e-2)
    batches = random_batches(GPT2)
    for _ in range(4):
        train_step(alone, other, [batches.next()], lr=1e-2, clip=1.0)
    for name, value in alone.state_dict().items():
        np.testing.assert_array_equal(value, watched.state_dict()[name])
    assert not {"step", "apply"} & vars(optimizer).keys()


def test_the_shapes_are_those_that_the_speed_is_promised_for():
    sizes = {name: (s.layers, s.heads, s.width, s.context, s.batch, s.vocab_size) for name, s in SHAPES.items()}
    assert sizes == {
        "tiny": (4, 4, 128, 64, 12, 65),
        "small": (6, 6, 384, 256, 8, 65),
        "medium": (6, 8, 512, 256, 8, 4096),
        "gpt2-124m": (12, 12, 768, 256, 2, 50257),
        "llama": (8, 8, 512, 512, 4, 8192),
    }
    assert SHAPES["llama"].config.kv_heads == 2
