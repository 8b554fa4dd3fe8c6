"""From text to the symbols that merges start from: the two ways in which byte pair encoding begins.

    byte-level:            text --normal form, split patterns--> pieces --UTF-8--> bytes
    SentencePiece-style:   text --a space in front-------------> pieces -----------> characters

Byte-level BPE cuts the text into words first, and merges never cross a cut. A byte is a token already, so every text
can be spelled.

SentencePiece-style BPE cuts nowhere: only the merges decide. It starts from the characters that are in its vocabulary,
and spells any other one with the tokens of its UTF-8 bytes. In its files a space is written "▁" (U+2581); here a token
is its text, with spaces. A "▁" in a text counts as a space, as it does in SentencePiece, so decoding gives a space for
it. Since the whole text is one piece, a page would be merged as one word; so pieces end where no token can cross
(`SentencePieceSpelling`), which changes no id and lets pieces be remembered.

Builds on: `patterns.py` (splitting), `tokenizer_config.py` (which of the two ways). Used by: `tokenizer.py`.
Left out on purpose: SentencePiece's own normalization (the files of large language models have none).
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol

from tinygrad_llm.text.bpe import single_bytes
from tinygrad_llm.text.patterns import Splitter
from tinygrad_llm.text.tokenizer_config import SpaceInFront, TokenizerConfig

SPACE_SIGN = "▁"  # how SentencePiece writes a space in its files


class Spelling(Protocol):
    """How text becomes pieces, and a piece becomes what merges start from. Merges stay within a piece."""

    def normalized(self, text: str) -> str:
        """`text` as it is cut and merged: in a Unicode normal form, for instance."""

    def prefix(self, text: str, at_start: bool) -> str:
        """A space that belongs in front of the normalized `text`, or nothing.

        at_start: nothing stands before the text; else a special token does.
        """

    def pieces(self, text: str) -> list[str]:
        """Normalized text cut up."""

    def symbols(self, piece: str) -> list[bytes]:
        """The spelling that the merges of `piece` start from. A lone surrogate U+DCxx stands for the byte xx."""


class ByteLevelSpelling:
    """Pieces by split patterns, spelled from single bytes."""

    def __init__(self, config: TokenizerConfig) -> None:
        self._normalization = config.normalization
        self._space_in_front = config.space_in_front
        self._split = Splitter(config.patterns)

    def normalized(self, text: str) -> str:
        return unicodedata.normalize(self._normalization, text) if self._normalization else text

    def prefix(self, text: str, at_start: bool) -> str:
        return space_in_front(self._space_in_front, text, at_start)

    def pieces(self, text: str) -> list[str]:
        return self._split(text)

    def symbols(self, piece: str) -> list[bytes]:
        return single_bytes(piece.encode("utf-8", "surrogateescape"))


class SentencePieceSpelling:
    """Pieces that no token can cross, spelled from characters.

    A piece is a word with the spaces before it, because hardly any token has a space after something else. The
    characters that do stand before a space in some token (Gemma has one such token, ">▁</") do not end a piece.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        self._space_in_front = config.space_in_front
        self._characters = {character: symbol for symbol in config.tokens if len(character := symbol.decode()) == 1}
        self._pattern = re.compile(_piece_pattern(config.tokens))

    def normalized(self, text: str) -> str:
        return text.replace(SPACE_SIGN, " ")

    def prefix(self, text: str, at_start: bool) -> str:
        return space_in_front(self._space_in_front, text, at_start)

    def pieces(self, text: str) -> list[str]:
        return self._pattern.findall(text)

    def symbols(self, piece: str) -> list[bytes]:
        known = self._characters
        symbols: list[bytes] = []
        for character in piece:
            if character in known:
                symbols.append(known[character])
            else:
                symbols += single_bytes(character.encode("utf-8", "surrogateescape"))
        return symbols


def space_in_front(rule: SpaceInFront, text: str, at_start: bool) -> str:
    """The space that `rule` puts in front of `text`, or nothing. See `SpaceInFront`."""
    if not text or rule == "never" or (rule == "if_missing_at_start" and not at_start):
        return ""
    return " " if rule == "always" or not text.startswith(" ") else ""


def _piece_pattern(tokens: Iterable[bytes]) -> str:
    """A regular expression for pieces that none of `tokens` crosses; the pieces of a text, joined, are the text.

    >>> re.findall(_piece_pattern([b" to", b"  ", b"> <"]), "to  be> or")
    ['to', '  be> or']
    """
    inside = (token.decode() for token in tokens if b" " in token.lstrip(b" "))
    before_space = {character for token in inside for character in re.findall("([^ ]) ", token)}
    if not before_space:
        return " *[^ ]+| +"
    glue = "".join(re.escape(character) for character in sorted(before_space))
    return f" *[^ ]+(?:(?<=[{glue}]) +[^ ]*)*| +"
