"""Best of n: draw several continuations, keep the one that the model itself finds the most probable.

Between sampling, which may have bad luck, and beam search, which has no surprises left: the texts are drawn as always,
and chosen among afterwards.

Comes before: `continuations`. Comes after: `language_model`.
Left out on purpose: choosing by another judge than the model (a reward model).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.continuations import Continuation, checked_prompt
from tinygrad_llm.generation.generate import next_log_probabilities
from tinygrad_llm.generation.samplers import Stage, draw
from tinygrad_llm.nn.transformer import Transformer


def best_of_n(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    count: int,
    max_tokens: int,
    sampler: Stage,
    rng: np.random.Generator,
    *,
    by: Literal["mean", "sum"] = "mean",
    stop_tokens: Collection[int] = (),
) -> list[Continuation]:
    """`count` continuations, drawn in one batch; the best first, equals in the order in which they were drawn.

    by: "mean" takes the highest log p per token, "sum" the highest log p of the whole, for which short texts are better
    than long ones. Either is what the model says, before the sampler.

    Continuation i draws with generator i of `rng.spawn(count)`, and is what `generate_tokens` writes with it: more
    continuations do not change the earlier ones.

    Raises InputError for a text that does not fit in the context together with max_tokens.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, it was {count}.")
    if by not in ("mean", "sum"):
        raise InputError(f"by must be 'mean' or 'sum', it was {by!r}.")
    text, dice = checked_prompt(model, ids, max_tokens), rng.spawn(count)
    drawn = [Continuation((), 0.0)] * count
    going = list(range(count))  # which of them the rows of the batch are
    cache = GrowingCache(model.config)
    if max_tokens:
        log_p = next_log_probabilities(model, text, cache)[None].repeat(count, axis=0)  # (B, V)
        cache = cache.repeat(count)
    for step in range(max_tokens):
        if step:
            log_p = next_log_probabilities(model, np.array([drawn[i].tokens[-1:] for i in going]), cache)  # (B, V)
        rows = []  # those that go on
        for row, i in enumerate(going):
            one = drawn[i]
            token = int(draw(sampler(log_p[row], [*text, *one.tokens]), dice[i]))
            if token in stop_tokens:
                drawn[i] = one.end(float(log_p[row, token]))
            else:
                drawn[i] = one.then(token, float(log_p[row, token]))
                rows.append(row)
        if not rows:
            break
        if len(rows) < len(going):
            going, cache = [going[row] for row in rows], cache.select(rows)
    return sorted(drawn, key=lambda one: -(one.mean_log_p if by == "mean" else one.log_p))
