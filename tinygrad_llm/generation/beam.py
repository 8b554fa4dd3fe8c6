"""Beam search: looking for the most probable continuation, rather than drawing one.

To take the most probable token each time ("greedy") does not find the most probable text: a first word that is a little
less probable may open the way to much more probable ones. To try every text is impossible. Beam search keeps the
`beams` most probable beginnings, extends each by every token, and keeps the most probable of those.

For open-ended writing the most probable text is a dull one; where there is a right answer (translation, completing a
fact) it is what one wants.

Comes before: `continuations`. Comes after: `language_model`.
Left out on purpose: groups of beams that must differ (Vijayakumar et al. 2018).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.continuations import Continuation, checked_prompt
from tinygrad_llm.generation.generate import next_log_probabilities
from tinygrad_llm.generation.samplers import Chain, Stage, is_number, ranked
from tinygrad_llm.nn.transformer import Transformer


def beam_search(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    beams: int,
    max_tokens: int,
    *,
    length_penalty: float = 0.0,
    sampler: Stage | None = None,
    stop_tokens: Collection[int] = (),
) -> list[Continuation]:
    """The continuations with the highest score that were found, at most `beams` of them, the best first.

    A continuation is complete when it has ended in a stop token, or when it has `max_tokens` tokens. Its score is log p
    divided by ((5 + n) / 6)^a, where n is its number of tokens and a the length penalty: at 0, log p itself, for which
    long texts are always worse than short ones; 0.6 to 1 makes up for that.

    sampler: changes the distributions before they are searched, `NoRepeatNgrams(3)` for instance; log p is then the
    sum of what it makes of them. Nothing is drawn: the same text has the same continuations.

    With one beam and no length penalty this is greedy decoding. With so many that nothing is left out, it is exact.
    Sources: Sutskever et al. 2014, section 3.2; Wu et al. 2016, equation 14 (without the coverage penalty, which is for
    translation).

    Raises InputError for a text that does not fit in the context together with max_tokens.
    """
    if beams < 1:
        raise InputError(f"beams must be at least 1, it was {beams}.")
    if not is_number(length_penalty) or not 0.0 <= length_penalty < np.inf:
        raise InputError(f"length_penalty must be a number of at least 0, it was {length_penalty!r}.")
    text, sampler = checked_prompt(model, ids, max_tokens), Chain() if sampler is None else sampler

    def score(one: Continuation, length: int | None = None) -> float:
        return one.log_p / ((5 + (one.length if length is None else length)) / 6) ** length_penalty

    alive, ended = [Continuation((), 0.0)], []
    cache = GrowingCache(model.config)
    log_p = next_log_probabilities(model, text, cache)[None] if max_tokens else np.empty((1, 0))  # (1, V)
    for step in range(max_tokens):
        if step:
            last = np.array([one.tokens[-1:] for one in alive])  # (B, 1)
            log_p = next_log_probabilities(model, last, cache)  # (B, V)
        rows, new = [], []
        for row, token, more in best_steps(alive, log_p, text, sampler, beams, stop_tokens):
            if token in stop_tokens:
                ended.append(alive[row].end(more))
            else:
                rows.append(row)
                new.append(alive[row].then(token, more))
            if len(new) == beams:
                break
        alive, ended = new, heapq.nlargest(beams, ended, key=score)
        # log p only falls, so none that is alive can get a better score than what it has now, at the greatest length.
        if not alive or (len(ended) == beams and score(ended[-1]) >= max(score(one, max_tokens) for one in alive)):
            return ended
        cache = cache.select(rows)
    return heapq.nlargest(beams, ended + alive, key=score)


def best_steps(
    alive: list[Continuation],
    log_p: np.ndarray,
    text: list[int],
    sampler: Stage,
    beams: int,
    stop_tokens: Collection[int],
) -> list[tuple[int, int, float]]:
    """(row, token, log p) of the steps that lead to the most probable texts, the best first.

    log_p: (B, V), what may come after each of the B that are alive. There are enough steps in the list that `beams` of
    them are not stop tokens. Among equals the upper row and the lower id come first.
    """
    steps = []
    for row, one in enumerate(alive):
        changed = sampler(log_p[row], [*text, *one.tokens])  # (V,)
        for token in ranked(changed, beams + len(stop_tokens)).tolist():
            if changed[token] > -np.inf:
                steps.append((row, token, float(changed[token])))
    return sorted(steps, key=lambda step: -(alive[step[0]].log_p + step[2]))
