"""Logits processors: from the model's logits to one token.

The model gives a logit to every token. Always taking the most probable token makes dull text that repeats itself;
sampling from all of them lets one of thousands of improbable tokens through once in a while. The processors in here
change the distribution between these two ends. Each is a pure function

    logits (V,) or (..., V)  ->  logits of the same shape

with -inf for a token that it removes. Their sum is not 1: adding the same number to all logits changes nothing but
`penalties.RepetitionPenalty`, which is defined on the model's own logits. `SamplerChain` puts processors in an order,
`sampling_distribution` makes log-probabilities of what comes out, and `sample` takes a token.

Your own processor is a function or an object with `__call__(logits, text)`:

    >>> @dataclass(frozen=True)
    ... class Alphabetical:
    ...     # Only tokens with a higher id than the last one of the text.
    ...     def __call__(self, logits, text=()):
    ...         if not text:
    ...             return logits
    ...         later = np.arange(logits.shape[-1]) > text[-1]  # (V,)
    ...         return np.where(later, logits, -np.inf)
    >>> chain = SamplerChain((Alphabetical(), TopK(2)))
    >>> np.exp(sampling_distribution(chain, np.log([0.4, 0.1, 0.3, 0.2]), text=[0, 1])).round(3)
    array([0. , 0. , 0.6, 0.4])

and goes where the built-in ones go: `model.generate("To be", sampler=chain)`.

Everything in here runs on the host in float64, whatever the model runs on, so both backends sample alike. For a
vocabulary of a quarter of a million that is a few milliseconds per token, as long as nothing sorts all of it: `ranked`
sorts only the best.

Builds on: `nn.transformer`, which gives the logits. Used by: `penalties`, the processors that look at the text;
`sampler_chain`, which gives processors names and an order; `generate` and all other loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import is_integer, is_number
from tinygrad_llm.nn.functional import log_softmax

FIRST_LOOK = 256  # tokens that top-p and typical sort at first; eight times as many when those are too few


class LogitsProcessor(Protocol):
    """One step from the model's logits to the distribution that is sampled from."""

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        """logits (V,) -> (V,). text: all ids so far, the prompt's first; most processors do not look at it."""


@dataclass(frozen=True)
class SamplerChain:
    """One processor after the other; with none, the logits stay as they are. A chain is a processor itself.

    >>> SamplerChain((TopK(2), Temperature(0.5)))
    SamplerChain(processors=(TopK(k=2), Temperature(temperature=0.5)))
    """

    processors: tuple[LogitsProcessor, ...] = ()

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        for processor in self.processors:
            logits = processor(logits, text)
        return logits


@dataclass(frozen=True)
class Temperature:
    """x_i / t, so p_i^(1/t) divided by their sum: t < 1 sharpens the distribution, t > 1 flattens it, t = 1 leaves it.

    At t = 0, the limit, all probability is on the most probable token ("greedy"); of several equally probable ones on
    that with the lowest id. The name is that of statistical physics (Ackley, Hinton & Sejnowski 1985).

    >>> Temperature(0.5)(np.array([1.0, -2.0]))
    array([ 2., -4.])
    """

    temperature: float

    def __post_init__(self) -> None:
        if not is_number(self.temperature) or not 0.0 <= self.temperature < np.inf:
            raise InputError(
                f"temperature must be a number of at least 0, it was {self.temperature!r}. 0 always takes the most "
                "probable token, 1 samples from the model's own distribution."
            )

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.temperature == 0.0:
            best = logits.argmax(axis=-1, keepdims=True)  # (..., 1), the first one of equals
            return np.where(np.arange(logits.shape[-1]) == best, logits, -np.inf)  # (..., V)
        if self.temperature == 1.0:
            return logits
        with np.errstate(over="ignore"):
            scaled, largest = logits / self.temperature, logits.max(axis=-1, keepdims=True)  # (..., V), (..., 1)
            if (np.isfinite(scaled.max(axis=-1, keepdims=True)) | (largest == -np.inf)).all():
                return scaled
            # A tiny temperature: the largest becomes 0 first, so that not all of them become infinite.
            return (logits - largest) / self.temperature


