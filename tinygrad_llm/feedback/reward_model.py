"""A reward model: a transformer that reads a reply and answers with one number, trained on what people preferred.

People are bad at giving marks and good at choosing between two. Bradley and Terry (1952) turn choices into marks: reply
i is chosen over j with probability σ(r_i - r_j), and r is fitted so that what was chosen is probable. Only differences
matter, so the mean of r is free; it is set to 0 afterwards, or held there by a small extra loss.

Builds on: `nn.transformer`. Used by: `best_of_n`, `ppo`, `grpo`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinygrad_llm.autograd import Tensor, ops, raw
from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.losses import check_positive, logistic_loss, reduced
from tinygrad_llm.feedback.masks import as_floats, as_mask, check_same_shape, masked_mean
from tinygrad_llm.feedback.replies import Rows
from tinygrad_llm.nn.init import zeros
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.transformer import Transformer


class RewardModel(Module):
    """A transformer whose last vectors become one number each, in place of V logits. Also the value head of PPO.

    network: starts as a copy of the model that wrote the replies, so it knows the language already; all of it learns.
    The head begins at 0, so that at the start every reply has the reward 0.
    pooling: which numbers make up the reward of a reply: the "last" one, where the network has seen the whole reply
    (Ouyang et al. 2022), or their "mean" over its tokens, which learns from fewer pairs where single words decide.
    """

    def __init__(self, network: Transformer, pooling: Literal["last", "mean"] = "last") -> None:
        if pooling not in ("last", "mean"):
            raise InputError(f"pooling must be 'last' or 'mean', it was {pooling!r}.")
        self.network, self.pooling = network, pooling
        self.head = Linear(network.config.width, 1, init=zeros)

    def forward(self, ids: Any) -> Tensor:
        """A number for each position: what the text up to there is worth. (N, T) -> (N, T)."""
        return self.head(self.network.hidden(ids))[..., 0]

    def rewards(self, rows: Rows) -> Tensor:
        """The reward of each reply. (N,). Raises InputError for an empty reply."""
        if not rows.mask.any(axis=1).all():
            raise InputError("rewards: a reply has no tokens, so there is nothing to read its reward from.")
        if self.pooling == "mean":
            return masked_mean(self(rows.ids), rows.mask, axis=-1)
        last = rows.mask.shape[1] - 1 - rows.mask[:, ::-1].argmax(axis=1)  # (N,)
        return self(rows.ids)[np.arange(len(last)), last]


def preference_loss(
    chosen: Any,
    rejected: Any,
    *,
    margin: Any = 0.0,
    ties: Any = None,
    tie_strength: Any = 1.0,
    reduction: str = "mean",
) -> Any:
    """-log σ(r_w - r_l - m): how improbable the labeller's choice was, to the model (Ouyang et al. 2022, equation 1).

    chosen, rejected: rewards of the two replies of each pair, (N,). margin: m, a number or (N,), by how much the chosen
    one shall at least be better (Touvron et al. 2023, Llama 2, equation 2).
    ties: (N,) booleans, True where the labeller found both as good; then, by Davidson (1970, equation 2), with
    d = r_w - r_l - m and ν = tie_strength,

        P(chosen) = e^(d/2) / Z,  P(tie) = ν / Z,  Z = e^(d/2) + e^(-d/2) + ν

    which is Bradley and Terry's formula when ν = 0. tie_strength may be a Tensor, so that it is learned as well.

    Raises InputError for shapes that differ, or tie_strength ≤ 0.
    """
    chosen, rejected = as_floats(chosen), as_floats(rejected)
    check_same_shape(chosen=chosen, rejected=rejected)
    d = chosen - rejected - margin  # (N,)
    if ties is None:
        return reduced(logistic_loss(d), reduction)
    if not isinstance(tie_strength, Tensor):
        check_positive(tie_strength=tie_strength)
    log_nu = ops.log(tie_strength) if isinstance(tie_strength, Tensor) else math.log(tie_strength)
    is_tie = as_mask(np.asarray(ties) if isinstance(ties, list | tuple) else ties, chosen, "ties")
    log_z = ops.logsumexp(ops.stack([0.5 * d, -0.5 * d, d * 0.0 + log_nu], axis=-1), axis=-1)  # (N,)
    return reduced(log_z - ops.where(is_tie, log_nu, 0.5 * d), reduction)


def centring_loss(chosen: Any, rejected: Any) -> Any:
    """mean (r_w + r_l)²: a small multiple of it keeps rewards near 0 (Eisenstein et al. 2023, section 2). A number."""
    total = as_floats(chosen) + as_floats(rejected)
    return ops.mean(total * total)


def accuracy(chosen: Any, rejected: Any) -> float:
    """The share of pairs in which the chosen reply has the higher reward; equal rewards count half."""
    chosen, rejected = np.asarray(raw(as_floats(chosen))), np.asarray(raw(as_floats(rejected)))
    check_same_shape(chosen=chosen, rejected=rejected)
    if chosen.size == 0:
        raise InputError("accuracy: there are no pairs.")
    return float(np.where(chosen == rejected, 0.5, chosen > rejected).mean())


@dataclass(frozen=True)
class Calibration:
    """confidence: the mean predicted probability in each bin; frequency: how often it came true there; count: of pairs.

    error: expected calibration error, Σ count/N · |confidence - frequency| (Guo et al. 2017, equation 3).
    """

    confidence: np.ndarray
    frequency: np.ndarray
    count: np.ndarray
    error: float


def calibration(chosen: Any, rejected: Any, bins: int = 10) -> Calibration:
    """When the model says "80 %", is it right 8 times in 10? Each pair gives two predictions, σ(d) and σ(-d).

    The bins are of equal width over [0, 1]; those without predictions are left out.
    """
    difference = np.asarray(raw(as_floats(chosen)), np.float64) - np.asarray(raw(as_floats(rejected)), np.float64)
    if difference.size == 0:
        raise InputError("calibration: there are no pairs.")
    p = 0.5 * (1.0 + np.tanh(0.5 * np.concatenate([difference, -difference])))
    came_true = np.repeat([1.0, 0.0], difference.size)
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    confidence = np.bincount(place, p, bins)[used] / count[used]
    frequency = np.bincount(place, came_true, bins)[used] / count[used]
    error = float((count[used] / p.size * np.abs(confidence - frequency)).sum())
    return Calibration(confidence, frequency, count[used], error)


def length_correlation(rewards: Any, lengths: Any) -> float:
    """Pearson's correlation of rewards and lengths in tokens: near 1, the reward model is mostly a length meter.

    0 where all rewards or all lengths are equal.
    """
    r, n = np.asarray(raw(as_floats(rewards)), np.float64), np.asarray(raw(as_floats(lengths)), np.float64)
    check_same_shape(rewards=r, lengths=n)
    if r.size < 2 or r.std() == 0.0 or n.std() == 0.0:
        return 0.0
    return float(np.corrcoef(r, n)[0, 1])
