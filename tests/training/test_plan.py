"""The plan: its counts are those of the model, its memory is what is used, and what cannot fit is refused."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.describe import hidden_matrices, num_parameters
from tinygrad_llm.nn.lora import lora
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.optim import AdamW, Muon, parameter_groups
from tinygrad_llm.training import plan as plan_module
from tinygrad_llm.training.plan import (
    activations_per_token,
    available_memory,
    averages,
    duration,
    flops_per_token,
    free_memory,
    gigabytes,
    make_plan,
    optimizer_flops,
)
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import train_step


@st.composite
def configs(draw):
    heads = draw(st.sampled_from([1, 2, 4]))
    return TransformerConfig(
        vocab_size=draw(st.integers(1, 50)),
        context=draw(st.integers(1, 20)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        width=heads * draw(st.sampled_from([2, 4, 6])),
        kv_heads=draw(st.sampled_from([None, 1])),
        head_dim=draw(st.sampled_from([None, 2])),
        hidden=draw(st.sampled_from([None, 5])),
        positions=draw(st.sampled_from(["learned", "rotary"])),
        norm=draw(st.sampled_from(["layer_norm", "rms_norm"])),
        activation=draw(st.sampled_from(["gelu", "gelu_tanh", "relu", "relu_squared", "silu"])),
        gated=draw(st.booleans()),
        bias=draw(st.booleans()),
        qkv_bias=draw(st.sampled_from([None, False, True])),
        qk_norm=draw(st.booleans()),
        post_norms=draw(st.booleans()),
        tied=draw(st.booleans()),
    )


@given(configs())
def test_parameters_and_averages_are_counted_exactly(config):
    model = Transformer(config)
    assert num_parameters(config) == model.num_parameters()
    for name, make in (("adamw", AdamW), ("muon", Muon)):
        state = make(Transformer(config)).state_dict().items()
        numbers = sum(array.size for name, array in state if name != "steps" and not name.startswith("lr/"))
        assert averages(config, TrainingSettings(steps=1, optimizer=name)) == numbers
    hidden = parameter_groups(model, 0.1, muon=True)[0]["params"]
    assert sorted(hidden_matrices(config)) == sorted(parameter.shape for _, parameter in hidden)


def test_operations_per_token_by_hand():
    config = TransformerConfig.gpt2(vocab_size=10, context=8, layers=2, heads=2, width=4)
    hidden = 2 * (4 * 4 * 4 + 2 * 4 * 16)  # q, k, v, output; up, down
    assert flops_per_token(config, 8) == 6 * (hidden + 10 * 4) + 12 * 2 * 4 * 8
    assert flops_per_token(config, 3, adapters=100) == 4 * (hidden + 10 * 4) + 6 * 100 + 12 * 2 * 4 * 3
    # GPT-2 124M at its full context: 0.8 GFLOP per token, in the literature.
    small = TransformerConfig.gpt2(vocab_size=50257, context=1024, layers=12, heads=12, width=768)
    assert num_parameters(small) == 124_439_808
    assert flops_per_token(small, 1024) / 1e9 == pytest.approx(0.854, abs=1e-3)


def test_operations_of_muon_by_hand():
    config = TransformerConfig.gpt2(vocab_size=10, context=8, layers=1, heads=2, width=4)
    square, wide = 4 * 4 * 4 * 4 + 2 * 4**3, 4 * 4 * 4 * 16 + 2 * 4**3
    muon = TrainingSettings(steps=1, optimizer="muon")
    assert optimizer_flops(config, muon) == 5 * (4 * square + 2 * wide)
    assert optimizer_flops(config, TrainingSettings(steps=1)) == 0


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma"])
def test_the_memory_of_a_batch_is_what_the_forward_pass_keeps(kind, rank, dropout):
    sizes = {"vocab_size": 512, "context": 64, "layers": 3, "heads": 4, "width": 64, "dropout": dropout}
    gemma = {"activation": "gelu_tanh", "qk_norm": True, "post_norms": True}
    config = TransformerConfig.gpt2(**sizes) if kind == "gpt2" else TransformerConfig.llama(**sizes)
    config = config.with_(**gemma) if kind == "gemma" else config
    model = Transformer(config) if rank is None else lora(Transformer(config), rank)
    ids = np.random.default_rng(0).integers(0, 512, (8, 64)).astype(np.int32)
    model.loss(ids, ids, reduction="sum", rng=np.random.default_rng(0)).backward()  # threads and such are there now
    tracemalloc.start()
    try:
        loss = model.loss(ids, ids, reduction="sum", rng=np.random.default_rng(0))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept == pytest.approx(4 * ids.size * activations_per_token(config, config.context), rel=0.05)
    assert loss.item() > 0


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_whole_of_the_memory_is_about_what_training_uses(kind, optimizer):
    config = getattr(TransformerConfig, kind)(vocab_size=512, context=64, layers=3, heads=4, width=128)
    settings = TrainingSettings(steps=1, batch=16, optimizer=optimizer)
    ids = np.random.default_rng(0).integers(0, 512, (16, 64)).astype(np.int32)
    warm = Transformer(config)
    train_step(warm, AdamW(warm), [(ids, ids)], lr=1e-3)
    tracemalloc.start()
    try:
        model = Transformer(config)
        chosen = Muon(model) if optimizer == "muon" else AdamW(model)
        tracemalloc.reset_peak()
        train_step(model, chosen, [(ids, ids)], lr=1e-3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.85 * peak < make_plan(config, settings).memory < 1.35 * peak


@pytest.fixture
def known_speed(monkeypatch):
    """Instead of measuring this machine."""
    monkeypatch.setattr(plan_module, "matmul_rate", lambda config, tokens, device: 1e9)
    monkeypatch.setattr(plan_module, "pass_rate", lambda device: 1e8)


def test_steps_and_minutes_are_two_views_of_the_same_speed(known_speed, tiny):
    by_steps = make_plan(tiny.gpt2(), TrainingSettings(steps=1000), eval_windows=100)
    by_minutes = make_plan(tiny.gpt2(), TrainingSettings(minutes=by_steps.seconds / 60), eval_windows=100)
    assert by_minutes.steps == pytest.approx(1000, abs=1)
    assert make_plan(tiny.gpt2(), TrainingSettings(steps=1000)).seconds < by_steps.seconds
    assert by_steps.tokens_per_step == 24 * 16
    twice = make_plan(tiny.gpt2(), TrainingSettings(steps=1000, accumulate=2))
    assert twice.tokens_per_step == 2 * 24 * 16 and twice.activations == by_steps.activations
    assert twice.flops_per_step == 2 * 24 * 16 * flops_per_token(tiny.gpt2(), 16)


def test_adapters_and_shorter_windows(known_speed, tiny):
    config, model = tiny.llama(), lora(Transformer(tiny.llama()), rank=2)
    learned = AdamW(model).flat.values.size
    plan = make_plan(config, TrainingSettings(steps=10, context=5), rank=2)
    assert (plan.parameters, plan.learned) == (model.num_parameters(), learned)
    assert (plan.weights, plan.optimizer) == (4 * plan.parameters, 2 * 4 * learned)
    assert plan.tokens_per_step == 24 * 5
    assert plan.flops_per_step == 24 * 5 * flops_per_token(config, 5, learned)
    assert plan.seconds < make_plan(config, TrainingSettings(steps=10, context=5)).seconds
    assert f", of which {learned:,} learn." in plan.summary()


def test_what_cannot_fit_is_refused_before_it_starts(known_speed, monkeypatch, tiny):
    monkeypatch.setattr(plan_module, "available_memory", lambda device: 3_000_000_000)
    make_plan(tiny.gpt2(), TrainingSettings(steps=10)).check()
    huge = TransformerConfig.gpt2(vocab_size=50257, context=1024, layers=12, heads=12, width=768)
    plan = make_plan(huge, TrainingSettings(steps=10, batch=16))
    with pytest.raises(InputError, match=r"needs about [\d.]+ GB of memory and 3.0 GB are free.*smaller batch"):
        plan.check()
    monkeypatch.setattr(plan_module, "available_memory", lambda device: None)
    make_plan(huge, TrainingSettings(steps=10, batch=16)).check()  # where nobody knows, nothing is refused


def test_the_summary_names_what_it_counts(tiny):
    text = make_plan(tiny.gpt2(), TrainingSettings(steps=10)).summary()
    assert f"{num_parameters(tiny.gpt2()):,} parameters" in text
    assert "384 tokens" in text and "about 10 steps" in text


def test_free_memory_is_found_here():
    assert available_memory() is None or 0 < available_memory() <= (free_memory() or float("inf"))


def test_for_reading():
    assert [gigabytes(n) for n in (100, 31_000_000, 1_240_000_000)] == ["1 MB", "31 MB", "1.2 GB"]
    assert [duration(s) for s in (40.2, 210, 7200)] == ["40 seconds", "3.5 minutes", "2.0 hours"]
