"""ORPO: supervised tuning and preference in one loss, without a reference model (Hong et al. 2024).

Supervised tuning alone makes the rejected replies likelier too, for they are written in the same style. So a second
term compares the odds p / (1 - p) of the two, which is a gentler push than the ratio of probabilities.

Builds on: `log_probabilities`.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd import ops
from tinygrad_llm.feedback.losses import check_positive, logistic_loss, reduced
from tinygrad_llm.feedback.masks import as_floats, as_lengths, check_same_shape


def orpo_loss(
    chosen: Any, rejected: Any, chosen_lengths: Any, rejected_lengths: Any, *, beta: float, reduction: str = "mean"
) -> Any:
    """-log p(y_w) + β · -log σ(log odds(y_w) - log odds(y_l)), with odds(y) = p(y) / (1 - p(y)).

    Hong et al. 2024, equations 4, 6 and 7, where β is called λ. p(y) is the geometric mean of the probabilities of the
    reply's tokens: log p(y) = log π(y) / |y|.

    chosen, rejected: log π of the replies, (N,), in nats, summed over their tokens. chosen_lengths, rejected_lengths:
    (N,), how many tokens those are. beta: the weight of the comparison; the paper takes 0.1 to 0.25.

    Raises InputError for shapes that differ, or beta ≤ 0.
    """
    check_positive(beta=beta)
    chosen, rejected = as_floats(chosen), as_floats(rejected)
    check_same_shape(chosen=chosen, rejected=rejected)
    chosen_lengths = as_lengths(chosen_lengths, chosen, "chosen_lengths")
    rejected_lengths = as_lengths(rejected_lengths, rejected, "rejected_lengths")
    log_p_chosen, log_p_rejected = chosen / chosen_lengths, rejected / rejected_lengths  # (N,)
    preference = logistic_loss(log_odds(log_p_chosen) - log_odds(log_p_rejected))
    return reduced(-log_p_chosen + beta * preference, reduction)


def log_odds(log_p: Any) -> Any:
    """log(p / (1 - p)) of p = e^(log_p) < 1. 1 - p is -expm1(log_p), which keeps its digits where p is near 1. (N,)."""
    return log_p - ops.log(-ops.expm1(log_p))
