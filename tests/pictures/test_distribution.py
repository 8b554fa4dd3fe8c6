"""The picture of what comes next: the right tokens, in order, and everything together is 1."""

import doctest
import io

import numpy as np
import pytest
from rich.console import Console

from tinygrad_llm.errors import InputError
from tinygrad_llm.pictures import distribution
from tinygrad_llm.pictures.distribution import BAR_WIDTH, Distribution
from tinygrad_llm.text import Tokenizer

tokenizer = Tokenizer.train("the cat sat on the mat <b>", 262)


def of(probabilities: dict[str, float]) -> Distribution:
    """These tokens with these probabilities, and the rest shared among all others."""
    p = np.full(262, (1.0 - sum(probabilities.values())) / (262 - len(probabilities)))
    for token, value in probabilities.items():
        (i,) = tokenizer.encode(token, allowed_special="all")
        p[i] = value
    with np.errstate(divide="ignore"):
        return Distribution(np.log(p), tokenizer)


some = of({"a": 0.5, "\n": 0.25, "<|endoftext|>": 0.125, "z": 0.0625})


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(distribution)
    assert tried >= 2 and not failed


def test_the_likeliest_come_first_and_equals_by_id():
    top = some.top(6)
    assert [c.token for c in top] == [b"a", b"\n", b"<|endoftext|>", b"z", b"\x00", b"\x01"]
    assert [c.probability for c in top[:4]] == pytest.approx([0.5, 0.25, 0.125, 0.0625])
    assert top[0].id == ord("a")
    assert len(some.top(1000)) == 262


def test_as_text():
    lines = some.as_text(3).splitlines()
    assert [line.split()[0] for line in lines] == ["'a'", r"'\n'", "'<|endoftext|>'", "the", "all"]
    assert [line.count("█") for line in lines] == [BAR_WIDTH, BAR_WIDTH // 2, BAR_WIDTH // 4, 0, 0]
    assert [line.split()[-1] for line in lines] == ["0.5000", "0.2500", "0.1250", "0.1250", "1.000000"]
    assert "the other 259 tokens" in lines[3] and "all 262 tokens" in lines[4]
    assert repr(some) == some.as_text(10) and len(repr(some).splitlines()) == 12


def test_with_all_tokens_shown_there_are_no_others():
    assert "other" not in some.as_text(262)
    assert some.as_text(262).splitlines()[-1].split()[-1] == "1.000000"


def test_in_colour_it_says_the_same():
    console = Console(file=io.StringIO(), width=100)
    console.print(some)
    said = console.file.getvalue()
    assert [line.split() for line in said.splitlines()] == [line.split() for line in repr(some).splitlines()]


def test_tokens_are_not_taken_for_markup():
    bracket = of({"<": 0.9, "[": 0.05})
    assert ">&#x27;&lt;&#x27;</span>" in bracket._repr_html_()
    assert "'<'" not in bracket._repr_html_()
    console = Console(file=io.StringIO(), width=100)
    console.print(bracket)
    assert "'['" in console.file.getvalue()


def test_in_a_notebook():
    page = some._repr_html_()
    assert page.count("</tr>") == 12 and page.count("</td>") == 36
    assert "width:16.00em" in page and "width:8.00em" in page
    assert "all 262 tokens" in page and "1.000000" in page


def test_half_characters_and_long_tokens_have_a_name():
    assert distribution.label(b"\xf0\x9f") == r"b'\xf0\x9f'"
    assert distribution.label(b" " * 80) == "'" + " " * 22 + "…"
    assert distribution.label("漢".encode()) == "'漢'"


def test_probability_of_one_token():
    assert some.probability("a") == pytest.approx(0.5)
    assert some.probability("<|endoftext|>") == pytest.approx(0.125)
    with pytest.raises(InputError, match="is not one token but 3"):
        some.probability("xyz")
    with pytest.raises(InputError, match="is not one token but 0"):
        some.probability("")
    with pytest.raises(InputError, match="count must be at least 1"):
        some.top(0)


def test_entropy_in_bits():
    assert of({}).entropy == pytest.approx(np.log2(262))
    assert of({"a": 0.5, "b": 0.25, "c": 0.25}).entropy == pytest.approx(1.5)
    assert of({"a": 1.0}).entropy == 0.0
