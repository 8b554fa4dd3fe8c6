"""The automaton: no dead ends, honest distances, bounded."""

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_shapes import accepts, patterns

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints import automaton as module
from tinygrad_llm.generation.constraints import regular_expression
from tinygrad_llm.generation.constraints.automaton import ALL_BYTES, DEAD, Automaton
from tinygrad_llm.generation.constraints.expressions import Bytes, Choice, Reference, Repeat, Sequence, literal


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(module)
    assert tried and not failed


@given(patterns, st.lists(st.integers(0, 10**6), max_size=12))
def test_every_state_is_as_far_from_the_end_as_it_says(pattern, choices):
    """Along any way: the distance goes down by one with the best byte, and is 0 just where the text matches."""
    automaton = Automaton(regular_expression(pattern))
    state = automaton.start
    for choice in choices:
        following = [automaton.read(state, bytes([byte])) for byte in ALL_BYTES]
        alive = [other for other in following if other != DEAD]
        assert (automaton.shortest[state] == 0.0) == automaton.accepts(state)
        if automaton.shortest[state]:
            assert min(automaton.shortest[other] for other in alive) == automaton.shortest[state] - 1
        if not alive:
            break
        state = alive[choice % len(alive)]


def test_an_expression_may_contain_itself():
    """Brackets in brackets to any depth, which no finite automaton can read."""
    brackets = Reference()
    brackets.target = Repeat(Sequence((literal("("), brackets, literal(")"))), 0, None)
    automaton = Automaton(brackets)
    for text in (b"", b"()", b"(())()", b"(" * 3000 + b")" * 3000):
        assert accepts(automaton, text)
    for text in (b"(", b")", b"(()", b"())"):
        assert not accepts(automaton, text)
    assert automaton.shortest[automaton.read(automaton.start, b"((()(")] == 3


def test_what_has_no_end_is_left_out():
    """A choice that cannot come to an end is never begun."""
    endless = Reference()
    endless.target = Sequence((literal("a"), endless))
    automaton = Automaton(Choice((endless, literal("b"), Sequence((literal("c"), Repeat(endless, 0, 3))))))
    assert automaton.read(automaton.start, b"a") == DEAD
    assert automaton.read(automaton.start, b"ca") == DEAD
    assert accepts(automaton, b"b") and accepts(automaton, b"c")
    for nothing in (endless, Choice(()), Bytes(b""), Sequence((literal("a"), Choice(())))):
        with pytest.raises(InputError, match="no text matches"):
            Automaton(nothing)


def test_only_available_bytes_count_for_the_distance():
    expression = regular_expression("(a|bcd)x")
    assert Automaton(expression).shortest[1] == 2
    assert Automaton(expression, b"bcdx").shortest[1] == 4
    assert Automaton(expression, b"abc").shortest[1] == float("inf")


def test_huge_automata_cost_what_is_visited_of_them():
    automaton = Automaton(regular_expression("(a|b)*a(a|b){1000}|[a-z]{0,100000000}"))
    assert accepts(automaton, b"ab" * 20)
    assert len(automaton) < 200


def members(automaton: Automaton, text: bytes) -> int:
    """How many lists the state after `text` has."""
    return len(automaton._members[automaton.read(automaton.start, text)][0])


@pytest.mark.parametrize(
    ("pattern", "text", "most"),
    [
        ("(a{1,100}){1,100}", b"a" * 50, 1),  # is a{1,10000}
        ("(a?){1000}", b"a" * 50, 1),
        ("([ab]{0,1000}){0,1000}b", b"ab" * 50, 2),
        ("(a|aa){10,2000}", b"a" * 500, 6),
        ("(a?b?){1000}", b"ab" * 50, 2),
        ("|".join(f"{n:05}" for n in range(20_000)), b"", 1),
        ("x(" + "|".join(f"{n:05}" for n in range(20_000)) + ")*", b"x1234501234", 2),
    ],
)
def test_counts_and_words_share_lists(pattern, text, most):
    automaton = Automaton(regular_expression(pattern))
    assert 1 <= members(automaton, text) <= most


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_a_repetition_of_a_repetition(least, more, outer_least, outer_more):
    pattern = f"(a{{{least},{least + more}}}){{{outer_least},{outer_least + outer_more}}}"
    automaton = Automaton(regular_expression(pattern))
    for length in range(40):
        assert accepts(automaton, b"a" * length) == bool(re.fullmatch(pattern, "a" * length))


@given(st.lists(st.text("abé", max_size=4), min_size=1, max_size=12), st.text("abé", max_size=5))
def test_fixed_alternatives(words, text):
    automaton = Automaton(regular_expression(f"({'|'.join(words)}){{1,2}}"))
    pairs = {one + other for one in words for other in [*words, ""]}
    assert accepts(automaton, text.encode()) == (text in pairs)
    assert automaton.shortest[automaton.start] == min(len(pair.encode()) for pair in pairs)


AMBIGUOUS = "x|((a|aa){2,60}(ab?){2,80}){3,50}"


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MOST_LISTS", 200, "a text can be read along it in more than 200 ways at once"),
        ("MOST_WORK", 2000, "reading along it takes more than 2,000 steps"),
        ("MOST_STATES", 30, "it needs more than 30 states"),
    ],
)
def test_too_much_is_an_error_that_names_the_part(monkeypatch, limit, value, message):
    monkeypatch.setattr(module, limit, value)
    few = Automaton(regular_expression("a*|b{3,100000}"))
    few.read(few.start, b"b" * 20)  # no error
    many = Automaton(regular_expression(AMBIGUOUS))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        many.read(many.start, b"a" * 100)
    assert any(
        str(error.value).startswith(f"{part!r} at position {AMBIGUOUS.index(part)} of the regular expression is too")
        for part in ("(a|aa){2,60}", "(ab?){2,80}", AMBIGUOUS[2:])
    )


def test_every_token_adds_to_what_a_text_may_cost(monkeypatch):
    monkeypatch.setattr(module, "MOST_WORK", 100)
    monkeypatch.setattr(module, "WORK_PER_TOKEN", 10)
    automaton = Automaton(regular_expression("a{1000}"))
    state = automaton.start
    for _ in range(500):
        automaton.add_budget()
        state = automaton.read(state, b"a")
    with pytest.raises(InputError, match=r"'a\{1000\}' at position 0 of the regular expression is too large"):
        automaton.read(state, b"a" * 400)
