"""SentencePiece-style tokenizers: ids equal to those of other libraries, round trips, bytes, streaming."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import StreamDecoder, Tokenizer, fast_bpe
from tinygrad_llm.text.tokenizer_gguf import tokenizer_from_gguf
from tinygrad_llm.text.tokenizer_json import from_json
from tinygrad_llm.text.tokenizer_json_writer import to_json

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tokenizer_golden.json").read_text())
TRAINED = GOLDEN["sentencepiece"]
trained = tokenizer_from_gguf({f"tokenizer.ggml.{key}": value for key, value in TRAINED["metadata"].items()})
families = {
    family: Tokenizer(from_json(json.dumps(golden["file"]), family)) for family, golden in GOLDEN["spaces"].items()
}
everyone = st.sampled_from([trained, *families.values()])
any_text = st.one_of(st.text(), st.lists(st.sampled_from([" the", "  ", "<s>", "<b>", "é", "😀", "\n"])).map("".join))


def is_given_back(text, tokenizer):
    """Decoding takes one space away at the start, whoever put it there, and none that was put in the middle."""
    space = tokenizer.config.space_in_front
    if space.startswith("if_missing") and text.startswith((" ", "▁")):
        return False
    return space in ("never", "if_missing_at_start") or not any(name in text for name in tokenizer.config.added_tokens)


def text_and_tokenizer(texts):
    return st.tuples(texts, everyone).filter(lambda drawn: is_given_back(*drawn))


# -- equal to other libraries --------------------------------------------------------------------------------


def test_ids_equal_those_of_sentencepiece():
    for text, ids in zip(TRAINED["texts"], TRAINED["ids"], strict=True):
        assert trained.encode(text) == ids


@pytest.mark.parametrize("family", GOLDEN["spaces"])
def test_ids_equal_those_of_tokenizers(family):
    golden = GOLDEN["spaces"][family]
    for text, ids, decoded in zip(golden["texts"], golden["ids"], golden["decoded"], strict=True):
        assert families[family].encode(text, "all") == ids
        assert families[family].decode(ids) == decoded


def test_each_family_has_what_it_is_there_for():
    spaces = {family: tokenizer.config.space_in_front for family, tokenizer in families.items()}
    assert set(spaces.values()) == {"never", "always", "if_missing", "if_missing_at_start"}
    assert trained.config.space_in_front == "always" and trained.begin_of_text == 1 and trained.end_of_text == 2
    gemma = families["gemma"].config
    assert any(b" " in token.lstrip(b" ") for token in gemma.tokens)  # tokens that cross words
    assert gemma.added_tokens.keys() == {"<b>", "</b>", "\n", "\n\n"}
    assert len(gemma.byte_tokens) == 256 and b"~" not in gemma.tokens  # a byte token and no character


def test_saving_and_loading_is_the_identity():
    for tokenizer in (trained, *families.values()):
        config = replace(tokenizer.config, end_of_turn=tokenizer.special_tokens["<s>"])
        assert from_json(to_json(config), "a file") == config


# -- round trips ---------------------------------------------------------------------------------------------


@given(text_and_tokenizer(any_text))
def test_decoding_gives_back_any_text(drawn):
    text, tokenizer = drawn
    assert tokenizer.decode(tokenizer.encode(text), errors="strict") == text.replace("▁", " ")


@given(text_and_tokenizer(st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))))
def test_decoding_gives_back_any_bytes(drawn):
    text, tokenizer = drawn
    data = text.encode("utf-8", "surrogateescape")
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data.replace("▁".encode(), b" ")


@given(any_text, everyone, st.sampled_from([(), "all"]))
def test_lists_arrays_and_tokens_agree(text, tokenizer, allowed):
    ids = tokenizer.encode(text, allowed)
    assert tokenizer.encode_array(text, allowed).tolist() == ids
    assert tokenizer.tokens(text, allowed) == [tokenizer.token_bytes(i) for i in ids]
    if not allowed:
        assert tokenizer.encode_bytes(text.encode()) == ids


@given(any_text, everyone)
def test_the_story_of_a_word_ends_with_its_tokens(text, tokenizer):
    try:
        steps = tokenizer.merge_steps(text)
    except InputError as error:
        assert "cut into the pieces" in str(error)
    else:
        if not any(name in text for name in tokenizer.config.added_tokens):
            assert steps[-1] == tokenizer.tokens(text)


# -- special, added and byte tokens --------------------------------------------------------------------------


@given(any_text, everyone)
def test_text_never_becomes_a_special_token_by_accident(text, tokenizer):
    special = set(tokenizer.special_tokens.values())
    assert not special & set(tokenizer.encode(f"{text}<s>{text}</s><unk>"))
    assert not special & set(tokenizer.encode_bytes(f"{text}<s>".encode()))


def test_added_tokens_are_found_in_any_text():
    gemma = families["gemma"]
    added = gemma.config.added_tokens
    assert gemma.encode("<b>\n\n\n") == [added["<b>"], added["\n\n"], added["\n"]]
    assert gemma.encode_bytes(b"\n") == [added["\n"]]
    assert gemma.encode_parts(["\n", 1, "<s>"]) == [added["\n"], 1, *gemma.encode("<s>")]


def test_the_name_of_a_byte_in_a_text_is_not_that_byte():
    gemma = families["gemma"]
    assert gemma.encode("~") == [gemma.config.byte_tokens[b"~"]]
    assert gemma.config.byte_tokens[b"~"] not in gemma.encode("<0x7E>")
    assert gemma.decode(gemma.encode("<0x7E>")) == "<0x7E>"


def test_a_missing_byte_is_named():
    config = families["gemma"].config
    without = {byte: i for byte, i in config.byte_tokens.items() if byte != "ũ".encode()[1:]}
    with pytest.raises(InputError, match=r"no token for the byte b'\\xa9'"):
        Tokenizer(replace(config, byte_tokens=without)).encode("ũ")


# -- streaming -----------------------------------------------------------------------------------------------


@given(st.binary(), everyone)
def test_the_parts_joined_are_the_decoded_text(data, tokenizer):
    ids = tokenizer.encode_bytes(data)
    stream = StreamDecoder(tokenizer)
    for _ in range(2):  # a stream that has finished begins a new text
        assert "".join([*(stream.push(i) for i in ids), stream.finish()]) == tokenizer.decode(ids)


@given(text_and_tokenizer(st.text()))
def test_half_a_character_is_never_shown(drawn):
    text, tokenizer = drawn
    stream, shown = StreamDecoder(tokenizer), ""
    for i in tokenizer.encode(text):
        shown += stream.push(i)
        assert text.replace("▁", " ").startswith(shown)


def test_byte_tokens_wait_for_their_character():
    stream = StreamDecoder(families["gemma"])
    of_byte = families["gemma"].config.byte_tokens
    assert [stream.push(of_byte[bytes([byte])]) for byte in "漢".encode()] == ["", "", "漢"]


def test_a_text_that_goes_on_keeps_its_space():
    ids = trained.encode("the")
    assert trained.tokens("the")[0].startswith(b" ")
    assert "".join(map(StreamDecoder(trained).push, ids)) == "the"
    assert "".join(map(StreamDecoder(trained, continues=True).push, ids)) == " the"


# -- speed ---------------------------------------------------------------------------------------------------


class CountedRanks(dict):
    """The ranks of merges; counts how often they are looked up."""

    lookups = 0

    def get(self, *arguments):
        self.lookups += 1
        return super().get(*arguments)


@pytest.mark.parametrize("piece", ["a", "the ", "漢", " "])
def test_the_work_for_one_long_piece_grows_as_its_length(piece):
    gemma = families["gemma"]
    text = piece * (100_000 // len(piece.encode()))
    assert gemma.decode(gemma.encode_array(text)) == text
    symbols = gemma.spelling.symbols(text)
    ranks = CountedRanks({pair: rank for rank, pair in enumerate(gemma.config.merges)})
    fast_bpe.merge(symbols, ranks)
    assert 0 < ranks.lookups < 4 * len(symbols)
