"""Rollouts: the policy writes replies to prompts, all at once, and they are kept as tokens to learn from.

They are drawn at temperature 1 with nothing cut off, unless told otherwise: the methods that learn from them assume
that every token was drawn from the policy's own distribution.

Builds on: `replies`, `generation`. Used by: whoever learns from replies that the policy draws itself (`ppo`, `grpo`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.judgements import Prompt
from tinygrad_llm.feedback.replies import ReplyFormat, Rows, as_rows
from tinygrad_llm.generation.batch import generate_batch_steps

TOGETHER = 64  # replies that are written at the same time


class Rollouts(NamedTuple):
    """rows: tokens and mask. texts: the replies. ended: (N,) booleans, False for a reply that max_tokens cut off."""

    prompts: list[Prompt]
    rows: Rows
    texts: list[str]
    ended: np.ndarray


def has_ended(replies: ReplyFormat, written: Sequence[Sequence[int]], row: int) -> bool:
    """Whether the reply number `row` is complete."""
    return replies.has_ended(written[row])


def write_replies(
    replies: ReplyFormat,
    prompts: Sequence[Prompt],
    max_tokens: int,
    *,
    seed: int | Sequence[int],
    temperature: float = 1.0,
) -> Rollouts:
    """A reply of the model to each of the prompts. The same prompt may stand there several times.

    seed: of the draws; reply number i has a generator of its own, so it does not depend on the others in the list.

    Raises InputError for a prompt that leaves no room in the context for max_tokens tokens.
    """
    ids_of = {repr(prompt): replies.prompt_ids(prompt) for prompt in prompts}  # a template is slow: once per prompt
    prompt_ids = [ids_of[repr(prompt)] for prompt in prompts]
    network, context = replies.model.network, replies.model.network.config.context
    for prompt, ids in zip(prompts, prompt_ids, strict=True):
        if len(ids) + max_tokens > context:
            raise InputError(
                f"a prompt of {len(ids)} tokens and a reply of up to {max_tokens} do not fit into the context of "
                f"{context} tokens: {prompt!r:.60}. Shorten it, or lower max_tokens."
            )
    sampler = replies.model.sampler(temperature=temperature)
    written: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompt_ids[i]))  # rows of like lengths share a batch
    for start in range(0, len(order), TOGETHER):
        some = order[start : start + TOGETHER]
        tokens = [written[i] for i in some]
        steps = generate_batch_steps(
            network,
            [prompt_ids[i] for i in some],
            max_tokens,
            [sampler] * len(some),
            [np.random.default_rng([*np.atleast_1d(seed), i]) for i in some],
            finished=partial(has_ended, replies, tokens),
        )
        for row, one in steps:
            tokens[row].append(one.token)
    return Rollouts(
        list(prompts),
        as_rows(prompt_ids, written),
        [replies.text(tokens) for tokens in written],
        np.array([replies.has_ended(tokens) for tokens in written]),
    )
