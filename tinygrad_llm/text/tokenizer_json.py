"""`tokenizer.json`: the one file that says everything about a tokenizer, and the only source of truth.

It is the format of Hugging Face's library `tokenizers`, so a tokenizer trained here opens there with equal ids, and the
published files of byte-level BPE models (GPT-2, Llama 3, Qwen 2 and 3, SmolLM2) open here. JSON holds text and tokens
are bytes, so GPT-2's alphabet writes each byte as one visible character: the space is "Ġ", the line end is "Ċ".

Before this: `patterns.py` and `bpe.py`, whose results the file keeps. After this: `tokenizer.py` puts them to work.

Left out on purpose: everything that is not byte-level BPE (WordPiece, Unigram, SentencePiece-style BPE), which is
refused by name; and the post-processor, which puts a begin-of-text token in front: that is up to who builds a prompt.

Source: the files themselves, and the documentation of `tokenizers` 0.23.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.bpe import Pair
from tinygrad_llm.text.patterns import DIGITS, GPT2, ONE_DIGIT

NORMALIZATIONS = ("NFC", "NFD", "NFKC", "NFKD")


@dataclass(frozen=True)
class TokenizerConfig:
    """Everything that decides which ids a text becomes. Ids and merge ranks are separate things.

    Ranks are the order of `merges`; ids are whatever `tokens` says, in any order and with gaps. A vocabulary may lack
    some single bytes (SmolLM2 has no token for bytes it never saw); text with such a byte cannot be encoded.
    """

    tokens: Mapping[bytes, int]  # token -> id
    merges: tuple[Pair, ...]  # the earlier, the stronger
    patterns: tuple[str, ...]  # regular expressions, applied one after the other
    special_tokens: Mapping[str, int]  # name -> id
    normalization: str | None = None  # a Unicode normal form, applied to text before it is split
    ignore_merges: bool = False  # a piece that is itself a token is taken whole, whatever the merges say


def byte_alphabet() -> list[str]:
    """The character that stands for each of the 256 bytes.

    Bytes that are visible characters of Latin-1 stand for themselves, the others are numbered from U+0100 on.
    Source: Radford et al. 2019, gpt-2/src/encoder.py, `bytes_to_unicode`.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others: Iterator[int] = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


_CHARACTER_OF = byte_alphabet()
_BYTE_OF = {character: byte for byte, character in enumerate(_CHARACTER_OF)}


def visible(token: bytes) -> str:
    """A token in GPT-2's alphabet: b" the" is "Ġthe"."""
    return "".join(_CHARACTER_OF[byte] for byte in token)


def from_visible(token: object) -> bytes:
    """The inverse of `visible`: "Ġthe" is b" the". Raises InputError for a character outside the alphabet."""
    if not isinstance(token, str) or not all(character in _BYTE_OF for character in token):
        raise InputError(f"has the token {token!r}, which is not written in the byte-level alphabet")
    return bytes(_BYTE_OF[character] for character in token)


# -- writing ------------------------------------------------------------------------------------------------------------


def to_json(config: TokenizerConfig) -> str:
    """The text of a tokenizer.json."""
    # The special tokens stand in the vocabulary too: only there does the library `tokenizers` honour their ids.
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


# -- reading ------------------------------------------------------------------------------------------------------------


def from_json(text: str, source: str) -> TokenizerConfig:
    """What the text of a tokenizer.json says; `source` names the file in errors.

    Added tokens all count as special tokens here. Raises InputError for a file that is damaged, and for one that asks
    for something byte-level BPE does not have.
    """
    try:
        try:
            contents = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
        return _config(contents)
    except InputError as error:
        raise InputError(
            f"{source} is not a tokenizer.json that can be used here: it {error}. "
            f"Make it again with Tokenizer.save, or take the tokenizer.json of a byte-level BPE model."
        ) from error


