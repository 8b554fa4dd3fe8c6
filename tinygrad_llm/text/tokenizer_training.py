"""Learning a tokenizer from text: `Tokenizer.train`.

    texts --special tokens, split pattern--> words and how often each occurs --merges--> vocabulary

Builds on: `patterns`, `special_tokens`, `fast_bpe`. Used by: `tokenizer`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import fast_bpe
from tinygrad_llm.text.patterns import Splitter, named_pattern
from tinygrad_llm.text.special_tokens import check_is_text, split_at_names
from tinygrad_llm.text.token_alphabets import visible
from tinygrad_llm.text.tokenizer_config import TokenizerConfig

BYTES = 256


def trained_config(
    text: str | Iterable[str],
    vocab_size: int,
    pattern: str,
    special_tokens: Sequence[str] | Mapping[str, int],
    at_most: bool,
) -> TokenizerConfig:
    """The configuration of a tokenizer that is learned from text; see `Tokenizer.train`."""
    if not isinstance(vocab_size, (int, np.integer)):
        raise InputError(f"vocab_size={vocab_size!r} must be a whole number.")
    check_names(special_tokens)
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
    words = count_words([text] if isinstance(text, str) else text, Splitter([expression]), special_tokens)
    learned = fast_bpe.train(words, merges)
    if len(learned) < merges and not at_most:
        raise InputError(
            f"vocab_size={vocab_size} is more than the text supports, which is "
            f"{vocab_size - merges + len(learned)}: with {len(learned)} merges every word is one token. "
            f"Ask for that or less, or give more text."
        )
    tokens = [bytes([byte]) for byte in range(BYTES)] + [left + right for left, right in learned]
    return TokenizerConfig(
        tokens={token: i for i, token in enumerate(tokens)},
        merges=tuple(learned),
        patterns=(expression,),
        special_tokens=special_ids(special_tokens, tokens),
    )


def count_words(texts: Iterable[str], split: Splitter, special_tokens: Collection[str]) -> dict[bytes, int]:
    """How often each word occurs. The special tokens are not words, and none is counted across one."""
    counts: Counter[str] = Counter()
    for text in texts:
        check_is_text(text)
        for part in split_at_names(text, special_tokens)[::2]:
            counts.update(split(part))
    return {word.encode(): times for word, times in counts.items()}


def check_names(names: Sequence[str] | Mapping[str, int]) -> None:
    """Raise InputError unless these can be the names of special tokens."""
    if isinstance(names, str):
        raise InputError(f"special_tokens={names!r} must be a list of names: [{names!r}].")
    for name in names:
        check_is_text(name)
        if not name:
            raise InputError("special_tokens holds an empty string. Give each special token a name.")
    if len(set(names)) < len(names):
        raise InputError(f"special_tokens={list(names)} holds a name twice.")


def special_ids(names: Sequence[str] | Mapping[str, int], tokens: Collection[bytes]) -> dict[str, int]:
    """The id of each special token: the chosen one, or the next after those of the ordinary `tokens`."""
    first = len(tokens)
    # In a tokenizer.json both kinds are in one dictionary: special tokens by name, others in GPT-2's alphabet.
    ordinary = {visible(token) for token in tokens}
    for name in names:
        if name in ordinary:
            raise InputError(
                f"special_tokens holds {name!r}, which is an ordinary token as well. Choose a name that no "
                f"text has, such as <|{name}|>."
            )
    if not isinstance(names, Mapping):
        return {name: i for i, name in enumerate(names, start=first)}
    for name, i in names.items():
        if type(i) is not int or not first <= i < 2**31:
            raise InputError(
                f"special_tokens gives {name!r} the id {i!r}; ids from {first} on are free, those below are taken."
            )
    if len(set(names.values())) < len(names):
        raise InputError(f"special_tokens={dict(names)} gives one id to two of them.")
    return dict(names)
