"""The tree of continuations as a picture: every path with its probability, boxes as high as that, all of it 1."""

import io
import math
from xml.etree import ElementTree

import pytest
from rich.console import Console

from tinygrad_llm.drawing.colours import UNDER_TEXT
from tinygrad_llm.generation.tree import Node
from tinygrad_llm.pictures import tree
from tinygrad_llm.pictures.tree import Tree, lines_below, shortened
from tinygrad_llm.text import Tokenizer

tokenizer = Tokenizer.train("", 256)
SVG = "{http://www.w3.org/2000/svg}"


def node(letter: str, p: float, path_p: float, *children: Node, others: int = 0) -> Node:
    rest = 1.0 - sum(math.exp(child.log_p) for child in children) if others else 0.0
    token = ord(letter) if letter else None
    return Node(token, math.log(p), math.log(path_p), children=list(children), others=others, others_p=rest)


root = node(
    "",
    1.0,
    1.0,
    node("a", 0.5, 0.5, node("b", 0.8, 0.4), others=255),
    node("c", 0.25, 0.25, node("<", 0.5, 0.125), node("\n", 0.5, 0.125)),
    others=254,
)
picture = Tree(root, tokenizer, "So\nfar")

EXPECTED = """\
So far                next  the path to here
├── 'a'             0.5000  ████████         0.5000
│   ├── 'b'         0.8000  ██████▍          0.4000
│   └── 255 others  0.2000  █▋               0.1000
├── 'c'             0.2500  ████             0.2500
│   ├── '<'         0.5000  ██               0.1250
│   └── '\\n'        0.5000  ██               0.1250
└── 254 others      0.2500  ████             0.2500
all ends together                            1.000000"""


def test_as_text():
    assert repr(picture) == picture.as_text() == EXPECTED
    assert picture.total == pytest.approx(1.0, abs=1e-12)


def test_in_colour_it_says_the_same():
    console = Console(file=io.StringIO(), width=100)
    console.print(picture)
    assert [line.split() for line in console.file.getvalue().splitlines()] == [x.split() for x in EXPECTED.splitlines()]


def test_the_sum_would_show_what_is_missing():
    assert Tree(node("", 1.0, 1.0, node("a", 0.5, 0.5)), tokenizer, "").total == pytest.approx(0.5)


def test_what_is_cut_off_has_no_lines():
    assert list(lines_below(node("", 1.0, 1.0), "", tokenizer)) == []


def boxes(picture: Tree) -> list[tuple[float, float, float, str]]:
    """(x, y, height, what it says) of each box."""
    shapes = ElementTree.fromstring(picture.svg()).iter(f"{SVG}rect")
    found = [(shape, shape.find(f"{SVG}title")) for shape in shapes]
    return [(*(float(s.get(k)) for k in ("x", "y", "height")), title.text) for s, title in found if title is not None]


def test_a_box_is_as_high_as_its_path_is_probable_and_stands_beside_its_parent():
    drawn = boxes(picture)
    column = {name.splitlines()[0]: (x, y, height) for x, y, height, name in drawn}
    total = sum(height for x, _, height, _ in drawn if x == drawn[0][0])
    for name, p in {"'a'": 0.5, "'c'": 0.25, "'ab'": 0.4, "'c<'": 0.125, "'c\\n'": 0.125}.items():
        assert column[name][2] / total == pytest.approx(p, abs=1e-4)
    assert column["'ab'"][0] == pytest.approx(column["'a'"][0] + tree.COLUMN)
    assert column["'ab'"][1] == pytest.approx(column["'a'"][1])
    assert column["'c<'"][1] == pytest.approx(column["'c'"][1])
    assert column["'c\\n'"][1] == pytest.approx(column["'c<'"][1] + column["'c<'"][2], abs=0.01)
    assert len(drawn) == 7


def test_words_stand_where_there_is_room():
    flat = node("", 1.0, 1.0, *(node(chr(65 + i), 0.002, 0.002) for i in range(5)), others=251)
    low, high = (
        [
            next(text.itertext())
            for text in ElementTree.fromstring(one.svg()).iter(f"{SVG}text")
            if "".join(text.itertext())
        ]
        for one in (Tree(flat, tokenizer, "x"), picture)
    )
    assert [len(boxes(Tree(flat, tokenizer, "x"))), len(low)] == [6, 2]  # the prompt and the others
    assert len(high) > 7


def test_probable_tokens_are_strong_and_can_be_read():
    shapes = ElementTree.fromstring(picture.svg()).iter(f"{SVG}rect")
    opacity = {s.find(f"{SVG}title").text.splitlines()[0]: float(s.get("fill-opacity")) for s in shapes}
    assert opacity["'c'"] < opacity["'a'"] < opacity["'ab'"] <= UNDER_TEXT  # 0.25, 0.5, 0.8


def test_long_prompts_show_their_end():
    assert shortened("x" * 99 + "the end") == "…" + "x" * 52 + "the end"
