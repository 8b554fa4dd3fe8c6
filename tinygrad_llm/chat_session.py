"""A conversation with a model, in which nothing is read twice.

    import tinygrad_llm as tg
    chat = tg.ChatSession(tg.load("smollm2-135m-instruct"), seed=1)
    for piece in chat.say("What is the capital of France?"):
        print(piece, end="", flush=True)

A chat model continues a text like any other model. The whole conversation becomes one text, in the form that the model
was trained on (its chat template), up to the place where the next reply begins. The tokens that the model generates
there, until it samples the stop token that ends a turn, are the reply.

At the next turn nearly all of that text is the same. So the KV cache is kept: it is truncated to what the old and the
new text share, and only the rest is read. The replies are those of a session that reads everything again.

Builds on: `language_model`, `text.chat` (the templates), `generation`. Used by: `tinygrad-llm chat`.
Left out on purpose: forgetting old turns when the context is full, tools, images.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.alternatives import TokenAlternatives, token_alternatives
from tinygrad_llm.generation.arguments import check_integer, check_text, stop_strings
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.generate import GenerationStep, generate_steps
from tinygrad_llm.generation.generated_text import TextBuilder, text_pieces
from tinygrad_llm.language_model import LanguageModel, seeded_generator

OTHERS = 5  # tokens that are remembered beside each token of a reply, for `why`


class Why(NamedTuple):
    """A token of a reply, and what else it could have been.

    said: the token and the most probable other ones, as the model said.
    sampled_log_p: log p of the token in the distribution that it was sampled from, in nats.
    others_sampled_log_p: the same of the others, in their order; -inf for one that could not be sampled.
    """

    said: TokenAlternatives
    sampled_log_p: float
    others_sampled_log_p: tuple[float, ...]


class ChatSession:
    """A conversation with a model that has a chat template.

    system: what the model is told about its part before the conversation; may be changed at any time. None leaves it to
    the template, which may have a text of its own.
    history: what was said before, as {"role": "user" or "assistant", "content": text}, in turns.
    seed: the same seed and the same conversation give the same reply; None takes one by chance. May be changed too.
    stop: a string or several; a reply ends before the first of them. max_tokens: of one reply.
    sampling: how tokens are chosen, as in `LanguageModel.sampler`: temperature, top_k, …

    Raises InputError for a model without a chat template.
    """

    def __init__(
        self,
        model: LanguageModel,
        system: str | None = None,
        *,
        history: Iterable[Mapping[str, str]] = (),
        seed: int | None = None,
        stop: str | Sequence[str] | None = (),
        max_tokens: int = 1000,
        **sampling: Any,
    ) -> None:
        if model.chat_template is None:
            raise InputError(
                "this model was not trained to hold a conversation: it has no chat template. Let it go on with a text "
                "instead: model.generate(prompt), or on the command line: tinygrad-llm generate."
            )
        self.model, self._template, self.system = model, model.chat_template, system
        self.seed = secrets.randbelow(1_000_000) if seed is None else seed
        self.stop, self.max_tokens = stop_strings(stop), check_integer("max_tokens", max_tokens)
        self.sampler = model.sampler(**sampling)
        self._history = [dict(message) for message in history]
        self._why: list[Why] = []
        self._reply: Generator[str, None, None] | None = None  # the one that is being given
        self._cache = GrowingCache(model.network.config)
        self._read: list[int] = []  # the ids that the cache remembers

    def __repr__(self) -> str:
        lines = [f"  {message['role']}: {message['content']}" for message in self.history]
        return "\n".join([f"ChatSession with {self.model!r}", *lines])

    @property
    def seed(self) -> int:
        """Decides, together with the conversation, what is sampled. Raises InputError when it is set below 0."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        seeded_generator(seed)  # says so if it is none
        self._seed = seed

    @property
    def history(self) -> list[dict[str, str]]:
        """What has been said so far: {"role": "user" or "assistant", "content": text}, in turns. A copy."""
        return [dict(message) for message in self._history]

    def say(self, text: str) -> Iterator[str]:
        """The reply to `text`, piece by piece while it is generated.

        When no more pieces are taken, or Ctrl-C is pressed, the reply ends there, and is kept so.
        Raises InputError when the conversation has become longer than the context.
        """
        if self._reply is not None:
            self._reply.close()
        message = {"role": "user", "content": check_text("text", text)}
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        ids = self._template.encode([*system, *self._history, message], self.model.tokenizer)
        room = self.model.network.config.context - len(ids)
        if room < 1:
            raise InputError(
                f"the conversation is {len(ids)} tokens long, and the model can look at {len(ids) + room}: no room is "
                "left for a reply. Begin a new one with reset(), or in the terminal with /reset; or say something "
                "shorter."
            )
        builder = TextBuilder(text, self.model.tokenizer, min(self.max_tokens, room), self.stop)
        self._reply = self._pieces(message, ids, builder)
        return self._reply

    def why(self) -> list[Why]:
        """What each token of the last reply could have been instead. Empty before the first reply."""
        return list(self._why)

    def reset(self) -> None:
        """Forget what has been said. System text, seed and all settings stay."""
        if self._reply is not None:
            self._reply.close()
        self._history, self._why = [], []

    def _pieces(self, message: dict[str, str], ids: list[int], builder: TextBuilder) -> Generator[str, None, None]:
        # By turn, so that a reply does not depend on how many tokens the replies before it had.
        rng = np.random.default_rng([self.seed, len(self._history)])
        self._go_back(ids)
        self._why = []
        tokens: list[int] = []
        steps = generate_steps(
            self.model.network,
            ids,
            builder.max_tokens,
            self.sampler,
            rng,
            cache=self._cache,
            stop_tokens=self.model.stop_tokens,
        )
        is_whole = False
        try:
            yield from text_pieces(builder, self._remembered(steps, tokens))
            is_whole = True
        finally:
            self._read = [*ids, *tokens][: self._cache.length]
            if is_whole or tokens:  # not if it was interrupted before it began
                self._history += [message, {"role": "assistant", "content": builder.text}]

    def _remembered(self, steps: Iterator[GenerationStep], tokens: list[int]) -> Iterator[GenerationStep]:
        """The same, and on the way what `why` needs; tokens: takes them up."""
        for step in steps:
            said = token_alternatives(step.log_p, step.token, OTHERS)
            others = tuple(float(step.sampled_log_p[token]) for token, _ in said.others)
            self._why.append(Why(said, float(step.sampled_log_p[step.token]), others))
            tokens.append(step.token)
            yield step

    def _go_back(self, ids: list[int]) -> None:
        """Let the cache forget what is not the beginning of `ids`; at least the last of them is left to be read."""
        shared = shared_beginning(self._read, ids[:-1])
        # A layer with a window may have dropped what it would look at there. Then all is read again.
        self._cache.truncate(shared if shared >= self._cache.earliest else 0)
        self._read = self._read[: self._cache.length]


def shared_beginning(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids at the beginning of the two are the same.

    >>> shared_beginning([3, 1, 4, 1], [3, 1, 5])
    2
    """
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
