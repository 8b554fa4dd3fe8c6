"""GRPO: PPO without a value head: several replies to each prompt judge one another (Shao et al. 2024, DeepSeekMath).

"Better than expected" needs an expectation. PPO trains a second network for it; GRPO draws a group of replies to the
same prompt and takes their mean. All tokens of a reply share its advantage. The policy's loss is PPO's; how to average
it over tokens, and what to divide advantages by, is where the papers differ, so both are options with names.

Builds on: `ppo` (the clipped loss), `kl` (the estimator k3).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from tinygrad_llm.autograd import ops
from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.kl import k3
from tinygrad_llm.feedback.losses import check_positive
from tinygrad_llm.feedback.masks import as_floats, as_mask, check_same_shape, masked, masked_mean, masked_sum
from tinygrad_llm.feedback.ppo import clipped_surrogate

STD_EPS = 1e-4  # keeps a group of nearly equal rewards from being blown up

Baseline = Literal["std", "none", "leave-one-out"]
Average = Literal["token-mean", "sequence-mean", "fixed-length"]


def group_advantages(rewards: Any, group_size: int, *, normalise: Baseline = "std") -> Any:
    """How much better each reply is than the others of its group. rewards: (N,), groups side by side -> (N,).

    normalise:
        "std": (r - mean) / (std + 1e-4), the standard deviation dividing by G - 1 (Shao et al. 2024, section 4.1.2).
            Prompts on which all replies are nearly as good count as much as those on which they differ.
        "none": r - mean (Liu et al. 2025, Dr. GRPO, section 3.1): prompts count by how much the replies differ.
        "leave-one-out": r - mean of the other replies = G/(G - 1) · (r - mean) (Ahmadian et al. 2024, RLOO, equation
            8): without bias, for a reply is not part of its own baseline.

    Raises InputError for groups of one, which have nothing to be compared with, and for N that G does not divide.
    """
    rewards = as_floats(rewards)
    if not isinstance(group_size, int) or group_size < 2:
        raise InputError(
            f"group_size must be a whole number of at least 2, it was {group_size!r}: a reply is judged by the others "
            "to the same prompt."
        )
    if normalise not in get_args(Baseline):
        raise InputError(f"normalise must be one of {get_args(Baseline)}, it was {normalise!r}.")
    if rewards.ndim != 1 or rewards.shape[0] % group_size:
        raise InputError(f"rewards of shape {rewards.shape} cannot be cut into groups of {group_size}.")
    groups = rewards.reshape(-1, group_size)  # (N/G, G)
    centred = groups - ops.mean(groups, axis=-1, keepdims=True)
    if normalise == "std":
        centred = centred / (ops.std(groups, axis=-1, ddof=1, keepdims=True) + STD_EPS)
    elif normalise == "leave-one-out":
        centred = centred * (group_size / (group_size - 1))
    return centred.reshape(-1)


def grpo_loss(
    logp: Any,
    old_logp: Any,
    advantages: Any,
    mask: Any,
    *,
    clip: float,
    clip_high: float | None = None,
    reference_logp: Any = None,
    kl_coef: float = 0.0,
    normalise: Average = "token-mean",
    length: int | None = None,
) -> Any:
    """PPO's clipped loss plus β · k3(π ‖ π_ref) per token, averaged (Shao et al. 2024, equation 3). A single number.

    logp, old_logp, reference_logp: (N, T), log-probabilities of the drawn tokens, in nats; reference_logp may be None
    where kl_coef, β, is 0. advantages: (N,), one per reply, or (N, T). mask: (N, T). clip, clip_high: see
    `ppo.clipped_surrogate`.
    normalise: how tokens are averaged.
        "token-mean": over all tokens of the batch (Yu et al. 2025, DAPO): a long reply counts by its length.
        "sequence-mean": over the tokens of each reply, then over replies (the paper): in a long reply each token counts
            less, so a long bad reply is punished less per token than a short one, and replies grow.
        "fixed-length": divided by N · `length` (Liu et al. 2025, Dr. GRPO): each token counts the same whatever the
            length of its reply is, and whatever else is in the batch. length: the longest reply allowed; None for T.
    """
    logp, old_logp, advantages = as_floats(logp), as_floats(old_logp), as_floats(advantages)
    check_same_shape(logp=logp, old_logp=old_logp)
    if normalise not in get_args(Average):
        raise InputError(f"normalise must be one of {get_args(Average)}, it was {normalise!r}.")
    mask = as_mask(mask, logp)
    if advantages.shape == logp.shape[:1]:
        advantages = advantages.reshape(-1, 1)  # (N, 1)
    elif advantages.shape != logp.shape:
        raise InputError(f"advantages has the shape {advantages.shape}, it must be {logp.shape[:1]} or {logp.shape}.")
    logp = masked(logp, mask)
    loss = clipped_surrogate(logp, masked(old_logp, mask), advantages, clip=clip, clip_high=clip_high)  # (N, T)
    if kl_coef:
        if reference_logp is None:
            raise InputError(f"reference_logp is missing: kl_coef is {kl_coef}, so the reference is needed.")
        reference_logp = as_floats(reference_logp)
        check_same_shape(logp=logp, reference_logp=reference_logp)
        loss = loss + kl_coef * k3(logp, masked(reference_logp, mask))
    if normalise == "token-mean":
        return masked_mean(loss, mask)
    if normalise == "sequence-mean":
        return ops.mean(masked_mean(loss, mask, axis=-1))
    if length is None:
        length = logp.shape[1]
    check_positive(length=length)
    return masked_sum(loss, mask) / (logp.shape[0] * length)
