"""Text while it comes: whole characters, and nothing of a stop string."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import StopFinder, TextStream, text_stream
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.tokenizer_config import TokenizerConfig

byte_tokens = Tokenizer.train("", 256)
merged = Tokenizer.train("to be or not to be, that is the question 😀😃 漢字" * 2, 280)
# As in Llama 2 and Gemma: characters, and what is not among them is spelled with tokens that stand for bytes.
sentencepiece = Tokenizer(
    TokenizerConfig(
        tokens={character.encode(): i for i, character in enumerate(" abcdeé")},
        merges=(),
        patterns=(),
        special_tokens={},
        byte_tokens={bytes([byte]): 7 + byte for byte in range(256)},
    )
)
TOKENIZERS = [byte_tokens, merged, sentencepiece]


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(text_stream)
    assert tried >= 3 and not failed


def shown(ids, tokenizer, stop=()) -> list[str]:
    """What a stream shows after each of the ids, and in the end."""
    stream = TextStream(tokenizer, stop)
    return [*map(stream.push, ids), stream.finish()]


def until_stop(pieces, stop) -> list[str]:
    """What is shown after each of the pieces, and in the end."""
    finder = StopFinder(stop)
    return [*map(finder.push, pieces), finder.finish()]


# --- whole characters -------------------------------------------------------------------------------------------


@given(st.text().map(lambda text: text.replace("▁", " ")), st.sampled_from(TOKENIZERS))
def test_pieces_are_whole_characters_and_all_of_the_text(text, tokenizer):
    pieces = shown(tokenizer.encode(text), tokenizer)
    assert "".join(pieces) == text
    for n in range(len(pieces)):
        assert text.startswith("".join(pieces[:n]))


def test_a_character_that_is_not_finished_is_not_shown():
    ids = byte_tokens.encode("é😀")
    assert ["".join(shown(ids[:n], byte_tokens)) for n in range(7)] == ["", "", "é", "é", "é", "é", "é😀"]


def test_a_piece_is_there_as_soon_as_its_token():
    assert shown(byte_tokens.encode("aéb"), byte_tokens) == ["a", "", "é", "b", ""]


# --- stop strings -----------------------------------------------------------------------------------------------


def read_character_by_character(text: str, stops: list[str]) -> str:
    """The definition: stop at the first moment at which a stop string is complete; the longest one if several are."""
    for end in range(1, len(text) + 1):
        complete = [s for s in stops if text[:end].endswith(s)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted(place % (len(text) + 1) for place in places)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


few_letters = st.text("ab", max_size=30)
some_stops = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)


@given(few_letters, some_stops, st.lists(st.integers(0, 100), max_size=12))
def test_how_the_text_is_cut_makes_no_difference(text, stops, places):
    assert "".join(until_stop(cut(text, places), stops)) == read_character_by_character(text, stops)


@given(few_letters, some_stops)
def test_nothing_is_shown_too_early_nor_held_back_too_long(text, stops):
    finder, out = StopFinder(stops), ""
    for read, character in enumerate(text, start=1):
        out += finder.push(character)
        waiting = text[len(out) : read]
        assert finder.found == any(text[:n].endswith(s) for s in stops for n in range(1, read + 1))
        assert finder.found or waiting == "" or any(s.startswith(waiting) for s in stops)
    assert out + finder.finish() == read_character_by_character(text, stops)


def test_a_stop_string_across_token_borders():
    text = "Enter GHOST.\nHAMLET: Whither wilt thou lead me? 😀 speak"
    for tokenizer in TOKENIZERS:
        for stop in ("HAMLET:", "\nHAM", "lead", "😀", "k"):
            assert "".join(shown(tokenizer.encode(text), tokenizer, [stop])) == text[: text.index(stop)]


def test_what_only_looked_like_a_stop_string_is_shown_in_the_end():
    assert until_stop(["x", "ST", "O", "Y"], ["STOP"]) == ["x", "", "", "STOY", ""]
    assert until_stop(["x", "ST", "O"], ["STOP"]) == ["x", "", "", "STO"]


def test_a_single_string_is_one_stop_string():
    assert until_stop(["a, b, c"], ", c") == ["a, b", ""]
    assert until_stop(["abc"], ()) == ["abc", ""]


def test_a_stream_says_when_it_is_at_its_end():
    stream = TextStream(byte_tokens, "ab")
    stops = []
    for token in b"xab!":
        stream.push(token)
        stops.append(stream.stopped)
    assert stops == [False, False, True, True]


@pytest.mark.parametrize("stop", ["", ["a", ""], [1]])
def test_an_empty_stop_string_is_an_error_at_once(stop):
    with pytest.raises(InputError, match="at least one character"):
        TextStream(byte_tokens, stop)
