"""Text to ids and back: round trips, the layout of ids, special tokens, and equality with other libraries."""

import doctest
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import Tokenizer, bpe, fast_bpe, special_tokens, tokenizer, tokenizer_json
from tinygrad_llm.text.tokenizer_config import TokenizerConfig

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tokenizer_golden.json").read_text())
TEXT = GOLDEN["training_text"]
END = "<|endoftext|>"

trained = {pattern: Tokenizer.train(TEXT, 400, pattern) for pattern in ("gpt2", "gpt4")}
gpt4 = trained["gpt4"]
# Text made to hold special tokens, contractions and repeated words, and any Unicode at all.
any_text = st.one_of(st.text(), st.lists(st.sampled_from([END, " the", "'ll", "é", "😀", "\n", "<|end"])).map("".join))


@pytest.mark.parametrize("module", [tokenizer, special_tokens])
def test_the_examples_in_the_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried >= 1 and not failed


# -- round trips ---------------------------------------------------------------------------------------------


@given(any_text, st.sampled_from(["gpt2", "gpt4"]))
def test_decoding_gives_back_any_text(text, pattern):
    ids = trained[pattern].encode(text)
    assert trained[pattern].decode(ids) == text
    assert trained[pattern].decode(ids, errors="strict") == text


@given(st.binary())
def test_decoding_gives_back_any_bytes(data):
    assert gpt4.decode_bytes(gpt4.encode_bytes(data)) == data


@given(any_text)
def test_the_bytes_of_a_text_are_encoded_as_the_text(text):
    assert gpt4.encode_bytes(text.encode()) == gpt4.encode(text)


@given(any_text, st.sampled_from([(), "all", [END]]))
def test_lists_arrays_and_tokens_agree(text, allowed):
    ids = gpt4.encode(text, allowed)
    array = gpt4.encode_array(text, allowed)
    assert array.dtype == np.int32 and array.ndim == 1 and array.flags.writeable
    assert array.tolist() == ids and all(type(i) is int for i in ids)
    assert gpt4.tokens(text, allowed) == [gpt4.token_bytes(i) for i in ids]
    assert b"".join(gpt4.tokens(text, allowed)) == text.encode()
    assert gpt4.decode(array) == text


@given(any_text)
def test_what_was_encoded_before_changes_nothing(text):
    fresh = Tokenizer(gpt4.config)
    assert fresh.encode(text) == fresh.encode(text) == gpt4.encode(text)


def test_a_full_memory_of_pieces_changes_nothing(monkeypatch):
    monkeypatch.setattr(tokenizer._Memo, "LIMIT", 3)
    small = Tokenizer(gpt4.config)
    assert small.encode(TEXT) == gpt4.encode(TEXT)
    assert len(small._packed_ids) <= 3


# -- the vocabulary ------------------------------------------------------------------------------------------


def test_ids_are_bytes_then_merges_then_special_tokens():
    tokenizer = Tokenizer.train(TEXT, 300, special_tokens=["<|a|>", "<|b|>"])
    assert tokenizer.vocab_size == 300
    assert [tokenizer.token_bytes(i) for i in range(256)] == [bytes([i]) for i in range(256)]
    learned = [left + right for left, right in tokenizer.config.merges]
    assert [tokenizer.token_bytes(i) for i in range(256, 298)] == learned
    assert tokenizer.special_tokens == {"<|a|>": 298, "<|b|>": 299}
    assert tokenizer.end_of_text is None
    assert gpt4.end_of_text == 399


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one():
    assert Tokenizer.train(TEXT, 300).config.merges == gpt4.config.merges[:43]


def test_256_means_bytes_and_nothing_else():
    tokenizer = Tokenizer.train(TEXT, 256)
    assert tokenizer.special_tokens == {} and tokenizer.config.merges == ()
    assert tokenizer.encode("é") == [0xC3, 0xA9]
    assert Tokenizer.train("", 256).vocab_size == 256


def test_room_for_the_special_token_alone():
    tokenizer = Tokenizer.train("", 257)
    assert tokenizer.encode("ab" + END, "all") == [97, 98, 256]


def test_several_texts_count_like_one_but_no_pair_crosses_their_border():
    texts = [line + "\n" for line in ("so be it", "be so", "it is so")]
    assert Tokenizer.train(iter(texts), 262).config == Tokenizer.train("".join(texts), 262).config
    with pytest.raises(InputError, match="which is 257:"):
        Tokenizer.train(["a", "b"], 258)


