"""The automaton: no dead ends, honest distances, bounded."""

import doctest

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


def test_too_much_is_an_error(monkeypatch):
    with pytest.raises(InputError, match="too ambiguous"):
        Automaton(regular_expression("(a{0,1000}){0,1000}")).read(1, b"a" * 1000)
    monkeypatch.setattr(module, "MOST_STATES", 500)
    with pytest.raises(InputError, match="more than 500 states"):
        Automaton(regular_expression("a*")).read(1, b"a")  # few states: no error
        Automaton(regular_expression("a{1000}")).read(1, b"a" * 1000)
