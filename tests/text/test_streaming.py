"""Decoding id by id: whole characters only, nothing lost, nothing stalled."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import StreamDecoder, Tokenizer, streaming

byte_tokens = Tokenizer.train("", 256)
merged = Tokenizer.train("naïve café déjà 😀😃😄 漢字 the theme" * 2, 270)


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(streaming)
    assert tried >= 3 and not failed


# Bytes at random are hardly ever near to valid UTF-8: cut real characters apart and mix in what cannot stand
# there.
damaged = st.lists(
    st.one_of(
        st.binary(max_size=3),
        st.text(max_size=2).map(str.encode),
        st.sampled_from("é漢😀".encode()).map(lambda b: bytes([b])),
    )
).map(b"".join)


@given(damaged, st.sampled_from([byte_tokens, merged]))
def test_the_parts_joined_are_the_decoded_text(data, tokenizer):
    ids = tokenizer.encode_bytes(data)
    stream = StreamDecoder(tokenizer)
    assert "".join([*(stream.push(i) for i in ids), stream.finish()]) == tokenizer.decode(ids)


@given(st.text(), st.sampled_from([byte_tokens, merged]))
def test_half_a_character_is_never_shown(text, tokenizer):
    stream = StreamDecoder(tokenizer)
    shown = ""
    for i in tokenizer.encode(text):
        shown += stream.push(i)
        assert text.startswith(shown)
    assert shown == text and stream.finish() == ""


def test_each_character_comes_with_its_last_byte():
    stream = StreamDecoder(byte_tokens)
    assert [stream.push(i) for i in "a漢😀".encode()] == ["a", "", "", "漢", "", "", "", "😀"]


def test_invalid_bytes_do_not_stall():
    stream = StreamDecoder(byte_tokens)
    assert [stream.push(i) for i in b"\xf0\x9f\x98a\xffb"] == ["", "", "", "\ufffda", "\ufffd", "b"]
    assert [stream.push(0x80) for _ in range(5)] == ["\ufffd"] * 5


def test_what_is_left_at_the_end_comes_out_and_the_decoder_begins_anew():
    stream = StreamDecoder(byte_tokens)
    assert stream.push(0xF0) == "" and stream.finish() == "\ufffd" and stream.finish() == ""
    assert stream.push(ord("a")) == "a"


def test_an_id_that_is_no_token_is_refused():
    with pytest.raises(InputError, match="ids holds 256"):
        StreamDecoder(byte_tokens).push(256)
