"""Special tokens in text: text is split at their names. And the check that a text is one.

Used by: `tokenizer`, `tokenizer_training`, the commands.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from tinygrad_llm.errors import InputError

BLOCK = 1 << 16  # characters that are checked at a time, so that a text of megabytes is not copied


def split_at_names(text: str, names: Iterable[str]) -> list[str]:
    """What is between the names, and the names, in turn. Of two names that begin at one place, the longer is found.

    >>> split_at_names("Once.<|end|>Twice.", ["<|end|>"])
    ['Once.', '<|end|>', 'Twice.']
    """
    return _finder(frozenset(names)).split(text) if names else [text]


@lru_cache(maxsize=64)
def _finder(names: frozenset[str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) + ")")


def check_is_text(text: str) -> None:
    """Raise InputError unless `text` is a str that UTF-8 can write."""
    if not isinstance(text, str):
        raise InputError(f"text must be a str, and is {type(text).__name__}. For bytes there is encode_bytes.")
    for start in range(0, 0 if text.isascii() else len(text), BLOCK):
        try:
            text[start : start + BLOCK].encode()
        except UnicodeEncodeError as error:
            place = start + error.start
            raise InputError(
                f"text holds the lone surrogate U+{ord(text[place]):04X} at position {place}, "
                f'half of a character. Replace it, for example with text.encode("utf-8", "replace").decode().'
            ) from error
