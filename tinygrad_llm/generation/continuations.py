"""Several continuations of one text, side by side in one batch: what `beam`, `best_of` and `tree` have in common.

The text is read once. Then each continuation is a row of the batch, with its own copy of what the cache remembers, and
all rows grow by one token at a time. Reading the model's weights is what a token costs, so eight rows cost little more
than one.

Comes before: `cache`, `generate`, `batch`. Comes after: `beam`, `best_of`, `tree`.
Left out on purpose: texts longer than the context. Whoever compares continuations wants all of them seen whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.generate import checked_ids
from tinygrad_llm.nn.transformer import Transformer


class Continuation(NamedTuple):
    """One way in which a text may go on.

    tokens: without the stop token. ended: whether a stop token came after them.
    log_p: the sum of log p of the tokens, in nats, that of the stop token included: the probability that the text goes
    on exactly so.
    """

    tokens: tuple[int, ...]
    log_p: float
    ended: bool = False

    @property
    def length(self) -> int:
        """How many tokens log_p is a sum over: the stop token counts."""
        return len(self.tokens) + self.ended

    @property
    def mean_log_p(self) -> float:
        """log p per token, in nats; 0 for no tokens."""
        return self.log_p / max(1, self.length)

    def then(self, token: int, log_p: float) -> Continuation:
        """One token longer."""
        return Continuation((*self.tokens, token), self.log_p + log_p)

    def end(self, log_p: float) -> Continuation:
        """Ended by a stop token of this log-probability."""
        return Continuation(self.tokens, self.log_p + log_p, ended=True)


def checked_prompt(model: Transformer, ids: Sequence[int] | np.ndarray, max_tokens: int) -> list[int]:
    """The ids as a list. Raises InputError unless the model can read them with max_tokens more, the last one aside."""
    text = checked_ids(model, ids)
    if max_tokens < 0:
        raise InputError(f"max_tokens must be at least 0, it was {max_tokens}.")
    if len(text) + max_tokens - 1 > model.config.context:
        raise InputError(
            f"max_tokens: {len(text)} tokens and then {max_tokens} are more than the model can look at, which is "
            f"{model.config.context}; at most {model.config.context + 1 - len(text)} fit."
        )
    return text