def _config(contents: object) -> TokenizerConfig:
    model = _get(contents, "model", dict)
    _refuse_other_models(model)
    special_tokens = _special_tokens(_get(contents, "added_tokens", list))
    vocabulary = _get(model, "vocab", dict, "model.vocab")
    if not vocabulary:
        raise InputError("has an empty 'model.vocab'")
    for token, i in vocabulary.items():
        if type(i) is not int or i < 0:
            raise InputError(f"gives the token {token!r} the id {i!r}, which is not a whole number from 0 on")
    for name, i in special_tokens.items():
        if vocabulary.get(name, i) != i:
            raise InputError(f"gives the special token {name!r} two ids, {vocabulary[name]} and {i}")
    tokens = {from_visible(token): i for token, i in vocabulary.items() if token not in special_tokens}
    ids = [*tokens.values(), *special_tokens.values()]
    if len(set(ids)) < len(ids):
        raise InputError("gives one id to two tokens")
    merges = tuple(_pair(merge) for merge in _get(model, "merges", list, "model.merges"))
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in tokens:
                raise InputError(
                    f"merges {visible(left)!r} with {visible(right)!r}, but 'model.vocab' lacks {visible(token)!r}"
                )
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
        raise InputError(f"lacks {path!r}")
    value = container[key]
    if not isinstance(value, kind):
        raise InputError(f"has {value!r} as {path!r}" if value is None else f"has no usable {path!r}")
    return value


def _refuse_other_models(model: dict[str, Any]) -> None:
    kind = model.get("type", "BPE")  # the oldest files do not name it
    if kind != "BPE":
        raise InputError(f"holds a {kind} model, and only byte-level BPE is read")
    if model.get("byte_fallback"):
        raise InputError("holds a SentencePiece-style model (byte_fallback), and only byte-level BPE is read")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise InputError(f"uses {option}={model[option]!r}, which is not supported")


def _special_tokens(added: list[Any]) -> dict[str, int]:
    special_tokens: dict[str, int] = {}
    for entry in added:
        name, i = _get(entry, "content", str, "added_tokens.content"), _get(entry, "id", int, "added_tokens.id")
        for option in ("single_word", "lstrip", "rstrip"):
            if entry.get(option):
                raise InputError(f"wants {option} for the added token {name!r}, which is not supported")
        special_tokens[name] = i
    return special_tokens


def _pair(merge: object) -> Pair:
    """A merge is ["Ġ", "t"] in files of today and "Ġ t" in older ones."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2:
        raise InputError(f"has {merge!r} in 'model.merges', which is not a pair of tokens")
    return from_visible(parts[0]), from_visible(parts[1])


def _patterns(pre_tokenizer: dict[str, Any]) -> tuple[str, ...]:
    """The split patterns of a pre-tokenizer: any number of splits, and the byte alphabet as the last step."""
    steps = _get(pre_tokenizer, "pretokenizers", list) if pre_tokenizer.get("type") == "Sequence" else [pre_tokenizer]
    kinds = [_get(step, "type", str, "pre_tokenizer.type") for step in steps]
    if kinds[-1:] != ["ByteLevel"] or "ByteLevel" in kinds[:-1]:
        raise InputError(f"has the pre-tokenizer {kinds}, which does not end in ByteLevel")
    patterns = [_split_pattern(step) for step in steps[:-1]]
    if steps[-1].get("add_prefix_space"):
        raise InputError("puts a space before every text (add_prefix_space), which is not supported")
    if steps[-1].get("use_regex", True):
        patterns.append(GPT2)
    return tuple(patterns)


def _split_pattern(step: dict[str, Any]) -> str:
    match step:
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"} if not step.get("invert"):
            return pattern
        case {"type": "Digits", "individual_digits": bool(individual)}:
            return ONE_DIGIT if individual else DIGITS
    raise InputError(f"has the pre-tokenizer {json.dumps(step, ensure_ascii=False)}, which is not supported")


def _normalization(normalizer: dict[str, Any] | None) -> str | None:
    if normalizer is None:
        return None
    kind = _get(normalizer, "type", str, "normalizer.type")
    if kind not in NORMALIZATIONS:
        raise InputError(f"has the normalizer {kind}, and only {', '.join(NORMALIZATIONS)} are supported")
    return kind
