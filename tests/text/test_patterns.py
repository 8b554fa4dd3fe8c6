"""Splitting: nothing is lost, the named patterns cut where they should, and bad patterns are refused."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import patterns
from tinygrad_llm.text.patterns import DIGITS, GPT2, GPT4, ONE_DIGIT, Splitter, named_pattern


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(patterns)
    assert tried >= 2 and not failed


@given(st.text(), st.lists(st.sampled_from([GPT2, GPT4, ONE_DIGIT, DIGITS, "[a-m]+", r"\s*"]), max_size=3))
def test_the_pieces_joined_are_the_text_and_none_is_empty(text, chosen):
    pieces = Splitter(chosen)(text)
    assert "".join(pieces) == text
    assert all(pieces)


@pytest.mark.parametrize(
    ("pattern", "text", "pieces"),
    [
        (GPT2, "I'll go, WE'LL go", ["I", "'ll", " go", ",", " WE", "'", "LL", " go"]),
        (GPT4, "I'll go, WE'LL go", ["I", "'ll", " go", ",", " WE", "'LL", " go"]),
        (GPT2, "in 12345.\n\nx", ["in", " 12345", ".", "\n", "\n", "x"]),
        (GPT4, "in 12345.\n\nx", ["in", " ", "123", "45", ".\n\n", "x"]),
        (GPT2, "a   b  ", ["a", "  ", " b", "  "]),
        (GPT4, "(word) #tag", ["(word", ")", " #", "tag"]),
        (DIGITS, "x12y3", ["x", "12", "y", "3"]),
        (ONE_DIGIT, "x12", ["x", "1", "2"]),
    ],
)
def test_where_the_patterns_cut(pattern, text, pieces):
    assert Splitter([pattern])(text) == pieces


def test_what_a_pattern_does_not_match_stays_a_piece():
    assert Splitter(["[0-9]+"])("ab12cd") == ["ab", "12", "cd"]
    assert Splitter([])("left as it is") == ["left as it is"]


def test_names_and_regular_expressions():
    assert named_pattern("gpt2") == GPT2
    assert named_pattern(r"\w+|\W") == r"\w+|\W"


@pytest.mark.parametrize("pattern", ["gpt5", "gpt-4", ""])
def test_a_word_that_is_no_known_name_is_refused(pattern):
    with pytest.raises(InputError, match="neither a known name"):
        named_pattern(pattern)


def test_bad_regular_expressions_are_refused():
    with pytest.raises(InputError, match="not a regular expression|not closed"):
        Splitter(["[a-"])
    with pytest.raises(InputError, match="captures groups"):
        Splitter([r"(\w)+"])
