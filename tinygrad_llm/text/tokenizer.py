"""The tokenizer: text to ids and back.

    text --split--> pieces --UTF-8--> bytes --merges--> tokens --vocabulary--> ids

The ids of a tokenizer trained here are in the natural order: the 256 bytes first, the id being the byte's
value; then the merges in the order in which they were learned; then the special tokens. So a byte needs no
table, the id of a merge minus 256 is its rank, and a smaller vocabulary is the beginning of a larger one. A
tokenizer that was loaded keeps the ids of its file.

Text never becomes a special token by accident: "<|endoftext|>" in what a user wrote is thirteen ordinary
characters, unless the caller allows it by name.

Before this: `bpe.py` learns and applies the merges, `tokenizer_json.py` is the file. After this:
`streaming.py` decodes id by id, `corpus.py` and `batches.py` turn ids into training data.

Left out on purpose: padding, truncation, begin-of-text tokens. Who builds a batch or a prompt does that.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import regex

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import atomic_write_bytes, read_text
from tinygrad_llm.text import bpe, tokenizer_json
from tinygrad_llm.text.patterns import Splitter, named_pattern
from tinygrad_llm.text.tokenizer_json import TokenizerConfig

BYTES = 256
END_OF_TEXT_NAMES = ("<|endoftext|>", "<|end_of_text|>")


class Tokenizer:
    """Byte-level BPE with the vocabulary, merges, split patterns and special tokens of `config`.

    Made by `Tokenizer.train` or `Tokenizer.load`. Every text that UTF-8 can write is encoded, and decoding
    gives it back: `tokenizer.decode(tokenizer.encode(text)) == text`. Two exceptions belong to files of other
    models: some normalise text first (Qwen: NFC), and some lack tokens for rare bytes (SmolLM2).

    >>> tokenizer = Tokenizer.train("the cat, the hat, the bat", vocab_size=260)
    >>> tokenizer.tokens("the rat")
    [b'the', b' ', b'r', b'at']
    """

    def __init__(self, config: TokenizerConfig) -> None:
        self.config = config
        self._split = Splitter(config.patterns)
        self._ranks = {pair: rank for rank, pair in enumerate(config.merges)}
        self._token_of = {i: token for token, i in config.tokens.items()}
        self._token_of |= {i: name.encode() for name, i in config.special_tokens.items()}
        self._packed_ids = _Memo(self._encode_piece)

    @classmethod
    def train(
        cls,
        text: str | Iterable[str],
        vocab_size: int,
        pattern: str = "gpt4",
        special_tokens: Sequence[str] = ("<|endoftext|>",),
    ) -> "Tokenizer":
        """Learn a vocabulary of exactly `vocab_size` tokens from one text or several.

        `vocab_size` counts everything: 256 bytes, the merges, the special tokens. 256 itself means bytes and
        nothing else: no merges and no special tokens. `pattern` is "gpt2", "gpt4" or a regular expression.
        See `bpe.train` for what is merged and how ties are broken. Special tokens are not looked for in the
        text.

        Raises InputError when `vocab_size` is below 256, leaves no room for the special tokens, or is more
        than the text supports; and when a special token is empty, given twice or an ordinary token as well.
        """
        if isinstance(special_tokens, str):
            raise InputError(f"special_tokens={special_tokens!r} must be a list of names: [{special_tokens!r}].")
        if vocab_size < BYTES:
            raise InputError(f"vocab_size={vocab_size} is below the {BYTES} bytes. Ask for {BYTES} or more.")
        if vocab_size == BYTES:
            special_tokens = ()
        merges = vocab_size - BYTES - len(special_tokens)
        if merges < 0:
            raise InputError(
                f"vocab_size={vocab_size} leaves no room for {len(special_tokens)} special tokens beside the "
                f"{BYTES} bytes. Ask for {BYTES + len(special_tokens)} or more, or for {BYTES}: bytes alone."
            )
        expression = named_pattern(pattern)
        words = _count_words([text] if isinstance(text, str) else text, Splitter([expression]))
        learned = bpe.train(words, merges)
        if len(learned) < merges:
            raise InputError(
                f"vocab_size={vocab_size} is more than the text supports, which is "
                f"{vocab_size - merges + len(learned)}: with {len(learned)} merges every word is one token. "
                f"Ask for that or less, or give more text."
            )
        tokens = [bytes([byte]) for byte in range(BYTES)] + [left + right for left, right in learned]
        _check_special_tokens(special_tokens, tokens)
        return cls(
            TokenizerConfig(
                tokens={token: i for i, token in enumerate(tokens)},
                merges=tuple(learned),
                patterns=(expression,),
                special_tokens={name: i for i, name in enumerate(special_tokens, start=len(tokens))},
            )
        )

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a tokenizer.json: one that `save` wrote, or that of another byte-level BPE model.

        Raises InputError when the file is missing, damaged or of another kind of tokenizer.
        """
        return cls(tokenizer_json.from_json(read_text(path), source=str(path)))

    def save(self, path: str | Path) -> None:
        """Write everything this tokenizer is to one file, usually called tokenizer.json, for `load`.

        The library `tokenizers` opens the file as well and gives equal ids, with one difference: it finds
        special tokens in any text, as `encode(text, allowed_special="all")` does here.
        """
        atomic_write_bytes(path, tokenizer_json.to_json(self.config).encode())

    # -- what is in it ---------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """The number of rows an embedding needs: one more than the largest id."""
        return max(self._token_of) + 1

    @property
    def special_tokens(self) -> dict[str, int]:
        """Name -> id."""
        return dict(self.config.special_tokens)

    @property
    def end_of_text(self) -> int | None:
        """The id of the token that ends a text, by its usual names, or None if there is none."""
        ids = (self.config.special_tokens.get(name) for name in END_OF_TEXT_NAMES)
        return next((i for i in ids if i is not None), None)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one id stands for. Raises InputError for an id that is not in the vocabulary."""
        return self.decode_bytes([token_id])

    def __repr__(self) -> str:
        merges, special = len(self.config.merges), list(self.config.special_tokens)
        return f"Tokenizer(vocab_size={self.vocab_size}, merges={merges}, special_tokens={special})"

    # -- text to ids -----------------------------------------------------------------------------------------

    def encode(self, text: str, allowed_special: str | Collection[str] = ()) -> list[int]:
        """The ids of `text`.

        `allowed_special` names the special tokens that the text may contain, or is "all"; any other is
        spelled like ordinary text. Raises InputError for a name that is no special token, and for a lone
        surrogate: half of a character, which is not text and has no UTF-8.
        """
        return self.encode_array(text, allowed_special).tolist()

    def encode_array(self, text: str, allowed_special: str | Collection[str] = ()) -> np.ndarray:
        """As `encode`, but an int32 array of shape (T,). For texts of megabytes.

        While it works, the pieces of the text take about twenty times its size in memory: encode a large
        corpus document by document.
        """
        _check_is_text(text)
        allowed = self._allowed(allowed_special)
        if not allowed:
            return self._encode_ordinary(text)
        # Longest first, so that no name is cut short by another that begins it.
        names = "|".join(regex.escape(name) for name in sorted(allowed, key=len, reverse=True))
        parts = regex.split(f"({names})", text)  # ordinary text and special tokens, in turn
        return np.concatenate(
            [
                np.array([allowed[part]], np.int32) if n % 2 else self._encode_ordinary(part)
                for n, part in enumerate(parts)
            ]
        )

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes; `decode_bytes` gives them back. For valid UTF-8, as `encode(data.decode())`.

        A byte that is not part of valid UTF-8 counts as punctuation when the text is split.
        """
        return self._encode_ordinary(data.decode("utf-8", "surrogateescape")).tolist()

    def tokens(self, text: str, allowed_special: str | Collection[str] = ()) -> list[bytes]:
        """The tokens of `text` as bytes, to look at. Joined, they are its UTF-8."""
        return [self._token_of[i] for i in self.encode(text, allowed_special)]

    def merge_steps(self, word: str) -> list[list[bytes]]:
        """How one word is put together: every spelling from single bytes to tokens. See `bpe.merge_steps`.

        Raises InputError when the split pattern cuts `word` into several pieces, which are merged apart.
        """
        _check_is_text(word)
        pieces = self._pieces(word)
        if len(pieces) != 1:
            raise InputError(f"word={word!r} is cut into the pieces {pieces}. Ask for one of them.")
        return bpe.merge_steps(pieces[0].encode(), self._ranks)

    def _pieces(self, text: str) -> list[str]:
        if self.config.normalization:
            text = unicodedata.normalize(self.config.normalization, text)
        return self._split(text)

    def _encode_ordinary(self, text: str) -> np.ndarray:
        # Ids are remembered as packed int32: joining bytes is the fastest way Python has to join sequences.
        packed = bytearray().join(map(self._packed_ids.__getitem__, self._pieces(text)))
        return np.frombuffer(packed, np.int32)

    def _encode_piece(self, piece: str) -> bytes:
        word = piece.encode("utf-8", "surrogateescape")
        vocabulary = self.config.tokens
        whole = self.config.ignore_merges and word in vocabulary
        spelling = [word] if whole else bpe.merge(word, self._ranks)
        try:
            return np.array([vocabulary[token] for token in spelling], np.int32).tobytes()
        except KeyError as error:
            raise InputError(
                f"This tokenizer has no token for the byte {error.args[0]!r}, which is part of {piece!r}. "
                f"Leave that out of the text."
            ) from error

    def _allowed(self, allowed_special: str | Collection[str]) -> dict[str, int]:
        special = self.config.special_tokens
        if allowed_special == "all":
            return dict(special)
        if isinstance(allowed_special, str):
            raise InputError(f'allowed_special={allowed_special!r} must be a list of names, or "all".')
        unknown = [name for name in allowed_special if name not in special]
        if unknown:
            raise InputError(f"allowed_special names {unknown}, and the special tokens are {list(special)}.")
        return {name: special[name] for name in allowed_special}

    # -- ids to text -----------------------------------------------------------------------------------------

    def decode(self, ids: Sequence[int] | np.ndarray, errors: str = "replace") -> str:
        """The text of `ids`. Special tokens are written out by name.

        Ids need not end on a whole character: with errors="replace" bytes that are not UTF-8 become U+FFFD,
        with "strict" they raise UnicodeDecodeError. Raises InputError for an id that is not in the
        vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes of `ids`, valid UTF-8 or not. Raises InputError for an id not in the vocabulary."""
        try:
            return b"".join([self._token_of[i] for i in _id_list(ids)])
        except KeyError as error:
            raise InputError(
                f"ids holds {error.args[0]}, which is no token: ids are 0 to {self.vocab_size - 1}."
            ) from error


