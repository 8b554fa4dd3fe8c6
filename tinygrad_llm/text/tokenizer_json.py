"""`tokenizer.json`: the one file that says everything about a tokenizer, and the only source of truth.

It is the format of Hugging Face's library `tokenizers`, so a tokenizer trained here opens there with equal
ids, and files in the form of GPT-2, Llama 3, Qwen 2 and 3 or SmolLM2 open here. JSON holds text and tokens
are bytes, so GPT-2's alphabet writes each byte as one visible character: the space is "Ġ", the line end "Ċ".

Before this: `patterns.py` and `bpe.py`, whose results the file keeps. After this: `tokenizer.py` uses them.

Left out on purpose: everything that is not byte-level BPE (WordPiece, Unigram, SentencePiece-style BPE),
which is refused by name; the post-processor, which puts a begin-of-text token in front (that is up to who
builds a prompt); and the flags of added tokens: all of them are special tokens here, and are saved as such.

Source: files written by `tokenizers` 0.23, and its documentation.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.bpe import Pair
from tinygrad_llm.text.patterns import DIGITS, GPT2, ONE_DIGIT

Normalization = Literal["NFC", "NFD", "NFKC", "NFKD"]


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything that decides which ids a text becomes.

    Ranks and ids are separate things: ranks are the order of `merges`, ids are whatever `tokens` says, in any
    order and with gaps. A vocabulary may lack single bytes (SmolLM2 has no tokens for bytes it never saw);
    text with such a byte cannot be encoded.
    """

    tokens: Mapping[bytes, int]  # token -> id
    merges: tuple[Pair, ...]  # the earlier, the stronger
    patterns: tuple[str, ...]  # regular expressions, applied one after the other
    special_tokens: Mapping[str, int]  # name -> id
    normalization: Normalization | None = None  # a Unicode normal form, applied to text before it is split
    ignore_merges: bool = False  # a piece that is itself a token is taken whole, whatever the merges say


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


def visible(token: bytes) -> str:
    """A token in GPT-2's alphabet: b" the" is "Ġthe"."""
    return "".join(_CHARACTER_OF[byte] for byte in token)


def from_visible(token: object) -> bytes:
    """The inverse of `visible`: "Ġthe" is b" the". Raises InputError for a character outside the alphabet."""
    if not isinstance(token, str) or not all(character in _BYTE_OF for character in token):
        raise InputError(f"the token {token!r} is not written in the byte-level alphabet")
    return bytes(_BYTE_OF[character] for character in token)


# -- writing -------------------------------------------------------------------------------------------------


def to_json(config: TokenizerConfig) -> str:
    """The text of a tokenizer.json."""
    # Special tokens stand in the vocabulary too: only there does the library `tokenizers` honour their ids.
    vocabulary = {visible(token): i for token, i in config.tokens.items()} | dict(config.special_tokens)
    contents = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, i in sorted(config.special_tokens.items(), key=lambda item: item[1])
        ],
        "normalizer": {"type": config.normalization} if config.normalization else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                *(
                    {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
                    for pattern in config.patterns
                ),
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": config.ignore_merges,
            "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
            "merges": [[visible(left), visible(right)] for left, right in config.merges],
        },
    }
    return json.dumps(contents, ensure_ascii=False, indent=1) + "\n"


# -- reading -------------------------------------------------------------------------------------------------


def from_json(text: str, source: str) -> TokenizerConfig:
    """What the text of a tokenizer.json says; `source` names the file in errors.

    Added tokens all count as special tokens here. Raises InputError for a file that is damaged, and for one
    that asks for something byte-level BPE does not have.
    """
    try:
        return _config(json.loads(text))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source} is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg}). "
            f"Make it again with Tokenizer.save, or fetch it again."
        ) from error
    except InputError as error:
        raise InputError(
            f"{source} is not a tokenizer.json that can be used here: {error}. "
            f"Make it again with Tokenizer.save, or take that of a byte-level BPE model."
        ) from error


