"""Several texts at once: the weights of the model are fetched from memory once per step, for all of them.

Generating one text mostly waits for the weights to arrive from memory; the multiplications are few. Eight texts need
the same weights. So eight cost little more than one, and each gets the same tokens as by itself.

Prompts of different lengths are padded at the front, so that all texts end at the same position:

    · · · T o   b e        starts = [3, 0, 5]: what stands before a row's start is padding, which no token looks at,
    R O M E O   a n        and positions are counted from there
    · · · · · I   a

Builds on: `generate`, the same loop for one text; `cache`, which handles the padding. Used by:
`language_model.generate_batch`, `best_of`.
Left out on purpose: adding new prompts while others are being generated (continuous batching), as servers do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from tinygrad_llm.backend import to_device
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.generate import (
    GenerationStep,
    check_max_tokens,
    checked_ids,
    first_in_view,
    next_logits,
)
from tinygrad_llm.generation.logits_processors import LogitsProcessor, sample, sampling_distribution
from tinygrad_llm.nn.functional import log_softmax
from tinygrad_llm.nn.transformer import Transformer

PADDING = 0  # any token will do: attention never looks at it


def generate_batch_steps(
    model: Transformer,
    prompts: Sequence[Sequence[int] | np.ndarray],
    max_tokens: int,
    samplers: Sequence[LogitsProcessor],
    rngs: Sequence[np.random.Generator],
    *,
    stop_tokens: Collection[int] = (),
    finished: Callable[[int], bool] = lambda row: False,
) -> Iterator[tuple[int, GenerationStep]]:
    """The steps of generation after each of the prompts: pairs of a prompt's number and a token with its distributions.

    One token for each text, in the order of the prompts, then the next for each; a text that has ended is left out, and
    costs nothing any more. For each text it is what `generate_steps` gives for its prompt, sampler and generator alone.

    samplers, rngs: one for each prompt. finished: asked with a prompt's number after each of its tokens was given out,
    whether its text shall end there.

    Raises InputError when a prompt is empty, longer than the context or not in the vocabulary.
    """
    texts = [checked_ids(model, ids) for ids in prompts]
    check_max_tokens(max_tokens)
    if not len(texts) == len(samplers) == len(rngs):
        raise InputError(
            f"each prompt needs a sampler and a generator of its own: there are {len(texts)} prompts, {len(samplers)} "
            f"samplers and {len(rngs)} generators."
        )
    return _steps(model, texts, max_tokens, samplers, rngs, stop_tokens, finished)


def _steps(
    model: Transformer,
    texts: list[list[int]],
    max_tokens: int,
    samplers: Sequence[LogitsProcessor],
    rngs: Sequence[np.random.Generator],
    stop_tokens: Collection[int],
    finished: Callable[[int], bool],
) -> Iterator[tuple[int, GenerationStep]]:
    firsts = [0] * len(texts)  # of the ids in each text that the model can see
    rows = list(range(len(texts)))  # the texts that have not ended
    cache = None
    for _ in range(max_tokens):
        if not rows:
            return
        before = [firsts[row] for row in rows]
        for row in rows:
            firsts[row] = first_in_view(firsts[row], len(texts[row]), model.config.context)
        if cache is None or before != [firsts[row] for row in rows]:
            # One text has slid on, so all are read again. It is rare: once per half context and text.
            logits, cache = read_together(model, [texts[row][firsts[row] :] for row in rows])  # (rows, V)
        else:
            logits = next_logits(model, np.array([texts[row][-1:] for row in rows]), cache)  # (rows, V)
        going_on = []  # places in `rows`
        for place, row in enumerate(rows):
            sampled_log_p = sampling_distribution(samplers[row], logits[place], texts[row])  # (V,)
            token = int(sample(sampled_log_p, rngs[row]))
            if token in stop_tokens:
                continue
            texts[row].append(token)
            yield row, GenerationStep(token, log_softmax(logits[place]), sampled_log_p)
            if not finished(row):
                going_on.append(place)
        if 0 < len(going_on) < len(rows):
            cache = cache.select(going_on)
        rows = [rows[place] for place in going_on]


def read_together(model: Transformer, texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, GrowingCache]:
    """The logits of the next token after each of the texts, (B, V), and the cache that has read them, a row for each.

    Texts that are equal are read once.
    """
    different = list(dict.fromkeys(map(tuple, texts)))
    longest = max(map(len, different))
    starts = np.array([longest - len(text) for text in different])  # (different,)
    ids = np.array([(PADDING,) * start + text for start, text in zip(starts, different, strict=True)])  # (different, T)
    device = model.embedding.weight.device
    cache = GrowingCache(model.config, to_device(starts, device) if starts.any() else None)
    logits = next_logits(model, ids, cache)  # (different, V)
    if len(different) == len(texts):
        return logits, cache
    places = [different.index(tuple(text)) for text in texts]
    return logits[places], cache.select(places)


def generate_batch(
    model: Transformer,
    prompts: Sequence[Sequence[int] | np.ndarray],
    max_tokens: int,
    samplers: Sequence[LogitsProcessor],
    rngs: Sequence[np.random.Generator],
    *,
    stop_tokens: Collection[int] = (),
) -> list[list[int]]:
    """The tokens alone, a list for each prompt; all the rest as in `generate_batch_steps`."""
    generated: list[list[int]] = [[] for _ in prompts]
    for row, step in generate_batch_steps(model, prompts, max_tokens, samplers, rngs, stop_tokens=stop_tokens):
        generated[row].append(step.token)
    return generated
