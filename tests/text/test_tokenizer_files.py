"""GPT-2's pair of files and tiktoken's ranks: the same ids as the tokenizer.json of the same tokenizer."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.pattern_dialects import from_oniguruma, to_oniguruma
from tinygrad_llm.text.patterns import CL100K, Splitter
from tinygrad_llm.text.token_alphabets import visible
from tinygrad_llm.text.tokenizer import Tokenizer

TEXT = "the cat, the hat, the bat; don't they'll be 1601?\n\n  x  é " * 3
ORIGINAL = Tokenizer.train(TEXT, vocab_size=290, pattern="gpt2", at_most=True)
texts = st.text(alphabet="thecat .'dn1é\n😀", max_size=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    config = ORIGINAL.config
    vocabulary = {visible(token): i for token, i in config.tokens.items()} | dict(config.special_tokens)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [f"{visible(left)} {visible(right)}" for left, right in config.merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    lines = [f"{base64.b64encode(token).decode()} {i}" for token, i in config.tokens.items()]
    (folder / "mine.tiktoken").write_text("\n".join(lines) + "\n")
    return folder


@given(texts)
def test_all_forms_give_the_same_ids(folder, text):
    pair = Tokenizer.load(folder)
    ranks = Tokenizer.load(
        folder / "mine.tiktoken", pattern="gpt2", special_tokens={"<|endoftext|>": ORIGINAL.end_of_text}
    )
    ids = ORIGINAL.encode(text + "<|endoftext|>", allowed_special="all")
    assert pair.encode(text + "<|endoftext|>", allowed_special="all") == ids
    assert ranks.encode(text + "<|endoftext|>", allowed_special="all") == ids
    assert ranks.decode(ids) == text + "<|endoftext|>"


def test_a_name_that_is_known_brings_pattern_and_special_tokens(folder, tmp_path):
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_bytes((folder / "mine.tiktoken").read_bytes())
    assert Tokenizer.load(path).special_tokens["<|endoftext|>"] == 100257
    assert Tokenizer.load(path, special_tokens={"<|end|>": 300}).special_tokens == {"<|end|>": 300}


@pytest.mark.parametrize(
    "text, pieces",  # by tiktoken 0.14 with the pattern of cl100k_base
    [
        ("a\n ", ["a", "\n "]),
        (" \n  ", [" \n  "]),
        ("a \n \n ", ["a", " \n \n "]),
        ("a\n\n  b", ["a", "\n\n", " ", " b"]),
        ("a \nb", ["a", " \n", "b"]),
    ],
)
def test_white_space_at_the_end_of_a_text_is_one_piece_of_cl100k_base(text, pieces):
    assert Splitter([CL100K])(text) == pieces
    assert from_oniguruma(to_oniguruma(CL100K)) == CL100K


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("x.tiktoken", "AA== 0\n!!! 1\n", "line 2 is '!!! 1'"),
        ("x.tiktoken", "AA== zero\n", "line 1"),
        ("x.tiktoken", "AA== 0\nAQ== 0\n", "have the same id"),
        ("x.tiktoken", f"AA== 0\n{'AAAA' * 400} 1\n", "the token in line 2 has 1,200 bytes"),
        ("vocab.json", "[1]", "must be a JSON object"),
        ("vocab.json", '{"a": "b"}', "the id of 'a' is 'b'"),
        ("vocab.json", '{"a": 1, "b": 1}', "have the same id"),
        ("vocab.json", '{"飛飛": 1}', "byte-level alphabet"),
        ("merges.txt", "a\n", "line 1 is 'a'"),
        ("merges.txt", "a b\n", "needs the token"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, sentence):
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        Tokenizer.load(tmp_path / name if name.endswith("tiktoken") else tmp_path, **PATTERN.get(name, {}))


PATTERN = {"x.tiktoken": {"pattern": "gpt4"}}


def test_what_is_missing_is_said(tmp_path, folder):
    with pytest.raises(InputError, match="does not say how text is split"):
        Tokenizer.load(folder / "mine.tiktoken")
    with pytest.raises(InputError, match="are for a .tiktoken file"):
        Tokenizer.load(folder / "vocab.json", pattern="gpt2")
    with pytest.raises(InputError, match=r"vocab\.json"):
        Tokenizer.load(tmp_path)
