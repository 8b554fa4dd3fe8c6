"""How far a policy has moved from its reference: the Kullback-Leibler divergence, exact and estimated.

    KL(π ‖ π_ref) = E over y drawn from π of log π(y)/π_ref(y)

Exactly: for one token it is a sum over the vocabulary, which we can do. For a whole reply it is a sum over all texts,
which nobody can; the sum of the exact values along replies drawn from π estimates it, with less noise than the
log-ratios themselves, because only the prefixes are random. Where logits of both models are too large to keep, the
estimators k1, k2 and k3 need the log-probabilities of the drawn tokens alone (Schulman 2020, "Approximating KL
divergence"):

| estimator | of the log-ratio r = log π_ref - log π | bias | noise | used for |
|---|---|---|---|---|
| k1 | -r | none | large, and negative for single tokens | rewards: its sum is the log-ratio of the reply |
| k2 | r²/2 | small while the two are close | small | looking at a run |
| k3 | e^r - 1 - r | none | small, never negative | a penalty in the loss (GRPO) |

Used by: `ppo`, `grpo`, and the curves of a run.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd import ops
from tinygrad_llm.feedback.masks import as_floats, check_same_shape


def exact_kl(logits: Any, reference_logits: Any) -> Any:
    """Σ_v p_v (log p_v - log q_v), in nats, p and q the softmaxes of the two. Both (..., V) -> (...), at least 0.

    A token with p = 0 adds 0. Infinite where p > 0 and q = 0.
    """
    logits, reference_logits = as_floats(logits), as_floats(reference_logits)
    check_same_shape(logits=logits, reference_logits=reference_logits)
    log_p, log_q = ops.log_softmax(logits), ops.log_softmax(reference_logits)  # (..., V)
    p = ops.exp(log_p)
    log_ratio = ops.where(p > 0, log_p, 0.0) - ops.where(p > 0, log_q, 0.0)
    return ops.sum(p * log_ratio, axis=-1)


def k1(logp: Any, reference_logp: Any) -> Any:
    """log π - log π_ref of tokens that π drew: without bias, noisy, of either sign. (...), (...) -> (...)."""
    return as_floats(logp) - as_floats(reference_logp)


def k2(logp: Any, reference_logp: Any) -> Any:
    """(log π - log π_ref)² / 2 of tokens that π drew: biased, little noise. (...), (...) -> (...)."""
    difference = as_floats(logp) - as_floats(reference_logp)
    return 0.5 * (difference * difference)


def k3(logp: Any, reference_logp: Any) -> Any:
    """e^r - 1 - r, r = log π_ref - log π, of tokens that π drew: without bias, never negative. (...), (...) -> (...).

    e^r - 1 is computed as expm1(r), which keeps its digits while the two are close. It overflows where the reference
    finds a token more than e^88 times (float32) as probable as the policy does.
    """
    r = as_floats(reference_logp) - as_floats(logp)
    return ops.expm1(r) - r
