"""What a model generated after a prompt: the text, its tokens, and how probable each of them was.

    GenerationStep, GenerationStep, … --TextBuilder--> pieces of text, and in the end a GeneratedText

Builds on: `generate`, which samples the tokens; `text_stream`, which decodes them.
Used by: `continuations`, `language_model`, `chat_session`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np

from tinygrad_llm.drawing.views import shown_by
from tinygrad_llm.generation.generate import GenerationStep
from tinygrad_llm.generation.text_stream import TextStream
from tinygrad_llm.text.tokenizer import Tokenizer

Ending = Literal["stop token", "stop string", "max tokens"]


class GeneratedText(str):
    """The text that a model generated after a prompt: an ordinary string that also knows its tokens.

    The string is the text without the prompt. Its attributes:

    prompt: the text before it.
    ids: (n,), the tokens that were sampled. They may say a little more than the text does: a stop string, or the first
    bytes of a character that is not complete.
    log_probabilities: log p of each token under the model, in nats, (n,).
    sampled_log_probabilities: log p of each token in the distribution that it was sampled from, (n,); the two differ
    unless the sampler chain changes nothing.
    ending: why the text ends: "stop token", "stop string" or "max tokens".
    """

    prompt: str
    ids: np.ndarray
    log_probabilities: np.ndarray
    sampled_log_probabilities: np.ndarray
    ending: Ending
    _repr_html_ = shown_by("tinygrad_llm.pictures.generated_text")

    def __new__(
        cls,
        text: str,
        *,
        prompt: str,
        ids: np.ndarray,
        log_probabilities: np.ndarray,
        sampled_log_probabilities: np.ndarray,
        ending: Ending,
    ) -> Self:
        self = super().__new__(cls, text)
        self.prompt, self.ids, self.ending = prompt, ids, ending
        self.log_probabilities, self.sampled_log_probabilities = log_probabilities, sampled_log_probabilities
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        return (str(self),), vars(self)  # for copy and pickle

    @property
    def log_probability(self) -> float:
        """log p of all tokens together under the model: the sum, in nats."""
        return float(self.log_probabilities.sum())


class TextBuilder:
    """A text while it is generated: takes the sampled tokens, returns the pieces of text that may be shown."""

    def __init__(
        self, prompt: str, tokenizer: Tokenizer, max_tokens: int, stop: str | Sequence[str] | None = ()
    ) -> None:
        self.prompt, self.max_tokens = prompt, max_tokens
        self.stream = TextStream(tokenizer, stop)
        self.pieces: list[str] = []
        self.tokens: list[tuple[int, float, float]] = []  # token, log p, log p in the distribution sampled from

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come, so that no more tokens are wanted."""
        return self.stream.stopped

    def append(self, step: GenerationStep) -> str:
        """The text that may be shown after this token; it may be empty."""
        token = step.token
        self.tokens.append((token, float(step.log_p[token]), float(step.sampled_log_p[token])))
        self.pieces.append(self.stream.push(token))
        return self.pieces[-1]

    def finish(self) -> str:
        """The text that was held back because it might have become a stop string."""
        self.pieces.append(self.stream.finish())
        return self.pieces[-1]

    @property
    def text(self) -> str:
        """The text so far, as far as it may be shown."""
        return "".join(self.pieces)

    @property
    def ending(self) -> Ending:
        """Why the text ends here."""
        if self.stopped:
            return "stop string"
        return "max tokens" if len(self.tokens) == self.max_tokens else "stop token"

    def result(self) -> GeneratedText:
        """The whole text with its tokens."""
        ids, log_p, sampled_log_p = np.array(self.tokens).reshape(-1, 3).T  # (n,) each
        return GeneratedText(
            self.text,
            prompt=self.prompt,
            ids=ids.astype(np.int64),
            log_probabilities=log_p,
            sampled_log_probabilities=sampled_log_p,
            ending=self.ending,
        )


def text_pieces(builder: TextBuilder, steps: Iterable[GenerationStep]) -> Iterator[str]:
    """The pieces of the text while it is generated, none of them empty; no more steps are taken than it needs."""
    for step in steps:
        if piece := builder.append(step):
            yield piece
        if builder.stopped:
            break
    if piece := builder.finish():
        yield piece
