"""From the model's probabilities to one token: how daring the text shall be.

The model gives a probability to every token. To always take the most probable one makes dull, circling text; to draw
from all of them lets, once in a while, one of the thousands of improbable tokens through, and the text falls apart.
The stages in here change the distribution between these two ends. Each is a pure function

    log-probabilities (V,) or (B, V)  ->  log-probabilities of the same shape

and whatever it removes gets -inf; what is left is divided by its sum, so that the probabilities sum to 1 after every
stage. So they can be put into a `Chain` in any order, and looked at one by one. After the last, `draw` throws the dice.

Everything in here happens on the host in float64, whatever the model runs on: V numbers per token are little work,
and so both backends draw alike.

Comes before: `nn.transformer`, which gives the logits. Comes after: `generate`, which repeats.
Left out on purpose: penalties for repetition, which look at more than the distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.functional import log_softmax


class Stage(Protocol):
    """One step from the model's distribution to the one that is drawn from."""

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        """log_p (V,) -> (V,). text: all ids so far, the prompt's first; most stages do not look at it."""


@dataclass(frozen=True)
class Chain:
    """One stage after the other; with none, the distribution stays as it is. A chain is a stage itself.

    >>> Chain((TopK(2), Temperature(0.5)))
    Chain(stages=(TopK(k=2), Temperature(temperature=0.5)))
    """

    stages: tuple[Stage, ...] = ()

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        for stage in self.stages:
            log_p = stage(log_p, text)
        return log_p


@dataclass(frozen=True)
class Temperature:
    """p_i^(1/t), divided by their sum: t < 1 sharpens the distribution, t > 1 flattens it, t = 1 leaves it.

    At t = 0, the limit, all probability is on the most probable token ("greedy"); of several equally probable ones on
    that with the lowest id. The name is that of statistical physics (Ackley, Hinton & Sejnowski 1985).

    >>> np.exp(Temperature(0.5)(np.log([0.6, 0.3, 0.1]))).round(3)  # 0.36 : 0.09 : 0.01
    array([0.783, 0.196, 0.022])
    """

    temperature: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < np.inf:
            raise InputError(
                f"temperature must be a number of at least 0, it was {self.temperature}. 0 always takes the most "
                "probable token, 1 draws as the model says."
            )

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.temperature == 0.0:
            best = log_p.argmax(axis=-1, keepdims=True)  # (..., 1), the first one of equals
            return np.where(np.arange(log_p.shape[-1]) == best, 0.0, -np.inf)  # (..., V)
        # The largest becomes 0 first, so that a tiny temperature cannot turn all of them into -inf.
        with np.errstate(over="ignore"):
            return log_softmax((log_p - log_p.max(axis=-1, keepdims=True)) / self.temperature)


@dataclass(frozen=True)
class TopK:
    """Only the k most probable tokens, lowest ids first among equals (Fan et al. 2018, section 5.4).

    >>> np.exp(TopK(2)(np.log([0.1, 0.6, 0.3]))).round(3)
    array([0.   , 0.667, 0.333])
    """

    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.k, int | np.integer) or self.k < 1:
            raise InputError(f"top_k must be a whole number of at least 1, it was {self.k}; leave it out to keep all.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.k >= log_p.shape[-1]:
            return log_p
        ascending = np.sort(log_p, axis=-1)  # (..., V)
        return keep_most_probable(log_p, ascending, np.full((*log_p.shape[:-1], 1), self.k))


@dataclass(frozen=True)
class TopP:
    """The smallest set of most probable tokens that together have at least p, the "nucleus".

    In other words: the least probable ones are removed as long as what is removed has at most 1 - p together. At least
    one token stays; p = 1 removes nothing. Source: Holtzman et al. 2020, section 3.1.

    >>> np.exp(TopP(0.8)(np.log([0.1, 0.6, 0.3]))).round(3)
    array([0.   , 0.667, 0.333])
    """

    p: float

    def __post_init__(self) -> None:
        if not 0.0 < self.p <= 1.0:
            raise InputError(f"top_p must be above 0 and at most 1, it was {self.p}; 1 keeps all tokens.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        ascending = np.sort(log_p, axis=-1)  # (..., V)
        removed = np.exp(ascending).cumsum(axis=-1) <= 1.0 - self.p  # (..., V), from the small end: exact there
        kept = log_p.shape[-1] - removed.sum(axis=-1, keepdims=True)  # (..., 1)
        return keep_most_probable(log_p, ascending, np.maximum(kept, 1))


@dataclass(frozen=True)
class MinP:
    """The tokens that are at least p times as probable as the most probable one (Nguyen et al. 2024, section 3).

    Where the model is sure this removes nearly all the others, where it is undecided hardly any. p = 0 removes nothing.

    >>> np.exp(MinP(0.4)(np.log([0.1, 0.6, 0.3]))).round(3)
    array([0.   , 0.667, 0.333])
    """

    p: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.p <= 1.0:
            raise InputError(f"min_p must be at least 0 and at most 1, it was {self.p}; 0 keeps all tokens.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        relative = np.exp(log_p - log_p.max(axis=-1, keepdims=True))  # (..., V)
        return keep(log_p, relative >= self.p)


def usual_chain(
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, min_p: float | None = None
) -> Chain:
    """Temperature, then top-k, top-p, min-p: the usual order; None leaves a stage out.

    Temperature comes first, so that top-p and min-p look at the distribution that is drawn from. Other orders are
    chains of your own: Chain((MinP(0.1), Temperature(1.5))).
    """
    stages: list[Stage] = [Temperature(temperature)]
    if top_k is not None:
        stages.append(TopK(top_k))
    if top_p is not None:
        stages.append(TopP(top_p))
    if min_p is not None:
        stages.append(MinP(min_p))
    return Chain(tuple(stages))


def draw(log_p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One token of each distribution: log-probabilities (V,) -> an id (), or (B, V) -> ids (B,).

    The interval from 0 to 1 is divided among the tokens, each as long as its probability, and a random number falls
    into one of them (the inverse of the cumulative distribution). A token of probability 0 has no interval and is
    never drawn. Takes one number from `rng` for each distribution.
    """
    ends = np.exp(log_p).cumsum(axis=-1)  # (..., V): where each token's interval ends
    # Times the last end, because rounding may leave it a little below 1. The product is below it, as random() < 1.
    points = rng.random(log_p.shape[:-1])[..., None] * ends[..., -1:]  # (..., 1)
    return (ends <= points).sum(axis=-1)  # (...): how many intervals lie before


def keep_most_probable(log_p: np.ndarray, ascending: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Only the `count` most probable tokens of each row, lowest ids first among equals.

    ascending: log_p sorted, (..., V). count: (..., 1), at least 1.
    """
    last = np.take_along_axis(ascending, log_p.shape[-1] - count, axis=-1)  # (..., 1): the least probable one kept
    above, equal = log_p > last, log_p == last
    room = count - above.sum(axis=-1, keepdims=True)  # (..., 1): how many of the equals there is room for
    return keep(log_p, above | (equal & (equal.cumsum(axis=-1) <= room)))


def keep(log_p: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The distribution over the tokens that are `kept`: the others' probability is shared out in proportion."""
    return log_softmax(np.where(kept, log_p, -np.inf))
