"""Sets of characters, and how they are spelled in bytes: as they are (UTF-8), or inside a JSON string.

A set of characters is a tuple of ranges of code points, both ends included, sorted and apart from each other:
((0x30, 0x39), (0x41, 0x5A)) are the digits and the capital letters.

Builds on: `expressions`. Used by: `regular_expressions` and `json_schema`, which both describe characters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tinygrad_llm.generation.constraints.expressions import Bytes, Choice, Expression, Sequence, literal

Ranges = tuple[tuple[int, int], ...]
Spelling = Callable[[Ranges], Expression]  # how one character out of a set is written

# Every code point that is a character. D800 to DFFF are the halves of pairs in UTF-16, and no characters.
ALL: Ranges = ((0x00, 0xD7FF), (0xE000, 0x10FFFF))
ENDS_OF_LENGTHS = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)  # the last code points of one, two, three and four bytes in UTF-8
QUOTE_AND_BACKSLASH: Ranges = ((0x22, 0x22), (0x5C, 0x5C))
CONTROLS: Ranges = ((0x00, 0x1F),)
JSON_ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


def union(*sets: Ranges) -> Ranges:
    """The characters that are in any of the sets."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(one for ranges in sets for one in ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def without(ranges: Ranges, removed: Ranges) -> Ranges:
    """The characters of the first set that are not in the second."""
    left: list[tuple[int, int]] = []
    for low, high in ranges:
        for out_low, out_high in union(removed):
            if low <= out_high and out_low <= high:
                if low < out_low:
                    left.append((low, out_low - 1))
                low = out_high + 1
        if low <= high:
            left.append((low, high))
    return tuple(left)


def common(ranges: Ranges, others: Ranges) -> Ranges:
    """The characters that are in both sets."""
    shared = ((max(low, other_low), min(high, other_high)) for low, high in ranges for other_low, other_high in others)
    return union(tuple((low, high) for low, high in shared if low <= high))


@lru_cache(maxsize=1024)  # the same few sets come again and again, and one tree for each is enough
def utf8(ranges: Ranges) -> Expression:
    """One character out of the set, in UTF-8."""
    options = []
    for low, high in common(ranges, ALL):
        for end in ENDS_OF_LENGTHS:
            if low <= min(high, end):
                options.append(_between(chr(low).encode(), chr(min(high, end)).encode()))
                low = end + 1
    return options[0] if len(options) == 1 else Choice(tuple(options))


@lru_cache(maxsize=1024)
def json_text(ranges: Ranges) -> Expression:
    """One character out of the set as it stands in a JSON string: as `json.dumps(…, ensure_ascii=False)` writes it.

    JSON knows several spellings of a character ("é", "\\u00e9"); only this one may be generated.
    """
    plain = without(ranges, union(QUOTE_AND_BACKSLASH, CONTROLS))
    escaped = common(ranges, union(QUOTE_AND_BACKSLASH, CONTROLS))
    options = [utf8(plain)] if plain else []
    for low, high in escaped:
        options += [literal(JSON_ESCAPES.get(code, f"\\u{code:04x}")) for code in range(low, high + 1)]
    return Choice(tuple(options))


def _between(low: bytes, high: bytes) -> Expression:
    """Every encoding from `low` to `high`, two encodings of the same length.

    The first byte is either that of `low` (and what follows is at least the rest of `low`), or that of `high` (and what
    follows is at most the rest of `high`), or one between them (and then anything follows). Bytes after the first go
    from 80 to BF. Where low or high have the first or last possible rest, they are no cases of their own.
    """
    first, last = low[0], high[0]
    if len(low) == 1:
        return Bytes(bytes(range(first, last + 1)))
    if first == last:
        return Sequence((Bytes(low[:1]), _between(low[1:], high[1:])))
    lowest, highest = b"\x80" * (len(low) - 1), b"\xbf" * (len(low) - 1)
    options: list[Expression] = []
    if low[1:] != lowest:
        options.append(Sequence((Bytes(low[:1]), _between(low[1:], highest))))
        first += 1
    if high[1:] != highest:
        options.append(Sequence((Bytes(high[:1]), _between(lowest, high[1:]))))
        last -= 1
    if first <= last:
        options.append(Sequence((Bytes(bytes(range(first, last + 1))), _between(lowest, highest))))
    return options[0] if len(options) == 1 else Choice(tuple(options))
