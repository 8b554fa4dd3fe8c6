"""What a model consists of, whichever file it came from: the parts that `LanguageModel` puts together.

Builds on: `nn.transformer`, `text.tokenizer`.
Used by: `gguf_model` and `hugging_face`, which read and write it, and `language_model`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.text.tokenizer_config import TokenizerConfig


@dataclass(frozen=True)
class Pretrained:
    """A network and the tokenizer it was trained with; the other fields are those of `LanguageModel`."""

    network: Transformer
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    stop_tokens: tuple[int, ...]
    begin_token: int | None

    @property
    def begin_name(self) -> str | None:
        """The token that begins a text, or that at least the chat template knows by that use."""
        known = self.chat_template.bos if self.chat_template else None
        return known if self.begin_token is None else self._name(self.begin_token)

    @property
    def end_name(self) -> str | None:
        """The token that ends a text."""
        known = self.chat_template.eos if self.chat_template else None
        return self._name(self.stop_tokens[0]) if self.stop_tokens else known

    def _name(self, token: int) -> str | None:
        special = self.tokenizer.config.special_tokens
        return next((name for name, i in special.items() if i == token), None)


def unused_token(i: int) -> str:
    """The name of an id that no text becomes. It is llama.cpp's name for it, so that files agree."""
    return f"[PAD{i}]"


def fitted(tokenizer: Tokenizer, vocab_size: int, source: str) -> Tokenizer:
    """The tokenizer with one token for each row of an embedding of `vocab_size` rows.

    Embeddings often have more rows than there are tokens, because round numbers compute faster: the ids without a
    token get special ones, which no text becomes. Gemma 3's files have it the other way round, a token for images that
    the text model does not know: special tokens beyond the last row are left out.

    Raises InputError when ordinary tokens have no row.
    """
    config = tokenizer.config
    special = {name: i for name, i in config.special_tokens.items() if i < vocab_size}
    added = {name: i for name, i in config.added_tokens.items() if i < vocab_size}
    ordinary = {*config.tokens.values(), *(config.byte_tokens or {}).values()}
    last = max(ordinary, default=0)
    if last >= vocab_size:
        raise InputError(
            f"{source}: the tokenizer has ids up to {last}, and the embedding has {vocab_size} rows: they do not "
            "belong together. Fetch it again."
        )
    taken = {*ordinary, *special.values(), *added.values()}
    special |= {unused_token(i): i for i in range(vocab_size) if i not in taken}
    if special == config.special_tokens and added == config.added_tokens:
        return tokenizer
    return Tokenizer(replace(config, special_tokens=special, added_tokens=added))


def without_unused(config: TokenizerConfig) -> TokenizerConfig:
    """The config without the tokens that `fitted` added."""
    kept = {name: i for name, i in config.special_tokens.items() if name != unused_token(i)}
    return replace(config, special_tokens=kept)
