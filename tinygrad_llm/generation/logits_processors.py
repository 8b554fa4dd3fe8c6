"""From the model's probabilities to one token: how daring the text shall be.

The model gives a probability to every token. To always take the most probable one makes dull, circling text; to draw
from all of them lets, once in a while, one of the thousands of improbable tokens through, and the text falls apart.
The stages in here change the distribution between these two ends. Each is a pure function

    log-probabilities (V,) or (..., V)  ->  log-probabilities of the same shape

and whatever it removes gets -inf; what is left is divided by its sum, so that the probabilities sum to 1 after every
stage. So they can be put into a `SamplerChain` in any order, and looked at one by one. After the last,
`sample` takes a random token.

Everything in here happens on the host in float64, whatever the model runs on, and so both backends draw alike. For a
vocabulary of a quarter of a million that is a few milliseconds per token, as long as nobody sorts all of it: `ranked`
sorts only the best, and what was removed is not computed with any more.

Comes before: `nn.transformer`, which gives the logits. Comes after: `penalties`, the stages that look at the text, and
`sampler_chain`, which gives the stages names and an order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.functional import log_softmax

FIRST_LOOK = 256  # tokens that top-p and typical sort at first; eight times as many when those are too few


class LogitsProcessor(Protocol):
    """One step from the model's distribution to the one that is drawn from."""

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        """log_p (V,) -> (V,). text: all ids so far, the prompt's first; most stages do not look at it."""


@dataclass(frozen=True)
class SamplerChain:
    """One stage after the other; with none, the distribution stays as it is. A chain is a stage itself.

    >>> SamplerChain((TopK(2), Temperature(0.5)))
    SamplerChain(processors=(TopK(k=2), Temperature(temperature=0.5)))
    """

    processors: tuple[LogitsProcessor, ...] = ()

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        for processor in self.processors:
            log_p = processor(log_p, text)
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
        if not is_number(self.temperature) or not 0.0 <= self.temperature < np.inf:
            raise InputError(
                f"temperature must be a number of at least 0, it was {self.temperature!r}. 0 always takes the most "
                "probable token, 1 draws as the model says."
            )

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.temperature == 0.0:
            best = log_p.argmax(axis=-1, keepdims=True)  # (..., 1), the first one of equals
            return np.where(np.arange(log_p.shape[-1]) == best, 0.0, -np.inf)  # (..., V)
        if self.temperature == 1.0:
            return log_p
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
        if not is_whole(self.k) or self.k < 1:
            raise InputError(
                f"top_k must be a whole number of at least 1, it was {self.k!r}; leave it out to keep all."
            )

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        return log_p if self.k >= log_p.shape[-1] else keep(log_p, lambda row: ranked(row, self.k))


