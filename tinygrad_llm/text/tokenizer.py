"""The tokenizer: text to ids and back.

    text --split--> pieces --UTF-8--> bytes --merges--> tokens --vocabulary--> ids

The ids of a tokenizer trained here are in the natural order: the 256 bytes first, the id being the byte's
value; then the merges in the order in which they were learned; then the special tokens. So a byte needs no
table, the id of a merge minus 256 is its rank, and a smaller vocabulary is the beginning of a larger one. A
tokenizer that was loaded keeps the ids of its file. It may also cut and spell in another way (`spelling.py`).

Text never becomes a special token by accident: "<|endoftext|>" in what a user wrote is thirteen ordinary
characters, unless the caller allows it by name. Added tokens that are not special ("<think>" of Qwen 3) are found
in any text.

Before this: `bpe.py` learns and applies the merges, `tokenizer_json.py` is the file. After this:
`streaming.py` decodes id by id, `chat.py` encodes conversations, `corpus.py` and `batches.py` turn ids into
training data.

Left out on purpose: padding, truncation, putting `begin_of_text` in front. Who builds a batch or a prompt does
that.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import atomic_write_bytes, read_text
from tinygrad_llm.text import bpe, tokenizer_json
from tinygrad_llm.text.patterns import Splitter, named_pattern
from tinygrad_llm.text.spelling import SPACE_SIGN, ByteLevelSpelling, SentencePieceSpelling, Spelling
from tinygrad_llm.text.tokenizer_config import TokenizerConfig

BYTES = 256
# Where a file does not say which token it is: the usual names, the most usual first.
END_OF_TEXT_NAMES = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>", "<|im_end|>")
END_OF_TURN_NAMES = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>")


class Tokenizer:
    """Byte pair encoding with the vocabulary, merges, split patterns and special tokens of `config`.

    Made by `Tokenizer.train`, `Tokenizer.load` or `tokenizer_from_gguf`. Every text that UTF-8 can write is
    encoded, and decoding gives it back: `tokenizer.decode(tokenizer.encode(text)) == text`. Three exceptions belong
    to files of other models: some normalise text first (Qwen: NFC), some lack tokens for rare bytes (SmolLM2), and
    in a SentencePiece-style one (Llama 2, Gemma) the character "▁" is a space.

    >>> tokenizer = Tokenizer.train("the cat, the hat, the bat", vocab_size=260)
    >>> tokenizer.tokens("the rat")
    [b'the', b' ', b'r', b'at']
    """

    def __init__(self, config: TokenizerConfig) -> None:
        self.config = config
        sentencepiece = config.byte_tokens is not None
        self._spelling: Spelling = SentencePieceSpelling(config) if sentencepiece else ByteLevelSpelling(config)
        self._ranks = {pair: rank for rank, pair in enumerate(config.merges)}
        self._id_of = {**(config.byte_tokens or {}), **config.tokens}  # a character goes before its byte
        self._token_of = _tokens_by_id(config)
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
        """Read a tokenizer.json: one that `save` wrote, or that of another model with byte pair encoding.

        Raises InputError when the file is missing, damaged or of another kind of tokenizer.
        """
        return cls(tokenizer_json.from_json(read_text(path), source=str(path)))

    def save(self, path: str | Path) -> None:
        """Write everything this tokenizer is to one file, usually called tokenizer.json, for `load`.

        The library `tokenizers` opens the file as well and gives equal ids, with two differences: it finds
        special tokens in any text, as `encode(text, allowed_special="all")` does here, and it puts
        `begin_of_text` in front unless told not to.
        """
        atomic_write_bytes(path, tokenizer_json.to_json(self.config).encode())

    # -- what is in it ---------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """The number of rows an embedding needs: one more than the largest id."""
        return max(self._token_of) + 1

    @property
    def bytes_of_ids(self) -> dict[int, bytes]:
        """Id -> the bytes it stands for, all of the vocabulary; a special token stands for its name."""
        return dict(self._token_of)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Name -> id."""
        return dict(self.config.special_tokens)

    @property
    def begin_of_text(self) -> int | None:
        """The id that the model expects in front of every text, or None. `encode` does not put it there."""
        return self.config.begin_of_text

    @property
    def end_of_text(self) -> int | None:
        """The id that ends a text: what the file says, else by its usual names, or None if there is none."""
        return self._named(self.config.end_of_text, END_OF_TEXT_NAMES)

    @property
    def end_of_turn(self) -> int | None:
        """The id that ends an answer of a chat model: what the file says, else by its usual names, or None."""
        return self._named(self.config.end_of_turn, END_OF_TURN_NAMES)

    def _named(self, known: int | None, names: Sequence[str]) -> int | None:
        ids = (self.config.special_tokens.get(name) for name in names)
        return known if known is not None else next((i for i in ids if i is not None), None)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one id stands for. Raises InputError for an id that is not in the vocabulary."""
        return self._bytes_of([token_id])

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
        return self._encode([text], self._allowed(allowed_special))

    def encode_parts(self, parts: Sequence[str | int]) -> list[int]:
        """The ids of a text whose special tokens are known already: strings are ordinary text, integers are ids.

        So a prompt can be put together from ids of special tokens and from text that nobody has checked. Raises
        InputError for an id that is not in the vocabulary.
        """
        for part in parts:
            if isinstance(part, str):
                _check_is_text(part)
            elif not isinstance(part, int) or part not in self._token_of:
                raise InputError(f"parts holds {part!r}, which is neither text nor the id of a token.")
        return self._encode(parts, {}).tolist()

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes; `decode_bytes` gives them back. For valid UTF-8, as `encode(data.decode())`.

        A byte that is not part of valid UTF-8 counts as punctuation when the text is split.
        """
        return self._encode([data.decode("utf-8", "surrogateescape")], {}).tolist()

    def tokens(self, text: str, allowed_special: str | Collection[str] = ()) -> list[bytes]:
        """The tokens of `text` as bytes, to look at. Joined, they are its UTF-8 (after `config.space_in_front`)."""
        return [self._token_of[i] for i in self.encode(text, allowed_special)]

    def merge_steps(self, word: str) -> list[list[bytes]]:
        """How one word is put together: every spelling from bytes or characters to tokens. See `bpe.merge_steps`.

        Raises InputError when `word` is cut into several pieces, which are merged apart.
        """
        _check_is_text(word)
        pieces = self._spelling.pieces(word, at_start=True)
        if len(pieces) != 1:
            raise InputError(f"word={word!r} is cut into the pieces {pieces}. Ask for one of them.")
        return bpe.merge_steps(self._spelling.symbols(pieces[0]), self._ranks)

    def _encode(self, parts: Sequence[str | int], allowed: dict[str, int]) -> np.ndarray:
        ids = [
            np.array([part], np.int32) if isinstance(part, int) else self._encode_ordinary(part, at_start=n == 0)
            for n, part in enumerate(self._without_names(parts, {**self.config.added_tokens, **allowed}))
        ]
        return ids[0] if len(ids) == 1 else np.concatenate([np.array([], np.int32), *ids])

    def _without_names(self, parts: Sequence[str | int], names: dict[str, int]) -> Sequence[str | int]:
        """`parts`, with the id of each of `names` in the place of the name."""
        if not names:
            return parts
        find = _finder(frozenset(names))
        result: list[str | int] = []
        for part in parts:
            if isinstance(part, int):
                result.append(part)
                continue
            # split() with the match in a group returns what is between the names and the names, in turn.
            result += [names[x] if n % 2 else x for n, x in enumerate(find.split(part))]
        return result

    def _encode_ordinary(self, text: str, at_start: bool) -> np.ndarray:
        # Ids are remembered as packed int32: joining bytes is the fastest way Python has to join sequences.
        packed = bytearray().join(map(self._packed_ids.__getitem__, self._spelling.pieces(text, at_start)))
        return np.frombuffer(packed, np.int32)

    def _encode_piece(self, piece: str) -> bytes:
        word = piece.encode("utf-8", "surrogateescape")
        if self.config.ignore_merges and word in self.config.tokens:
            spelling = [word]
        else:
            spelling = bpe.merge(self._spelling.symbols(piece), self._ranks)
        try:
            return np.array([self._id_of[token] for token in spelling], np.int32).tobytes()
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
        """The text of `ids`. Special tokens are written out by name. See `decode_bytes` for a space in front.

        Ids need not end on a whole character: with errors="replace" bytes that are not UTF-8 become U+FFFD,
        with "strict" they raise UnicodeDecodeError. Raises InputError for an id that is not in the
        vocabulary.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes of `ids`, valid UTF-8 or not. Raises InputError for an id not in the vocabulary.

        Where encoding puts a space in front of a text (`config.space_in_front`), decoding takes one away. One that
        encoding puts behind a special token in the middle stays.
        """
        data = self._bytes_of(ids)
        return data.removeprefix(b" ") if self.config.space_in_front != "never" else data

    def _bytes_of(self, ids: Sequence[int] | np.ndarray) -> bytes:
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


def _tokens_by_id(config: TokenizerConfig) -> dict[int, bytes]:
    token_of = {i: token for token, i in config.tokens.items()}
    token_of |= {i: byte for byte, i in (config.byte_tokens or {}).items()}
    for name, i in [*config.special_tokens.items(), *config.added_tokens.items()]:
        # In the names of a SentencePiece-style file, as in its tokens, "▁" is a space.
        token_of[i] = (name if config.byte_tokens is None else name.replace(SPACE_SIGN, " ")).encode()
    return token_of


@lru_cache(maxsize=64)
def _finder(names: frozenset[str]) -> re.Pattern[str]:
    # Longest first, so that no name is cut short by another that begins it.
    return re.compile("(" + "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) + ")")


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
