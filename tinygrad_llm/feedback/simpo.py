"""SimPO: DPO without a reference model; the reward is the log-probability per token (Meng et al. 2024).

When a model writes, it goes by the probability of each token, so that is what the reward measures here; divided by the
length, it does not favour short replies. In place of the reference, a margin γ says how far apart the two shall be.

Builds on: `log_probabilities`.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.losses import check_positive, logistic_loss, reduced
from tinygrad_llm.feedback.masks import as_floats, as_lengths, check_same_shape


def simpo_loss(
    chosen: Any,
    rejected: Any,
    chosen_lengths: Any,
    rejected_lengths: Any,
    *,
    beta: float,
    gamma: float,
    reduction: str = "mean",
) -> Any:
    """-log σ(β log π(y_w)/|y_w| - β log π(y_l)/|y_l| - γ) (Meng et al. 2024, equation 6).

    chosen, rejected: log π of the replies, (N,), in nats, summed over their tokens. chosen_lengths, rejected_lengths:
    (N,), how many tokens those are. beta: scale of the reward, 2 to 2.5 in the paper. gamma: the margin, 0.3 to 1.6
    there; a number of at least 0.

    Raises InputError for shapes that differ, a length below 1, beta ≤ 0 or gamma < 0.
    """
    check_positive(beta=beta)
    if not (isinstance(gamma, int | float) and 0.0 <= gamma < math.inf):
        raise InputError(f"gamma must be a number of at least 0, it was {gamma!r}.")
    chosen, rejected = as_floats(chosen), as_floats(rejected)
    check_same_shape(chosen=chosen, rejected=rejected)
    chosen_lengths = as_lengths(chosen_lengths, chosen, "chosen_lengths")
    rejected_lengths = as_lengths(rejected_lengths, rejected, "rejected_lengths")
    gap = chosen / chosen_lengths - rejected / rejected_lengths  # (N,)
    return reduced(logistic_loss(beta * gap - gamma), reduction)
