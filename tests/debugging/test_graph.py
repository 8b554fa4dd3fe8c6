"""The picture of a computation is complete, well-formed and readable: nothing overlaps, every edge goes down."""

import random
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_llm.autograd import Tensor, ops
from tinygrad_llm.debugging.graph import graph
from tinygrad_llm.debugging.graph_boxes import cells_of, curve
from tinygrad_llm.debugging.layout import GAP, crossings, layered, neighbours, spread
from tinygrad_llm.debugging.lines import remember_lines
from tinygrad_llm.drawing.heat_map import span
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def tooltips(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}title")]


def two_layers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3))
    W = [
        Tensor(rng.standard_normal((3, 5)), requires_grad=True),
        Tensor(rng.standard_normal((5, 1)), requires_grad=True),
    ]
    with remember_lines():
        hidden = F.gelu_tanh(x @ W[0])
        loss = ((hidden @ W[1] * 0.5) ** 2).mean()
    return graph(loss), W, hidden, loss


def test_every_tensor_is_there_under_its_variables_name():
    picture, *_ = two_layers()
    words = texts(picture.svg())
    for word in (
        "x",
        "W[0]",
        "W[1]",
        "gelu_tanh → hidden",
        "multiply 0.5",
        "mean → loss",
        "power 2",
        "(4, 3)",
        "one number",
    ):
        assert word in words, word
    assert words.count("matmul") == 2


def test_values_gradients_and_lines_are_shown():
    picture, W, _, loss = two_layers()
    words, tips = texts(picture.svg()), tooltips(picture.svg())
    assert f"{loss.item():.3g}" in words and "∇ 1" in words
    loss.backward()
    g = W[1].grad.data
    assert f"∇ {g.min():.2g} … {g.max():.2g}" in words
    assert any("at test_graph.py" in tip and "hidden = F.gelu_tanh(x @ W[0])" in tip for tip in tips)
    assert any("float64 (3, 5)" in tip for tip in tips)


def test_drawing_uses_nothing_up_and_touches_no_grad():
    _, W, _, loss = two_layers()
    assert W[0].grad is None
    loss.backward()
    assert W[0].grad is not None


