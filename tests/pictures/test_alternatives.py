"""A text with what else could have stood there: names, numbers and order, however narrow the terminal is."""

import io
import math
import re
from xml.etree import ElementTree

import pytest
from rich.console import Console

from tinygrad_llm.drawing.colours import UNDER_TEXT
from tinygrad_llm.generation import TokenAlternatives
from tinygrad_llm.pictures.alternatives import Alternatives
from tinygrad_llm.text import Tokenizer

tokenizer = Tokenizer.train("", 256)
SVG = "{http://www.w3.org/2000/svg}"


def token_alternatives(letter: str, p: float, rank: int, **others: float) -> TokenAlternatives:
    return TokenAlternatives(ord(letter), math.log(p), rank, tuple((ord(x), math.log(q)) for x, q in others.items()))


choices = [
    token_alternatives("a", 0.5, 1, b=0.25, c=0.125),
    token_alternatives("<", 0.00001, 1234, d=0.75, e=0.2),
    token_alternatives("b", 0.2, 2, a=0.8),
]
picture = Alternatives(choices, tokenizer)


def test_as_text():
    assert picture.as_text(60).splitlines() == [
        "token  p                 rank  instead",
        "'a'    ████     0.5000      1  'b' 0.2500   'c' 0.1250",
        "'<'              1e-05  1,234  'd' 0.7500   'e' 0.2000",
        "'b'    █▋       0.2000      2  'a' 0.8000",
    ]
    assert repr(picture) == picture.as_text()


@pytest.mark.parametrize("width", [36, 46, 60])
def test_in_a_narrow_terminal_there_are_fewer_others_and_one_line_for_each_token(width):
    lines = picture.as_text(width).splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= width
    shown = [re.findall(r"'(\w)' 0", line[30:]) for line in lines[1:]]
    assert shown == [["b", "c"], ["d", "e"], ["a"]] if width == 60 else len(shown[0]) <= 1


def test_what_was_not_the_first_choice_stands_out():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(picture)
    first, second, third = console.file.getvalue().splitlines()[1:]
    assert first.startswith("\x1b[1m'a'") and second.startswith("\x1b[1;31m'<'") and third.startswith("\x1b[1;33m'b'")


def test_the_picture_says_all_of_it_and_is_well_formed():
    root = ElementTree.fromstring(picture.svg())
    said = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    for name in ("'a'", "'b'", "'c'", "'<'", "'d'", "'e'"):
        assert any(text.endswith(name) for text in said), name
    assert any(text.endswith("rank 1,234") for text in said) and any(text.endswith("1e-05") for text in said)
    assert not any("rank 1" in text and "rank 1," not in text for text in said if "surprise" not in text)
    tokens = [shape for shape in root.iter(f"{SVG}rect") if shape.find(f"{SVG}title") is not None]
    assert [float(shape.get("fill-opacity", 1)) / UNDER_TEXT for shape in tokens] == pytest.approx(
        [1 / 12, 1.0, math.log2(5) / 12], abs=2e-3
    )  # bits of surprise, of at most 12


def test_a_long_text_goes_on_in_the_next_line():
    long = ElementTree.fromstring(Alternatives(choices * 20, tokenizer).svg())
    corners = [
        (float(r.get("x")), float(r.get("y"))) for r in long.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None
    ]
    assert len(corners) == 60 and len(set(corners)) == 60
    assert len({y for _, y in corners}) > 3
    right = [float(r.get("x")) + float(r.get("width")) for r in long.iter(f"{SVG}rect") if r.get("x")]
    assert max(right) <= float(long.get("width"))


def test_no_tokens_at_all(tmp_path):
    nothing = Alternatives([], tokenizer)
    assert nothing.as_text() == "token  p  rank  instead"
    nothing.save(tmp_path / "nothing.svg")
