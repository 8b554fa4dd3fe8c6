"""Charts have round ticks, lines where the numbers are, and names that do not cover each other."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tinygrad_llm.drawing.chart import MOST_POINTS, Line, chart, spread, ticks

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture):
    """The points of every line."""
    paths = [e.get("d") for e in ElementTree.fromstring(picture).iter(f"{SVG}path") if " L" in e.get("d")]
    return [[tuple(map(float, point.split())) for point in re.split(r"M| L", path)[1:]] for path in paths]


def test_points_stand_in_proportion():
    ((a, b, c),) = drawn(chart([Line("loss", [0, 1, 3], [8.0, 4.0, 0.0])], "steps", "nats"))
    assert (b[0] - a[0]) / (c[0] - a[0]) == pytest.approx(1 / 3, abs=1e-3)
    assert (b[1] - a[1]) / (c[1] - a[1]) == pytest.approx(1 / 2, abs=1e-3)
    assert c[1] > a[1]  # downwards, as the loss goes


@pytest.mark.parametrize(("low", "high"), [(0.0, 9.3), (1.234, 1.236), (-5e6, 3e7), (0.0, 1e-9)])
def test_ticks_are_few_round_and_inside(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 11 and low <= found[0] and found[-1] <= high * (1 + 1e-12)
    gaps = [b - a for a, b in pairwise(found)]
    assert max(gaps) - min(gaps) < 1e-6 * max(gaps)


@pytest.mark.parametrize("values", [[], [3.0], [2.0, 2.0], [math.nan, math.inf, 1.0]])
def test_lines_of_hardly_any_numbers_can_be_drawn(values):
    picture = chart([Line("a <b>", range(len(values)), values, dots=True)], "x", "y")
    names = {text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")}
    assert {"x", "y"} <= names and ("a <b>" in names) == bool(values)


def test_long_lines_are_thinned_and_keep_their_end():
    ((*_, last),) = drawn(chart([Line("loss", range(10_000), [1.0] * 9_999 + [0.0])], "steps", "nats"))
    assert len(_) <= MOST_POINTS and last[1] > _[0][1]


def test_names_at_the_ends_do_not_cover_each_other():
    picture = chart([Line(str(k), [0, 1], [1.0, 0.5 + k / 1000]) for k in range(4)], "x", "y")
    heights = sorted(
        float(e.get("y"))
        for e in ElementTree.fromstring(picture).iter(f"{SVG}text")
        if e.text in ("0", "1", "2", "3") and float(e.get("x")) > 600
    )
    assert len(heights) == 4 and min(b - a for a, b in pairwise(heights)) > 10


def test_an_axis_that_begins_at_zero_stays_there():
    assert spread([0.0, 10.0])[0] == 0.0 and spread([])[0] == 0.0 and spread([5.0])[0] < 5.0 < spread([5.0])[1]
