"""The tokenizer that a GGUF file describes in its metadata, and the metadata that describe a tokenizer.

A GGUF file lists the tokens, but gives only the name of what happens to text before they are merged ("smollm",
"llama-bpe"). `PRE_TOKENIZERS` has the names that are supported.

    tokenizer.ggml.model   "gpt2": byte-level, tokens in GPT-2's alphabet, merges listed
                           "llama": SentencePiece-style, tokens with "▁", a score for each in place of merges
    .tokens .token_type .scores .merges
    .pre                   the name of the pre-tokenizer, "gpt2" only
    .bos_token_id .eos_token_id .eot_token_id .add_bos_token .add_space_prefix

A token of the type *control*, *unknown* or *unused* is a special token: no text becomes it by itself. *User-defined*
ones are added tokens: found in any text. *Byte* ones spell the characters that have no token.

Builds on: `token_alphabets.py`, `tokenizer.py`. Used by: the reader and writer of GGUF files in `hub/`.
Left out on purpose: WordPiece and Unigram ("bert", "t5").

Sources: the specification of GGUF (ggml/docs/gguf.md); llama.cpp's `llama-vocab.cpp` for names and missing keys.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import patterns
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.text.fast_bpe import implied_merges
from tinygrad_llm.text.spelling import SPACE_SIGN
from tinygrad_llm.text.token_alphabets import (
    BYTE_OF_NAME,
    byte_name,
    from_visible,
    visible,
    with_space_signs,
    without_space_signs,
)
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.text.tokenizer_config import Normalization, TokenizerConfig, check_config
from tinygrad_llm.text.tokenizer_json import tokens_and_merges

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # the types of tokens

_SPACES = f" {SPACE_SIGN}"  # both ways in which files write a space

LONGEST_TOKEN = 256  # characters of a token that others are merged into; real ones stay below 40


@dataclass(frozen=True)
class PreTokenizer:
    """What one name stands for; the fields are those of TokenizerConfig."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    normalization: Normalization | None = None
    adds_begin_of_text: bool = False  # where the file does not say


_GPT2 = PreTokenizer((patterns.GPT2,))
_GPT4 = PreTokenizer((patterns.GPT4,))
_LLAMA3 = PreTokenizer((patterns.GPT4,), ignore_merges=True, adds_begin_of_text=True)
_SMOLLM = PreTokenizer((patterns.ONE_DIGIT, patterns.GPT2))
_QWEN2 = PreTokenizer((patterns.QWEN2,))

PRE_TOKENIZERS = {
    # "default" is what old files say, and those that say nothing; as Transformers, and unlike llama.cpp, GPT-2's.
    **dict.fromkeys(["default", "gpt-2", "phi-2", "mpt", "olmo"], _GPT2),
    **dict.fromkeys(["smollm", "starcoder", "refact", "command-r", "codeshell"], _SMOLLM),
    **dict.fromkeys(["dbrx", "smaug-bpe"], _GPT4),
    **dict.fromkeys(["llama-bpe", "llama3", "llama-v3", "falcon3"], _LLAMA3),
    **dict.fromkeys(["stablelm2", "deepseek-r1-qwen"], _QWEN2),
    "qwen2": PreTokenizer((patterns.QWEN2,), normalization="NFC"),  # as the models' own tokenizer.json
    **dict.fromkeys(["gpt-4o", "llama4"], PreTokenizer((patterns.GPT4O,))),
    "tekken": PreTokenizer((patterns.TEKKEN,), ignore_merges=True),
}


