"""Writing a tokenizer.json: `tokenizer_json` says what the format is, and reads it.

Builds on: `tokenizer_config`, `token_alphabets`, `pattern_dialects`. Used by: `tokenizer`, `hub`.
"""

import json
from typing import Any

from tinygrad_llm.text.pattern_dialects import to_oniguruma
from tinygrad_llm.text.spelling import SPACE_SIGN
from tinygrad_llm.text.token_alphabets import byte_name, visible, with_space_signs
from tinygrad_llm.text.tokenizer_config import SpaceInFront, TokenizerConfig


def to_json(config: TokenizerConfig) -> str:
    """The text of a tokenizer.json."""
    sentencepiece = config.byte_tokens is not None
    write = with_space_signs if sentencepiece else visible
    vocabulary = {write(token): i for token, i in config.tokens.items()}
    vocabulary |= {byte_name(byte): i for byte, i in (config.byte_tokens or {}).items()}
    # Added tokens stand in the vocabulary too: only there does the library `tokenizers` honour their ids.
    vocabulary |= {**config.special_tokens, **config.added_tokens}
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
                "normalized": name in config.normalized_tokens,
                "special": name in config.special_tokens,
            }
            for name, i in sorted({**config.special_tokens, **config.added_tokens}.items(), key=lambda item: item[1])
        ],
        **(_sentencepiece_steps(config) if sentencepiece else _byte_level_steps(config)),
        "post_processor": _post_processor(config),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": sentencepiece,
            "ignore_merges": config.ignore_merges,
            "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
            "merges": [[write(left), write(right)] for left, right in config.merges],
        },
    }
    return json.dumps(contents, ensure_ascii=False, indent=1) + "\n"


def _byte_level_steps(config: TokenizerConfig) -> dict[str, Any]:
    return {
        "normalizer": {"type": config.normalization} if config.normalization else None,
        "pre_tokenizer": _byte_level_pre_tokenizer(config),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    }


def _byte_level_pre_tokenizer(config: TokenizerConfig) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if config.space_in_front != "never":
        return byte_level | {"add_prefix_space": True, "use_regex": True}
    splits = [
        {"type": "Split", "pattern": {"Regex": to_oniguruma(pattern)}, "behavior": "Isolated", "invert": False}
        for pattern in config.patterns
    ]
    return {"type": "Sequence", "pretokenizers": [*splits, byte_level]}


REPLACE_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_SIGN}
PREPEND_SPACE = {"type": "Prepend", "prepend": SPACE_SIGN}
DECODE_SPACES = {"type": "Replace", "pattern": {"String": SPACE_SIGN}, "content": " "}
STRIP_SPACE = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
PREPEND_SCHEMES: dict[str, SpaceInFront] = {"always": "if_missing", "first": "if_missing_at_start", "never": "never"}


def _sentencepiece_steps(config: TokenizerConfig) -> dict[str, Any]:
    space = config.space_in_front
    normalizer: dict[str, Any] | None = REPLACE_SPACES
    pre_tokenizer = None
    if space == "always":
        normalizer = {"type": "Sequence", "normalizers": [PREPEND_SPACE, REPLACE_SPACES]}
    elif space != "never":
        (scheme,) = (scheme for scheme, meant in PREPEND_SCHEMES.items() if meant == space)
        normalizer = None
        pre_tokenizer = {"type": "Metaspace", "replacement": SPACE_SIGN, "prepend_scheme": scheme, "split": False}
    decoders = [DECODE_SPACES, {"type": "ByteFallback"}, {"type": "Fuse"}]
    return {
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": {"type": "Sequence", "decoders": decoders + [STRIP_SPACE] * (space != "never")},
    }


def _post_processor(config: TokenizerConfig) -> dict[str, Any] | None:
    """A template that puts `begin_of_text` in front, and beside it the ids of the other two."""
    used = {"begin_of_text": config.begin_of_text, "end_of_text": config.end_of_text, "end_of_turn": config.end_of_turn}
    known = {use: i for use, i in used.items() if i is not None}
    if not known:
        return None
    name_of = {i: name for name, i in [*config.added_tokens.items(), *config.special_tokens.items()]}
    begin: list[dict] = [{"SpecialToken": {"id": "begin_of_text", "type_id": 0}}] * ("begin_of_text" in known)
    first, second = ({"Sequence": {"id": part, "type_id": n}} for n, part in enumerate("AB"))
    return {
        "type": "TemplateProcessing",
        "single": [*begin, first],
        "pair": [*begin, first, *begin, second],
        "special_tokens": {use: {"id": use, "ids": [i], "tokens": [name_of.get(i, use)]} for use, i in known.items()},
    }
