"""Where pieces begin and end: nothing is lost, and cutting a text changes none of its tokens."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.text import fast_bpe, spelling
from tinygrad_llm.text.spelling import ByteLevelSpelling, SentencePieceSpelling
from tinygrad_llm.text.tokenizer_config import TokenizerConfig

# Tokens with spaces at all places, and texts of the same few characters: "é" is in no vocabulary here.
tokens = st.lists(st.text(" ab>", min_size=2, max_size=5), unique=True, max_size=20)
texts = st.text(" ab>é▁", max_size=25)


def config_of(longer, **fields):
    """A SentencePiece-style vocabulary of single characters and `longer`, merged in this order."""
    vocabulary = [token.encode() for token in [*longer, *" ab>"]]
    return TokenizerConfig(
        tokens={token: i for i, token in enumerate(vocabulary)},
        merges=tuple(fast_bpe.implied_merges(vocabulary)),
        patterns=(),
        special_tokens={},
        byte_tokens={bytes([byte]): 1000 + byte for byte in range(256)},
        **fields,
    )


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(spelling)
    assert tried >= 1 and not failed


@given(tokens, texts)
def test_pieces_merged_apart_are_the_text_merged_as_a_whole(longer, text):
    config = config_of(longer)
    ranks = {pair: rank for rank, pair in enumerate(config.merges)}
    way = SentencePieceSpelling(config)
    pieces = way.pieces(way.normalized(text))
    assert "".join(pieces) == text.replace("▁", " ") and all(pieces)
    apart = [token for piece in pieces for token in fast_bpe.merge(way.symbols(piece), ranks)]
    assert apart == fast_bpe.merge(way.symbols(text.replace("▁", " ")), ranks)


def test_a_piece_is_a_word_with_the_spaces_before_it():
    assert SentencePieceSpelling(config_of(["aa"])).pieces("a  ab a\nb ") == ["a", "  ab", " a\nb", " "]


def test_characters_that_stand_before_a_space_in_a_token_end_no_piece():
    way = SentencePieceSpelling(config_of(["> a", "a> "]))
    assert way.pieces("b>  a b") == ["b>  a", " b"]
    assert way.pieces("b> > a") == ["b> > a"]


def test_characters_without_a_token_are_spelled_from_their_bytes():
    way = SentencePieceSpelling(config_of([]))
    assert way.symbols("aé b\udcff") == [b"a", b"\xc3", b"\xa9", b" ", b"b", b"\xff"]
    plain = ByteLevelSpelling(TokenizerConfig({}, (), (), {}))
    assert plain.symbols("é\udcff") == [b"\xc3", b"\xa9", b"\xff"]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("never", ["a", " a", "a", " a", ""]),
        ("always", [" a", "  a", " a", "  a", ""]),
        ("if_missing", [" a", " a", " a", " a", ""]),
        ("if_missing_at_start", [" a", " a", "a", " a", ""]),
    ],
)
def test_a_space_in_front(space, expected):
    way = SentencePieceSpelling(config_of([], space_in_front=space))
    given_texts = [("a", True), (" a", True), ("a", False), (" a", False), ("", True)]
    assert [way.prefix(text, at_start) + text for text, at_start in given_texts] == expected