# -- reading -------------------------------------------------------------------------------------------------


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a model file. metadata: the key-value pairs of the file as Python values.

    Raises InputError when the metadata are damaged, contradict themselves, or name a kind of tokenizer or a
    pre-tokenizer that is not known here.
    """
    try:
        read = _Metadata(metadata)
        kind = read.text("model")
        if kind not in ("gpt2", "llama"):
            raise InputError(f"its tokenizer is of the kind {kind!r}, and only 'gpt2' and 'llama' are read")
        return Tokenizer(check_config(_byte_level(read) if kind == "gpt2" else _sentencepiece(read)))
    except InputError as error:
        raise InputError(
            f"the metadata of the GGUF file do not describe a tokenizer that can be used here: {error}. "
            "Fetch the file again, or take another one of the same model."
        ) from error


def chat_template_from_gguf(metadata: Mapping[str, Any]) -> ChatTemplate | None:
    """The chat template of a model file, or None if it has none. Raises InputError for one that is not text."""
    source = metadata.get("tokenizer.chat_template")
    if source is None:
        return None
    read = _Metadata(metadata)
    ids = {use: read.token_id(use) for use in ("bos", "eos", "padding", "unknown")}
    names = {use: read.tokens[i] for use, i in ids.items() if i is not None}
    special = {f"{short}_token": names[use] for use, short in (("padding", "pad"), ("unknown", "unk")) if use in names}
    return ChatTemplate(source, names.get("bos"), names.get("eos"), special, "the chat template in the GGUF file")


class _Metadata:
    """The keys about the tokenizer, each checked when it is read."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self.tokens: list[str] = self._list("tokens", str)
        if not self.tokens:
            raise InputError("it has no tokens")
        if len(set(self.tokens)) < len(self.tokens):
            raise InputError(f"the token {_shown(Counter(self.tokens).most_common(1)[0][0])} is in it twice")
        self.types = list(self._list("token_type", int, len(self.tokens), default=NORMAL))
        for use in ("bos", "eos", "eot", "unknown"):  # some files call them normal
            if (i := self.token_id(use)) is not None:
                self.types[i] = CONTROL

    def get(self, key: str) -> Any:
        return self._metadata.get(f"tokenizer.ggml.{key}")

    def has(self, key: str) -> bool:
        return self.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        value = self.get(key) if self.has(key) else default
        if not isinstance(value, str):
            raise InputError(f"tokenizer.ggml.{key} is {_shown(value)}, and a text was expected")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key) if self.has(key) else default
        if not isinstance(value, bool):
            raise InputError(f"tokenizer.ggml.{key} is {_shown(value)}, and true or false was expected")
        return value

    def token_id(self, use: str) -> int | None:
        i = self.get(f"{use}_token_id")
        if i is not None and (type(i) is not int or not 0 <= i < len(self.tokens)):
            raise InputError(f"tokenizer.ggml.{use}_token_id is {_shown(i)}, and there are {len(self.tokens)} tokens")
        return i

    def scores(self) -> list[float]:
        scores = self._list("scores", (float, int), len(self.tokens))
        if not all(map(math.isfinite, scores)):
            raise InputError("tokenizer.ggml.scores has an entry that is not a finite number")
        return scores

    def merges(self) -> list[tuple[str, str]]:
        merges = self._list("merges", str)
        pairs = []
        for merge in merges:
            left, _, right = merge.partition(" ")  # within a token a space is written as another character
            if not (left and right) or " " in right:
                raise InputError(f"tokenizer.ggml.merges has {_shown(merge)}, which is not a pair of tokens")
            pairs.append((left, right))
        return pairs

    def of_types(self, *types: int) -> dict[str, int]:
        """Token -> id, for the tokens of these types."""
        return {self.tokens[i]: i for i, kind in enumerate(self.types) if kind in types}

    def _list(self, key: str, kind: type | tuple[type, ...], length: int | None = None, default: Any = None) -> list:
        values = self.get(key)
        if values is None and default is not None:
            return [default] * (length or 0)
        if not isinstance(values, list):
            raise InputError(f"tokenizer.ggml.{key} is {_shown(values)}, and a list was expected")
        if length is not None and len(values) != length:
            raise InputError(f"tokenizer.ggml.{key} has {len(values)} entries for {length} tokens")
        wrong = [value for value in values if not isinstance(value, kind) or isinstance(value, bool)]
        if wrong:
            raise InputError(f"tokenizer.ggml.{key} has an entry {_shown(wrong[0])} of type {type(wrong[0]).__name__}")
        return values


def _shown(value: object) -> str:
    return repr(value if isinstance(value, int | float | bool | None) else str(value)[:50])


def _byte_level(read: _Metadata) -> TokenizerConfig:
    name = read.text("pre", "default")
    if name not in PRE_TOKENIZERS:
        raise InputError(f"its pre-tokenizer {name!r} is not known, only {', '.join(sorted(PRE_TOKENIZERS))} are")
    pre = PRE_TOKENIZERS[name]
    added_tokens = read.of_types(USER_DEFINED)
    common = _common(read, pre.adds_begin_of_text)
    return TokenizerConfig(
        **tokens_and_merges(
            {**read.of_types(NORMAL, BYTE), **added_tokens},
            read.merges(),
            common["special_tokens"],
            added_tokens,
            from_visible,
        ),
        **common,
        added_tokens=added_tokens,
        patterns=pre.patterns,
        ignore_merges=pre.ignore_merges,
        normalization=pre.normalization,
    )


def _sentencepiece(read: _Metadata) -> TokenizerConfig:
    normal, user_defined, bytes_by_name = (read.of_types(kind) for kind in (NORMAL, USER_DEFINED, BYTE))
    wrong = bytes_by_name.keys() - BYTE_OF_NAME.keys()
    if wrong:
        raise InputError(f"the token {_shown(min(wrong))} is of the type byte, and no name of a byte")
    # Runs of spaces are put together by merges, before anything else is. All other user-defined tokens are found in
    # the text before it is merged. So do the tokenizer.json of these models.
    runs = {SPACE_SIGN * len(token): i for token, i in user_defined.items() if not token.strip(_SPACES)}
    added_tokens = {token: i for token, i in user_defined.items() if token.strip(_SPACES)}
    words = {**runs, **normal}
    common = _common(read, adds_begin_of_text=True)
    if read.has("merges"):
        special, every = common["special_tokens"], {**words, **added_tokens}
        parts = tokens_and_merges(every, read.merges(), special, added_tokens, without_space_signs)
    else:
        scores = read.scores()
        ordered = [*runs, *sorted(normal, key=lambda token: -scores[normal[token]])]
        parts = _tokens_and_implied_merges(ordered, words)
    if len(parts["tokens"]) < len(runs) + len(normal):
        raise InputError(f"two of its tokens are the same once {SPACE_SIGN!r} is a space")
    return TokenizerConfig(
        **parts,
        **common,
        added_tokens=added_tokens,
        patterns=(),
        byte_tokens={BYTE_OF_NAME[name]: i for name, i in bytes_by_name.items()},
        space_in_front="always" if read.flag("add_space_prefix", True) else "never",
    )


