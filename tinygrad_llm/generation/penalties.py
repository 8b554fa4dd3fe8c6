"""Logits processors that look at the text so far: against repetition.

A model that has repeated itself once sees a text that repeats itself, and finds more repetition probable. These
processors lower the logits of tokens that are in the text already. They follow `logits_processors.LogitsProcessor`:

    logits (V,), text (T,)  ->  logits (V,)

The text is everything so far, the prompt included. Put them before the processors that remove tokens, or the token that
should come instead may be gone already.

Builds on: `logits_processors`. Used by: `sampler_chain`.
Left out on purpose: penalties for whole sequences (DRY) and for the words of a topic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import is_integer, is_number
from tinygrad_llm.generation.logits_processors import with_changed


@dataclass(frozen=True)
class RepetitionPenalty:
    """Divides the logits of tokens that are in the text: x_i / θ where x_i > 0, and x_i · θ where x_i ≤ 0.

    θ > 1 makes repetition less probable, 1 changes nothing. last: look only at so many tokens at the end of the text.
    Source: Keskar et al. 2019 (CTRL), section 4.1, which found θ = 1.2 good.

    One departure: Keskar et al. divide negative logits as well, which makes those tokens more probable. As Transformers
    and llama.cpp do, they are multiplied here. Adding a number to all logits changes this penalty, unlike everything
    else in a sampler chain: x_i are the model's own logits, so it stands before whatever shifts them.

    >>> RepetitionPenalty(2.0)(np.array([4.0, 1.0, -1.0, 0.5]), text=[0, 2])
    array([ 2. ,  1. , -2. ,  0.5])
    """

    penalty: float
    last: int | None = None

    def __post_init__(self) -> None:
        if not is_number(self.penalty) or not 0.0 < self.penalty < np.inf:
            raise InputError(
                f"repetition_penalty must be a number above 0, it was {self.penalty!r}; 1 changes nothing."
            )
        check_last("repetition_penalty", self.last)

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        seen, _ = counts(text, self.last)
        x = logits[seen]  # (n,)
        return with_changed(logits, seen, np.where(x > 0, x / self.penalty, x * self.penalty))


@dataclass(frozen=True)
class FrequencyPenalty:
    """Takes `penalty` from the logit of a token for each time it is in the text: x_i - penalty · c_i.

    A negative penalty makes repetition more probable. last: count only so many tokens at the end of the text.
    Source: OpenAI's API reference, `frequency_penalty` (there between -2 and 2).

    >>> FrequencyPenalty(0.5)(np.array([2.0, 1.0, 0.0]), text=[0, 1, 0])
    array([1. , 0.5, 0. ])
    """

    penalty: float
    last: int | None = None

    def __post_init__(self) -> None:
        check_finite("frequency_penalty", self.penalty)
        check_last("frequency_penalty", self.last)

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        seen, times = counts(text, self.last)
        return with_changed(logits, seen, logits[seen] - self.penalty * times)


@dataclass(frozen=True)
class PresencePenalty:
    """Takes `penalty` from the logit of every token that is in the text, once, however often it is: new subjects.

    A negative penalty makes repetition more probable. last: look only at so many tokens at the end of the text.
    Source: OpenAI's API reference, `presence_penalty` (there between -2 and 2).

    >>> PresencePenalty(0.5)(np.array([2.0, 1.0, 0.0]), text=[0, 1, 0])
    array([1.5, 0.5, 0. ])
    """

    penalty: float
    last: int | None = None

    def __post_init__(self) -> None:
        check_finite("presence_penalty", self.penalty)
        check_last("presence_penalty", self.last)

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        seen, _ = counts(text, self.last)
        return with_changed(logits, seen, logits[seen] - self.penalty)


@dataclass(frozen=True)
class NoRepeatNgrams:
    """Forbids every token that would complete an n-gram which is in the text already.

    n = 1 forbids all tokens of the text. Source: Paulus et al. 2018, section 2.5, with n = 3.

    >>> NoRepeatNgrams(2)(np.array([2.0, 1.0, 0.0]), text=[2, 0, 1, 2])  # 2, 0 is in the text
    array([-inf,   1.,   0.])
    """

    n: int

    def __post_init__(self) -> None:
        if not is_integer(self.n) or self.n < 1:
            raise InputError(f"no_repeat_ngrams must be an integer of at least 1, it was {self.n!r}.")

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        ids = np.asarray(text, np.intp)  # (T,)
        if len(ids) < self.n:
            return logits
        rows = np.lib.stride_tricks.sliding_window_view(ids, self.n)  # (T - n + 1, n)
        begun = (rows[:, :-1] == ids[len(ids) - self.n + 1 :]).all(axis=1)  # (T - n + 1,)
        forbidden = np.unique(rows[begun, -1])
        return with_changed(logits, forbidden, np.full(len(forbidden), -np.inf))


def counts(text: Sequence[int], last: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The different ids among the last `last` of the text (None: all), and how often each is there."""
    ids = np.asarray(text, np.intp)  # (T,)
    return np.unique(ids if last is None else ids[max(0, len(ids) - last) :], return_counts=True)


def check_finite(name: str, penalty: float) -> None:
    if not is_number(penalty) or not np.isfinite(penalty):
        raise InputError(f"{name} must be a number, it was {penalty!r}; 0 changes nothing.")


def check_last(name: str, last: int | None) -> None:
    if last is not None and (not is_integer(last) or last < 1):
        raise InputError(f"{name}: last must be an integer of at least 1, it was {last!r}; None looks at all.")
