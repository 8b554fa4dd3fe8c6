"""All tokens through the automaton at once, against one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_shapes import patterns, texts, vocabularies

from tinygrad_llm.generation.constraints import Vocabulary, regular_expression
from tinygrad_llm.generation.constraints.automaton import DEAD, Automaton
from tinygrad_llm.text.tokenizer import Tokenizer


@given(patterns, texts, vocabularies)
def test_the_tokens_that_can_follow_are_found(pattern, text, vocabulary):
    automaton = Automaton(regular_expression(pattern))
    for state in (automaton.start, automaton.read(automaton.start, text.encode()[:3])):
        ids, states = vocabulary.following(automaton, state)
        one_by_one = {i: automaton.read(state, token) for i, token in enumerate(vocabulary.tokens) if token}
        assert len(ids) == len(set(ids.tolist()))
        assert dict(zip(ids.tolist(), states.tolist(), strict=True)) == {
            i: after for i, after in one_by_one.items() if after != DEAD
        }


@given(st.lists(st.one_of(st.none(), st.binary(max_size=5)), max_size=30))
def test_any_bytes_may_be_tokens(tokens):
    vocabulary = Vocabulary(tokens)
    automaton = Automaton(regular_expression(r".*"))
    ids, _ = vocabulary.following(automaton, automaton.start)
    assert set(ids.tolist()) == {
        i for i, token in enumerate(tokens) if token and automaton.read(automaton.start, token) != DEAD
    }
    assert set(vocabulary.single_bytes) == {token[0] for token in tokens if token and len(token) == 1}


def test_special_tokens_of_a_tokenizer_write_nothing():
    tokenizer = Tokenizer.train("the cat and the hat", 260)
    vocabulary = Vocabulary.of(tokenizer)
    assert len(vocabulary.tokens) == 260
    assert vocabulary.tokens[tokenizer.end_of_text] is None
    assert vocabulary.tokens[:256] == [bytes([byte]) for byte in range(256)]
    assert vocabulary.tokens[256:259] == [tokenizer.token_bytes(i) for i in range(256, 259)]


@pytest.mark.parametrize("tokens", [[], [None, b""]])
def test_a_vocabulary_without_tokens(tokens):
    automaton = Automaton(regular_expression("a*"))
    ids, states = Vocabulary(tokens).following(automaton, automaton.start)
    assert ids.size == states.size == 0 and ids.dtype == np.int32
