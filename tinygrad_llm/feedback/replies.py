"""Prompts and replies as tokens: what a model is asked, where its reply ends, and which tokens of a row are the reply.

A chat model is asked through its chat template, and a reply ends with the token that ends a turn. Any other model goes
on with the prompt, and a reply ends with a text, `end`: two line ends, for instance, after a speech in a play. Either
way the end belongs to the reply: a model that never learns to choose it never learns to stop.

    prompt          reply           padding
    R O M E O : ⏎   My love … ⏎⏎    · · ·           ids  (N, T)
    0 0 0 0 0 0 0   1 1 1 1 1 1     0 0 0           mask (N, T)

Padding stands behind, where a causal model cannot see it, so nothing else is needed to hide it.

Used by: `rollouts` (writes replies), `reward_model` (reads them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.judgements import Prompt
from tinygrad_llm.language_model import LanguageModel

PADDING = 0  # any token will do: it is never read


@dataclass(frozen=True)
class ReplyFormat:
    """How a model is asked and how its replies end. end: a text, for a model without a chat template."""

    model: LanguageModel
    end: str = "\n\n"

    def __post_init__(self) -> None:
        if not self.is_chat and not self.end:
            raise InputError("end must be a text: without it no reply would end before max_tokens.")

    @property
    def is_chat(self) -> bool:
        """Whether the model is asked through a chat template."""
        return self.model.chat_template is not None

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The tokens up to where the reply begins."""
        template = self.model.chat_template
        if template is None:
            if not isinstance(prompt, str):
                prompt = "\n".join(turn["content"] for turn in prompt)
            return self.model._prompt_ids(prompt)
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return template.encode(turns, self.model.tokenizer)

    def reply_ids(self, reply: str) -> list[int]:
        """The tokens of a reply, its end included."""
        if self.is_chat:
            return [*self.model.tokenizer.encode(reply), self.model.stop_tokens[0]]
        return self.model.tokenizer.encode(reply + self.end)

    def has_ended(self, tokens: Sequence[int]) -> bool:
        """Whether a reply of these tokens is complete."""
        if tokens and tokens[-1] in self.model.stop_tokens:
            return True
        return not self.is_chat and self.end in self.model.tokenizer.decode(list(tokens))

    def text(self, tokens: Sequence[int]) -> str:
        """The reply without its end."""
        kept = [token for token in tokens if token not in self.model.stop_tokens]
        text = self.model.tokenizer.decode(kept)
        return text if self.is_chat else text.partition(self.end)[0]


class Rows(NamedTuple):
    """ids (N, T): prompts, replies, padding behind. mask (N, T): True for the tokens of replies."""

    ids: np.ndarray
    mask: np.ndarray

    def take(self, rows: Sequence[int] | np.ndarray) -> Rows:
        """Some of the rows, without the columns that none of them needs."""
        ids, mask = self.ids[rows], self.mask[rows]
        last = int(np.flatnonzero(mask.any(axis=0)).max(initial=0)) + 1
        return Rows(ids[:, :last], mask[:, :last])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each reply, (N,)."""
        return self.mask.sum(axis=1)


def as_rows(prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]) -> Rows:
    """Prompts and replies, given as tokens, side by side in one rectangle."""
    length = max((len(p) + len(r) for p, r in zip(prompts, replies, strict=True)), default=0)
    ids = np.full((len(prompts), length), PADDING, np.int64)
    mask = np.zeros((len(prompts), length), bool)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        ids[row, : len(prompt) + len(reply)] = [*prompt, *reply]
        mask[row, len(prompt) : len(prompt) + len(reply)] = True
    return Rows(ids, mask)
