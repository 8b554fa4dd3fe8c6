"""Several continuations of one text, side by side in one batch: what `beam`, `best_of` and `tree` have in common.

The prompt is read once. Then each continuation is a row of the batch, with its own copy of the KV cache, and all rows
grow by one token at a time. A token costs reading the model's weights, so eight rows cost little more than one.

Builds on: `cache`, `generate`, `generated_text`. Used by: `beam`, `best_of`, `tree`.
Left out on purpose: texts longer than the context. Continuations are compared as wholes, which the model must see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.generate import check_max_tokens, checked_ids
from tinygrad_llm.generation.generated_text import GeneratedText
from tinygrad_llm.generation.text_stream import TextStream
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Continuation:
    """One way in which a text may go on.

    tokens: without the stop token. log_p_of_each: log p of each token as the model said, in nats, and, if the text has
    ended, that of the stop token after them. sampled_log_p_of_each: the same in the distribution after the sampler.
    """

    tokens: tuple[int, ...] = ()
    log_p_of_each: tuple[float, ...] = ()
    sampled_log_p_of_each: tuple[float, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether a stop token came after the tokens."""
        return self.length > len(self.tokens)

    @property
    def length(self) -> int:
        """How many tokens there are; the stop token counts."""
        return len(self.log_p_of_each)

    @property
    def log_p(self) -> float:
        """Of all together, in nats: that the model goes on exactly so."""
        return sum(self.log_p_of_each)

    @property
    def sampled_log_p(self) -> float:
        """Of all together, after the sampler."""
        return sum(self.sampled_log_p_of_each)

    @property
    def mean_log_p(self) -> float:
        """log p per token; 0 where there is none."""
        return self.log_p / max(1, self.length)

    def then(self, token: int, log_p: float, sampled_log_p: float, *, ends: bool = False) -> Continuation:
        """One token longer; or ended by it, if it is a stop token."""
        return Continuation(
            self.tokens if ends else (*self.tokens, token),
            (*self.log_p_of_each, log_p),
            (*self.sampled_log_p_of_each, sampled_log_p),
        )

    def to_text(self, prompt: str, tokenizer: Tokenizer, stop: str | Sequence[str] | None = ()) -> GeneratedText:
        """As a text after a prompt, up to the first stop string."""
        stream = TextStream(tokenizer, stop)
        text = "".join(map(stream.push, self.tokens)) + stream.finish()
        n = len(self.tokens)
        return GeneratedText(
            text,
            prompt=prompt,
            ids=np.array(self.tokens, np.int64),
            log_probabilities=np.array(self.log_p_of_each[:n]),
            sampled_log_probabilities=np.array(self.sampled_log_p_of_each[:n]),
            ending="stop string" if stream.stopped else "stop token" if self.ended else "max tokens",
        )


def checked_prompt(
    model: Transformer, ids: Sequence[int] | np.ndarray, max_tokens: int, name: str = "max_tokens"
) -> list[int]:
    """The ids as a list. Raises InputError unless the model can read them with max_tokens more, the last one aside.

    name: what the caller calls max_tokens.
    """
    text = checked_ids(model, ids)
    check_max_tokens(max_tokens)
    if len(text) + max_tokens - 1 > model.config.context:
        raise InputError(
            f"{name}: {len(text)} tokens and then {max_tokens} are more than the model can look at, which is "
            f"{model.config.context}; at most {model.config.context + 1 - len(text)} fit."
        )
    return text
