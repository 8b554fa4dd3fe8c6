"""Speculative decoding: several tokens for one pass through the model, and the distribution of the text unchanged.

To read one token a model moves all its weights through the processor, and computes little with them. Reading five at
once moves them once, but the next token cannot be read before it is known. So a cheap *draft* proposes the next few: a
draft model, or the continuation of an earlier place in the text that began alike. The model reads all proposals in one
pass, which gives its distribution after each. From the first to the last a proposal x is

    accepted with probability min(1, p(x) / q(x)),     p: the model's distribution, q: the draft's, which gave x.

The first one that is rejected is replaced by a sample from max(0, p - q), divided by its sum, and the proposals after
it are discarded. If all are accepted, the same pass gives one more token for free. Each token comes out with exactly
its probability p(x): q(x) · min(1, p(x) / q(x)) = min(p(x), q(x)) of it as an accepted proposal, and what is missing to
p(x) as a replacement. So the draft decides how fast the text is generated, and never its distribution: a bad proposal
costs time, and nothing else. Source: Leviathan et al. 2023, section 2.3; Chen et al. 2023, algorithm 2.

Whether it is faster depends on the processor. Where there is much more arithmetic than memory can feed, as on a GPU, a
pass over several tokens takes hardly longer than over one. On two cores with AVX2 it is 35 ms for one token of SmolLM2,
and 90 to 130 ms for two to eleven: there it pays from three tokens per pass on, for texts that repeat much.

Here p and q are the distributions after the whole sampler chain, and each processor gets the text with the proposals
before, so penalties and constraints work as always. The same seed does not give the same text as without a draft,
because more random numbers are taken; at temperature 0 it does, except where rounding decides between equals.

Builds on: `generate`, the loop without a draft; `cache`, which is truncated after a rejection. Used by:
`language_model`. Left out on purpose: several proposals for the same position (trees), more than one text at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from tinygrad_llm.autograd import no_grad
from tinygrad_llm.backend import to_device
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import is_integer
from tinygrad_llm.generation.cache import UNDO, GrowingCache
from tinygrad_llm.generation.generate import (
    PREFILL,
    GenerationStep,
    check_max_tokens,
    checked_cache,
    checked_ids,
    checked_logits,
    first_in_view,
    next_logits,
)
from tinygrad_llm.generation.logits_processors import LogitsProcessor, sample, sampling_distribution
from tinygrad_llm.nn.functional import log_softmax
from tinygrad_llm.nn.transformer import Transformer


class Proposal(NamedTuple):
    """A proposed next token, and the distribution that it was sampled from; None when it was copied, not sampled."""

    token: int
    log_q: np.ndarray | None  # (V,)


@dataclass
class Acceptance:
    """What a draft has been good for so far."""

    passes: int = 0  # forward passes of the model
    tokens: int = 0  # tokens that were generated
    proposed: int = 0  # guesses that the model has read
    accepted: int = 0

    @property
    def rate(self) -> float:
        """Accepted guesses of all guesses."""
        return self.accepted / max(1, self.proposed)

    @property
    def tokens_per_pass(self) -> float:
        """How many tokens one pass of the model gave; without a draft it is 1."""
        return self.tokens / max(1, self.passes)

    def __repr__(self) -> str:
        return (
            f"{self.tokens} tokens in {self.passes} passes of the model, {self.tokens_per_pass:.2f} per pass; "
            f"{self.accepted} of {self.proposed} proposals accepted ({self.rate:.0%})"
        )


class Decisions:
    """Every random decision there is in here, in two methods."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def token(self, log_p: np.ndarray) -> int:
        """An id, sampled from log_p (V,)."""
        return int(sample(log_p, self.rng))

    def accept(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability


class Draft(Protocol):
    """Guesses how a text goes on. count: how many tokens at most. acceptance: how good its guesses were."""

    count: int
    acceptance: Acceptance

    def propose(
        self,
        text: Sequence[int],
        count: int,
        sampler: LogitsProcessor,
        decisions: Decisions,
        stop_tokens: Collection[int],
    ) -> list[Proposal]:
        """At most `count` guesses, one after the other; none after a stop token."""


class DraftModel:
    """A smaller model with the same vocabulary, which proposes tokens one by one (Leviathan et al. 2023).

    It samples through the same sampler chain as the model, so both choose among the same tokens. Its own cache
    goes along with the text. count: guesses per pass; the more often it is right, the more pay off.
    """

    def __init__(self, model: Transformer, count: int = 4) -> None:
        self.model, self.count = model, checked_count(count)
        self.acceptance = Acceptance()
        self._cache = GrowingCache(model.config)
        self._first = 0  # of the ids that the draft model can see
        self._read: list[int] = []  # the ids from there on that its cache remembers

    def propose(
        self,
        text: Sequence[int],
        count: int,
        sampler: LogitsProcessor,
        decisions: Decisions,
        stop_tokens: Collection[int],
    ) -> list[Proposal]:
        """Draws at most `count` tokens after the last half context of the text, or after all of it while it fits."""
        context = self.model.config.context
        count = min(count, context // 2 - 1)  # so that something of the text is in view when the view has moved
        length = len(text) + max(count, 0)
        self._first = 0 if length <= context else first_in_view(min(self._first, len(text) - 1), length, context)
        seen = list(text[self._first :])
        kept = min(same_beginning(self._read, seen), len(seen) - 1)  # one token has to be read to go on from
        self._cache.truncate(kept if kept >= self._cache.earliest else 0)
        longer, proposals = list(text), []
        for _ in range(count):
            logits = next_logits(self.model, seen[self._cache.length :], self._cache)  # (V,)
            try:
                log_q = sampling_distribution(sampler, logits, longer)  # (V,)
            except InputError:  # nothing can follow a guess: no mistake, as the text need not come this way
                break
            token = decisions.token(log_q)
            proposals.append(Proposal(token, log_q))
            if token in stop_tokens:
                break
            longer.append(token)
            seen.append(token)
        self._read = seen[: self._cache.length]
        return proposals


class PromptLookup:
    """Guesses that the text goes on as it did the last time its last few tokens stood there (Saxena 2023).

    Good for texts that quote or change what stands in the prompt: summaries, code, corrections. It costs no model.

    count: guesses per pass. longest, shortest: how many of the last tokens are looked for, as many as are found. A
    single one is found nearly always, and mostly goes on in another way.
    """

    def __init__(self, count: int = 7, longest: int = 3, shortest: int = 2) -> None:
        self.count, self.longest, self.shortest = checked_count(count), longest, shortest
        self.acceptance = Acceptance()
        if not 1 <= shortest <= longest:
            raise InputError(f"prompt look-up: shortest must be 1 to longest; they were {shortest} and {longest}.")

    def propose(
        self,
        text: Sequence[int],
        count: int,
        sampler: LogitsProcessor,
        decisions: Decisions,
        stop_tokens: Collection[int],
    ) -> list[Proposal]:
        """The tokens after the last earlier place that ends as `text` does; they are copied, not sampled."""
        start = self._continuation(np.asarray(text))
        if start is None:
            return []
        tokens: list[int] = []
        for place in range(start, start + count):
            # Past the end of the text it copies what it has just proposed: a repetition is expected to go on.
            tokens.append(int(text[place] if place < len(text) else tokens[place - len(text)]))
            if tokens[-1] in stop_tokens:
                break
        return [Proposal(token, None) for token in tokens]

    def _continuation(self, text: np.ndarray) -> int | None:
        """Where the text goes on after the last earlier place that looks like its end. text: (T,)."""
        for n in range(min(self.longest, len(text) - 1), self.shortest - 1, -1):
            places = np.lib.stride_tricks.sliding_window_view(text[:-1], n)  # (T - n, n)
            found = np.flatnonzero((places == text[-n:]).all(axis=1))
            if len(found):
                return int(found[-1]) + n
        return None


def speculative_steps(
    model: Transformer,
    draft: Draft,
    ids: Sequence[int] | np.ndarray,
    max_tokens: int,
    sampler: LogitsProcessor,
    rng: np.random.Generator,
    *,
    cache: GrowingCache | None = None,
    stop_tokens: Collection[int] = (),
) -> Iterator[GenerationStep]:
    """As `generate.generate_steps`, with the same distribution of texts, in fewer passes of the model.

    `draft.acceptance` counts along. Raises InputError as `generate_steps` does, and when a draft
    model has another vocabulary.
    """
    text = checked_ids(model, ids)
    check_max_tokens(max_tokens)
    if isinstance(draft, DraftModel) and draft.model.config.vocab_size != model.config.vocab_size:
        raise InputError(
            f"draft: it knows {draft.model.config.vocab_size} tokens and the model {model.config.vocab_size}. Take one "
            "with the same tokenizer."
        )
    cache = checked_cache(model, cache, text)
    return _steps(model, draft, text, max_tokens, sampler, Decisions(rng), cache, stop_tokens)


def _steps(
    model: Transformer,
    draft: Draft,
    text: list[int],
    max_tokens: int,
    sampler: LogitsProcessor,
    decisions: Decisions,
    cache: GrowingCache,
    stop_tokens: Collection[int],
) -> Iterator[GenerationStep]:
    context, end = model.config.context, len(text) + max_tokens
    counted = draft.acceptance
    first = 0  # of the ids that the model can see
    while len(text) < end:
        start = first_in_view(first, len(text), context)
        if start > first:
            first = start
            cache.truncate(0)
        # Not so many that the view would have to move in between; one fewer than may come, as one is free.
        count = min(draft.count, context - (len(text) - first), end - len(text) - 1)
        proposals = draft.propose(text, count, sampler, decisions, stop_tokens) if count else []
        new = text[first + cache.length :] + [proposal.token for proposal in proposals]
        logits = logits_after_each(model, new, cache, last=len(proposals) + 1)  # (proposals + 1, V)
        counted.passes += 1
        counted.proposed += len(proposals)
        try:
            for place, step in enumerate(settle(proposals, logits, sampler, text, decisions)):
                counted.accepted += place < len(proposals) and step.token == proposals[place].token
                if step.token in stop_tokens:
                    return
                counted.tokens += 1
                text.append(step.token)
                yield step
        finally:  # the caller may stop anywhere, and the cache must be right for the next one
            cache.truncate(min(cache.length, len(text) - 1 - first))


def settle(
    proposals: Sequence[Proposal],
    logits: np.ndarray,
    sampler: LogitsProcessor,
    text: Sequence[int],
    decisions: Decisions,
) -> Iterator[GenerationStep]:
    """The tokens of one round, which goes on after `text`: the proposals that are accepted, and one more.

    logits: of the model at the place of each proposal and after the last one, (proposals + 1, V).
    """
    longer = list(text)
    for place, proposal in enumerate(proposals):
        log_p = log_softmax(logits[place])  # (V,)
        sampled_log_p = sampling_distribution(sampler, logits[place], longer)  # (V,)
        if not decisions.accept(acceptance_probability(sampled_log_p, proposal)):
            yield GenerationStep(decisions.token(replacement(sampled_log_p, proposal)), log_p, sampled_log_p)
            return
        yield GenerationStep(proposal.token, log_p, sampled_log_p)
        longer.append(proposal.token)
    sampled_log_p = sampling_distribution(sampler, logits[-1], longer)  # (V,)
    yield GenerationStep(decisions.token(sampled_log_p), log_softmax(logits[-1]), sampled_log_p)


def acceptance_probability(log_p: np.ndarray, proposal: Proposal) -> float:
    """min(1, p(x) / q(x)) of the proposed token x."""
    log_q = 0.0 if proposal.log_q is None else proposal.log_q[proposal.token]
    return float(np.exp(min(0.0, log_p[proposal.token] - log_q)))


def replacement(log_p: np.ndarray, proposal: Proposal) -> np.ndarray:
    """log of max(0, p - q), divided by its sum: what is sampled from when the proposal is rejected. (V,) -> (V,)."""
    if proposal.log_q is None:
        q = np.zeros_like(log_p)
        q[proposal.token] = 1.0
    else:
        q = np.exp(proposal.log_q)
    missing = np.maximum(np.exp(log_p) - q, 0.0)  # (V,)
    if missing.sum() == 0.0:  # p = q up to rounding, and both distributions are the same
        return log_p
    with np.errstate(divide="ignore"):
        return log_softmax(np.log(missing))


def logits_after_each(model: Transformer, ids: Sequence[int], cache: GrowingCache, last: int) -> np.ndarray:
    """The logits of the next token after each of the last `last` of these ids: (last, V), float64, on the host.

    As `generate.next_logits`, which is the case of 1. The ids that count are read in one pass.
    """
    if len(ids) > last:
        new = to_device(np.asarray(ids[:-last])[None], model.embedding.weight.device)  # (1, T)
        with no_grad():
            for start in range(0, new.shape[1], PREFILL):
                model.hidden(new[:, start : start + PREFILL], cache=cache)
    new = to_device(np.asarray(ids[-last:])[None], model.embedding.weight.device)  # (1, last)
    with no_grad():
        logits = model.logits(model.hidden(new, cache=cache))  # (1, last, V)
    return checked_logits(logits)[0]


def same_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids at the beginning are the same in both."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def checked_count(count: int) -> int:
    """The number of guesses per pass. Raises InputError unless the cache can take back as many."""
    if not is_integer(count) or not 1 <= count < UNDO:
        raise InputError(f"draft: count must be an integer from 1 to {UNDO - 1}, it was {count!r}.")
    return int(count)
