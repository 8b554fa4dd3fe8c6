"""Patterns of tokenizer.json cut as the library `tokenizers` cuts, there and back; those of strangers are bounded."""

import doctest
import json
from pathlib import Path

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import pattern_dialects, patterns
from tinygrad_llm.text.pattern_dialects import check_pattern, from_oniguruma, parts_of, to_oniguruma
from tinygrad_llm.text.patterns import Splitter
from tinygrad_llm.text.tokenizer import Tokenizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "dialects_golden.json").read_text(encoding="utf-8"))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(pattern_dialects)
    assert tried >= 2 and not failed


@pytest.mark.parametrize("pattern, pieces", [*zip(GOLDEN["patterns"], GOLDEN["pieces"], strict=True)])
def test_pieces_are_those_of_the_library_tokenizers(pattern, pieces):
    split = Splitter([from_oniguruma(pattern)])
    assert [split(text) for text in GOLDEN["texts"]] == pieces
    if "&&" not in pattern:  # the way back, which files of ours take
        again = Splitter([from_oniguruma(to_oniguruma(from_oniguruma(pattern)))])
        assert [again(text) for text in GOLDEN["texts"]] == pieces


@pytest.mark.parametrize("one", GOLDEN["whole"])
def test_ids_are_those_of_the_library_tokenizers(one, tmp_path):
    """Special tokens that are normalized with the text, a space in front, added tokens that look like bytes."""
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(one["json"]))
    tokenizer = Tokenizer.load(path)
    assert [tokenizer.encode(text, allowed_special="all") for text in one["texts"]] == one["ids"]
    tokenizer.save(path)
    again = Tokenizer.load(path)
    assert again.config == tokenizer.config


@pytest.mark.parametrize("pattern", sorted(patterns.KNOWN - {patterns.CL100K}))  # that one has the end of the text
def test_known_patterns_mean_the_same_in_both_dialects(pattern):
    assert from_oniguruma(pattern) == pattern == to_oniguruma(pattern)
    assert "".join(part.text for part in parts_of(pattern)) == pattern


@pytest.mark.parametrize(
    "pattern, sentence",
    [
        ("a" * 5000, "5,000 characters long"),
        ("(" * 50 + ")" * 50, "nested deeper than 40"),
        ("a{2000}", "repeats 'a' 2,000 times"),
        ("(?:(?:a{50}){50}b)*", "2,500 times"),
        ("(a", "not closed"),
        ("a)", "not opened"),
        ("*a", "where nothing stands"),
        ("[a", "not closed"),
        (r"\Ga", r"uses \\G"),
        ("(?~ab)", "not supported"),
        ("(?R)", "not supported"),
        (r"(?<x>a)\g<x>", "not supported"),
        ("(?e)a", "not supported"),
        (r"(?i:a(?:[\w&&[^a]]))", r"uses \[.*where the case of letters does not matter"),
        (r"(?i)[\w&&[^a]]", "where the case of letters does not matter"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(pattern, sentence):
    with pytest.raises(InputError, match=sentence):
        Splitter([from_oniguruma(pattern)])


@pytest.mark.parametrize("pattern", [r"(?m:^a)", r"(?V1)(?L:a)", r"a{2}+?"])
def test_what_a_file_cannot_say_is_refused(pattern):
    with pytest.raises(InputError, match="cannot say"):
        to_oniguruma(pattern)


def test_a_pattern_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr(patterns, "TIME_LIMIT", 0.1)
    with pytest.raises(InputError, match="needs more than 0 seconds"):
        Splitter([r"(?:\w|\w\w)+[!?]"])("a" * 60)


def test_time_is_counted_over_all_pieces(monkeypatch):
    monkeypatch.setattr(patterns, "TIME_LIMIT", 0.2)
    slow = r"(?:\w|\w\w)+[!?]"
    piece = "a" * 22  # takes less than that
    assert Splitter([" ", slow])(piece) == [piece]
    with pytest.raises(InputError, match="needs more than"):
        Splitter([" ", slow])(" ".join([piece] * 1000))


def test_intersections_are_read_where_case_matters():
    assert Splitter([from_oniguruma(r"[\w&&[^a]]+(?i:'s)|(?i:x(?-i:[\w&&[^b]]))")])("cc'Saab") == ["cc'S", "aab"]


def test_bounds_leave_real_patterns_alone():
    for pattern in patterns.KNOWN:
        check_pattern(pattern)
