"""A pattern means here what it means in Python's `re`."""

import re
import sys

import pytest
from hypothesis import given
from text_shapes import accepts, patterns, texts

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints import regular_expression
from tinygrad_llm.generation.constraints.automaton import Automaton
from tinygrad_llm.generation.constraints.characters import utf8


@given(patterns, texts)
def test_the_same_texts_match_as_in_re(pattern, text):
    automaton = Automaton(regular_expression(pattern))
    for tried in (text, text[:1], text[:2], text[:1] * 3):
        assert accepts(automaton, tried.encode()) == bool(re.fullmatch(pattern, tried, re.ASCII))


@given(patterns, patterns, texts)
def test_anywhere_in_the_text_and_at_its_ends(one, other, text):
    for pattern in (one, f"^{one}", f"{one}$", f"^(?:{one})$", f"^{one}|{other}$", f"{one}|^{other}$"):
        automaton = Automaton(regular_expression(pattern, utf8, anchored=False))
        # In `re` a $ also matches before a last line end; \Z is what JSON Schema means by it.
        expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
        assert accepts(automaton, text.encode()) == bool(expected)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"\d{4}-\d\d-\d\d", ["1999-12-31"], ["1999-12-3", "1999-12-311", "١٩٩٩-12-31"]),
        (r"", [""], ["a"]),
        (r"a||b", ["", "a", "b"], ["ab"]),
        (r"^a$|^b$", ["a", "b"], ["ab"]),
        (r"[^\W\d_]+", ["abc"], ["a1", "_", "é", ""]),
        (r"[\]\\^-]{2}", ["]^", "\\-"], ["a]"]),
        (r"(\+|-)?[0-9]+", ["+12", "0"], ["", "+"]),
        (r"((a?)*b){2,}", ["bb", "aabab"], ["b", "aba"]),
        (r".{3}", ["é漢😀"], ["é漢", "a\nb"]),
        (r"}]-", ["}]-"], ["}]"]),
        (r"a{2,2}b{,1}c{0}", ["aab", "aa"], ["aac", "a"]),
    ],
)
def test_by_hand(pattern, yes, no):
    automaton = Automaton(regular_expression(pattern))
    for text in yes:
        assert accepts(automaton, text.encode()) and re.fullmatch(pattern, text, re.ASCII), text
    for text in no:
        assert not accepts(automaton, text.encode()) and not re.fullmatch(pattern, text, re.ASCII), text


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"a(?=b)", r"'(?=' at position 1: groups are (…) or (?:…)"),
        (r"(?P<year>\d)", "'(?P' at position 0"),
        (r"(?i)a", "'(?i' at position 0"),
        (r"(a)\1", r"'\\1' at position 3: an escape that is not supported"),
        (r"\bword", r"'\\b' at position 0"),
        (r"\p{L}", r"'\\p' at position 0"),
        (r"[\b]", r"'\\b' at position 1"),
        (r"\xg0", r"'\\x' at position 0"),
        (r"\U00110000", r"'\\U' at position 0"),
        ("a\\", "position 1: an escape"),
        (r"a*?", "'?' at position 2: a repetition of a repetition, or a lazy or possessive one"),
        (r"a{2}{3}", "'{' at position 4: a repetition of a repetition"),
        (r"*a", "'*' at position 0: nothing stands before it"),
        (r"a|+", r"'+' at position 2: nothing stands before it to be repeated; in the text it is written \+"),
        (r"a{,}", "'{' at position 1: not a number of repetitions"),
        (r"a{x}", "'{' at position 1"),
        (r"a{1", "'{' at position 1"),
        (r"a{3,2}", "position 1: it asks for at least more than it allows at most"),
        (r"{", "'{' at position 0: nothing stands before it"),
        (r"(a", "'(' at position 0: a group that is not closed"),
        (r"a)b", "')' at position 1: a closing bracket without its opening one"),
        (r"x[ab", "'[' at position 1: a class that is not closed"),
        (r"[b-a]", "'b-a' at position 1: not a range"),
        (r"[\d-z]", r"'\\d-z' at position 1: not a range"),
        (r"[^\d\D]", "its end: no character matches"),
        (r"\ud800", "no character matches"),
        (r"(^a)", "'^' at position 1: it may stand only at the beginning"),
        (r"a$b", "'$' at position 1: it may stand only at the beginning"),
        ("(" * 200 + ")" * 200, "nested 100 deep"),
        (b"a", "must be a string"),
    ],
)
def test_what_cannot_be_read_is_named(pattern, message):
    with pytest.raises(InputError, match=re.escape(message)):
        regular_expression(pattern)


def test_a_long_pattern_is_no_deep_one():
    text = "a?" * sys.getrecursionlimit()
    automaton = Automaton(regular_expression(text))
    assert accepts(automaton, b"a" * 50) and not accepts(automaton, b"b")
