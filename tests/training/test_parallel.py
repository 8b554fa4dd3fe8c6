"""Shares of a batch on several cores give the gradients of the whole batch, and the same bits every time."""

import numpy as np
import pytest

from tinygrad_llm import Transformer, TransformerConfig
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.threads import workers
from tinygrad_llm.training import parallel
from tinygrad_llm.training.flat import FlatParameters


def model_and_batch(dropout: float = 0.0, kind: str = "gpt2"):
    make = getattr(TransformerConfig, kind)
    config = make(vocab_size=31, context=16, layers=2, heads=2, width=32, dropout=dropout)
    rng = np.random.default_rng(5)
    return Transformer(config, seed=3), rng.integers(0, 31, (7, 16)), rng.integers(-1, 31, (7, 16))


def gradients(cores: int, monkeypatch, dropout: float = 0.0, kind: str = "gpt2") -> tuple[float, np.ndarray]:
    monkeypatch.setattr(workers, "cores", cores)
    model, ids, targets = model_and_batch(dropout, kind)
    flat = FlatParameters(model)
    loss = sum(parallel.add_gradients(model, ids, targets, np.random.default_rng(seed)) for seed in (1, 2))
    return loss, flat.collect_gradients().copy()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("cores", [2, 3, 5])
def test_shares_add_up_to_the_whole_batch(cores, kind, monkeypatch):
    loss, g = gradients(1, monkeypatch, kind=kind)
    shared_loss, shared_g = gradients(cores, monkeypatch, kind=kind)
    assert shared_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(shared_g, g, rtol=1e-4, atol=1e-5 * np.abs(g).max())


@pytest.mark.parametrize("cores", [2, 5])
def test_the_same_bits_every_time(cores, monkeypatch):
    first_loss, first = gradients(cores, monkeypatch, dropout=0.2)
    for _ in range(5):
        loss, g = gradients(cores, monkeypatch, dropout=0.2)
        assert loss == first_loss
        assert np.array_equal(g, first)


def test_a_failing_share_lets_nobody_wait(monkeypatch):
    monkeypatch.setattr(workers, "cores", 3)
    model, ids, targets = model_and_batch()
    with pytest.raises(InputError, match="16"):
        parallel.add_gradients(model, np.concatenate([ids, ids], axis=1), np.concatenate([targets, targets], axis=1))


def test_large_models_with_small_batches_are_not_shared(monkeypatch):
    monkeypatch.setattr(workers, "cores", 2)
    monkeypatch.setattr(parallel, "FEW_PARAMETERS", 10)
    model, ids, _ = model_and_batch()
    assert parallel.share_count(model, ids) == 1
    assert parallel.share_count(model, np.tile(ids, (10, 1))) == 2
