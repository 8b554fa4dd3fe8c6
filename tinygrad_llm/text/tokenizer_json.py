"""`tokenizer.json`: the file that describes a tokenizer completely.

It is the format of Hugging Face's library `tokenizers`, so a tokenizer trained here opens there with equal ids, and
files of GPT-2, GPT-4, Llama 2 and 3, Mistral, Qwen 2 and 3, SmolLM2 or Gemma open here. JSON holds text and tokens are
bytes. In a byte-level file GPT-2's alphabet writes each byte as one visible character: the space is "Ġ", the
line end "Ċ". In a SentencePiece-style file a token is its text, with "▁" for the space, and a byte is "<0x0A>".

The format has no place for the tokens that end a text and a turn. They are among the special tokens of the
post-processor, under names that its template does not use.

Builds on: `tokenizer_config`, `pattern_dialects`. Used by: `tokenizer`, `tokenizer_files`, `tokenizer_gguf`, `hub`.

Left out on purpose: WordPiece and Unigram models, and options that no file of the families above asks for. Both are
refused by name.

Source: files written by `tokenizers` 0.23, and its documentation.
"""

import itertools
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.bpe import Pair
from tinygrad_llm.text.pattern_dialects import from_oniguruma
from tinygrad_llm.text.patterns import DIGITS, GPT2, ONE_DIGIT
from tinygrad_llm.text.spelling import SPACE_SIGN
from tinygrad_llm.text.token_alphabets import (
    BYTE_OF_NAME,
    from_visible,
    is_byte_level,
    is_text,
    visible,
    with_space_signs,
    without_space_signs,
)
from tinygrad_llm.text.tokenizer_config import Normalization, SpaceInFront, TokenizerConfig, check_config
from tinygrad_llm.text.tokenizer_json_writer import (
    DECODE_SPACES,
    PREPEND_SCHEMES,
    PREPEND_SPACE,
    REPLACE_SPACES,
    STRIP_SPACE,
)


def from_json(text: str, source: str) -> TokenizerConfig:
    """What the text of a tokenizer.json says; `source` names the file in errors.

    Raises InputError for a file that is damaged, and for one that asks for something that is not known here.
    """
    contents = parsed_object(text, source)
    try:
        return _config(contents)
    except InputError as error:
        raise InputError(
            f"{source} is not a tokenizer.json that can be used here: {error}. "
            f"Make it again with Tokenizer.save, or take that of a model with byte-level or SentencePiece-style BPE."
        ) from error


def parsed_object(text: str, source: str) -> dict[str, Any]:
    """The JSON object that `text` is; `source` names the file. Raises InputError for anything else."""
    try:
        contents = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source} is not complete JSON (line {error.lineno}, column {error.colno}: {error.msg}). "
            f"Make it again with Tokenizer.save, or fetch it again."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of too many digits, too deeply nested
        raise InputError(f"{source} is damaged: {error}. Fetch it again.") from error
    if not isinstance(contents, dict):
        raise InputError(f"{source} is damaged: it must be a JSON object, it is a {type(contents).__name__}.")
    return contents


