"""The generation loop: compute the logits, sample a token, append it, repeat.

Builds on: `cache`, `logits_processors`. Used by: `batch`, the same for several texts at once; `generated_text`, which
makes text of the ids as they come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm.autograd import Tensor, no_grad
from tinygrad_llm.backend import to_device, to_numpy
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import check_integer
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.logits_processors import LogitsProcessor, sample, sampling_distribution
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.transformer import Transformer

PREFILL = 512  # tokens of long prompts that are read at once, all rows together: it bounds the memory of reading


class GenerationStep(NamedTuple):
    """A sampled token with two distributions, both (V,), float64, in nats.

    log_p: the model's. sampled_log_p: the one after the sampler chain, which the token was sampled from. They answer
    different questions: how surprising the token is to the model, and how probable it was to be sampled.
    """

    token: int
    log_p: np.ndarray
    sampled_log_p: np.ndarray


def generate_steps(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    max_tokens: int,
    sampler: LogitsProcessor,
    rng: np.random.Generator,
    *,
    cache: GrowingCache | None = None,
    stop_tokens: Collection[int] = (),
) -> Iterator[GenerationStep]:
    """The steps of generation after `ids`, one per token, at most `max_tokens` of them.

    sampler: the logits processor, such as a `logits_processors.SamplerChain`.
    rng: samples the tokens; the same generator state gives the same tokens.
    cache: may remember a beginning of `ids` already (a prompt that several texts share); it is extended in place.
    stop_tokens: end the text; they are not given out.

    A text may grow longer than the model's context. When it is full, the model goes on with the last half of what it
    saw and reads that again from position 0: learned positions belong to places in the context, so the cached vectors
    cannot move up by one. From then on each token has half a context to a whole one in view, at the price of one
    prefill per half context. The sampler always gets the whole text.

    Raises InputError when `ids` is empty, longer than the context or not in the vocabulary.
    """
    text = checked_ids(model, ids)
    check_max_tokens(max_tokens)
    return _steps(model, text, max_tokens, sampler, rng, checked_cache(model, cache, text), stop_tokens)


def _steps(
    model: Transformer,
    text: list[int],
    max_tokens: int,
    sampler: LogitsProcessor,
    rng: np.random.Generator,
    cache: GrowingCache,
    stop_tokens: Collection[int],
) -> Iterator[GenerationStep]:
    context = model.config.context
    first = 0  # of the ids that the model can see
    for _ in range(max_tokens):
        start = first_in_view(first, len(text), context)
        if start > first:
            first = start
            cache.truncate(0)
        logits = next_logits(model, text[first + cache.length :], cache)  # (V,)
        sampled_log_p = sampling_distribution(sampler, logits, text)  # (V,)
        token = int(sample(sampled_log_p, rng))
        if token in stop_tokens:
            return
        text.append(token)
        yield GenerationStep(token, F.log_softmax(logits), sampled_log_p)


def generate_tokens(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    max_tokens: int,
    sampler: LogitsProcessor,
    rng: np.random.Generator,
    *,
    cache: GrowingCache | None = None,
    stop_tokens: Collection[int] = (),
) -> Iterator[int]:
    """The tokens alone, one by one; all the rest as in `generate_steps`."""
    steps = generate_steps(model, ids, max_tokens, sampler, rng, cache=cache, stop_tokens=stop_tokens)
    return (step.token for step in steps)


def first_in_view(first: int, length: int, context: int) -> int:
    """Where the model's view of a text of `length` tokens begins, when it began at `first` so far."""
    return first if length - first <= context else length - max(1, context // 2)


def next_log_probabilities(model: Transformer, ids: Sequence[int] | np.ndarray, cache: GrowingCache) -> np.ndarray:
    """log p of every possible next token: the log-softmax of `next_logits`."""
    return F.log_softmax(next_logits(model, ids, cache))


def next_logits(model: Transformer, ids: Sequence[int] | np.ndarray, cache: GrowingCache) -> np.ndarray:
    """The logits of the next token after the text in `cache` and then `ids` (T,): (V,), float64, on the host.

    Of several rows, which all end together, ids (B, T): (B, V). The cache is extended by `ids`; a long text is read in
    pieces. Raises InputError when the model gives no numbers, as after a failed training.
    """
    array = np.asarray(ids)
    new = to_device(array.reshape(-1, array.shape[-1]), model.embedding.weight.device)  # (B, T)
    together = max(1, PREFILL // len(new))
    with no_grad():
        for start in range(0, new.shape[1], together):
            hidden = model.hidden(new[:, start : start + together], cache=cache)  # (B, t, C)
        logits = model.logits(hidden[:, -1])  # (B, V)
    return checked_logits(logits).reshape(*array.shape[:-1], -1)  # (V,) or (B, V)


def checked_logits(logits: Tensor) -> np.ndarray:
    """The logits as an array in float64 on the host, (..., V) -> (..., V).

    Raises InputError when the logits are no numbers.
    """
    numbers = to_numpy(logits.data)  # (..., V)
    if not np.isfinite(numbers).all():
        raise InputError(
            "the model's logits are not numbers (NaN or infinite): its training has diverged. Load an earlier "
            "checkpoint, or train again with a lower learning rate."
        )
    return numbers.astype(np.float64)


def check_max_tokens(max_tokens: int) -> None:
    """Raise InputError unless a text can be of that many tokens."""
    check_integer("max_tokens", max_tokens, 0)


def checked_cache(model: Transformer, cache: GrowingCache | None, text: Sequence[int]) -> GrowingCache:
    """The cache, or a new one. Raises InputError unless it leaves something of the text to read."""
    cache = GrowingCache(model.config) if cache is None else cache
    if cache.length >= len(text):
        raise InputError(
            f"cache: it remembers {cache.length} positions and the text has {len(text)}, so nothing is left to read. "
            "Call cache.truncate first."
        )
    return cache


def checked_ids(model: Transformer, ids: Sequence[int] | np.ndarray) -> list[int]:
    """The ids as a list. Raises InputError unless they are a text that this model can read in one go."""
    array = np.asarray(ids)
    config = model.config
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InputError(f"ids must be a row of whole numbers, at least one; it is {array.shape} of {array.dtype}.")
    if array.size > config.context:
        raise InputError(
            f"the prompt is {array.size} tokens long, and the model can look at {config.context}. Shorten the prompt."
        )
    if array.min() < 0 or array.max() >= config.vocab_size:
        raise InputError(
            f"ids must be 0 to {config.vocab_size - 1}, and go from {array.min()} to {array.max()}: they were made by "
            "another tokenizer than the model's."
        )
    return array.tolist()
