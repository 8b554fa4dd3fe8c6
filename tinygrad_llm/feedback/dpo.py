"""DPO: learn from pairs of replies without a reward model and without sampling (Rafailov et al. 2023).

A policy that maximises a reward r and stays close to a reference satisfies r(x, y) = β log π(y|x)/π_ref(y|x) + c(x).
The pairs only compare rewards for one prompt, so c cancels, and the policy can be its own reward model: the loss of
Bradley and Terry with that implicit reward is a loss of the policy alone.

Builds on: `log_probabilities` (sums over the reply). Beside it: `ipo`, `kto`, `orpo`, `simpo`.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.losses import check_positive, logistic_loss, reduced
from tinygrad_llm.feedback.masks import as_floats, check_same_shape


def dpo_loss(
    chosen: Any,
    rejected: Any,
    reference_chosen: Any,
    reference_rejected: Any,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """-log σ(β h), with h = log π(y_w)/π_ref(y_w) - log π(y_l)/π_ref(y_l) (Rafailov et al. 2023, equation 7).

    chosen, rejected: log π of the preferred and of the other reply, (N,), in nats, summed over the reply's tokens.
    reference_chosen, reference_rejected: the same under the reference model, which does not learn.
    beta: how strongly the policy is held to the reference; the usual values are 0.1 to 0.5.
    label_smoothing: ε, the share of labels that are taken to be the wrong way round: the loss becomes
        (1 - ε) · -log σ(β h) + ε · -log σ(-β h) (Mitchell 2023, "A note on DPO with noisy preferences", equation 3).
    reduction: "mean" over the pairs, "sum", or "none" for one loss per pair.

    At the start the policy is the reference: h = 0, the loss is log 2, and the slope with respect to `chosen` is -β/2.

    Raises InputError for shapes that differ, beta ≤ 0, or label_smoothing outside [0, 0.5).
    """
    check_positive(beta=beta)
    if not 0.0 <= label_smoothing < 0.5:
        raise InputError(f"label_smoothing must be at least 0 and below 0.5, it was {label_smoothing!r}.")
    h = log_ratio_gap(chosen, rejected, reference_chosen, reference_rejected)  # (N,)
    losses = (1.0 - label_smoothing) * logistic_loss(beta * h)
    if label_smoothing:
        losses = losses + label_smoothing * logistic_loss(-beta * h)
    return reduced(losses, reduction)


def log_ratio_gap(chosen: Any, rejected: Any, reference_chosen: Any, reference_rejected: Any) -> Any:
    """h = log π(y_w)/π_ref(y_w) - log π(y_l)/π_ref(y_l): how much more the policy now prefers the chosen one. (N,).

    β h is the difference of the two implicit rewards.
    """
    chosen, rejected = as_floats(chosen), as_floats(rejected)
    reference_chosen, reference_rejected = as_floats(reference_chosen), as_floats(reference_rejected)
    check_same_shape(
        chosen=chosen,
        rejected=rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    return (chosen - reference_chosen) - (rejected - reference_rejected)
