"""A tensor in a notebook: every number of a small one, a heat map of a large one, the gradient beside the values."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.pictures.tensor import MATRICES


class Reader(HTMLParser):
    """The text of a page, and that every element that is opened is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.cells, self.text = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag != "circle":
            self.open.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1][0] == "td":
            self.cells.append((data, self.open[-1][1]["style"]))


def read(tensor):
    return Reader(tensor._repr_html_())


def test_a_small_matrix_shows_every_number_on_the_colour_of_its_size():
    page = read(tg.Tensor([[0.0, -2.0], [1.0, 2.0]]))
    assert [text for text, _ in page.cells] == ["0", "-2", "1", "2"]
    strength = [float(re.search(r"rgba\(\d+,\d+,\d+,([\d.e-]+)\)", style)[1]) for _, style in page.cells]
    assert strength[0] == 0.0 and strength[1] == strength[3] == pytest.approx(2 * strength[2])
    hues = [re.search(r"rgba\((\d+,\d+,\d+),", style)[1] for _, style in page.cells]
    assert hues[2] == hues[3] != hues[1]


def test_the_gradient_stands_beside_the_values():
    x = tg.Tensor([1.5, -2.5], requires_grad=True)
    assert "gradient" not in read(x).text
    (x * x).sum().backward()
    page = read(x)
    assert page.text.index("values") < page.text.index("gradient")
    assert [text for text, _ in page.cells] == ["1.5000", "-2.5000", "3", "-5"]


def test_what_it_is_stands_above():
    x = tg.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    assert "(2, 3) · float32 · requires_grad" in read(x).text
    assert "one number · float32 · made by sum" in read(x.sum()).text


def test_a_large_matrix_is_a_heat_map_that_says_what_is_left_out():
    x = tg.Tensor(np.linspace(-1.0, 3.0, 100 * 300).reshape(100, 300))
    page = x._repr_html_()
    said = read(x).text
    assert "<svg" in page and len(page) < 60_000 and not read(x).cells
    assert any("-1 … 3, mean 1" in text and "40 of 100 rows, 64 of 300 columns" in text for text in said)


def test_more_axes_are_matrices():
    page = read(tg.Tensor(np.arange(6 * 4).reshape(6, 2, 2)))
    assert {"[0]", "[3]", f"and {6 - MATRICES} more matrices"} <= set(page.text) and len(page.cells) == 4 * MATRICES


@pytest.mark.parametrize(
    "values",
    [
        np.array([[np.nan, np.inf], [-np.inf, 0.0]]),
        np.zeros((0, 3)),
        np.zeros((3, 0, 2)),
        np.full((30, 30), np.nan),
        np.array([True, False]),
        np.array([1e-30, 1.0]),
        np.array([1e300, -1e300]),
        np.arange(3, dtype=np.uint8),
        np.float16([1.0, 65504.0]),
        np.zeros((1, 1, 1, 1)),
    ],
)
def test_odd_values_can_be_shown(values):
    with np.errstate(all="raise"):
        assert read(tg.Tensor(values)).text
