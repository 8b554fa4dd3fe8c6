"""A text encoded piece by piece, wherever it is cut, has the ids of the whole text, and little of it is in memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import encode_stream, patterns, tokenizer
from tinygrad_llm.text.bpe import single_bytes
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.text.tokenizer_config import TokenizerConfig

# Whatever the known patterns tell apart, in small doses: contractions, cases, digits, signs, white space, line ends,
# letters that are composed, and the beginnings of names.
alphabet = st.sampled_from(
    [*"aZ1'’ \n\r\t.-/", "'s", "'ll", "he", "  ", "e\u0301", "\u0301", "é", "語", "<|end|>", "<|", "end", "<|end|>x"]
)
texts = st.lists(alphabet, max_size=30).map("".join)


def tokenizer_of(*pattern, **fields):
    tokens = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"  ": 257, b"'s": 258, b"\n\n": 259}
    return Tokenizer(
        TokenizerConfig(
            tokens,
            tuple((token[:1], token[1:]) for token in list(tokens)[256:]),
            pattern,
            {"<|end|>": 300, "<|end|>x": 301},
            **fields,
        )
    )


EVERY = {
    **{name: tokenizer_of(getattr(patterns, name)) for name in ("GPT2", "GPT4", "CL100K", "QWEN2", "GPT4O", "TEKKEN")},
    "two patterns": tokenizer_of(patterns.ONE_DIGIT, patterns.GPT2),
    "digits": tokenizer_of(patterns.DIGITS, patterns.GPT2),
    "NFC": tokenizer_of(patterns.GPT4, normalization="NFC"),
    "NFD": tokenizer_of(patterns.GPT4, normalization="NFD"),
    "space in front": tokenizer_of(patterns.GPT2, space_in_front="if_missing"),
    "added": tokenizer_of(patterns.GPT2, added_tokens={"he": 302}),
    "another pattern": tokenizer_of(r"a+(?=.*Z)|."),
    "found after normalization": tokenizer_of(patterns.GPT2, normalized_tokens=frozenset(["<|end|>"])),
    "sentencepiece": Tokenizer(
        TokenizerConfig(
            {b"a": 0, b" a": 1, b" ": 2, b"  ": 3, b"h": 4, b"e": 5, b"he": 6, b". a": 7},
            ((b" ", b" "), (b" ", b"a"), (b"h", b"e")),
            (),
            {"<|end|>": 300, "<|end|>x": 301},
            byte_tokens={byte: 10 + i for i, byte in enumerate(single_bytes(bytes(range(256))))},
            space_in_front="always",
        )
    ),
}


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=150)
@given(texts, st.integers(1, 9))
def test_the_ids_are_those_of_the_whole_text_wherever_it_is_cut(name, text, size):
    whole = EVERY[name].encode_whole(text, EVERY[name].config.special_tokens | EVERY[name].config.added_tokens).tolist()
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode_stream, "AT_LEAST", 1)
        assert list(EVERY[name].encode_iterable(parts, allowed_special="all")) == whole
        patch.setattr(tokenizer, "BLOCK", size)
        assert EVERY[name].encode_array(text, allowed_special="all").tolist() == whole


def peak_of(function):
    tracemalloc.start()
    result = function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, peak


def test_megabytes_pass_through_little_memory():
    line = "to be or not to be, 語\n"
    some = Tokenizer.train(line, 300, at_most=True)
    text = line * 50_000
    some.encode_array(text[:200_000])  # what is remembered about words stays anyway
    for parts in ([text], (line for _ in range(50_000))):
        count, peak = peak_of(lambda parts=parts: sum(1 for _ in some.encode_iterable(parts)))
        assert count > 400_000 and peak < 700_000 < len(text)
    ids, peak = peak_of(lambda: some.encode_array(text))
    assert len(ids) == count and peak < 6 * len(text)


def test_a_batch_is_each_text():
    assert EVERY["GPT4"].encode_batch(["he", "", "a"]) == [[256], [], [97]]
    with pytest.raises(InputError, match="must be a list of texts"):
        EVERY["GPT4"].encode_batch("he")


def test_what_is_no_text_is_refused_in_a_stream_too():
    with pytest.raises(InputError, match="text must be a str"):
        list(EVERY["GPT4"].encode_iterable([b"bytes"]))
    assert np.array_equal(list(EVERY["GPT4"].encode_iterable([])), [])
