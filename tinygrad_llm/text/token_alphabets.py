"""How files write tokens, which are bytes, as text: GPT-2's byte-level alphabet, and SentencePiece's signs.

    byte-level      every byte as one visible character: the space is "Ġ", the line end "Ċ"
    SentencePiece   the text itself with "▁" for a space; the token of a single byte is "<0x0A>"

Used by: `tokenizer_json`, `tokenizer_files`, `tokenizer_gguf`, `tokenizer_training`.
"""

import itertools
import re

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.spelling import SPACE_SIGN


def byte_alphabet() -> list[str]:
    """The character that stands for each of the 256 bytes.

    Bytes that are visible characters of Latin-1 stand for themselves, the others are numbered from U+0100 on.
    Source: Radford et al. 2019, src/encoder.py, `bytes_to_unicode`.
    """
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = itertools.count(0x100)
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


_CHARACTER_OF = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(_CHARACTER_OF)}
_ALPHABET = frozenset(_BYTE_OF)


def visible(token: bytes) -> str:
    """A token in GPT-2's alphabet: b" the" is "Ġthe"."""
    return "".join([_CHARACTER_OF[byte] for byte in token])


def is_byte_level(token: str) -> bool:
    """Whether a token is written in GPT-2's alphabet."""
    return _ALPHABET.issuperset(token)


def from_visible(token: str) -> bytes:
    """The inverse of `visible`: "Ġthe" is b" the". Raises InputError for a character outside the alphabet."""
    if not is_byte_level(token):
        raise InputError(f"the token {token!r} is not written in the byte-level alphabet")
    return bytes([_BYTE_OF[character] for character in token])


def with_space_signs(token: bytes) -> str:
    """A token as SentencePiece writes it: b" the" is "▁the"."""
    return token.decode().replace(" ", SPACE_SIGN)


def without_space_signs(token: str) -> bytes:
    """The inverse of `with_space_signs`: "▁the" is b" the". Raises InputError for half of a character."""
    if not is_text(token):
        raise InputError(f"the token {token!r} is not text: it holds half of a character")
    return token.replace(SPACE_SIGN, " ").encode()


def is_text(string: str) -> bool:
    """Whether UTF-8 can write it: JSON can say half of a character, a lone surrogate."""
    return re.search("[\ud800-\udfff]", string) is None


def byte_name(byte: bytes) -> str:
    """How SentencePiece writes the token of a single byte: b"\\n" is "<0x0A>"."""
    return f"<0x{byte[0]:02X}>"


BYTE_OF_NAME = {byte_name(bytes([byte])): bytes([byte]) for byte in range(256)}
