"""Two other file formats of byte-level tokenizers: GPT-2's pair of files, and tiktoken's ranks.

    vocab.json + merges.txt   {"Ġthe": 262, …} and one merge a line, in GPT-2's alphabet; the split pattern is GPT-2's
    NAME.tiktoken             one token a line: its bytes in base64, its rank, which is its id

A `.tiktoken` file has no special tokens and no pattern. For the names that OpenAI gave (cl100k_base, …) they are in
`KNOWN_RANKS`; for other names the caller gives them.

Builds on: `token_alphabets`, `fast_bpe` (merges implied by an order). Used by: `Tokenizer.load`.
Source: Radford et al. 2019, src/encoder.py; tiktoken's `load.py` and `tiktoken_ext/openai_public.py` for names and ids.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_text
from tinygrad_llm.text.fast_bpe import implied_merges
from tinygrad_llm.text.patterns import CL100K, GPT2, GPT4O
from tinygrad_llm.text.token_alphabets import from_visible
from tinygrad_llm.text.tokenizer_config import END_OF_TEXT, TokenizerConfig, check_config
from tinygrad_llm.text.tokenizer_json import parsed_object, tokens_and_merges

PIECES = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}
LONGEST_TOKEN = 1_000  # bytes; those of real files stay below 130, and the merges of a token take time in its square
# Name of the file -> (pattern, special tokens).
KNOWN_RANKS: dict[str, tuple[str, dict[str, int]]] = {
    "gpt2": (GPT2, {END_OF_TEXT: 50256}),
    "r50k_base": (GPT2, {END_OF_TEXT: 50256}),
    "p50k_base": (GPT2, {END_OF_TEXT: 50256}),
    "cl100k_base": (CL100K, {END_OF_TEXT: 100257, **PIECES}),
    "o200k_base": (GPT4O, {END_OF_TEXT: 199999, "<|endofprompt|>": 200018}),
}


def from_gpt2_files(vocabulary: Path, merges: Path) -> TokenizerConfig:
    """A tokenizer as GPT-2 was published. Raises InputError when one of the files is missing or damaged.

    "<|endoftext|>" is a special token; any other entry is an ordinary one.
    """
    ids = parsed_object(read_text(vocabulary), str(vocabulary))
    wrong = next((name for name, i in ids.items() if type(i) is not int or i < 0), None)
    if wrong is not None:
        raise InputError(f"{vocabulary} is damaged: the id of {wrong!r} is {ids[wrong]!r}, not a whole number.")
    pairs = []
    for number, line in enumerate(read_text(merges).splitlines(), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.partition(" ")
        if not (left and right) or " " in right:
            raise InputError(f"{merges} is damaged: line {number} is {line[:40]!r}, not two tokens.")
        pairs.append((left, right))
    special = {END_OF_TEXT: ids[END_OF_TEXT]} if END_OF_TEXT in ids else {}
    try:
        parts = tokens_and_merges(ids, pairs, special, {}, from_visible)
        return check_config(TokenizerConfig(**parts, patterns=(GPT2,), special_tokens=special))
    except InputError as error:
        raise InputError(f"{vocabulary} and {merges} cannot be used as a tokenizer here: {error}.") from error


def from_tiktoken(path: Path, pattern: str | None, special_tokens: Mapping[str, int] | None) -> TokenizerConfig:
    """A tokenizer of tiktoken's ranks. pattern, special_tokens: None for those that belong to the file's name.

    Two neighbours are merged when the result has a rank, the least first. So the merges are all pairs that make a
    token, in the order of the tokens. A piece that is a token is taken whole.

    Raises InputError when the file is damaged, or its name is not known and no pattern is given.
    """
    known = KNOWN_RANKS.get(path.stem)
    if pattern is None and known is None:
        raise InputError(
            f"{path} does not say how text is split before it is merged. Write: "
            f"Tokenizer.load({str(path)!r}, pattern='gpt4', special_tokens={{{END_OF_TEXT!r}: …}})."
        )
    if known is not None:
        pattern, special_tokens = pattern or known[0], known[1] if special_tokens is None else special_tokens
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            encoded, rank = line.split()
            token = base64.b64decode(encoded, validate=True)
            ranks[token] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise InputError(f"{path} is damaged: line {number} is {line[:40]!r}, not a token and its rank.") from error
        if len(token) > LONGEST_TOKEN:
            raise InputError(f"{path} is damaged: the token in line {number} has {len(token):,} bytes.")
    ordered = sorted(ranks, key=ranks.__getitem__)
    assert pattern is not None
    try:
        return check_config(
            TokenizerConfig(
                ranks,
                tuple(implied_merges(ordered)),
                (pattern,),
                dict(special_tokens or {}),
                ignore_merges=True,
            )
        )
    except InputError as error:
        raise InputError(f"{path} cannot be used as a tokenizer here: {error}.") from error
