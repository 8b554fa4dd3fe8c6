"""Best of n: draw n replies, keep the one with the highest reward. No parameter changes.

It is the plainest way to use a reward model, and the bar for the methods that train: for the KL it spends, it is hard
to beat. Its price is n times the writing, every time.

Builds on: `reward_model`, or any other function that scores replies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_llm.errors import InputError


def best_of_n(replies: Sequence[str], score: Callable[[Sequence[str]], Sequence[float]]) -> tuple[str, float]:
    """The reply with the highest score, the earliest of equals, and that score.

    score: from n replies to n numbers. Raises InputError for no replies, and for scores that are not n finite numbers.
    """
    if not replies:
        raise InputError("best_of_n: there are no replies to choose from.")
    scores = np.asarray(score(replies), np.float64)
    if scores.shape != (len(replies),) or not np.isfinite(scores).all():
        raise InputError(f"best_of_n: score must give {len(replies)} finite numbers, it gave {scores!r}.")
    best = int(scores.argmax())
    return replies[best], float(scores[best])


def kl_bound(n: int) -> float:
    """log n - (n - 1)/n, in nats: KL(best of n ‖ one) is at most this.

    Often called its exact value, which it is only when no two replies have the same score and each is so improbable
    that it is never drawn twice; else it is an upper bound (Beirami et al. 2024, theorem 1).

    >>> print(kl_bound(1), round(kl_bound(16), 4))
    0.0 1.8351
    """
    if not isinstance(n, int) or n < 1:
        raise InputError(f"n must be a whole number of at least 1, it was {n!r}.")
    return math.log(n) - (n - 1) / n
