"""Split patterns: how text is cut into pieces before any byte pair is counted.

Merges never cross the edge of a piece, so this regular expression limits what a token can be: a word with the space
before it, a few digits, a run of punctuation. Without it the most frequent pairs would join words ("of the"), and every
word would be learned again with each of its neighbours.

A tokenizer holds a sequence of patterns: the pieces of the first are cut further by the second, and so on
(SmolLM2 first isolates every digit and then splits as GPT-2 does). What a pattern does not match stays a
piece of its own, so that no character is ever lost.

What is a letter (\\p{L}) depends on the version of Unicode: for characters younger than Unicode 14 another
library may cut elsewhere. For all older ones the cuts were compared with `tokenizers` 0.23, and are the same.

Builds on: `pattern_dialects` (bounds). Used by: `spelling`, `tokenizer`. Left out on purpose: the other behaviours that
the library `tokenizers` has for a split (removing the match, joining it to a neighbour): byte-level tokenizers do not
use them.
"""

import time
from collections.abc import Sequence

import regex

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.pattern_dialects import check_pattern

# Contractions; words, numbers and punctuation, each with the space before it; other white space. White space
# before a word leaves its last space to the word: that is the lookahead. Source: Radford et al. 2019,
# src/encoder.py.
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# As GPT-2's, but: contractions in either case, any one sign (not only a space) in front of a word, at most
# three digits in a piece, line ends kept with the punctuation before them. Source: tokenizer.json of Llama 3.
GPT4 = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# As GPT-4's, but white space at the end of the text stays one piece, with its line ends. Source: cl100k_base of
# tiktoken 0.14. The tokenizer.json files of that vocabulary have the pattern above.
CL100K = GPT4.replace(r"|\s*[\r\n]+", r"|\s++\Z|\s*[\r\n]+")

# As GPT-4's, but every digit alone. Source: tokenizer.json of Qwen 2.
QWEN2 = GPT4.replace(r"\p{N}{1,3}", r"\p{N}")

# As GPT-4's, but: a word ends where a small letter is followed by a capital, accents belong to the word, contractions
# stay with it, slashes count with the line ends. Source: o200k_base of tiktoken.
_SIGN = r"[^\r\n\p{L}\p{N}]?"
_CAPITAL, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (
    rf"{_SIGN}{_CAPITAL}*{_SMALL}+{_CONTRACTION}|{_SIGN}{_CAPITAL}+{_SMALL}*{_CONTRACTION}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# As GPT-4o's, but contractions apart and every digit alone. Source: tokenizer.json of Mistral Nemo.
TEKKEN = GPT4O.replace(_CONTRACTION, "").replace(r"\p{N}{1,3}", r"\p{N}")

# Every digit alone; every run of digits alone.
ONE_DIGIT = r"\p{N}"
DIGITS = r"\p{N}+"

PATTERNS = {"gpt2": GPT2, "gpt4": GPT4, "gpt4o": GPT4O}

# No match of these depends on more than the character behind it: see `encode_stream`.
KNOWN = frozenset([GPT2, GPT4, CL100K, QWEN2, GPT4O, TEKKEN, ONE_DIGIT, DIGITS])

TIME_LIMIT = 5.0  # seconds of the processor that a pattern which is not in KNOWN may take for a text,
TIME_PER_CHARACTER = 2e-5  # and for each of its characters: a hundred times what the known ones take


def named_pattern(pattern: str) -> str:
    """The regular expression behind a name ("gpt2", "gpt4", "gpt4o"); a regular expression is returned as it is.

    Raises InputError for a word that is neither, which would otherwise be a pattern that matches only itself.
    """
    if pattern in PATTERNS:
        return PATTERNS[pattern]
    if not any(sign in pattern for sign in r"\[(|.*+?^$"):
        raise InputError(
            f"pattern={pattern!r} is neither a known name ({', '.join(PATTERNS)}) nor a regular expression."
        )
    return pattern


class Splitter:
    """Cuts text into pieces; joined again they are the text: `"".join(splitter(text)) == text`.

    >>> Splitter([GPT4])("They'll meet in 1601.")
    ['They', "'ll", ' meet', ' in', ' ', '160', '1', '.']
    >>> Splitter([ONE_DIGIT, GPT2])("in 1601.")
    ['in', ' ', '1', '6', '0', '1', '.']
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = list(patterns)
        self._compiled = [_compile(pattern) for pattern in patterns]

    def __call__(self, text: str) -> list[str]:
        pieces = [text] if text else []
        for pattern, compiled in zip(self._patterns, self._compiled, strict=True):
            # split() with the match in a group returns what is between the matches and the matches, in turn.
            if pattern in KNOWN:
                pieces = [part for piece in pieces for part in compiled.split(piece) if part]
            else:
                pieces = _split_in_time(pattern, compiled, pieces)
        return pieces


def _split_in_time(pattern: str, compiled: regex.Pattern[str], pieces: list[str]) -> list[str]:
    """The pieces cut further by a pattern that may be slow. Raises InputError where it is.

    Not for the patterns that are known here: watching the clock makes `regex` three times slower.
    """
    size = sum(map(len, pieces))
    seconds = TIME_LIMIT + TIME_PER_CHARACTER * size
    end = time.process_time() + seconds  # of the processor, as `regex` counts
    parts: list[str] = []
    try:
        for piece in pieces:
            cut = compiled.split(piece, timeout=max(0.0, end - time.process_time()))
            parts += _split_by_search(compiled, piece, end) if "" in cut[1::2] else cut
    except TimeoutError as error:
        raise InputError(
            f"the split pattern {pattern[:60]!r} needs more than {seconds:.0f} seconds for {size:,} characters. Take a "
            "tokenizer with another pattern."
        ) from error
    except MemoryError as error:
        raise InputError(
            f"the split pattern {pattern[:60]!r} needs more memory than there is for {size:,} characters. Take a "
            "tokenizer with another pattern."
        ) from error
    return [part for part in parts if part]


def _split_by_search(compiled: regex.Pattern[str], text: str, end: float) -> list[str]:
    """As compiled.split, for a pattern that also matches nothing; the two libraries go on in different ways from there.

    Where nothing is matched right behind the last match, `tokenizers` begins again one character further on, and
    `regex` looks for a longer match at the same place.
    """
    parts, done, last, place = [], 0, -1, 0
    while found := compiled.search(text, place, timeout=max(0.0, end - time.process_time())):
        if found.start() == found.end() == last:
            place += 1
            if place > len(text):
                break
            continue
        parts += [text[done : found.start()], found.group()]
        done = last = place = found.end()
    return [*parts, text[done:]]


def _compile(pattern: str) -> regex.Pattern[str]:
    check_pattern(pattern)
    flags = "(?V1)" if pattern.startswith("(?V1)") else ""  # must stand first
    try:
        compiled = regex.compile(f"{flags}({pattern.removeprefix(flags)})")
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise InputError(f"The split pattern {pattern!r} is not a regular expression: {error}.") from error
    if compiled.groups > 1:
        raise InputError(f"The split pattern {pattern!r} captures groups; write (?:...) in place of (...).")
    return compiled
