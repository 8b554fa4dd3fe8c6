"""Evaluation: the mean over all targets, in nats and in bits per byte, however many windows are computed at once."""

import math

import numpy as np
import pytest

from tinygrad_llm.autograd import plain
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.evaluation import evaluate


def test_it_is_the_mean_of_all_losses_and_their_sum_per_byte(world, config):
    model, windows = Transformer(config, seed=2), world.validation
    with plain():
        losses = F.cross_entropy(model(windows.inputs), windows.targets, reduction="none").data.astype(np.float64)
    result = evaluate(model, windows, batch=4)
    assert result.loss == pytest.approx(losses.mean(), rel=1e-6)
    targets = windows.targets.reshape(-1).tolist()
    length = sum(len(world.tokenizer.decode_bytes([i])) for i in targets)
    assert result.bits_per_byte == pytest.approx(losses.sum() / length / math.log(2), rel=1e-6)


def test_the_batch_size_does_not_matter(world, config):
    model = Transformer(config)
    assert evaluate(model, world.validation, batch=1).loss == pytest.approx(
        evaluate(model, world.validation).loss, rel=1e-6
    )


def test_dropout_is_off_and_no_gradient_is_left(world, tiny):
    dropping, whole = Transformer(tiny.gpt2(dropout=0.5)), Transformer(tiny.gpt2())
    assert evaluate(dropping, world.validation) == evaluate(whole, world.validation)
    assert all(parameter.grad is None for parameter in dropping.parameters())