def test_it_shows_itself_and_saves_as_svg_and_html(tmp_path):
    picture, *_ = two_layers()
    assert picture._repr_html_() == picture.svg()
    picture.save(tmp_path / "loss.svg")
    assert texts((tmp_path / "loss.svg").read_text(encoding="utf-8")) == texts(picture.svg())
    picture.save(tmp_path / "loss.html")
    page = (tmp_path / "loss.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and picture.svg() in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched
    with pytest.raises(InputError, match=r"\.svg or \.html"):
        picture.save(tmp_path / "loss.png")


def test_names_that_are_given_win_and_are_escaped():
    a = Tensor([1.0, 2.0], requires_grad=True)
    words = texts(graph((a * a).sum(), names={"<weights & co>": a}).svg())
    assert "<weights & co>" in words and "a" not in words


def test_one_tensor_used_twice_is_one_box_with_two_arrows():
    a = Tensor([1.0, 2.0], requires_grad=True)
    picture = graph((a * a).sum())
    assert picture.edges == [(0, 1), (0, 1), (1, 2)]


def test_a_frame_around_one_box_and_a_window_on_it():
    picture, _, hidden, _ = two_layers()
    assert "stroke-width='3'" not in picture.svg()
    window = picture.svg(around=hidden, most=200.0)
    assert window.count("stroke-width='3'") == 1
    assert ET.fromstring(window).get("viewBox").split()[3] == "200"


@pytest.mark.parametrize("value", [np.array([np.nan, np.inf, -1.0]), np.zeros((2, 3)), np.zeros(0), np.array(1.5)])
def test_odd_values_can_be_drawn(value):
    x = Tensor(value, requires_grad=True)
    with np.errstate(invalid="ignore"):
        ET.fromstring(graph((x * 1.0).sum()).svg())


def test_a_result_that_is_no_single_number_is_summed():
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    picture = graph(x * 3.0)
    assert picture.gradient_of[id(x)].tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_mistakes_say_what_to_do():
    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(InputError, match="no history"):
        graph(Tensor([1.0]))
    used = (x * x).sum()
    used.backward()
    with pytest.raises(InputError, match="already used and freed"):
        graph(used)
    y = x
    for _ in range(1001):
        y = y * 1.0
    with pytest.raises(InputError, match="1002 tensors.*smaller part"):
        graph(y)


# --- the little pictures ----------------------------------------------------------------------------------------


def test_large_arrays_are_thinned_to_what_can_be_seen():
    table = cells_of(np.arange(4000.0).reshape(2, 20, 100))
    assert table.shape == (8, 16)
    assert table[0, 0] == 0.0 and table[-1, -1] == 3999.0
    assert cells_of(np.array(3.0)).tolist() == [[3.0]]


def test_ranges_in_few_letters():
    assert span(np.array([-1.234, 5.678])) == "-1.2 … 5.7"
    assert span(np.array([2.0, 2.0])) == "2" and span(np.zeros(0)) == "empty"


def test_a_curve_is_straight_where_it_can_be():
    assert curve([(1.0, 0.0), (1.0, 5.0)]) == "M1.0 0.0 L1.0 5.0"
    assert "C" in curve([(1.0, 0.0), (2.0, 5.0)])


# --- the layout -------------------------------------------------------------------------------------------------


def a_random_graph(count, seed):
    """Boxes numbered from inputs to outputs, all but the first few with one to three inputs."""
    chance = random.Random(seed)
    sizes = [(chance.uniform(40, 160), chance.uniform(30, 90)) for _ in range(count)]
    edges = [(chance.randrange(b), b) for b in range(2, count) for _ in range(chance.randint(1, 3))]
    return sizes, edges


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_boxes_do_not_overlap_and_edges_go_down(count, seed):
    sizes, edges = a_random_graph(count, seed)
    layout = layered(sizes, edges)
    boxes = [(x - w / 2, y, x + w / 2, y + h) for (x, y), (w, h) in zip(layout.centres, sizes, strict=True)]
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert left >= -1e-6 and right <= layout.width + 1e-6 and top >= 0 and bottom <= layout.height + 1e-6
        for left2, top2, right2, bottom2 in boxes[:i]:
            assert right <= left2 + 1e-6 or right2 <= left + 1e-6 or bottom <= top2 + 1e-6 or bottom2 <= top + 1e-6
    for (a, b), route in zip(edges, layout.routes, strict=True):
        heights = [y for _, y in route]
        assert heights == sorted(heights)
        assert route[0] == (layout.centres[a][0], boxes[a][3]) and route[-1] == layout.centres[b]


def test_a_chain_is_a_straight_line():
    layout = layered([(50.0, 20.0), (90.0, 20.0), (30.0, 20.0)], [(0, 1), (1, 2)])
    assert len({round(x, 6) for x, _ in layout.centres}) == 1


def test_a_ladder_is_drawn_without_crossings():
    """Two chains side by side that start in the wrong order."""
    sizes = [(10.0, 10.0)] * 6
    edges = [(0, 3), (1, 2), (2, 5), (3, 4)]
    layout = layered(sizes, edges)
    for first, second in (((0, 1), (3, 2)), ((3, 2), (4, 5))):
        upper = layout.centres[first[0]][0] < layout.centres[first[1]][0]
        lower = layout.centres[second[0]][0] < layout.centres[second[1]][0]
        assert upper == lower


def test_crossings_are_counted():
    _, below = neighbours(4, [[0, 3], [1, 2]])
    assert crossings([[0, 1], [2, 3]], below) == 1
    assert crossings([[0, 1], [3, 2]], below) == 0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-500, 500), st.floats(0.1, 8), st.floats(5, 120)), min_size=1, max_size=8))
def test_spread_keeps_the_order_and_is_the_nearest_such_placement(boxes):
    wanted, pulls, widths = map(list, zip(*boxes, strict=True))
    places = spread(wanted, pulls, widths)
    for i in range(len(boxes) - 1):
        assert places[i + 1] - places[i] >= (widths[i] + widths[i + 1]) / 2 + GAP - 1e-6
    cost = sum(p * (x - w) ** 2 for x, w, p in zip(places, wanted, pulls, strict=True))
    for shift in (-1.0, 1.0):  # no tail of the row can be moved for the better
        for start in range(len(boxes)):
            moved = [x + shift * (i >= start) for i, x in enumerate(places)]
            if shift < 0 and start and moved[start] - moved[start - 1] < (widths[start] + widths[start - 1]) / 2 + GAP:
                continue
            assert sum(p * (x - w) ** 2 for x, w, p in zip(moved, wanted, pulls, strict=True)) >= cost - 1e-6 * (
                1 + cost
            )


def test_a_result_of_a_wide_op_has_its_arrows_side_by_side():
    xs = [Tensor([float(i)], requires_grad=True) for i in range(5)]
    paths = [
        e.get("d") for e in ET.fromstring(graph(ops.concat(xs).sum()).svg()).iter(f"{SVG}path") if e.get("marker-end")
    ]
    ends = {path.split()[-2] for path in paths[:5]}
    assert len(ends) == 5
