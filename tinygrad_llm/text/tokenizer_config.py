"""The configuration of a tokenizer: everything that decides which ids a text becomes, as plain data.

Two kinds of byte pair encoding are told apart by one field. *Byte-level* (GPT-2, Llama 3, Qwen, and what is trained
here) has `byte_tokens=None`: split patterns cut the text, and merges start from its bytes. *SentencePiece-style* (Llama
2, Mistral, Gemma) has no patterns: merges start from characters, and a character that the vocabulary lacks becomes the
`byte_tokens` of its UTF-8. See `spelling.py`.

Builds on: `bpe.py` (its merges). Used by: `tokenizer.py`, and `tokenizer_json.py`, `tokenizer_files.py` and
`tokenizer_gguf.py`, which read it from files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.bpe import Pair

END_OF_TEXT = "<|endoftext|>"  # the special token of tokenizers trained here, as of GPT-2

Normalization = Literal["NFC", "NFD", "NFKC", "NFKD"]

# Whether text gets a space in front that is not in it, so that its first word is spelled like any other:
#   never                 Gemma
#   always                SentencePiece itself, Llama 2: before every part of a text between special tokens
#   if_missing            as "always", but not where a part begins with a space already
#   if_missing_at_start   as "if_missing", but only at the start of the text: Mistral
# Decoding takes a space away at the start, with all but "never"; so "if_missing" loses one that was in the text.
SpaceInFront = Literal["never", "always", "if_missing", "if_missing_at_start"]


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything that decides which ids a text becomes.

    Ranks and ids are separate things: ranks are the order of `merges`, ids are whatever `tokens` says, in any
    order and with gaps. A vocabulary may lack single bytes (SmolLM2 has no tokens for bytes it never saw);
    text with such a byte cannot be encoded.
    """

    tokens: Mapping[bytes, int]  # token -> id
    merges: tuple[Pair, ...]  # the earlier, the stronger
    patterns: tuple[str, ...]  # regular expressions, applied one after the other; byte-level only
    special_tokens: Mapping[str, int]  # name -> id: in a text only where the caller allows it
    added_tokens: Mapping[str, int] = field(default_factory=dict)  # name -> id: found in any text before it is cut
    normalized_tokens: frozenset[str] = frozenset()  # names of both kinds that are found after normalization
    normalization: Normalization | None = None  # a Unicode normal form, applied to text before it is split
    ignore_merges: bool = False  # a piece that is itself a token is taken whole, whatever the merges say
    byte_tokens: Mapping[bytes, int] | None = None  # byte -> id; given, the tokenizer is SentencePiece-style
    space_in_front: SpaceInFront = "never"
    begin_of_text: int | None = None  # the model expects this id in front of every text
    end_of_text: int | None = None  # the model writes this id when it has finished
    end_of_turn: int | None = None  # a chat model writes this id when it has answered


def is_byte_and_name(token: object, name: object) -> bool:
    """Whether these are the ordinary token of one byte and a special or added token whose name is one character."""
    return isinstance(token, bytes) and isinstance(name, str) and len(token) == len(name) == 1


def check_config(config: TokenizerConfig) -> TokenizerConfig:
    """`config` itself, once it is known to be consistent.

    Raises InputError, in the middle of a sentence, when an id is out of range or stands for two tokens, a token is
    empty or of two kinds, or no token has the id that begins or ends a text.
    """
    byte_tokens = config.byte_tokens or {}
    named = {**config.special_tokens, **config.added_tokens}
    if len(named) < len(config.special_tokens) + len(config.added_tokens):
        raise InputError("one of its tokens is special and ordinary at once")
    owner: dict[int, object] = {}
    for group in (config.tokens, byte_tokens, config.special_tokens, config.added_tokens):
        for token, i in group.items():
            if type(i) is not int or not 0 <= i < 2**31:
                raise InputError(f"the token {token!r} has the id {i!r}, which is not a whole number from 0 on")
            if not token:
                raise InputError("one of its tokens is empty")
            # An added token may be one that merges make as well; then it has two entries and one id.
            # So may one whose name is a byte ("£").
            if (
                owner.setdefault(i, token) != token
                and token not in config.added_tokens
                and not is_byte_and_name(owner[i], token)
            ):
                raise InputError(f"the tokens {owner[i]!r} and {token!r} have the same id, {i}")
    for use in ("begin_of_text", "end_of_text", "end_of_turn"):
        i = getattr(config, use)
        if i is not None and i not in owner:
            raise InputError(f"its {use} is {i!r}, and no token has that id")
    return config