def test_more_than_the_text_supports_says_how_much_it_supports():
    with pytest.raises(InputError, match="which is 259:"):
        Tokenizer.train("abc abc", 1000, pattern=r"\w+|\W")
    assert Tokenizer.train("abc abc", 259, pattern=r"\w+|\W").tokens("abc") == [b"abc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab_size": 255}, "below the 256 bytes"),
        (
            {"vocab_size": 258, "special_tokens": ["<|a|>", "<|b|>", "<|c|>"]},
            "Ask for 259 or more, or for 256",
        ),
        ({"vocab_size": 300, "pattern": "gpt3"}, "neither a known name"),
        ({"vocab_size": 300, "special_tokens": "<|a|>"}, "list of names"),
        ({"vocab_size": 300, "special_tokens": ["<|a|>", "<|a|>"]}, "twice"),
        ({"vocab_size": 300, "special_tokens": [""]}, "empty string"),
        ({"vocab_size": 300, "special_tokens": ["e"]}, "ordinary token"),
        ({"vocab_size": 300, "special_tokens": ["\ud800"]}, "lone surrogate"),
        ({"vocab_size": 300, "text": "a\udfffb"}, "U[+]DFFF at position 1"),
        ({"vocab_size": 300, "text": [b"bytes"]}, "must be a str"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Tokenizer.train(**{"text": TEXT, **arguments})


# -- special tokens ------------------------------------------------------------------------------------------


@given(any_text)
def test_text_never_becomes_a_special_token_by_accident(text):
    assert gpt4.end_of_text not in gpt4.encode(text + END + text)
    assert gpt4.end_of_text not in gpt4.encode_bytes((text + END).encode())


def test_allowed_special_tokens_become_their_ids():
    two = Tokenizer.train(TEXT, 300, special_tokens=["<|a|>", "<|a|>b"])
    a, ab = two.special_tokens.values()
    assert two.encode("<|a|>x<|a|><|a|>b", "all") == [a, ord("x"), a, ab]
    assert two.encode("<|a|>b", ["<|a|>"]) == [a, ord("b")]
    assert two.encode("<|a|>", []) == two.encode("<|a|>") != [a]
    assert two.decode([a, ab]) == "<|a|><|a|>b"


@pytest.mark.parametrize("allowed", [["<|b|>"], END, [END, "<|b|>"]])
def test_an_unknown_special_token_is_refused(allowed):
    with pytest.raises(InputError, match="allowed_special"):
        gpt4.encode("text", allowed)


# -- errors --------------------------------------------------------------------------------------------------


def test_a_lone_surrogate_is_refused_even_when_its_byte_was_seen():
    assert gpt4.encode_bytes(b"\xff") == [255]
    with pytest.raises(InputError, match="U[+]DCFF at position 2"):
        gpt4.encode("ab\udcff")
    with pytest.raises(InputError, match="must be a str"):
        gpt4.encode(b"ab")


@pytest.mark.parametrize("ids", [[400], [0, -1], [2**40], [2**70], [1.0], ["a"], [[1, 2]], [True], np.array([7, -3])])
def test_ids_that_are_no_tokens_are_refused(ids):
    with pytest.raises(InputError, match="ids"):
        gpt4.decode(ids)


def test_no_ids_are_no_text():
    assert gpt4.decode([]) == "" and gpt4.decode(np.array([], np.int32)) == ""
    assert gpt4.encode("") == [] and gpt4.encode_array("").dtype == np.int32


def test_ids_that_cut_a_character():
    half = gpt4.encode_bytes("é".encode()[:1])
    assert gpt4.decode(half) == "\ufffd"
    with pytest.raises(UnicodeDecodeError):
        gpt4.decode(half, errors="strict")


# -- to look at ----------------------------------------------------------------------------------------------


def test_the_story_of_a_word_ends_with_its_tokens():
    steps = gpt4.merge_steps(" tokens")
    assert steps[0] == [b" ", b"t", b"o", b"k", b"e", b"n", b"s"]
    assert steps[-1] == gpt4.tokens(" tokens")
    with pytest.raises(InputError, match="cut into the pieces"):
        gpt4.merge_steps("two words")


def test_repr():
    assert repr(gpt4) == "Tokenizer(vocab_size=400, merges=143, special_tokens=['<|endoftext|>'])"


# -- equal to other libraries --------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
def test_ids_equal_those_of_tokenizers_and_tiktoken(pattern):
    golden = GOLDEN["trained"][pattern]
    for text, ordinary, with_special in zip(GOLDEN["texts"], golden["ordinary"], golden["with_special"], strict=True):
        assert trained[pattern].encode(text) == ordinary
        assert trained[pattern].encode(text, "all") == with_special


@pytest.mark.parametrize("family", GOLDEN["foreign"])
def test_files_of_other_families_give_the_ids_that_tokenizers_gives(family, tmp_path):
    golden = GOLDEN["foreign"][family]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(golden["file"]), encoding="utf-8")
    first = Tokenizer.load(path)
    first.save(path)
    for loaded in (first, Tokenizer.load(path)):
        compared = 0
        for n, text in enumerate(GOLDEN["texts"]):
            if any(bytes([byte]) not in loaded.config.tokens for byte in text.encode()):
                with pytest.raises(InputError, match="no token for the byte"):
                    loaded.encode(text)
                continue
            assert loaded.encode(text) == golden["ordinary"][n]
            assert loaded.encode(text, "all") == golden["with_special"][n]
            assert loaded.decode(golden["with_special"][n]) == golden["decoded"][n]
            compared += 1
        assert compared >= (5 if family == "smollm" else len(GOLDEN["texts"]))


