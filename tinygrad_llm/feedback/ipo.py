"""IPO: DPO with a square in place of the logarithm, so that certain labels do not push without end (Azar et al. 2023).

When one reply always wins, the logistic loss of DPO falls for ever as the policies move apart, and the pull of the
reference is lost, whatever β is. IPO gives the gap a target instead: once it is there, nothing pushes any more.

Builds on: `dpo` (the gap of log-ratios).
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.feedback.dpo import log_ratio_gap
from tinygrad_llm.feedback.losses import check_positive, reduced


def ipo_loss(
    chosen: Any,
    rejected: Any,
    reference_chosen: Any,
    reference_rejected: Any,
    *,
    beta: float,
    reduction: str = "mean",
) -> Any:
    """(h - 1/(2β))², with the gap h as in `dpo_loss` (Azar et al. 2023, equation 17, where β is called τ).

    All inputs as in `dpo_loss`: (N,), in nats, summed over the reply's tokens, as in the paper. (Some libraries take
    the mean over the tokens here, which makes the target depend on the length.)

    Raises InputError for shapes that differ, or beta ≤ 0.
    """
    check_positive(beta=beta)
    miss = log_ratio_gap(chosen, rejected, reference_chosen, reference_rejected) - 1.0 / (2.0 * beta)  # (N,)
    return reduced(miss * miss, reduction)
