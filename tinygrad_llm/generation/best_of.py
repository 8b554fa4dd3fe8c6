"""Best of n: samples several continuations and keeps the one that the model itself finds most probable.

It stands between sampling, which may be unlucky, and beam search, which only finds the expected: the texts are sampled
as always, and ranked afterwards.

Builds on: `continuations`, `batch`. Used by: `language_model`.
Left out on purpose: ranking by another judge than the model, which `feedback.best_of_n` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import check_integer
from tinygrad_llm.generation.batch import read_together
from tinygrad_llm.generation.continuations import Continuation, checked_prompt
from tinygrad_llm.generation.generate import next_logits
from tinygrad_llm.generation.logits_processors import LogitsProcessor, sample, sampling_distribution
from tinygrad_llm.nn.functional import log_softmax
from tinygrad_llm.nn.transformer import Transformer


def best_of_n(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    count: int,
    max_tokens: int,
    sampler: LogitsProcessor,
    rngs: Sequence[np.random.Generator],
    *,
    by: Literal["mean", "sum"] = "mean",
    stop_tokens: Collection[int] = (),
    finished: Callable[[tuple[int, ...]], bool] = lambda tokens: False,
) -> list[Continuation]:
    """`count` continuations, sampled in one batch; the best first, equals in the order of their generators.

    rngs: a generator for each of them. Number i is what `generate_tokens` gives with generator i; so the same seeds
    give the same texts, and more of them do not change the earlier ones.
    by: "mean" takes the highest log p per token, "sum" the highest log p of the whole, for which short texts are better
    than long ones. Either is what the model says, before the sampler; a stop token counts as well.
    finished: asked with the tokens of a continuation after each one, whether it shall end there.

    Raises InputError for a text that does not fit in the context together with max_tokens.
    """
    if len(rngs) != check_integer("count", count):
        raise InputError(f"each text needs a random generator: count was {count}, with {len(rngs)} generators.")
    if by not in ("mean", "sum"):
        raise InputError(f"by must be 'mean' or 'sum', it was {by!r}.")
    text = checked_prompt(model, ids, max_tokens)
    texts, rows = [Continuation()] * count, list(range(count))  # rows: which of them are still going on
    for step in range(max_tokens):
        if step == 0:
            logits, cache = read_together(model, [text] * count)  # (B, V)
        else:
            logits = next_logits(model, np.array([texts[i].tokens[-1:] for i in rows]), cache)  # (B, V)
        log_p = log_softmax(logits)  # (B, V)
        going_on = []  # places in `rows`
        for place, i in enumerate(rows):
            sampled = sampling_distribution(sampler, logits[place], [*text, *texts[i].tokens])  # (V,)
            token = int(sample(sampled, rngs[i]))
            ends = token in stop_tokens
            texts[i] = texts[i].then(token, float(log_p[place, token]), float(sampled[token]), ends=ends)
            if not ends and not finished(texts[i].tokens):
                going_on.append(place)
        if not going_on:
            break
        if len(going_on) < len(rows):
            cache, rows = cache.select(going_on), [rows[place] for place in going_on]
    return sorted(texts, key=lambda one: -(one.mean_log_p if by == "mean" else one.log_p))
