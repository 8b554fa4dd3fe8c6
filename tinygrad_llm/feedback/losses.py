"""What the pairwise losses share: the logistic loss, and the average over the batch."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd import ops
from tinygrad_llm.errors import InputError


def logistic_loss(x: Any) -> Any:
    """-log σ(x) = log(1 + e^-x), element by element: 0 for large x, -x for very negative ones, never infinite."""
    return ops.softplus(-x)


def reduced(losses: Any, reduction: str) -> Any:
    """Losses (N,) as their "mean", their "sum", or as they are ("none")."""
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction must be 'mean', 'sum' or 'none', it was {reduction!r}.")
    if losses.size == 0:
        raise InputError("there are no examples to average over; the batch is empty.")
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)


def check_positive(**values: float) -> None:
    """Raise InputError, with the name, for a number that is not above 0."""
    for name, value in values.items():
        if not (isinstance(value, int | float) and 0.0 < value < float("inf")):
            raise InputError(f"{name} must be a number above 0, it was {value!r}.")
