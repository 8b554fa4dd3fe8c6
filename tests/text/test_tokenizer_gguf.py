"""Tokenizers out of GGUF metadata and back; damaged metadata; the two models that can be downloaded."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.tokenizer_gguf import (
    PRE_TOKENIZERS,
    chat_template_from_gguf,
    tokenizer_from_gguf,
    tokenizer_to_gguf,
)
from tinygrad_llm.text.tokenizer_json import from_json

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tokenizer_golden.json").read_text())
PREFIX = "tokenizer.ggml."
SENTENCEPIECE = {PREFIX + key: value for key, value in GOLDEN["sentencepiece"]["metadata"].items()}
trained = Tokenizer.train(GOLDEN["training_text"], 400)
BYTE_LEVEL = tokenizer_to_gguf(trained)
KINDS = {"byte-level": BYTE_LEVEL, "sentencepiece": SENTENCEPIECE}


def test_writing_and_reading_gives_the_same_tokenizer():
    read = tokenizer_from_gguf(BYTE_LEVEL)
    assert read.config.tokens == trained.config.tokens and read.config.merges == trained.config.merges
    assert read.config.patterns == trained.config.patterns and read.end_of_text == trained.end_of_text
    first = tokenizer_from_gguf(SENTENCEPIECE)
    assert tokenizer_from_gguf(tokenizer_to_gguf(first)).config == first.config


@pytest.mark.parametrize("family", GOLDEN["spaces"])
def test_merges_that_no_scores_say_are_written_too(family):
    first = Tokenizer(from_json(json.dumps(GOLDEN["spaces"][family]["file"]), family))
    second = tokenizer_from_gguf(tokenizer_to_gguf(first))
    assert second.config.merges == first.config.merges
    text = "Wir läuft  the ~ 漢 <b> tokens\n\n\n that"
    if first.config.space_in_front in ("never", "always"):
        assert second.encode(text) == first.encode(text)


def test_ids_without_a_token_become_unused_ones():
    gaps = trained.config
    ids = {token: 2 * i for token, i in gaps.tokens.items()}

    spread = Tokenizer(replace(gaps, tokens=ids, special_tokens={"<|endoftext|>": 801}))
    read = tokenizer_from_gguf(tokenizer_to_gguf(spread))
    assert read.encode("tokens [PAD1]") == spread.encode("tokens [PAD1]")
    assert read.vocab_size == spread.vocab_size and read.token_bytes(1) == b"[PAD1]"


def test_a_pattern_without_a_name_is_refused():
    with pytest.raises(InputError, match="no name"):
        tokenizer_to_gguf(Tokenizer.train("a", 257, pattern=r"\w+|\W"))


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("gpt-2", "ab 123", [b"ab", b" 123"]),
        ("smollm", "ab 123", [b"ab", b" ", b"1", b"2", b"3"]),
        ("llama-bpe", "ab 1234", [b"ab", b" ", b"123", b"4"]),
        ("qwen2", "ab 123", [b"ab", b" ", b"1", b"2", b"3"]),
        ("gpt-4o", "abCd'll 1234", [b"ab", b"Cd'll", b" ", b"123", b"4"]),
        ("tekken", "abCd'll 12", [b"ab", b"Cd", b"'ll", b" ", b"1", b"2"]),
    ],
)
def test_where_the_named_pre_tokenizers_cut(name, text, pieces):
    read = tokenizer_from_gguf({**BYTE_LEVEL, f"{PREFIX}pre": name})
    assert [piece.encode() for piece in read.spelling.pieces(text)] == pieces
    assert read.config.ignore_merges == PRE_TOKENIZERS[name].ignore_merges


def test_types_of_tokens():
    types = list(BYTE_LEVEL[f"{PREFIX}token_type"])
    tokens = BYTE_LEVEL[f"{PREFIX}tokens"]
    added, unused = len(tokens) - 2, len(tokens) - 3  # the last merges, which no other merge uses
    types[added], types[unused] = 4, 5
    metadata = {**BYTE_LEVEL, f"{PREFIX}token_type": types, f"{PREFIX}bos_token_id": 399}
    read = tokenizer_from_gguf(metadata)
    assert read.config.added_tokens == {tokens[added]: added}
    assert read.special_tokens == {tokens[unused]: unused, "<|endoftext|>": 399}
    assert added in read.encode(f"x{tokens[added]}x") and unused not in read.encode(tokens[unused])
    assert read.begin_of_text is None
    assert tokenizer_from_gguf({**metadata, f"{PREFIX}add_bos_token": True}).begin_of_text == 399


def test_a_chat_template_comes_with_the_names_of_its_tokens():
    assert chat_template_from_gguf(BYTE_LEVEL) is None
    found = chat_template_from_gguf({**BYTE_LEVEL, "tokenizer.chat_template": "{{ eos_token }}"})
    assert found.source == "{{ eos_token }}" and found.bos is None and found.eos == "<|endoftext|>"
    with pytest.raises(InputError, match="chat template"):
        chat_template_from_gguf({**BYTE_LEVEL, "tokenizer.chat_template": 3})


# -- damaged metadata ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("byte-level", {"model": "bert"}, "kind 'bert'"),
        ("byte-level", {"model": 3}, "a text was expected"),
        ("byte-level", {"pre": "gpt-9"}, "pre-tokenizer 'gpt-9' is not known"),
        ("byte-level", {"tokens": None}, "a list was expected"),
        ("byte-level", {"tokens": []}, "no tokens"),
        ("byte-level", {"tokens": [1, 2]}, "of type int"),
        ("byte-level", {"tokens": ["a", "b", "a"]}, "'a' is in it twice"),
        ("byte-level", {"token_type": [1, 2]}, "2 entries for 400 tokens"),
        ("byte-level", {"token_type": ["1"] * 400}, "of type str"),
        ("byte-level", {"merges": None}, "a list was expected"),
        ("byte-level", {"merges": ["a"]}, "not a pair"),
        ("byte-level", {"merges": ["a b c"]}, "not a pair"),
        ("byte-level", {"merges": ["q zzz"]}, "not in the vocabulary"),
        ("byte-level", {"eos_token_id": 400}, "there are 400 tokens"),
        ("byte-level", {"eos_token_id": -1}, "there are 400 tokens"),
        ("byte-level", {"bos_token_id": "1"}, "there are 400 tokens"),
        ("byte-level", {"add_bos_token": 1}, "true or false"),
        ("sentencepiece", {"scores": None}, "a list was expected"),
        ("sentencepiece", {"scores": [0.0]}, "1 entries for 520 tokens"),
        ("sentencepiece", {"scores": [float("nan")] * 520}, "not a finite number"),
        ("sentencepiece", {"token_type": [6] * 520}, "no name of a byte"),
        ("sentencepiece", {"add_space_prefix": "no"}, "true or false"),
        ("sentencepiece", {"tokens": ["x" * 300, *SENTENCEPIECE[f"{PREFIX}tokens"][1:]], "token_type": None,
                           "unknown_token_id": None}, "300 characters"),
    ],
)  # fmt: skip
def test_damaged_metadata_are_refused_by_name(kind, change, message):
    with pytest.raises(InputError, match=message):
        tokenizer_from_gguf({**KINDS[kind], **{PREFIX + key: value for key, value in change.items()}})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_metadata_with_anything_in_them_make_a_tokenizer_or_an_input_error(kind, data):
    metadata = dict(KINDS[kind])
    key = data.draw(st.sampled_from(sorted(metadata)))
    if isinstance(metadata[key], list) and data.draw(st.booleans()):
        metadata[key] = list(metadata[key])
        metadata[key][data.draw(st.integers(0, len(metadata[key]) - 1))] = data.draw(anything)
    else:
        metadata[key] = data.draw(anything)
    with contextlib.suppress(InputError):
        assert tokenizer_from_gguf(metadata).vocab_size > 0


# -- the two models ------------------------------------------------------------------------------------------


@pytest.mark.download
@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_ids_of_pretrained_models_equal_those_of_transformers(name):
    from tinygrad_llm.hub.assets import GEMMA3, SMOLLM2, cached, fetch
    from tinygrad_llm.hub.gguf import GGUFFile

    asset = {"smollm2": SMOLLM2, "gemma3": GEMMA3}[name]
    if asset.terms and not cached(asset):
        pytest.skip("has terms to agree to before the download")
    try:
        metadata = GGUFFile(fetch(asset, agreed=True)).metadata
    except MachineError as error:
        pytest.skip(f"offline: {error}")
    golden, read = GOLDEN["pretrained"][name], tokenizer_from_gguf(metadata)
    compared = 0
    for text, ids in zip(golden["texts"], golden["ids"], strict=True):
        if read.config.byte_tokens is None and any(bytes([b]) not in read.config.tokens for b in text.encode()):
            continue
        begin = [] if read.begin_of_text is None or ids[:1] != [read.begin_of_text] else [read.begin_of_text]
        assert begin + read.encode(text, "all") == ids
        assert read.decode(ids[len(begin) :]) == (text.replace("▁", " ") if name == "gemma3" else text)
        compared += 1
    assert compared >= 20
    if "messages" in golden:
        template = chat_template_from_gguf(metadata)
        assert template.render(golden["messages"]) == golden["chat_text"]
        assert template.encode(golden["messages"], read) == golden["chat_ids"]
