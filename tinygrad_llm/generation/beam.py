"""Beam search: finds the most probable continuations, where sampling takes random ones.

Taking the most probable token each time ("greedy") does not find the most probable text: a first word that is a little
less probable may lead to much more probable ones. Trying every text is impossible. Beam search keeps the `beams` most
probable beginnings, extends each by every token, and keeps the most probable of those.

For open-ended text the most probable continuation is a dull one; beam search is for tasks with a right answer, such as
translation or completing a fact.

Builds on: `continuations`. Used by: `language_model`.
Left out on purpose: groups of beams that must differ (Vijayakumar et al. 2018).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import check_integer, is_number
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.continuations import Continuation, checked_prompt
from tinygrad_llm.generation.generate import next_logits
from tinygrad_llm.generation.logits_processors import LogitsProcessor, SamplerChain, ranked, sampling_distribution
from tinygrad_llm.nn.functional import log_softmax
from tinygrad_llm.nn.transformer import Transformer


def beam_search(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    beams: int,
    max_tokens: int,
    *,
    length_penalty: float = 0.0,
    sampler: LogitsProcessor | None = None,
    stop_tokens: Collection[int] = (),
    finished: Callable[[tuple[int, ...]], bool] = lambda tokens: False,
) -> list[Continuation]:
    """The continuations with the highest score that were found, at most `beams` of them, the best first.

    A continuation is complete when it has ended in a stop token, when it has `max_tokens` tokens, or when `finished`
    says so of its tokens. Its score is log p divided by ((5 + n) / 6)^a, where n is its number of tokens and a the
    length penalty: at 0, log p itself, for which long texts are always worse than short ones; 0.6 to 1 makes up for it.

    sampler: changes the distributions before they are searched, `NoRepeatNgrams(3)` for instance; the log p of the
    score is then that after it. Nothing is random: the same text has the same continuations.

    With one beam and no length penalty this is greedy decoding. With so many that nothing is left out, it is exact.
    Sources: Sutskever et al. 2014, section 3.2; Wu et al. 2016, equation 14 (without the coverage penalty, which is for
    translation).

    Raises InputError for a text that does not fit in the context together with max_tokens.
    """
    check_integer("beams", beams)
    if not is_number(length_penalty) or not 0.0 <= length_penalty < np.inf:
        raise InputError(f"length_penalty must be a number of at least 0, it was {length_penalty!r}.")
    text, sampler = checked_prompt(model, ids, max_tokens), SamplerChain() if sampler is None else sampler

    def score(one: Continuation, length: int | None = None) -> float:
        return one.sampled_log_p / ((5 + (one.length if length is None else length)) / 6) ** length_penalty

    alive, complete = [Continuation()], []
    cache = GrowingCache(model.config)
    for step in range(max_tokens):
        new = [one.tokens[-1:] for one in alive] if step else [text]
        logits = next_logits(model, np.array(new), cache)  # (B, V)
        log_p = log_softmax(logits)  # (B, V)
        rows, longer = [], []
        for row, token, sampled in best_steps(alive, logits, text, sampler, beams, stop_tokens):
            one = alive[row].then(token, float(log_p[row, token]), sampled, ends=token in stop_tokens)
            if one.ended or finished(one.tokens):
                complete.append(one)
            else:
                rows.append(row)
                longer.append(one)
            if len(longer) == beams:
                break
        alive, complete = longer, heapq.nlargest(beams, complete, key=score)
        # log p only falls, so none that is alive can get a better score than what it has now, at the greatest length.
        if not alive or (len(complete) == beams and score(complete[-1]) >= max(score(x, max_tokens) for x in alive)):
            return complete
        cache = cache.select(rows)
    return heapq.nlargest(beams, complete + alive, key=score)


def best_steps(
    alive: list[Continuation],
    logits: np.ndarray,
    text: list[int],
    sampler: LogitsProcessor,
    beams: int,
    stop_tokens: Collection[int],
) -> list[tuple[int, int, float]]:
    """(row, token, log p after the sampler) of the steps that lead to the most probable texts, the best first.

    logits: (B, V), what may come after each of the B that are alive. There are enough steps in the list that `beams` of
    them are not stop tokens. Among equals the upper row and the lower id come first.
    """
    steps = []
    for row, one in enumerate(alive):
        sampled = sampling_distribution(sampler, logits[row], [*text, *one.tokens])  # (V,)
        best = ranked(sampled, beams + len(stop_tokens))
        steps += [(row, token, float(sampled[token])) for token in best.tolist() if sampled[token] > -np.inf]
    return sorted(steps, key=lambda step: -(alive[step[0]].sampled_log_p + step[2]))