def _config(contents: object) -> TokenizerConfig:
    model = _get(contents, "model", dict)
    _refuse_other_models(model)
    special_tokens, added_tokens, normalized_tokens = read_added_tokens(_get(contents, "added_tokens", list))
    vocabulary = _get(model, "vocab", dict, "model.vocab")
    if not vocabulary:
        raise InputError("'model.vocab' is empty")
    if "" in vocabulary:
        raise InputError("one of its tokens is empty")
    for name, i in [*special_tokens.items(), *added_tokens.items()]:
        if vocabulary.get(name, i) != i:
            raise InputError(f"the added token {name!r} has two ids, {vocabulary[name]} and {i}")

    sentencepiece = bool(model.get("byte_fallback"))
    byte_tokens = {BYTE_OF_NAME[name]: i for name, i in vocabulary.items() if name in BYTE_OF_NAME}
    steps = _read_sentencepiece_steps(contents, byte_tokens) if sentencepiece else _read_byte_level_steps(contents)
    merges = [_pair(merge) for merge in _get(model, "merges", list, "model.merges")]
    if sentencepiece:
        vocabulary = {token: i for token, i in vocabulary.items() if token not in BYTE_OF_NAME}
    read = without_space_signs if sentencepiece else from_visible
    return check_config(
        TokenizerConfig(
            **tokens_and_merges(vocabulary, merges, special_tokens, added_tokens, read),
            special_tokens=special_tokens,
            added_tokens=added_tokens,
            normalized_tokens=normalized_tokens,
            ignore_merges=bool(model.get("ignore_merges")),
            **steps,
            **_read_post_processor(contents.get("post_processor") if isinstance(contents, dict) else None),
        )
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


def tokens_and_merges(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    special_tokens: Collection[str],
    added_tokens: Collection[str],
    read: Callable[[str], bytes],
) -> dict[str, Any]:
    """The fields `tokens` and `merges` of a TokenizerConfig, from how a file writes them; `read` reads one token.

    Merges that make or use a special token are left out: they could make one out of ordinary text. An added token that
    merges make or use (Gemma: "▁▁") is an ordinary token as well. So is any whose name is one character and one byte
    ("£" is the byte A3 in the byte-level alphabet): without it, texts with that byte could not be spelled.
    """
    letters = {name for name in (*special_tokens, *added_tokens) if name in vocabulary and is_letter(name, read)}
    special, added = frozenset(special_tokens) - letters, frozenset(added_tokens) - letters
    token_of = {word: read(word) for word in vocabulary if word not in special}
    pairs: list[Pair] = []
    used: set[str] = set()
    for left, right in merges:
        whole = left + right
        if left in special or right in special or whole in special:
            continue
        if whole not in token_of or left not in token_of or right not in token_of:
            missing = next(token for token in (left, right, whole) if token not in token_of)
            raise InputError(f"a merge needs the token {missing!r}, which is not in the vocabulary")
        pairs.append((token_of[left], token_of[right]))
        if added:
            used.update(added.intersection((left, right, whole)))
    tokens = {token: vocabulary[word] for word, token in token_of.items() if word not in added or word in used}
    if len(tokens) < len(token_of) - len(added & token_of.keys() - used):
        raise InputError(f"two of its tokens are the same once {SPACE_SIGN!r} is a space")
    return {"tokens": tokens, "merges": tuple(pairs)}


def with_added_tokens(config: TokenizerConfig, decoder: Any) -> TokenizerConfig:
    """`config` with the added tokens of a tokenizer_config.json; the same object when it has them all."""
    if not isinstance(decoder, dict) or not all(isinstance(entry, dict) for entry in decoder.values()):
        raise InputError("it must be an object of objects")
    wrong = next((i for i in decoder if not re.fullmatch("[0-9]{1,10}", i)), None)
    if wrong is not None:
        raise InputError(f"its key {wrong[:20]!r} is not an id")
    known = {**config.special_tokens, **config.added_tokens}
    entries = [{**entry, "id": int(i)} for i, entry in decoder.items()]
    new = [entry for entry in entries if known.get(_get(entry, "content", str, "content")) != entry["id"]]
    if not new:
        return config
    special, others, normalized = read_added_tokens(new)
    for name, i in {**special, **others}.items():
        if known.get(name, i) != i:
            raise InputError(f"the added token {name!r} has two ids, {known[name]} and {i}")
    # What was an ordinary token by that name is one no more.
    read = visible if config.byte_tokens is None else with_space_signs
    names = {**special, **others}
    tokens = {token: i for token, i in config.tokens.items() if names.get(read(token)) != i or len(token) == 1}
    merges = tuple(pair for pair in config.merges if pair[0] + pair[1] in tokens and {*pair} <= tokens.keys())
    return check_config(
        replace(
            config,
            tokens=tokens,
            merges=merges,
            special_tokens={**config.special_tokens, **special},
            added_tokens={**config.added_tokens, **others},
            normalized_tokens=config.normalized_tokens | normalized,
        )
    )


def is_letter(name: str, read: Callable[[str], bytes]) -> bool:
    """Whether the name of a token is what an ordinary token of one byte is written as."""
    return len(name) == 1 and read is from_visible and is_byte_level(name)


def _refuse_other_models(model: dict[str, Any]) -> None:
    kind = model.get("type", "BPE")  # the oldest files do not name it
    if kind != "BPE":
        raise InputError(f"its model is {kind}, and only byte pair encoding (BPE) is read")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise InputError(f"{option}={model[option]!r} is not supported")


def read_added_tokens(added: list[Any]) -> tuple[dict[str, int], dict[str, int], frozenset[str]]:
    """Name -> id of the special tokens, and of those found in any text; which are found after normalization."""
    special_tokens: dict[str, int] = {}
    others: dict[str, int] = {}
    normalized: set[str] = set()
    for entry in added:
        name = _get(entry, "content", str, "added_tokens.content")
        if not is_text(name):
            raise InputError(f"the added token {name!r} is not text: it holds half of a character")
        for option in ("single_word", "lstrip", "rstrip"):
            if entry.get(option):
                raise InputError(f"{option} is not supported, which the added token {name!r} asks for")
        group = special_tokens if entry.get("special", True) else others
        group[name] = _get(entry, "id", int, "added_tokens.id")
        if entry.get("normalized"):
            normalized.add(name)
    return special_tokens, others, frozenset(normalized)


def _pair(merge: object) -> tuple[str, str]:
    """A merge is ["Ġ", "t"] in files of today and "Ġ t" in older ones."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise InputError(f"{merge!r} in 'model.merges' is not a pair of tokens")
    return parts[0], parts[1]


# -- the steps around a byte-level model ------------------------------------------------------------


def _read_byte_level_steps(contents: Any) -> dict[str, Any]:
    normalizer = _get(contents, "normalizer", dict | None)
    pre_tokenizer = _get(contents, "pre_tokenizer", dict)
    patterns = _patterns(pre_tokenizer)
    adds_space = any(step.get("add_prefix_space") for step in _steps(pre_tokenizer, "pretokenizers"))
    return {
        "patterns": patterns,
        "space_in_front": "if_missing" if adds_space else "never",
        "normalization": _normalization(normalizer) if normalizer else None,
    }


def _patterns(pre_tokenizer: dict[str, Any]) -> tuple[str, ...]:
    """The split patterns of a pre-tokenizer: any number of splits, and the byte alphabet as the last step."""
    steps = _steps(pre_tokenizer, "pretokenizers")
    kinds = [_get(step, "type", str, "pre_tokenizer.type") for step in steps]
    if "ByteLevel" not in kinds:
        raise InputError(
            f"its pre-tokenizer is {' and '.join(kinds) or 'empty'}, which is not supported: of byte pair encodings, "
            "those with a ByteLevel step and those of SentencePiece are read"
        )
    if kinds.index("ByteLevel") != len(kinds) - 1:
        raise InputError(f"the pre-tokenizer {kinds} does not end in ByteLevel")
    patterns = [_split_pattern(step) for step in steps[:-1]]
    if steps[-1].get("add_prefix_space") and (patterns or not steps[-1].get("use_regex", True)):
        raise InputError("a space in front of every piece (add_prefix_space behind other steps) is not supported")
    if steps[-1].get("use_regex", True):
        patterns.append(GPT2)
    return tuple(patterns)


def _steps(step: dict[str, Any], parts: str) -> list[Any]:
    """The steps of a "Sequence", or the one step itself."""
    return _get(step, parts, list) if step.get("type") == "Sequence" else [step]


def _split_pattern(step: dict[str, Any]) -> str:
    match step:
        # Both keep what matches as pieces. The second, of files made from tiktoken's, removes what does not match;
        # the patterns of such files leave nothing that does not.
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return from_oniguruma(pattern)
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Removed", "invert": True}:
            return from_oniguruma(pattern)
        case {"type": "Digits", "individual_digits": bool(individual)}:
            return ONE_DIGIT if individual else DIGITS
    raise InputError(f"the pre-tokenizer {_shown(step)} is not supported")


def _shown(step: object) -> str:
    return json.dumps(step, ensure_ascii=False)[:200]


def _normalization(normalizer: dict[str, Any]) -> Normalization | None:
    steps = _steps(normalizer, "normalizers")
    kinds = [_get(step, "type", str, "normalizer.type") for step in steps]
    if not kinds:
        return None
    if len(kinds) > 1 or kinds[0] not in get_args(Normalization):
        raise InputError(f"the normalizer {kinds} is not supported, only one of {get_args(Normalization)} is")
    return kinds[0]


# -- the steps around a SentencePiece-style model ---------------------------------------------------


def _read_sentencepiece_steps(contents: Any, byte_tokens: Mapping[bytes, int]) -> dict[str, Any]:
    """What happens to spaces: three forms are in use, and a decoder that belongs to each."""
    normalizer = _get(contents, "normalizer", dict | None)
    pre_tokenizer = contents.get("pre_tokenizer")
    normal_steps = _steps(normalizer, "normalizers") if normalizer else []
    space: SpaceInFront
    match pre_tokenizer:
        case {"type": "Metaspace", "replacement": "▁", "split": False, "prepend_scheme": str(scheme)} if (
            scheme in PREPEND_SCHEMES and not normal_steps
        ):
            space = PREPEND_SCHEMES[scheme]
        # When spaces have been replaced, there are none to split at.
        case None | {"type": "Split", "pattern": {"String": " "}} if normal_steps == [REPLACE_SPACES]:
            space = "never"
        case None if normal_steps == [PREPEND_SPACE, REPLACE_SPACES]:
            space = "always"
        case _:
            raise InputError(
                f"the normalizer {_shown(normalizer)} and the pre-tokenizer {_shown(pre_tokenizer)} are not supported "
                "together"
            )
    _check_decoder(_get(contents, "decoder", dict), strips=space != "never")
    return {"patterns": (), "byte_tokens": byte_tokens, "space_in_front": space}


def _check_decoder(decoder: dict[str, Any], strips: bool) -> None:
    steps = [step for step in _steps(decoder, "decoders") if step != {"type": "Fuse"}]
    if steps != [DECODE_SPACES, {"type": "ByteFallback"}] + [STRIP_SPACE] * strips:
        raise InputError(f"the decoder {_shown(decoder)} does not give back what the steps before encoding change")


# -- the tokens that begin and end a text -----------------------------------------------------------


def _read_post_processor(processor: Any) -> dict[str, Any]:
    """The use (a field of TokenizerConfig) -> id of the tokens that a post-processor knows."""
    if not isinstance(processor, dict):
        return {}
    for step in _steps(processor, "processors"):
        if isinstance(step, dict) and step.get("type") == "TemplateProcessing":
            return _read_template(step)
        if not isinstance(step, dict) or step.get("type") != "ByteLevel":  # that one touches offsets only
            raise InputError(
                f"its post-processor {_shown(step)} is not supported: it puts tokens around a text, and only those of "
                "a TemplateProcessing are read"
            )
    return {}


def _read_template(template: dict[str, Any]) -> dict[str, int]:
    """What it puts in front of a text begins one; what it puts behind ends one, unless the file names another."""
    special = _get(template, "special_tokens", dict, "post_processor.special_tokens")
    items = _get(template, "single", list)
    front = list(itertools.takewhile(lambda item: "Sequence" not in item, items))
    behind = items[len(front) + 1 :]
    for tokens, place in ((front, "in front of"), (behind, "behind")):
        if len(tokens) > 1:
            raise InputError(f"its post-processor puts {len(tokens)} tokens {place} a text, and 1 is supported")
    used = dict(zip(["begin_of_text"], front, strict=False)) | dict(zip(["end_of_text"], behind, strict=False))
    used |= {use: {"SpecialToken": {"id": use}} for use in ("end_of_text", "end_of_turn") if use in special}
    return {use: _template_id(item, special) for use, item in used.items()}


def _template_id(item: Any, special: dict[str, Any]) -> int:
    match item:
        case {"SpecialToken": {"id": str(name)}}:
            match special.get(name):
                case {"ids": [int(i)]}:
                    return i
    raise InputError(f"its post-processor has {_shown(item)}, which stands for no single token")