def _config(contents: object) -> TokenizerConfig:
    model = _get(contents, "model", dict)
    _refuse_other_models(model)
    special_tokens = _special_tokens(_get(contents, "added_tokens", list))
    vocabulary = _get(model, "vocab", dict, "model.vocab")
    if not vocabulary:
        raise InputError("'model.vocab' is empty")
    for token, i in [*vocabulary.items(), *special_tokens.items()]:
        if type(i) is not int or not 0 <= i < 2**31:
            raise InputError(f"the token {token!r} has the id {i!r}, which is not a whole number from 0 on")
        if not token:
            raise InputError("one of its tokens is empty")
    for name, i in special_tokens.items():
        if vocabulary.get(name, i) != i:
            raise InputError(f"the special token {name!r} has two ids, {vocabulary[name]} and {i}")
    tokens = {from_visible(token): i for token, i in vocabulary.items() if token not in special_tokens}
    ids = [*tokens.values(), *special_tokens.values()]
    if len(set(ids)) < len(ids):
        raise InputError("two tokens have the same id")
    merges = tuple(_pair(merge) for merge in _get(model, "merges", list, "model.merges"))
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in tokens:
                raise InputError(f"a merge needs the token {visible(token)!r}, which 'model.vocab' lacks")
    return TokenizerConfig(
        tokens=tokens,
        merges=merges,
        patterns=_patterns(_get(contents, "pre_tokenizer", dict)),
        special_tokens=special_tokens,
        normalization=_normalization(_get(contents, "normalizer", dict | None)),
        ignore_merges=bool(model.get("ignore_merges")),
    )


def _get(container: Any, key: str, kind: Any, path: str = "") -> Any:
    """`container[key]`, which must be there and be of type `kind`. `path` is how the error calls it."""
    path = path or key
    if not isinstance(container, dict) or key not in container:
        raise InputError(f"{path!r} is missing")
    value = container[key]
    if not isinstance(value, kind):
        raise InputError(f"{path!r} is of type {type(value).__name__}")
    return value


def _refuse_other_models(model: dict[str, Any]) -> None:
    kind = model.get("type", "BPE")  # the oldest files do not name it
    if kind != "BPE":
        raise InputError(f"its model is {kind}, and only byte-level BPE is read")
    if model.get("byte_fallback"):
        raise InputError("its model is SentencePiece-style (byte_fallback), and only byte-level BPE is read")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise InputError(f"{option}={model[option]!r} is not supported")


def _special_tokens(added: list[Any]) -> dict[str, int]:
    special_tokens: dict[str, int] = {}
    for entry in added:
        name = _get(entry, "content", str, "added_tokens.content")
        for option in ("single_word", "lstrip", "rstrip"):
            if entry.get(option):
                raise InputError(f"{option} is not supported, which the added token {name!r} asks for")
        special_tokens[name] = _get(entry, "id", int, "added_tokens.id")
    return special_tokens


def _pair(merge: object) -> Pair:
    """A merge is ["Ġ", "t"] in files of today and "Ġ t" in older ones."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2:
        raise InputError(f"{merge!r} in 'model.merges' is not a pair of tokens")
    return from_visible(parts[0]), from_visible(parts[1])


def _patterns(pre_tokenizer: dict[str, Any]) -> tuple[str, ...]:
    """The split patterns of a pre-tokenizer: any number of splits, and the byte alphabet as the last step."""
    steps = [pre_tokenizer]
    if pre_tokenizer.get("type") == "Sequence":
        steps = _get(pre_tokenizer, "pretokenizers", list)
    kinds = [_get(step, "type", str, "pre_tokenizer.type") for step in steps]
    if kinds[-1:] != ["ByteLevel"] or "ByteLevel" in kinds[:-1]:
        raise InputError(f"the pre-tokenizer {kinds} does not end in ByteLevel")
    patterns = [_split_pattern(step) for step in steps[:-1]]
    if steps[-1].get("add_prefix_space"):
        raise InputError("a space before every text (add_prefix_space) is not supported")
    if steps[-1].get("use_regex", True):
        patterns.append(GPT2)
    return tuple(patterns)


def _split_pattern(step: dict[str, Any]) -> str:
    match step:
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return pattern
        case {"type": "Digits", "individual_digits": bool(individual)}:
            return ONE_DIGIT if individual else DIGITS
    raise InputError(f"the pre-tokenizer {json.dumps(step, ensure_ascii=False)} is not supported")


def _normalization(normalizer: dict[str, Any] | None) -> Normalization | None:
    if normalizer is None:
        return None
    kind = _get(normalizer, "type", str, "normalizer.type")
    if kind not in get_args(Normalization):
        raise InputError(f"the normalizer {kind} is not supported, only {get_args(Normalization)} are")
    return kind