@dataclass(frozen=True)
class TopK:
    """Only the k most probable tokens, lowest ids first among equals (Fan et al. 2018, section 5.4).

    k = 0 or less keeps all, as in Transformers and llama.cpp.

    >>> TopK(2)(np.array([1.0, 3.0, 2.0]))
    array([-inf,   3.,   2.])
    """

    k: int

    def __post_init__(self) -> None:
        if not is_integer(self.k):
            raise InputError(f"top_k must be an integer, it was {self.k!r}; 0 keeps all tokens.")

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.k <= 0 or self.k >= logits.shape[-1]:
            return logits
        return keep(logits, lambda row: ranked(row, self.k))


@dataclass(frozen=True)
class TopP:
    """The smallest set of most probable tokens that together have at least p, the "nucleus".

    At least one token stays, also at p = 0; p = 1 removes nothing. Source: Holtzman et al. 2020, section 3.1.

    >>> np.exp(TopP(0.8)(np.log([0.1, 0.6, 0.3])))
    array([0. , 0.6, 0.3])
    """

    p: float

    def __post_init__(self) -> None:
        if not is_number(self.p) or not 0.0 <= self.p <= 1.0:
            raise InputError(f"top_p must be 0 to 1, it was {self.p!r}; 1 keeps all tokens, 0 only the best.")

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        return logits if self.p == 1.0 else keep(logits, lambda row: first_with_mass(normalized(row), row, self.p))


@dataclass(frozen=True)
class MinP:
    """The tokens that are at least p times as probable as the most probable one (Nguyen et al. 2024, section 3).

    Where the model is sure this removes nearly all the others, where it is undecided hardly any. p = 0 removes nothing.

    >>> np.exp(MinP(0.4)(np.log([0.1, 0.6, 0.3])))
    array([0. , 0.6, 0.3])
    """

    p: float

    def __post_init__(self) -> None:
        if not is_number(self.p) or not 0.0 <= self.p <= 1.0:
            raise InputError(f"min_p must be 0 to 1, it was {self.p!r}; 0 keeps all tokens.")

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        if self.p == 0.0:
            return logits
        return keep(logits, lambda row: np.flatnonzero(row - row.max() >= math.log(self.p)))


@dataclass(frozen=True)
class Typical:
    """The tokens that are about as surprising as one may expect here, until they have at least p together.

    The surprise of a token is -log p_i; its mean is the entropy H = -Σ p_i log p_i. Those with the smallest
    |-log p_i - H| stay, lowest ids first among equals. Unlike the other processors it can remove the most probable
    token. At p = 0 one token stays; p = 1 removes nothing. Source: Meister et al. 2022, "Locally Typical Sampling".

    >>> np.exp(Typical(0.3)(np.log([0.5, 0.2, 0.2, 0.1])))  # H = 1.22; the surprises 0.69, 1.61, 1.61, 2.30
    array([0. , 0.2, 0.2, 0. ])
    """

    p: float

    def __post_init__(self) -> None:
        if not is_number(self.p) or not 0.0 <= self.p <= 1.0:
            raise InputError(f"typical must be 0 to 1, it was {self.p!r}; 1 keeps all tokens.")

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        return logits if self.p == 1.0 else keep(logits, self._typical)

    def _typical(self, logits: np.ndarray) -> np.ndarray:
        log_p = normalized(logits)  # (V,)
        possible = log_p[log_p > -np.inf]
        entropy = -(np.exp(possible) @ possible)
        return first_with_mass(log_p, -np.abs(-log_p - entropy), self.p)


