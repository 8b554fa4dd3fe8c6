"""What a model has written: the text, the tokens it is made of, and how probable each of them was.

    Drawn, Drawn, … --Writing--> pieces of text, and in the end a Written

Comes before: `generate`, which draws; `text_stream`, which makes text of ids. Comes after: `language_model`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinygrad_llm.generation.generate import Drawn
from tinygrad_llm.generation.text_stream import TextStream
from tinygrad_llm.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Written:
    """A text that a model wrote after a prompt.

    text: without the prompt. ids: (n,), the tokens that were drawn. They may say a little more than the text does: a
    stop string, or the first bytes of a character that did not come to its end.
    log_probabilities: log p of each token as the model said, in nats, (n,).
    sampled_log_probabilities: log p of each token in the distribution that it was drawn from, (n,); the two differ
    unless the samplers change nothing.
    ending: why it ends: "stop token" (the model drew the end), "stop string", or "max tokens".
    """

    prompt: str
    text: str
    ids: np.ndarray
    log_probabilities: np.ndarray
    sampled_log_probabilities: np.ndarray
    ending: Literal["stop token", "stop string", "max tokens"]

    @property
    def log_probability(self) -> float:
        """log p of all tokens together, as the model said: the sum, in nats."""
        return float(self.log_probabilities.sum())

    def __str__(self) -> str:
        return self.text


class Writing:
    """A text while it is written: takes what is drawn, gives out what may be shown."""

    def __init__(self, prompt: str, tokenizer: Tokenizer, max_tokens: int, stop: str | Sequence[str] = ()) -> None:
        self.prompt, self.max_tokens = prompt, max_tokens
        self.stream = TextStream(tokenizer, stop)
        self.pieces: list[str] = []
        self.drawn: list[tuple[int, float, float]] = []  # token, log p, log p in the distribution drawn from

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come, so that no more tokens are wanted."""
        return self.stream.stopped

    def take(self, drawn: Drawn) -> str:
        """What may be shown now that this token was drawn, maybe nothing."""
        token = drawn.token
        self.drawn.append((token, float(drawn.log_p[token]), float(drawn.sampled_log_p[token])))
        self.pieces.append(self.stream.push(token))
        return self.pieces[-1]

    def finish(self) -> str:
        """What was held back, now that no more tokens come."""
        self.pieces.append(self.stream.finish())
        return self.pieces[-1]

    @property
    def text(self) -> str:
        """The text so far, as far as it may be shown."""
        return "".join(self.pieces)

    def written(self) -> Written:
        """All of it."""
        ids, log_p, sampled_log_p = np.array(self.drawn).reshape(-1, 3).T  # (n,) each
        return Written(self.prompt, self.text, ids.astype(np.int64), log_p, sampled_log_p, self.ending)

    @property
    def ending(self) -> Literal["stop token", "stop string", "max tokens"]:
        """Why it ends here."""
        if self.stopped:
            return "stop string"
        return "max tokens" if len(self.drawn) == self.max_tokens else "stop token"


def written_pieces(writing: Writing, drawn: Iterable[Drawn]) -> Iterator[str]:
    """The pieces of the text while it is written, none of them empty; no more is drawn than the text needs."""
    for one in drawn:
        if piece := writing.take(one):
            yield piece
        if writing.stopped:
            break
    if piece := writing.finish():
        yield piece
