"""Stages that look at the text so far: against a model that goes round in circles.

A model that has once repeated itself sees a text that repeats itself, and finds it the more probable that it goes on
like this. These stages take probability from tokens that have been there already. They fit the protocol of
`logits_processors.LogitsProcessor` and stand in a chain like all others:

    log-probabilities (V,), text (T,)  ->  log-probabilities (V,)

The text is everything so far, the prompt included. Put them before the stages that remove tokens, or the token that
should come instead may be gone already.

Comes before: `logits_processors`. Comes after: `sampler_chain`.
Left out on purpose: penalties for whole sequences (DRY) and for the words of a topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.logits_processors import is_number, is_whole, with_changed


@dataclass(frozen=True)
class RepetitionPenalty:
    """Divides the logits of tokens that are in the text: x_i / θ where x_i > 0, and x_i · θ where x_i ≤ 0.

    θ > 1 makes repetition less probable, 1 changes nothing. last: look only at so many tokens at the end of the text.
    Source: Keskar et al. 2019 (CTRL), section 4.1, which found θ = 1.2 good.

    Two departures. Keskar et al. divide negative logits as well, which makes those tokens more probable; everyone since
    multiplies them. And logits mean the same whatever number is added to all of them, but this formula depends on that
    number: here it is such that the mean logit of all possible tokens is 0, x_i = log p_i - mean(log p).

    >>> np.exp(RepetitionPenalty(2.0)(np.log([0.64, 0.16, 0.04, 0.16]), text=[0])).round(2)  # logits: 4 : 1 : 1/4 : 1
    array([0.47, 0.24, 0.06, 0.24])
    """

    penalty: float
    last: int | None = None

    def __post_init__(self) -> None:
        if not is_number(self.penalty) or not 0.0 < self.penalty < np.inf:
            raise InputError(
                f"repetition_penalty must be a number above 0, it was {self.penalty!r}; 1 changes nothing."
            )
        check_last("repetition_penalty", self.last)

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        seen, _ = counts(text, self.last)
        possible = log_p if log_p.min() > -np.inf else log_p[log_p > -np.inf]
        mean = possible.mean()
        x = log_p[seen] - mean  # (n,): logits, of which the mean is 0
        return with_changed(log_p, seen, np.where(x > 0, x / self.penalty, x * self.penalty) + mean)


@dataclass(frozen=True)
class FrequencyPenalty:
    """Takes `penalty` from the logit of a token for each time it is in the text: x_i - penalty · c_i.

    A negative penalty makes repetition more probable. last: count only so many tokens at the end of the text.
    Source: OpenAI's API reference, `frequency_penalty` (there between -2 and 2).

    >>> np.exp(FrequencyPenalty(math.log(2))(np.log([0.5, 0.25, 0.25]), text=[0, 1, 0])).round(2)  # 1/8 : 1/8 : 1/4
    array([0.25, 0.25, 0.5 ])
    """

    penalty: float
    last: int | None = None

    def __post_init__(self) -> None:
        check_finite("frequency_penalty", self.penalty)
        check_last("frequency_penalty", self.last)

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        seen, times = counts(text, self.last)
        return with_changed(log_p, seen, log_p[seen] - self.penalty * times)


@dataclass(frozen=True)
class PresencePenalty:
    """Takes `penalty` from the logit of every token that is in the text, once, however often it is: new subjects.

    A negative penalty makes repetition more probable. last: look only at so many tokens at the end of the text.
    Source: OpenAI's API reference, `presence_penalty` (there between -2 and 2).

    >>> np.exp(PresencePenalty(math.log(2))(np.log([0.5, 0.25, 0.25]), text=[0, 1, 0])).round(2)  # 1/4 : 1/8 : 1/4
    array([0.4, 0.2, 0.4])
    """

    penalty: float
    last: int | None = None

    def __post_init__(self) -> None:
        check_finite("presence_penalty", self.penalty)
        check_last("presence_penalty", self.last)

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        seen, _ = counts(text, self.last)
        return with_changed(log_p, seen, log_p[seen] - self.penalty)


@dataclass(frozen=True)
class NoRepeatNgrams:
    """Forbids every token that would end a row of n tokens which is in the text already.

    n = 1 forbids all tokens of the text. Source: Paulus et al. 2018, section 2.5, with n = 3.

    >>> np.exp(NoRepeatNgrams(2)(np.log([0.5, 0.25, 0.25]), text=[2, 0, 1, 2])).round(2)  # 2, 0 has been
    array([0. , 0.5, 0.5])
    """

    n: int

    def __post_init__(self) -> None:
        if not is_whole(self.n) or self.n < 1:
            raise InputError(f"no_repeat_ngrams must be a whole number of at least 1, it was {self.n!r}.")

    def __call__(self, log_p: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        ids = np.asarray(text, np.intp)  # (T,)
        if len(ids) < self.n:
            return log_p
        rows = np.lib.stride_tricks.sliding_window_view(ids, self.n)  # (T - n + 1, n)
        begun = (rows[:, :-1] == ids[len(ids) - self.n + 1 :]).all(axis=1)  # (T - n + 1,)
        forbidden = np.unique(rows[begun, -1])
        return with_changed(log_p, forbidden, np.full(len(forbidden), -np.inf))


def counts(text: Sequence[int], last: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The different ids among the last `last` of the text (None: all), and how often each is there."""
    ids = np.asarray(text, np.intp)  # (T,)
    return np.unique(ids if last is None else ids[max(0, len(ids) - last) :], return_counts=True)


def check_finite(name: str, penalty: float) -> None:
    if not is_number(penalty) or not np.isfinite(penalty):
        raise InputError(f"{name} must be a number, it was {penalty!r}; 0 changes nothing.")


def check_last(name: str, last: int | None) -> None:
    if last is not None and (not is_whole(last) or last < 1):
        raise InputError(f"{name}: last must be a whole number of at least 1, it was {last!r}; None looks at all.")
