"""The tokenizer: text to ids and back.

    text --split--> pieces --UTF-8--> bytes --merges--> tokens --vocabulary--> ids

The ids of a tokenizer trained here are ordered: first the 256 bytes, whose ids are their values; then the merges in the
order in which they were learned; then the special tokens. So a byte needs no table, the id of a merge minus 256 is its
rank, and a smaller vocabulary is the beginning of a larger one. A tokenizer that was loaded keeps the ids of its file.
It may also split and spell in another way (`spelling.py`).

Text never becomes a special token by accident: "<|endoftext|>" in the text of a user is thirteen ordinary characters,
unless the caller allows it by name. Added tokens that are not special ("<think>" of Qwen 3) are found
in any text.

Builds on: `bpe` and `fast_bpe` (merges), `spelling`, `tokenizer_json` and `tokenizer_files` (files). Used by:
`streaming`, `chat`, the commands, and every model of others in `hub`.

Left out on purpose: padding, truncation, and putting `begin_of_text` in front: that is for the code that builds a batch
or a prompt.
"""

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import atomic_write_bytes, read_text
from tinygrad_llm.other_names import SaysOtherNames
from tinygrad_llm.text import bpe, fast_bpe, tokenizer_files, tokenizer_json
from tinygrad_llm.text.encode_stream import AT_LEAST, EncodeStream
from tinygrad_llm.text.patterns import KNOWN, named_pattern
from tinygrad_llm.text.special_tokens import check_is_text, split_at_names
from tinygrad_llm.text.spelling import SPACE_SIGN, ByteLevelSpelling, SentencePieceSpelling, Spelling
from tinygrad_llm.text.tokenized_text import TokenizedText
from tinygrad_llm.text.tokenizer_config import END_OF_TEXT, TokenizerConfig
from tinygrad_llm.text.tokenizer_json_writer import to_json
from tinygrad_llm.text.tokenizer_training import trained_config

BLOCK = 1 << 16  # characters of a long text that are encoded at a time
# Where a file does not say which token it is: the usual names, the most usual first.
END_OF_TEXT_NAMES = (END_OF_TEXT, "<|end_of_text|>", "<eos>", "</s>", "<|im_end|>")
END_OF_TURN_NAMES = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>")