def _tokens_and_implied_merges(ordered: list[str], ids: Mapping[str, int]) -> dict[str, Any]:
    """The same fields as `tokens_and_merges`, for a vocabulary whose order takes the place of merges."""
    longest = max(ordered, key=len, default="")
    if len(longest) > LONGEST_TOKEN:
        raise InputError(f"the token {_shown(longest)} has {len(longest)} characters; up to {LONGEST_TOKEN} are read")
    tokens = {without_space_signs(word): ids[word] for word in ordered}
    return {"tokens": tokens, "merges": tuple(implied_merges(tokens))}


def _common(read: _Metadata, adds_begin_of_text: bool) -> dict[str, Any]:
    return {
        "special_tokens": read.of_types(CONTROL, UNKNOWN, UNUSED),  # unused ones: so that no text becomes one
        "begin_of_text": read.token_id("bos") if read.flag("add_bos_token", adds_begin_of_text) else None,
        "end_of_text": read.token_id("eos"),
        "end_of_turn": read.token_id("eot"),
    }


# -- writing -------------------------------------------------------------------------------------------------


def tokenizer_to_gguf(tokenizer: Tokenizer) -> dict[str, Any]:
    """The metadata from which `tokenizer_from_gguf` makes this tokenizer again, for a file that llama.cpp reads.

    Two things cannot be said in such a file. Ids without a token become tokens of the type unused. And a space in
    front of some texts only (`space_in_front="if_missing"`) becomes a space in front of all.

    Raises InputError for split patterns that have no name in GGUF.
    """
    config = tokenizer.config
    sentencepiece = config.byte_tokens is not None
    kinds = [
        ({byte_name(byte): i for byte, i in (config.byte_tokens or {}).items()}, BYTE),
        ({(with_space_signs if sentencepiece else visible)(token): i for token, i in config.tokens.items()}, NORMAL),
        (
            {name: i for name, i in config.added_tokens.items() if name.strip(_SPACES) or not sentencepiece},
            USER_DEFINED,
        ),
        (config.special_tokens, CONTROL),
    ]
    tokens = [f"[PAD{i}]" for i in range(tokenizer.vocab_size)]
    types = [UNUSED] * len(tokens)
    for names, kind in kinds:
        for name, i in names.items():
            tokens[i], types[i] = name, kind
    ids = {
        "bos": config.begin_of_text,
        "eos": tokenizer.end_of_text,
        "eot": config.end_of_turn,
        "unknown": config.special_tokens.get("<unk>"),
    }
    described = {
        "model": "llama" if sentencepiece else "gpt2",
        "tokens": tokens,
        "token_type": types,
        **{f"{use}_token_id": i for use, i in ids.items() if i is not None},
        "add_bos_token": config.begin_of_text is not None,
        "add_space_prefix": config.space_in_front != "never",
    }
    write = with_space_signs if sentencepiece else visible
    merges = {"merges": [f"{write(left)} {write(right)}" for left, right in config.merges]}
    if not sentencepiece:
        return _with_prefix({**described, "pre": _name_of_pre_tokenizer(config), **merges})
    by_score = _with_prefix({**described, "pre": "default", "scores": _scores(config, len(tokens))})
    # llama.cpp looks at nothing but the scores. Merges that do not follow from any are for other readers.
    same = tokenizer_from_gguf(by_score).config.merges == config.merges
    return by_score if same else {**by_score, **_with_prefix(merges)}


def _with_prefix(described: Mapping[str, Any]) -> dict[str, Any]:
    return {f"tokenizer.ggml.{key}": value for key, value in described.items()}


def _name_of_pre_tokenizer(config: TokenizerConfig) -> str:
    """A name that stands for just these steps, or else for the same patterns."""
    wanted = PreTokenizer(config.patterns, config.ignore_merges, config.normalization)
    close = [name for name, pre in PRE_TOKENIZERS.items() if pre.patterns == config.patterns and name != "default"]
    if not close:
        raise InputError(
            f"the tokenizer cuts text by {config.patterns}, and GGUF has no name for that. "
            f"Save it as tokenizer.json, or train it with the pattern gpt2 or gpt4."
        )
    return next((name for name in close if replace(PRE_TOKENIZERS[name], adds_begin_of_text=False) == wanted), close[0])


def _scores(config: TokenizerConfig, count: int) -> list[float]:
    """Scores that fall in the order in which merges make the tokens; tokens that no merge makes come last."""
    order = list(dict.fromkeys(left + right for left, right in config.merges))
    scores = [-float(len(order))] * count
    for n, token in enumerate(order):
        scores[config.tokens[token]] = -float(n)
    return scores
