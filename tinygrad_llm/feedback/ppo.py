"""PPO: draw replies, score them, make good ones likelier in small steps (Schulman et al. 2017; Ziegler et al. 2019).

One round: the policy writes replies; the reward model scores each as a whole; every token is charged for how far the
policy has moved from the reference (`rewards_with_kl`); a value head, which guesses the reward still to come, turns
rewards into advantages, "better than expected" (`gae`); then a few steps of gradient descent on the same replies, with
a loss that stops pushing a token once its probability has changed by a factor of 1 ± ε (`policy_loss`).

Everything is a function of arrays (N, T), one row per reply, with a mask that is True for the reply's tokens.

Builds on: `masks`, `log_probabilities`, `reward_model`. Used by: `grpo`, which keeps the loss and drops the value head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.autograd import ops, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.losses import check_positive
from tinygrad_llm.feedback.masks import as_floats, as_mask, check_same_shape, masked, masked_mean

WHITEN_EPS = 1e-8


def rewards_with_kl(scores: Any, logp: Any, reference_logp: Any, mask: Any, *, kl_coef: float) -> Any:
    """R_t = -β (log π(y_t) - log π_ref(y_t)), plus the score of the whole reply at its last token. (N, T).

    Ziegler et al. 2019, equation 2, with the charge for the KL spread over the tokens.

    scores: (N,). logp, reference_logp: (N,T), log-probabilities of the tokens, in nats. mask: (N, T), True for the
    tokens of the reply. kl_coef: β. A row without tokens has rewards of 0, and its score is lost.
    """
    scores, logp, reference_logp = as_floats(scores), as_floats(logp), as_floats(reference_logp)
    check_same_shape(logp=logp, reference_logp=reference_logp)
    mask = as_mask(mask, logp)
    if scores.shape != logp.shape[:1]:
        raise InputError(f"scores has the shape {scores.shape}, it must have one number per row: {logp.shape[:1]}.")
    charge = masked(-kl_coef * (logp - reference_logp), mask)  # (N, T)
    return charge + ops.where(is_last(mask), scores.reshape(-1, 1), 0.0)


def is_last(mask: Any) -> Any:
    """Where the last token of each reply is. (N, T) -> (N, T) booleans, one per row, none in an empty row."""
    xp = array_module(mask)
    to_come = xp.cumsum(mask[:, ::-1].astype(xp.int64), axis=1)[:, ::-1]  # how many count from here on
    return mask & (to_come == 1)


def gae(rewards: Any, values: Any, mask: Any, *, gamma: float, lam: float) -> tuple[Any, Any]:
    """Generalised advantage estimation (Schulman et al. 2016, equations 11 and 16): (advantages, returns), each (N, T).

        δ_t = R_t + γ V_{t+1} - V_t
        A_t = δ_t + γ λ A_{t+1}            from the last token to the first
        returns = A + V                    what the value head should have said

    rewards, values: (N, T); mask: (N, T). Tokens that do not count are passed over, as if they were not there; after
    the last one that counts, V and A are 0. gamma: discount, 1 for replies. lam: λ, 1 is "reward to come minus V", 0 is
    one step only.
    """
    rewards, values = as_floats(rewards), as_floats(values)
    check_same_shape(rewards=rewards, values=values)
    for name, x in (("gamma", gamma), ("lam", lam)):
        if not 0.0 <= x <= 1.0:
            raise InputError(f"{name} must lie between 0 and 1, it was {x!r}.")
    mask = as_mask(mask, rewards)
    rewards, values = masked(rewards, mask), masked(values, mask)
    next_value = next_advantage = values[:, 0] * 0.0 if values.shape[1] else 0.0  # (N,)
    columns = []
    for t in reversed(range(rewards.shape[1])):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = ops.where(here, delta + gamma * lam * next_advantage, next_advantage)
        next_value = ops.where(here, values[:, t], next_value)
        columns.append(next_advantage)
    if not columns:
        return rewards, values
    advantages = masked(ops.stack(columns[::-1], axis=1), mask)  # (N, T)
    return advantages, advantages + values


def whiten(x: Any, mask: Any, *, shift_mean: bool = True) -> Any:
    """(x - mean) / √(variance + 1e-8) over all tokens that count; 0 where the mask does not hold. (N, T).

    The variance divides by n - 1; with a single token it is 0. shift_mean False: only the scale changes.
    """
    x = as_floats(x)
    mask = as_mask(mask, x)
    n = mask.sum()
    mean = masked_mean(x, mask)
    centred = masked(x - mean, mask)  # (N, T)
    degrees = array_module(mask).maximum(n - 1, 1).astype(x.dtype)
    variance = ops.sum(centred * centred) / degrees
    whitened = centred * ops.rsqrt(variance + WHITEN_EPS)
    return whitened if shift_mean else masked(whitened + mean, mask)


def clipped_surrogate(logp: Any, old_logp: Any, advantages: Any, *, clip: float, clip_high: float | None = None) -> Any:
    """-min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) per token, ρ = π/π_old (Schulman et al. 2017, equation 7). (N, T).

    Written so that nothing overflows where the clip holds: the minimum is ρ A with ρ bounded above by 1 + ε where
    A ≥ 0, and bounded below by 1 - ε where A < 0; and a bound on ρ is a bound on log ρ. So with a positive advantage
    even log ρ = 800 gives a finite loss and a gradient of 0. With a negative one the paper's loss has no bound.

    clip_high: another ε for the upper bound (Yu et al. 2025, DAPO, section 3.1); None: the same.
    """
    check_positive(clip=clip)
    log_ratio = logp - old_logp
    upper, lower = math.log1p(clip if clip_high is None else clip_high), math.log1p(-clip) if clip < 1.0 else -math.inf
    bounded = ops.where(raw(advantages) >= 0, ops.minimum(log_ratio, upper), ops.maximum(log_ratio, lower))
    return -advantages * ops.exp(bounded)


def policy_loss(logp: Any, old_logp: Any, advantages: Any, mask: Any, *, clip: float) -> Any:
    """The mean over all tokens that count of `clipped_surrogate`: what the policy minimises. A single number.

    logp: log π of the drawn tokens, (N, T), in nats. old_logp: the same when they were drawn. advantages: (N, T), not
    differentiated. On the first pass π = π_old, so every ratio is 1 and the loss is -mean(A).
    """
    logp, old_logp, advantages = as_floats(logp), as_floats(old_logp), as_floats(advantages)
    check_same_shape(logp=logp, old_logp=old_logp, advantages=advantages)
    mask = as_mask(mask, logp)
    loss = clipped_surrogate(masked(logp, mask), masked(old_logp, mask), masked(advantages, mask), clip=clip)
    return masked_mean(loss, mask)


def clip_fraction(logp: Any, old_logp: Any, advantages: Any, mask: Any, *, clip: float) -> float:
    """The share of tokens whose gradient the clip has stopped: their ratio has left [1 - ε, 1 + ε] the way A pushes."""
    ratio = array_module(raw(logp)).exp(raw(logp) - raw(old_logp))
    stopped = (raw(advantages) > 0) & (ratio > 1 + clip) | (raw(advantages) < 0) & (ratio < 1 - clip)
    return float(masked_mean(stopped.astype(raw(logp).dtype), mask))


def value_loss(values: Any, old_values: Any, returns: Any, mask: Any, *, clip: float) -> Any:
    """½ mean max((V - R)², (clip(V, V_old ± ε) - R)²) over all tokens that count. A single number.

    The clip holds the value head near what it said when the replies were drawn (Schulman et al.'s implementation of
    2017; the paper has the square alone). values: (N, T); old_values, returns: (N, T), not differentiated.
    """
    check_positive(clip=clip)
    values, old_values, returns = as_floats(values), as_floats(old_values), as_floats(returns)
    check_same_shape(values=values, old_values=old_values, returns=returns)
    mask = as_mask(mask, values)
    values, old_values, returns = masked(values, mask), masked(old_values, mask), masked(returns, mask)
    near = ops.clip(values, old_values - clip, old_values + clip)
    miss, near_miss = values - returns, near - returns
    return 0.5 * masked_mean(ops.maximum(miss * miss, near_miss * near_miss), mask)


def entropy(logits: Any) -> Any:
    """H = -Σ p log p, in nats: how open the choice of the next token is. (..., V) -> (...), from 0 to log V.

    Computed as logsumexp(z) - Σ p z, over the tokens with p > 0.
    """
    logits = as_floats(logits)
    p = ops.softmax(logits)
    return ops.logsumexp(logits, axis=-1) - ops.sum(p * ops.where(raw(p) > 0, logits, 0.0), axis=-1)


@dataclass
class AdaptiveKL:
    """A KL coefficient that follows the KL: larger when the policy moves too far, smaller when not (Ziegler 2019, 2.2).

        e = clip(KL / target - 1, ±0.2);  β ← β · (1 + e · replies / horizon)

    value: β at the start. target: KL per reply, in nats. horizon: after how many replies a full error doubles β, about.
    """

    value: float
    target: float
    horizon: float = 10_000.0

    def __post_init__(self) -> None:
        check_positive(value=self.value, target=self.target, horizon=self.horizon)

    def update(self, kl: float, replies: int) -> float:
        """The coefficient after `replies` replies with a mean KL of `kl` nats."""
        error = min(max(kl / self.target - 1.0, -0.2), 0.2)
        self.value *= 1.0 + error * replies / self.horizon
        return self.value