@dataclass(frozen=True)
class LogitBias:
    """Adds a number to the logits of some tokens: x_i + b_i, so p_i · e^(b_i); -inf bans a token.

    bias: token id -> b. The same thing as OpenAI's option of that name.

    >>> LogitBias({0: 2.0, 2: -math.inf})(np.array([1.0, 0.0, 3.0]))
    array([  3.,   0., -inf])
    """

    bias: Mapping[int, float]

    def __post_init__(self) -> None:
        for token, value in self.bias.items():
            if not is_integer(token) or token < 0:
                raise InputError(f"logit_bias: tokens are integers of at least 0, and one was {token!r}.")
            if not is_number(value) or not value < np.inf:
                raise InputError(f"logit_bias: the bias of token {token} must be a number or -inf, it was {value!r}.")

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        ids = np.fromiter(self.bias.keys(), np.intp)
        if ids.size and ids.max() >= logits.shape[-1]:
            raise InputError(f"logit_bias: there is no token {ids.max()}; the last one is {logits.shape[-1] - 1}.")
        return with_changed(logits, ids, logits[..., ids] + np.fromiter(self.bias.values(), np.float64))


def sampling_distribution(processor: LogitsProcessor, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
    """The log-probabilities that a token is sampled from, in nats: logits (V,) -> (V,), -inf for removed tokens.

    Raises InputError when the processor removes all tokens, or returns NaN, infinity or another shape.
    """
    processed = np.asarray(processor(logits, text), np.float64)
    if processed.shape != logits.shape:
        raise InputError(
            f"a logits processor must return logits of the shape it gets, {logits.shape}; this one returned "
            f"{processed.shape}: {processor!r}."
        )
    return normalized(processed)


def normalized(logits: np.ndarray) -> np.ndarray:
    """log softmax, which does not compute with what was removed. (V,) -> (V,)."""
    largest = logits.max()
    if np.isnan(largest) or largest == np.inf:
        raise InputError("a logits processor returned NaN or infinity. Logits must be numbers; -inf removes a token.")
    if largest == -np.inf:
        raise InputError(
            "the sampler leaves no token: those that earlier stages kept are all forbidden by a later one. Put the "
            "stages that forbid tokens first, or let them forbid less."
        )
    possible = np.flatnonzero(logits > -np.inf)
    if len(possible) == len(logits):
        return log_softmax(logits)
    result = np.full(logits.shape, -np.inf)
    result[possible] = log_softmax(logits[possible])
    return result


def sample(log_p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One token from each distribution: log-probabilities (V,) -> an id (), or (B, V) -> ids (B,).

    The interval from 0 to 1 is divided among the tokens, each as long as its probability, and a random number falls
    into one of them (the inverse of the cumulative distribution). A token of probability 0 has no interval and is
    never sampled. Takes one number from `rng` for each distribution.
    """
    if log_p.ndim == 1 and 2 * len(possible := np.flatnonzero(log_p > -np.inf)) < len(log_p):
        return possible[sample(log_p[possible], rng)]  # the same, without all those that were removed
    ends = np.exp(log_p).cumsum(axis=-1)  # (..., V): where each token's interval ends
    # Times the last end, because rounding may leave it a little below 1. The product is below it, as random() < 1.
    points = rng.random(log_p.shape[:-1])[..., None] * ends[..., -1:]  # (..., 1)
    return (ends <= points).sum(axis=-1)  # (...): how many intervals lie before


# --- what processors share --------------------------------------------------------------------------------------


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


def keep(logits: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The logits of the tokens that `choose` names, and -inf for all others.

    choose: (V,) -> ids. It is called with each row of logits (..., V).
    """

    def kept(row: np.ndarray) -> np.ndarray:
        ids = choose(row)
        result = np.full_like(row, -np.inf)
        result[ids] = row[ids]
        return result

    return kept(logits) if logits.ndim == 1 else np.apply_along_axis(kept, -1, logits)


def with_changed(logits: np.ndarray, ids: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The logits (..., V) with those of some tokens replaced. ids: (n,), different ones. new: (..., n)."""
    changed = logits.copy()
    changed[..., ids] = new
    return changed