def test_each_family_has_what_it_is_there_for():
    config = {
        family: tokenizer_json.from_json(json.dumps(golden["file"]), family)
        for family, golden in GOLDEN["foreign"].items()
    }
    assert config["llama3"].ignore_merges and config["qwen"].normalization == "NFC"
    assert len(config["smollm"].patterns) == 2 and min(config["smollm"].special_tokens.values()) == 0
    llama = Tokenizer(config["llama3"])
    whole = max(i for token, i in config["llama3"].tokens.items() if token == b" indented")
    assert llama.encode(" indented") == [whole]


# -- speed ---------------------------------------------------------------------------------------------------


def test_learning_touches_only_the_words_that_hold_the_merged_pair(monkeypatch):
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(2000)]
    text = " ".join(words[min(int(draw.paretovariate(0.6)), 1999)] for _ in range(10_000))
    touched = []
    monkeypatch.setattr(fast_bpe, "merge_pair", lambda *arguments: touched.append(0) or bpe.merge_pair(*arguments))
    tokenizer = Tokenizer.train(text, 256 + 200 + 1)
    assert len(tokenizer.config.merges) == 200
    assert 0 < len(touched) < 0.05 * 200 * len(set(text.split()))  # the definition goes over all words for each merge


# -- where tokens begin --------------------------------------------------------------------------------------


def characters_of(data):
    """For each byte, the number of the character of `data.decode(errors="replace")` that it is part of."""
    numbers, count = [], 0
    while data:
        try:
            good, bad = data.decode(), 0
        except UnicodeDecodeError as error:
            good, bad = data[: error.start].decode(), error.end - error.start
        for character in good:
            numbers += [count] * len(character.encode())
            count += 1
        numbers += [count] * bad
        count += bool(bad)
        data = data[len(good.encode()) + bad :]
    return numbers


stray_bytes = [bytes([byte]) for byte in b"\x80\x98\xe2\x82\xf0\x9f\xc3\xff"]
broken_text = st.lists(st.sampled_from([b"a", "é".encode(), "語".encode(), "😀".encode(), *stray_bytes]))


@given(broken_text.map(b"".join), st.data())
def test_offsets_are_where_in_the_text_each_token_begins(data, cuts):
    """Tokens of all lengths, which end in the middle of characters, and of bytes that are no text."""
    tokens = []
    while data:
        size = cuts.draw(st.integers(1, 3))
        tokens, data = [*tokens, data[:size]], data[size:]
    whole = b"".join(tokens)
    ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    some = Tokenizer(TokenizerConfig(ids, (), (), {})) if ids else gpt4
    text, offsets = some.decode_with_offsets([ids[token] for token in tokens])
    assert text == whole.decode(errors="replace")
    begins = np.cumsum([0, *map(len, tokens)])[:-1]
    assert offsets == [characters_of(whole)[begin] for begin in begins]