class Tokenizer(SaysOtherNames):
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
        self.spelling: Spelling = SentencePieceSpelling(config) if sentencepiece else ByteLevelSpelling(config)
        self.can_stream = not config.normalized_tokens and KNOWN.issuperset(config.patterns)  # see `encode_stream`
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
        special_tokens: Sequence[str] | Mapping[str, int] = (END_OF_TEXT,),
        *,
        at_most: bool = False,
    ) -> "Tokenizer":
        """Learn a vocabulary of exactly `vocab_size` tokens from one text or several.

        `vocab_size` counts everything: 256 bytes, the merges, the special tokens. 256 itself means bytes and
        nothing else: no merges and no special tokens. `pattern` is "gpt2", "gpt4", "gpt4o" or a regular expression.
        See `bpe.train` for what is merged and how ties are broken.

        special_tokens: names, which get the ids after all others; or {name: id}, the ids anywhere behind those of the
        ordinary tokens. The training text is cut where they stand, and nothing is learned of their names.
        at_most: where the text supports fewer tokens than `vocab_size`, learn as many as it does.

        Raises InputError when `vocab_size` is below 256, leaves no room for the special tokens, or is more
        than the text supports; and when a special token is empty, given twice, an ordinary token as well, or has the
        id of one.
        """
        return cls(trained_config(text, vocab_size, pattern, special_tokens, at_most))

    @classmethod
    def load(
        cls, path: str | Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
    ) -> "Tokenizer":
        """Read a tokenizer with byte pair encoding: one that `save` wrote, or that of another model.

        path: a tokenizer.json, a folder with one, a vocab.json with GPT-2's merges.txt beside it (or a folder with
        both), or a .tiktoken file of ranks. pattern, special_tokens: for a .tiktoken file whose name is not known; it
        has neither in it.

        Raises InputError when the file is missing, damaged or of another kind of tokenizer.
        """
        path = Path(path)
        if path.is_dir():
            path = path / ("tokenizer.json" if (path / "tokenizer.json").exists() else "vocab.json")
        if path.suffix == ".tiktoken":
            named = None if pattern is None else named_pattern(pattern)
            return cls(tokenizer_files.from_tiktoken(path, named, special_tokens))
        if pattern is not None or special_tokens is not None:
            raise InputError(f"pattern and special_tokens are for a .tiktoken file; {path.name} says them itself.")
        if path.name == "vocab.json":
            return cls(tokenizer_files.from_gpt2_files(path, path.with_name("merges.txt")))
        return cls(tokenizer_json.from_json(read_text(path), source=str(path)))

    def save(self, path: str | Path) -> None:
        """Write everything this tokenizer is to one file, usually called tokenizer.json, for `load`.

        The library `tokenizers` opens the file as well and gives equal ids, with two differences: it finds
        special tokens in any text, as `encode(text, allowed_special="all")` does here, and it puts
        `begin_of_text` in front unless told not to.
        """
        atomic_write_bytes(path, to_json(self.config).encode())

    def with_added_tokens(self, decoder: Any) -> "Tokenizer":
        """The tokenizer with the added tokens that a tokenizer_config.json names and tokenizer.json does not.

        decoder: what stands there under "added_tokens_decoder": {id: {"content": name, "special": …}, …}, or None.
        Raises InputError for one that is damaged, or gives a token another id.
        """
        if decoder is None:
            return self
        try:
            config = tokenizer_json.with_added_tokens(self.config, decoder)
        except InputError as error:
            raise InputError(f"added_tokens_decoder in tokenizer_config.json cannot be used: {error}.") from error
        return self if config is self.config else Tokenizer(config)

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

    def __len__(self) -> int:
        return self.vocab_size

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a tokenizer is not called: write tokenizer.encode(text), or tokenizer.encode_batch(texts).")

    def __repr__(self) -> str:
        merges, special = len(self.config.merges), list(self.config.special_tokens)
        return f"Tokenizer(vocab_size={self.vocab_size}, merges={merges}, special_tokens={special})"

    # -- text to ids -----------------------------------------------------------------------------------------

    def encode(
        self,
        text: str,
        allowed_special: str | Collection[str] = (),
        disallowed_special: str | Collection[str] = (),
    ) -> list[int]:
        """The ids of `text`.

        `allowed_special` names the special tokens that the text may contain, or is "all"; any other is spelled like
        ordinary text. `disallowed_special` names those that are an error instead, or is "all".

        Raises InputError for a special token that is not allowed in the text, a name that is not a special token, and a
        lone surrogate: half of a character, which is not text and has no UTF-8.
        """
        return self.encode_array(text, allowed_special, disallowed_special).tolist()

    def encode_array(
        self,
        text: str,
        allowed_special: str | Collection[str] = (),
        disallowed_special: str | Collection[str] = (),
    ) -> np.ndarray:
        """As `encode`, but an int32 array of shape (T,). For texts of megabytes: it needs little more memory than both.

        For texts that do not fit into memory, see `encode_iterable`.
        """
        check_is_text(text)
        names = self._names(self._allowed(allowed_special, disallowed_special, text))
        if len(text) <= BLOCK or not self.can_stream:
            return self.encode_whole(text, names)
        stream, ids = EncodeStream(self, names), bytearray()
        for start in range(0, len(text), BLOCK):
            ids += stream.push(text[start : start + BLOCK]).data
        ids += stream.finish().data
        return np.frombuffer(ids, np.int32)

    def encode_batch(
        self,
        texts: Iterable[str],
        allowed_special: str | Collection[str] = (),
        disallowed_special: str | Collection[str] = (),
    ) -> list[list[int]]:
        """The ids of each of the texts, in their order."""
        if isinstance(texts, str):
            raise InputError(f"texts must be a list of texts, it was one: {texts[:40]!r}. For one there is encode.")
        return [self.encode(text, allowed_special, disallowed_special) for text in texts]

    def encode_iterable(self, texts: Iterable[str], allowed_special: str | Collection[str] = ()) -> Iterator[int]:
        """The ids of all the texts joined, one by one, while they are read: an open file, for instance.

        They are those of `encode("".join(texts))`, wherever the text is cut; but only the end of what has been read is
        in memory. (With a split pattern that is not one of `patterns.KNOWN`, all of it is.)

        >>> tokenizer = Tokenizer.train("the cat, the hat, the bat", vocab_size=260)
        >>> list(tokenizer.encode_iterable(["th", "e ha", "t"])) == tokenizer.encode("the hat")
        True
        """
        stream = EncodeStream(self, self._names(self._allowed(allowed_special)))
        for text in texts:
            check_is_text(text)
            for start in range(0, len(text), AT_LEAST):
                yield from stream.push(text[start : start + AT_LEAST]).tolist()
        yield from stream.finish().tolist()

    def encode_parts(self, parts: Sequence[str | int]) -> list[int]:
        """The ids of a text whose special tokens are known already: strings are ordinary text, integers are ids.

        So a prompt can be put together from ids of special tokens and from text that nobody has checked. Raises
        InputError for an id that is not in the vocabulary.
        """
        for part in parts:
            if isinstance(part, str):
                check_is_text(part)
            elif not isinstance(part, int) or part not in self._token_of:
                raise InputError(f"parts holds {part!r}, which is neither text nor the id of a token.")
        ids = [
            [part] if isinstance(part, int) else self.encode_whole(part, self.config.added_tokens, n == 0).tolist()
            for n, part in enumerate(parts)
        ]
        return [i for some in ids for i in some]

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of any bytes; `decode_bytes` gives them back. For valid UTF-8, as `encode(data.decode())`.

        A byte that is not part of valid UTF-8 counts as punctuation when the text is split.
        """
        return self.encode_whole(data.decode("utf-8", "surrogateescape"), self.config.added_tokens).tolist()

    def tokens(self, text: str, allowed_special: str | Collection[str] = ()) -> TokenizedText:
        """The tokens of `text` as bytes, to look at; in a notebook they are coloured.

        Joined, they are its UTF-8 (after `config.space_in_front`). `.ids` are their ids.
        """
        ids = self.encode(text, allowed_special)
        return TokenizedText([self._token_of[i] for i in ids], ids)

    def merge_steps(self, word: str) -> list[list[bytes]]:
        """How one word is put together: every spelling from bytes or characters to tokens. See `bpe.merge_steps`.

        Raises InputError when `word` is cut into several pieces, which are merged apart.
        """
        check_is_text(word)
        text = self.spelling.normalized(word)
        pieces = self.spelling.pieces(self.spelling.prefix(text, at_start=True) + text)
        if len(pieces) != 1:
            raise InputError(f"word={word!r} is cut into the pieces {pieces}. Ask for one of them.")
        return bpe.merge_steps(self.spelling.symbols(pieces[0]), self._ranks)

    def encode_whole(self, text: str, names: Mapping[str, int], at_start: bool = True) -> np.ndarray:
        """The ids of `text`, all at once, int32. names: of the special and added tokens that are found in it, with ids.

        Names are found before the text is normalized, except those that the file wants to be found afterwards.
        """
        late = {name: i for name, i in names.items() if name in self.config.normalized_tokens}
        early = {name: i for name, i in names.items() if name not in late}
        late = {self._as_found(name): i for name, i in late.items()}
        ids = []
        for n, part in enumerate(split_at_names(text, early)):
            if n % 2:
                ids.append(np.array([early[part]], np.int32))
                continue
            part = self.spelling.normalized(part)
            part = self.spelling.prefix(part, at_start and n == 0) + part
            for k, inner in enumerate(split_at_names(part, late)):
                ids.append(
                    np.array([late[inner]], np.int32) if k % 2 else self.ids_of_pieces(self.spelling.pieces(inner))
                )
        return ids[0] if len(ids) == 1 else np.concatenate(ids)

    def _as_found(self, name: str) -> str:
        """How a name looks in normalized text: the library `tokenizers` normalizes it like a text of its own."""
        text = self.spelling.normalized(name)
        return self.spelling.prefix(text, at_start=True) + text

    def ids_of_pieces(self, pieces: Iterable[str]) -> np.ndarray:
        """The ids of pieces as the split patterns cut them, int32."""
        # Ids are remembered as packed int32: joining bytes is the fastest way Python has to join sequences.
        return np.frombuffer(bytearray().join(map(self._packed_ids.__getitem__, pieces)), np.int32)

    def _names(self, allowed: Mapping[str, int]) -> dict[str, int]:
        return {**self.config.added_tokens, **allowed}

    def _encode_piece(self, piece: str) -> bytes:
        word = piece.encode("utf-8", "surrogateescape")
        if self.config.ignore_merges and word in self.config.tokens:
            spelling = [word]
        else:
            spelling = fast_bpe.merge(self.spelling.symbols(piece), self._ranks)
        try:
            return np.array([self._id_of[token] for token in spelling], np.int32).tobytes()
        except KeyError as error:
            raise InputError(
                f"This tokenizer has no token for the byte {error.args[0]!r}, which is part of {piece!r}. "
                f"Leave that out of the text."
            ) from error

    def _allowed(
        self, allowed_special: str | Collection[str], disallowed_special: str | Collection[str] = (), text: str = ""
    ) -> dict[str, int]:
        """The special tokens that may stand in the text. Raises InputError for one that stands there and may not."""
        allowed = self._special("allowed_special", allowed_special)
        for name in self._special("disallowed_special", disallowed_special):
            if name in text and name not in allowed:
                raise InputError(
                    f"text has the special token {name!r} at position {text.index(name)}, which is not allowed. Say "
                    f"allowed_special=[{name!r}] to encode it as that token, or take it out of disallowed_special to "
                    "spell it like ordinary text."
                )
        return allowed

    def _special(self, argument: str, names: str | Collection[str]) -> dict[str, int]:
        special = self.config.special_tokens
        if names == "all":
            return dict(special)
        if isinstance(names, str):
            raise InputError(f'{argument}={names!r} must be a list of names, or "all".')
        unknown = [name for name in names if name not in special]
        if unknown:
            raise InputError(f"{argument} names {unknown}, and the special tokens are {list(special)}.")
        return {name: special[name] for name in names}

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

        Where encoding puts a space in front of a text (`config.space_in_front`), decoding takes one away, but not for
        a byte-level tokenizer, as other libraries do. One that encoding puts behind a special token stays.
        """
        data = self._bytes_of(ids)
        takes_space = self.config.space_in_front != "never" and self.config.byte_tokens is not None
        return data.removeprefix(b" ") if takes_space else data

    def decode_with_offsets(self, ids: Sequence[int] | np.ndarray) -> tuple[str, list[int]]:
        """The text of `ids`, and where in it each token begins, in characters.

        A token that begins in the middle of a character has the place of that character.

        >>> Tokenizer.train("", vocab_size=256).decode_with_offsets(list("né!".encode()))
        ('né!', [0, 1, 1, 2])
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        taken = len(self._bytes_of(ids)) - len(self.decode_bytes(ids))  # a space that decoding takes away
        offsets, characters = [], 0
        for n, i in enumerate(_id_list(ids)):
            token = self._token_of[i][taken if n == 0 else 0 :]
            first = len(decoder.decode(token[:1]))  # it may complete, or replace, a character that has begun before
            waits = bool(decoder.getstate()[0])
            offsets.append(characters + max(0, first - (not waits)))
            characters += first + len(decoder.decode(token[1:]))
        return self.decode(ids), offsets

    def _bytes_of(self, ids: Sequence[int] | np.ndarray) -> bytes:
        try:
            return b"".join([self._token_of[i] for i in _id_list(ids)])
        except KeyError as error:
            raise InputError(
                f"ids holds {error.args[0]}, which is not a token: ids are 0 to {self.vocab_size - 1}."
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


def _id_list(ids: Sequence[int] | np.ndarray) -> list[int]:
    array = np.asarray(ids)
    if array.size == 0:
        return []
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"ids must be a row of whole numbers, and has shape {array.shape} of {array.dtype}.")
    return array.tolist()
