"""Losses that a language model does not need, but a user of this library may: `F.mse_loss`, `F.nll_loss`.

Builds on: `autograd`. Used by: `functional`, which offers them again.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd import Tensor, ops
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.token_ids import as_classes


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """(x - target)²: its mean over all numbers, its sum, or with "none" each of them. Shapes broadcast."""
    error = x - target
    return reduced(error * error, None, reduction)


def nll_loss(log_probabilities: Tensor, targets: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy from log-probabilities: -log_probabilities[target], in nats; negative targets do not count.

    log_probabilities: (..., V), targets: (...) integers, in an array, a Tensor or lists. reduction: "mean" over the
    targets that count, "sum", or "none" for one loss per token.
    """
    targets = as_classes(targets, log_probabilities)
    is_target = targets >= 0
    chosen = ops.take_along_axis(log_probabilities, (targets * is_target)[..., None])[..., 0]  # (...)
    return reduced(-chosen * is_target.astype(log_probabilities.dtype), is_target, reduction)


def reduced(losses: Any, counts: Any, reduction: str) -> Any:
    """The losses, their sum, or their mean over those that count."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.mean() if counts is None else losses.sum() / max(int(counts.sum()), 1)
    raise InputError(f"reduction must be 'mean', 'sum' or 'none', it was {reduction!r}.")