class _Memo(dict[str, bytes]):
    """A dictionary that computes what it lacks, and begins again before it grows past `LIMIT` entries.

    Long pieces are not kept: they hardly come twice, and would make the memory in use a matter of luck.
    """

    LIMIT = 2**18
    LONGEST = 64

    def __init__(self, compute: Callable[[str], bytes]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, key: str) -> bytes:
        value = self._compute(key)
        if len(key) <= self.LONGEST:
            if len(self) >= self.LIMIT:
                self.clear()
            self[key] = value
        return value


def _count_words(texts: Iterable[str], split: Splitter) -> dict[bytes, int]:
    counts: Counter[str] = Counter()
    for text in texts:
        _check_is_text(text)
        counts.update(split(text))
    return {word.encode(): times for word, times in counts.items()}


def _check_is_text(text: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"text must be a str, and is {type(text).__name__}. For bytes there is encode_bytes.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"text holds the lone surrogate U+{ord(text[error.start]):04X} at position {error.start}, "
            f'half of a character. Replace it, for example with text.encode("utf-8", "replace").decode().'
        ) from error


def _check_special_tokens(names: Sequence[str], tokens: Collection[bytes]) -> None:
    # In the file both kinds are in one dictionary: special tokens by name, others in GPT-2's alphabet.
    ordinary = {tokenizer_json.visible(token) for token in tokens}
    for name in names:
        _check_is_text(name)
        if not name:
            raise InputError("special_tokens holds an empty string. Give each special token a name.")
        if name in ordinary:
            raise InputError(
                f"special_tokens holds {name!r}, which is an ordinary token as well. Choose a name that no "
                f"text has, such as <|{name}|>."
            )
    if len(set(names)) < len(names):
        raise InputError(f"special_tokens={list(names)} holds a name twice.")


def _id_list(ids: Sequence[int] | np.ndarray) -> list[int]:
    array = np.asarray(ids)
    if array.size == 0:
        return []
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"ids must be a row of whole numbers, and has shape {array.shape} of {array.dtype}.")
    return array.tolist()
