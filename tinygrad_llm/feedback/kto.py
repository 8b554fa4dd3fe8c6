"""KTO: learn from single flags, "good" or "bad", where nobody compared two replies (Ethayarajh et al. 2024).

Each reply has an implicit reward, β log π/π_ref, as in DPO. It is judged against a reference point z₀, which is how far
the policy has moved on the whole; gains and losses count by a value function that flattens out on both sides, as those
of people do (Kahneman & Tversky's prospect theory, hence the name).

Builds on: `log_probabilities`, and judgements as `judgements.flags` gives them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.autograd import ops, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.feedback.losses import check_positive, reduced
from tinygrad_llm.feedback.masks import as_floats, as_mask, check_same_shape


def kto_loss(
    logp: Any,
    reference_logp: Any,
    is_desirable: Any,
    *,
    beta: float,
    kl: Any = 0.0,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    reduction: str = "mean",
) -> Any:
    """λ_D (1 - σ(β (r - z₀))) for a desirable reply, λ_U (1 - σ(β (z₀ - r))) for another, with r = log π/π_ref.

    Ethayarajh et al. 2024, equation 8.

    logp, reference_logp: log π of each reply under the policy and the reference, (N,), in nats, summed over its tokens.
    is_desirable: (N,) booleans. kl: z₀, a single number, see `kto_reference_point`; no gradient flows through it.
    desirable_weight, undesirable_weight: λ_D and λ_U; the paper sets λ_D n_D / (λ_U n_U) between 1 and 4/3.

    Raises InputError for shapes that differ, or a weight or beta ≤ 0.
    """
    check_positive(beta=beta, desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)
    logp, reference_logp = as_floats(logp), as_floats(reference_logp)
    check_same_shape(logp=logp, reference_logp=reference_logp)
    good = as_mask(np.asarray(is_desirable) if isinstance(is_desirable, list | tuple) else is_desirable, logp)
    gain = beta * ((logp - reference_logp) - float(raw(kl)))  # (N,)
    losses = ops.where(good, desirable_weight * ops.sigmoid(-gain), undesirable_weight * ops.sigmoid(gain))
    return reduced(losses, reduction)


def kto_reference_point(logp: Any, reference_logp: Any) -> Any:
    """z₀ = max(0, mean log π(y')/π_ref(y')), with replies y' to other prompts; an array with no gradient.

    logp, reference_logp: (M,), of each prompt joined with the reply to the next one. It estimates KL(π ‖ π_ref); the
    paper found replies that do not belong to the prompt to be good enough, and they need no sampling (section 4.1).
    """
    difference = raw(as_floats(logp)) - raw(as_floats(reference_logp))
    return array_module(difference).maximum(difference.mean(), 0.0)
