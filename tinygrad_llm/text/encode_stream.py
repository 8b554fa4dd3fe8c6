"""Encoding a text of any length piece by piece: the ids, joined, are those of the whole text.

The ids at the end of what has arrived are not certain yet: "the" may go on as "them", " \\n" is split in another way
when another line end follows, half of "<|endoftext|>" may become all of it. The end is held back until more arrives:

    what arrived   --names of special tokens-->  ordinary text  --normal form-->  --split patterns-->  pieces -> ids
    held back:     as much as the longest name      up to the last ASCII         the last pieces, and the
                                                    character                    white space before them

How far the patterns in `patterns.KNOWN` look ahead is known, and a test holds the ids equal to those of the whole text.
With another pattern, or with added tokens that are found after normalization, everything is held back until the end.

Builds on: `tokenizer`. Used by: `Tokenizer.encode_array` and `Tokenizer.encode_iterable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinygrad_llm.text.tokenizer import Tokenizer

AT_LEAST = 1 << 13  # characters that are waited for, so that few are looked at twice
PIECES_HELD = 4  # no known pattern changes more than the last two when text is added, white space left aside


class EncodeStream:
    """Encodes what is pushed: `push` returns the ids that are certain by now, `finish` the rest.

    names: the special and added tokens that are found in the text, with their ids.
    """

    def __init__(self, tokenizer: Tokenizer, names: Mapping[str, int]) -> None:
        self._tokenizer, self._names = tokenizer, names
        self._find = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True)))) if names else None
        self._longest = max(map(len, names), default=1)
        self._arrived = ""  # not yet searched for names
        self._raw = ""  # ordinary text, not yet normalized
        self._text = ""  # normalized, not yet certain
        self._has_begun = False  # whether the ordinary text that is read now has begun
        self._at_start = True  # whether nothing at all stands before it

    def push(self, text: str) -> np.ndarray:
        """The ids that are certain now, int32."""
        self._arrived += text
        if not self._tokenizer.can_stream or len(self._arrived) < AT_LEAST:
            return np.array([], np.int32)
        return self._advance(is_last=False)

    def finish(self) -> np.ndarray:
        """The ids of what is left."""
        if not self._tokenizer.can_stream:
            return self._tokenizer.encode_whole(self._arrived, self._names)
        return self._advance(is_last=True)

    def _advance(self, is_last: bool) -> np.ndarray:
        certain = len(self._arrived) - (0 if is_last else self._longest - 1)
        ids, start = [], 0
        for found in self._find.finditer(self._arrived) if self._find else ():
            if found.start() >= certain:
                break
            ids += [self._ordinary(self._arrived[start : found.start()], is_last=True)]
            ids += [np.array([self._names[found.group()]], np.int32)]
            self._has_begun, self._at_start, start = False, False, found.end()
        end = max(start, certain)
        ids.append(self._ordinary(self._arrived[start:end], is_last))
        self._arrived = self._arrived[end:]
        return np.concatenate(ids)

    def _ordinary(self, text: str, is_last: bool) -> np.ndarray:
        """The ids of ordinary text that are certain; all of them where nothing can follow."""
        spelling = self._tokenizer.spelling
        raw = self._raw + text
        cut = len(raw) if is_last else last_ascii(raw)
        self._raw, new = raw[cut:], spelling.normalized(raw[:cut])
        if new and not self._has_begun:
            new = spelling.prefix(new, self._at_start) + new
            self._has_begun, self._at_start = True, False
        pieces = spelling.pieces(self._text + new)
        kept = len(pieces) if is_last else certain_pieces(pieces)
        self._text = "".join(pieces[kept:])
        return self._tokenizer.ids_of_pieces(pieces[:kept])


def last_ascii(text: str) -> int:
    """Where the last ASCII character stands. It is never joined to what stands before it in a normal form."""
    return next((i for i in range(len(text) - 1, -1, -1) if text[i].isascii()), 0)


def certain_pieces(pieces: list[str]) -> int:
    """How many pieces at the beginning stay as they are, whatever follows."""
    kept = max(0, len(pieces) - PIECES_HELD)
    while kept and (pieces[kept - 1][-1].isspace() or (pieces[kept][0].isspace() and pieces[kept].isspace())):
        kept -= 1
    return kept
