"""Network and tokenizer together: text in, text out. This is what most people hold in their hands.

    import tinygrad_llm as tg
    model = tg.load("runs/shakespeare")
    model.next_word("To be, or not to")
    print(model.generate("ROMEO:", seed=1))

Comes before: `nn.transformer`, `text.tokenizer`, `generation`. Comes after: the command line.
Left out on purpose: anything that computes; each method says which function of `generation` it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.chains import usual_chain
from tinygrad_llm.generation.generate import checked_ids, generate_tokens, next_log_probabilities
from tinygrad_llm.generation.scoring import score_tokens
from tinygrad_llm.generation.text_stream import until_stop, whole_characters
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.pictures.distribution import Distribution
from tinygrad_llm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tinygrad_llm.text.chat import ChatTemplate


class LanguageModel:
    """A network and the tokenizer it was trained with.

    chat_template: how a conversation is written, for a model that was trained to hold one; else None.
    stop_tokens: ids at which the model's texts end; None: the token that ends a text, if the tokenizer has one.
    begin_token: an id that stands before every text, for a model that was trained so; else None.

    Without a begin_token texts begin after the token that ends a text, if the tokenizer has one, else after a line end:
    an empty prompt stands for just that, and the first token of a scored text is seen after it.

    Raises InputError when the two do not belong together: their vocabularies differ in size.
    """

    def __init__(
        self,
        network: Transformer,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate | None = None,
        stop_tokens: Collection[int] | None = None,
        begin_token: int | None = None,
    ) -> None:
        if network.config.vocab_size != tokenizer.vocab_size:
            raise InputError(
                f"the network knows {network.config.vocab_size} tokens and the tokenizer {tokenizer.vocab_size}: they "
                "do not belong together. Take both from the same run."
            )
        self.network, self.tokenizer, self.chat_template = network, tokenizer, chat_template
        self.begin_token = begin_token
        if stop_tokens is None:
            stop_tokens = () if tokenizer.end_of_text is None else (tokenizer.end_of_text,)
        self.stop_tokens = tuple(stop_tokens)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model of a run folder, as `tinygrad-llm train` writes it.

        Raises InputError when the folder is missing, damaged, or from another version.
        """
        from tinygrad_llm.training.run_folder import RunFolder  # here, because `import tinygrad_llm` must stay quick

        return cls(*RunFolder(path).load_model())

    def to(self, device: str) -> Self:
        """Move the network to "cpu" or "cuda"; returns itself."""
        self.network.to(device)
        return self

    def __repr__(self) -> str:
        config = self.network.config
        return (
            f"LanguageModel({self.network.parameter_count():,} parameters, {config.layers} layers, "
            f"width {config.width}, {config.vocab_size:,} tokens, context {config.context})"
        )

    # --- writing -------------------------------------------------------------------------------------------

    def next_word(self, prompt: str) -> Distribution:
        """How probable every token is as the next one after `prompt`: a distribution that shows its top ten.

        The name is for the story. A token is often a whole word, sometimes a part of one.
        Raises InputError when the prompt is longer than the context.
        """
        ids = checked_ids(self.network, self._prompt_ids(prompt))
        log_p = next_log_probabilities(self.network, ids, GrowingCache(self.network.config))
        return Distribution(log_p, self.tokenizer)

    def generate(
        self,
        prompt: str,
        max_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
    ) -> str:
        """The text that the model writes after `prompt`, without the prompt.

        max_tokens: at most this many; it ends before when the model draws the token that ends a text.
        temperature: 0 always takes the most probable token, 1 draws as the model says (`samplers.Temperature`).
        top_k, top_p, min_p: draw only from the likeliest tokens (`samplers.TopK`, `TopP`, `MinP`).
        seed: the same seed gives the same text; None gives another one each time.
        stop: the text ends before the first of these strings.
        """
        return "".join(self.stream(prompt, max_tokens, temperature, top_k, top_p, min_p, seed, stop))

    def stream(
        self,
        prompt: str,
        max_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
    ) -> Iterator[str]:
        """As `generate`, but piece by piece while it is written: whole characters, and nothing of a stop string."""
        ids = generate_tokens(
            self.network,
            self._prompt_ids(prompt),
            max_tokens,
            usual_chain(temperature, top_k, top_p, min_p),
            seeded_generator(seed),
            stop_tokens=self.stop_tokens,
        )
        return until_stop(whole_characters(ids, self.tokenizer), stop)

    # --- reading -------------------------------------------------------------------------------------------

    def log_probabilities(self, text: str) -> np.ndarray:
        """log p of each token of `text` after those before it, in nats, (T,), in the order of `tokenizer.encode(text)`.

        Their sum is the log-probability of the text. Longer texts than the context: see `scoring.score_tokens`.
        Raises InputError for an empty text.
        """
        ids = self.tokenizer.encode_array(text)
        if len(ids) == 0:
            raise InputError("text is empty, and has no probability. Give a text of at least one character.")
        return score_tokens(self.network, np.concatenate([self._start_ids(), ids]))

    def perplexity(self, text: str) -> float:
        """exp(-mean log p) over the tokens: as undecided as if it chose among that many equally likely tokens."""
        return math.exp(-self.log_probabilities(text).mean())

    def bits_per_byte(self, text: str) -> float:
        """-Σ log₂ p divided by the bytes of the text in UTF-8: comparable between tokenizers; 8 is knowing nothing."""
        return -float(self.log_probabilities(text).sum()) / math.log(2.0) / len(text.encode())

    def _prompt_ids(self, prompt: str) -> list[int]:
        ids = self.tokenizer.encode(prompt)
        return ids if ids and self.begin_token is None else self._start_ids() + ids

    def _start_ids(self) -> list[int]:
        if self.begin_token is not None:
            return [self.begin_token]
        end = self.tokenizer.end_of_text
        return self.tokenizer.encode("\n") if end is None else [end]


def seeded_generator(seed: int | None) -> np.random.Generator:
    """NumPy's generator; with None a different one each time. Raises InputError for a negative seed."""
    if seed is not None and seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, it was {seed}.")
    return np.random.default_rng(seed)


def load(path: str | Path) -> LanguageModel:
    """The language model of a run folder: `LanguageModel.load`."""
    return LanguageModel.load(path)
