"""Patterns, vocabularies and texts to try constraints with, shared by the tests in generation/constraints."""

import math

import numpy as np
from hypothesis import strategies as st

from tinygrad_llm.generation.constraints import Constraint, Vocabulary
from tinygrad_llm.generation.constraints.automaton import DEAD
from tinygrad_llm.generation.logits_processors import sampling_distribution

LETTERS = "ab1é😀\n"


def bounds(numbers):
    least, more = numbers
    return st.sampled_from([f"{{{least}}}", f"{{{least},}}", f"{{{least},{least + more}}}", f"{{,{least + more}}}"])


counts = st.one_of(st.sampled_from("?*+"), st.tuples(st.integers(0, 3), st.integers(0, 3)).flatmap(bounds))
CHARACTERS = r"a b 1 é 😀 ab \n \x61 \u00e9 \U0001F600 \."
CLASSES = r". \d \w \s \S \W [ab] [^a] [a-é] [\dé-] []a] [^😀] [\U0001F600-\U0010FFFF\d]"
atoms = st.sampled_from(CHARACTERS.split() + CLASSES.split())


def larger(inner):
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: f"({'|'.join(some)})"),
        st.tuples(inner, counts).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


patterns = st.recursive(atoms, larger, max_leaves=8)
texts = st.text(LETTERS + "c-] .", max_size=6)

# Byte-level: every byte is a token, and some longer ones. As in SentencePiece: some bytes are two tokens, one of them
# the byte by name. In both, tokens may end in the middle of a character.
EVERY_BYTE = [bytes([byte]) for byte in range(256)]
longer_tokens = st.lists(
    st.one_of(
        st.text(LETTERS + '"{}:, ', min_size=1, max_size=4).map(str.encode),
        st.sampled_from(
            ["é".encode() + b"\xf0", b"\x9f\x98", b"\x98\x80a", b"\xc3", b"a", b"1", b'": "', b'"}', b"1,"]
        ),
    ),
    max_size=20,
)
vocabularies = longer_tokens.map(lambda longer: Vocabulary([None, *EVERY_BYTE, *longer, None]))


def write(constraint: Constraint, seed: int, most: int = 40, max_tokens: int | None = None) -> str | None:
    """A text that a model with random logits generates; None when it did not end (token 0) within `most` tokens."""
    rng = np.random.default_rng(seed)
    stage = constraint.processor(after=2, max_tokens=max_tokens)
    text = [7, 7]
    for _ in range(most if max_tokens is None else max_tokens):
        logits = 3.0 * rng.standard_normal(len(constraint.vocabulary.tokens))
        p = np.exp(sampling_distribution(stage, logits, text))
        assert math.isclose(p.sum(), 1.0)
        token = int(rng.choice(len(p), p=p / p.sum()))
        if token == 0:
            break
        text.append(token)
    else:
        if max_tokens is None:
            return None
    return b"".join(constraint.vocabulary.tokens[i] for i in text[2:]).decode()


def accepts(automaton, data: bytes) -> bool:
    state = automaton.read(automaton.start, data)
    assert (state == DEAD) <= (not automaton.accepts(state))
    return automaton.accepts(state)
