"""Sets of characters against Python's own sets, and their spellings against Python's own codecs."""

import json

from hypothesis import given
from hypothesis import strategies as st
from text_shapes import accepts

from tinygrad_llm.generation.constraints.automaton import Automaton
from tinygrad_llm.generation.constraints.characters import ALL, common, json_text, union, utf8, without

EDGES = [0, 9, 10, 0x1F, 0x22, 0x5C, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
codes = st.one_of(st.sampled_from(EDGES), st.integers(0, 0x10FFFF))
ranges = st.tuples(codes, codes).map(sorted).map(tuple)
sets = st.lists(ranges, min_size=1, max_size=4).map(lambda some: union(some))
small_sets = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted).map(tuple), max_size=4)


def members(some) -> set[int]:
    return {code for low, high in some for code in range(low, high + 1)}


@given(small_sets, small_sets)
def test_sets_are_sets(one, other):
    assert members(union(one, other)) == members(one) | members(other)
    assert members(without(union(one), union(other))) == members(one) - members(other)
    assert members(common(union(one), union(other))) == members(one) & members(other)
    joined = union(one, other)
    assert all(high + 1 < low for (_, high), (low, _) in zip(joined, joined[1:], strict=False))


def around(some) -> set[int]:
    """Code points at which a mistake would show."""
    near = {code + step for one in some for code in one for step in (-1, 0, 1)} | set(EDGES)
    return {code for code in near if 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000}


@given(sets)
def test_a_character_is_spelled_as_in_utf8(some):
    if not common(some, ALL):
        return
    automaton = Automaton(utf8(some))
    for code in around(some):
        assert accepts(automaton, chr(code).encode()) == any(low <= code <= high for low, high in some)


@given(sets)
def test_inside_of_json_it_is_spelled_as_json_dumps_does(some):
    if not common(some, ALL):
        return
    automaton = Automaton(json_text(some))
    for code in around(some):
        written = json.dumps(chr(code), ensure_ascii=False)[1:-1].encode()
        assert accepts(automaton, written) == any(low <= code <= high for low, high in some)


def test_what_is_no_utf8_is_no_character():
    automaton = Automaton(utf8(ALL))
    for wrong in (
        b"\x80",
        b"\xc0\x80",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xff",
    ):
        assert not accepts(automaton, wrong)