@dataclass(frozen=True)
class TopP:
    """The smallest set of most probable tokens that together have at least p, the "nucleus".

    At least one token stays; p = 1 removes nothing. Source: Holtzman et al. 2020, section 3.1.

    >>> np.exp(TopP(0.8)(np.log([0.1, 0.6, 0.3]))).round(3)
    array([0.   , 0.667, 0.333])
    """

    p: float

    def __post_init__(self) -> None:
        if not is_number(self.p) or not 0.0 < self.p <= 1.0:
            raise InputError(f"top_p must be above 0 and at most 1, it was {self.p!r}; 1 keeps all tokens.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        return log_p if self.p == 1.0 else keep(log_p, lambda row: first_with_mass(row, row, self.p))


@dataclass(frozen=True)
class MinP:
    """The tokens that are at least p times as probable as the most probable one (Nguyen et al. 2024, section 3).

    Where the model is sure this removes nearly all the others, where it is undecided hardly any. p = 0 removes nothing.

    >>> np.exp(MinP(0.4)(np.log([0.1, 0.6, 0.3]))).round(3)
    array([0.   , 0.667, 0.333])
    """

    p: float

    def __post_init__(self) -> None:
        if not is_number(self.p) or not 0.0 <= self.p <= 1.0:
            raise InputError(f"min_p must be at least 0 and at most 1, it was {self.p!r}; 0 keeps all tokens.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.p == 0.0:
            return log_p
        return keep(log_p, lambda row: np.flatnonzero(row - row.max() >= math.log(self.p)))


@dataclass(frozen=True)
class Typical:
    """The tokens that are about as surprising as one may expect here, until they have at least p together.

    The surprise of a token is -log p_i; its mean is the entropy H = -Σ p_i log p_i. Those with the smallest
    |-log p_i - H| stay, lowest ids first among equals. Unlike the other stages it can remove the most probable token:
    where the model is undecided, a word that is too easy to guess is as odd as one that is too hard. p = 1 removes
    nothing. Source: Meister et al. 2022, "Locally Typical Sampling".

    >>> np.exp(Typical(0.3)(np.log([0.5, 0.2, 0.2, 0.1]))).round(3)  # H = 1.22; the surprises 0.69, 1.61, 1.61, 2.30
    array([0. , 0.5, 0.5, 0. ])
    """

    p: float

    def __post_init__(self) -> None:
        if not is_number(self.p) or not 0.0 < self.p <= 1.0:
            raise InputError(f"typical must be above 0 and at most 1, it was {self.p!r}; 1 keeps all tokens.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        return log_p if self.p == 1.0 else keep(log_p, self._typical)

    def _typical(self, log_p: np.ndarray) -> np.ndarray:
        possible = log_p[log_p > -np.inf]
        entropy = -(np.exp(possible) @ possible)
        return first_with_mass(log_p, -np.abs(-log_p - entropy), self.p)


@dataclass(frozen=True)
class LogitBias:
    """Adds a number to the log-odds of some tokens: p_i · e^(b_i), divided by their sum; -inf bans a token.

    bias: token id -> b. The same thing as OpenAI's option of that name.

    >>> np.exp(LogitBias({0: math.log(2), 2: -math.inf})(np.log([0.25, 0.5, 0.25]))).round(3)
    array([0.5, 0.5, 0. ])
    """

    bias: Mapping[int, float]

    def __post_init__(self) -> None:
        for token, value in self.bias.items():
            if not is_whole(token) or token < 0:
                raise InputError(f"logit_bias: tokens are whole numbers of at least 0, and one was {token!r}.")
            if not is_number(value) or not value < np.inf:
                raise InputError(f"logit_bias: the bias of token {token} must be a number or -inf, it was {value!r}.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        ids = np.fromiter(self.bias.keys(), np.intp)
        if ids.size and ids.max() >= log_p.shape[-1]:
            raise InputError(f"logit_bias: there is no token {ids.max()}; the last one is {log_p.shape[-1] - 1}.")
        return with_changed(log_p, ids, log_p[..., ids] + np.fromiter(self.bias.values(), np.float64))


def sample(log_p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One token of each distribution: log-probabilities (V,) -> an id (), or (B, V) -> ids (B,).

    The interval from 0 to 1 is divided among the tokens, each as long as its probability, and a random number falls
    into one of them (the inverse of the cumulative distribution). A token of probability 0 has no interval and is
    never drawn. Takes one number from `rng` for each distribution.
    """
    if log_p.ndim == 1 and 2 * len(possible := np.flatnonzero(log_p > -np.inf)) < len(log_p):
        return possible[sample(log_p[possible], rng)]  # the same, without all those that were removed
    ends = np.exp(log_p).cumsum(axis=-1)  # (..., V): where each token's interval ends
    # Times the last end, because rounding may leave it a little below 1. The product is below it, as random() < 1.
    points = rng.random(log_p.shape[:-1])[..., None] * ends[..., -1:]  # (..., 1)
    return (ends <= points).sum(axis=-1)  # (...): how many intervals lie before


# --- what the stages share --------------------------------------------------------------------------------------


def ranked(values: np.ndarray, count: int) -> np.ndarray:
    """The ids of the `count` largest values, the largest first, lowest ids first among equals: (V,) -> (count,).

    Only values above -inf: there may be fewer. It sorts only those: finding the one at the border (`np.partition`)
    takes a tenth of the time of sorting all.
    """
    possible = np.flatnonzero(values > -np.inf)
    if len(possible) <= count:
        return possible[np.argsort(-values[possible], kind="stable")]
    border = np.partition(values, len(values) - count)[len(values) - count]  # the smallest value that is among them
    above, equal = np.flatnonzero(values > border), np.flatnonzero(values == border)
    ids = np.concatenate([above[np.argsort(-values[above], kind="stable")], equal])
    return ids[:count]


def first_with_mass(log_p: np.ndarray, preference: np.ndarray, mass: float) -> np.ndarray:
    """The most preferred tokens, as few as have `mass` together, at least one; ids in order of preference.

    log_p: (V,). preference: (V,); equals are taken lowest ids first.
    """
    count = FIRST_LOOK
    while True:  # mostly a few hundred tokens have it, and the rest need not be sorted
        ids = ranked(preference, count)
        together = np.exp(log_p[ids]).cumsum()
        if together[-1] >= mass or len(ids) < count:
            return ids[: np.searchsorted(together, mass) + 1]
        count *= 8


def keep(log_p: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The distribution over the tokens that `choose` names: the others' probability is shared out in proportion.

    choose: (V,) -> ids. It is asked about each row of log_p (..., V) by itself.
    """

    def kept(row: np.ndarray) -> np.ndarray:
        ids = choose(row)
        result = np.full_like(row, -np.inf)
        result[ids] = log_softmax(row[ids])
        return result

    return kept(log_p) if log_p.ndim == 1 else np.apply_along_axis(kept, -1, log_p)


def with_changed(log_p: np.ndarray, ids: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """The distribution when some tokens have other weights than their probability; all are divided by their sum.

    log_p: (..., V). ids: (n,), different ones. log_weights: (..., n).
    Raises InputError when every token has been ruled out.
    """
    changed = log_p.copy()
    changed[..., ids] = log_weights
    # The sum was 1 before, so a few exponentials tell what it is now, unless that is a small difference of large
    # numbers.
    with np.errstate(over="ignore"):
        total = 1.0 + (np.exp(log_weights) - np.exp(log_p[..., ids])).sum(axis=-1, keepdims=True)  # (..., 1)
    if ((total > 0.1) & (total < np.inf)).all():
        return changed - np.log(total)
    if (changed.max(axis=-1) == -np.inf).any():
        raise InputError(
            "the sampler leaves no token: those that earlier stages kept are all forbidden by a later one. Put the "
            "stages that forbid tokens first, or let them forbid less."
        )
    return log_softmax(changed)


def is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
