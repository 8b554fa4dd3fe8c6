"""Where to put the boxes of a graph so that it can be read: layers, few crossings, straight lines.

The method of Sugiyama, Tagawa and Toda (1981), in four steps:
1. each box gets a layer below everything it was made from;
2. an edge that skips layers gets an invisible box ("bend") in each, so that edges only join neighbours;
3. each layer is ordered by where its neighbours are (the barycentre), down and up again, keeping the order with
   the fewest crossings;
4. each box moves towards the middle of its neighbours, as far as the order and the widths allow. That is a
   least-squares problem with an order to keep, which pooling neighbours solves exactly (isotonic regression,
   Ayer et al. 1955). Boxes without inputs count little here, so that the chain of ops runs straight down and they
   stand beside it.

Comes before: nothing; it knows boxes and edges only. Comes after: `graph`, which draws.
"""

from __future__ import annotations

import bisect
from itertools import pairwise
from typing import NamedTuple

ORDER_SWEEPS, PLACE_SWEEPS = 12, 60  # of steps 3 and 4; more change nothing that one can see
GAP = 22.0  # between boxes side by side, in pixels
LAYER_GAP = 38.0  # between layers
BEND_WIDTH = 8.0
SOURCE_WEIGHT = 0.1  # how much an edge from a box without inputs pulls, compared with any other
BEND_WEIGHT, BENDS_WEIGHT = 2.0, 8.0  # an edge from a box to a bend, and between bends: long edges come out straight

Point = tuple[float, float]


class Layout(NamedTuple):
    """centres: x of the middle and y of the top of each box. routes: for each edge the points it passes."""

    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def layered(sizes: list[tuple[float, float]], edges: list[tuple[int, int]]) -> Layout:
    """Place boxes of the given (width, height) so that every edge (from, to) goes down.

    Boxes are numbered so that every edge goes from a smaller number to a larger one.
    """
    layer_of = layers(len(sizes), edges)
    paths, widths, bends = with_bends([w for w, _ in sizes], edges, layer_of)
    rows = ordered(layer_of, paths)
    xs = placed(rows, paths, widths, bends)
    heights = [max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) for row in rows]
    tops = [sum(heights[:k]) + k * LAYER_GAP for k in range(len(rows))]
    centres = [(xs[i], tops[layer_of[i]] + (heights[layer_of[i]] - h) / 2) for i, (_, h) in enumerate(sizes)]
    routes = []
    for path in paths:
        first, last = path[0], path[-1]
        route = [(xs[first], centres[first][1] + sizes[first][1])]
        for bend in path[1:-1]:
            top = tops[layer_of[bend]]
            route += [(xs[bend], top), (xs[bend], top + heights[layer_of[bend]])]
        routes.append([*route, (xs[last], centres[last][1])])
    right = max((xs[i] + w / 2 for i, (w, _) in enumerate(sizes)), default=0.0)
    return Layout(centres, routes, max([right, *(x + BEND_WIDTH / 2 for x in xs)]), tops[-1] + heights[-1])


def layers(count: int, edges: list[tuple[int, int]]) -> list[int]:
    """The layer of each box: one below the lowest of its inputs; boxes without inputs just above the first user."""
    inputs: list[list[int]] = [[] for _ in range(count)]
    users: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        inputs[b].append(a)
        users[a].append(b)
    layer_of = [0] * count
    for i in range(count):
        layer_of[i] = 1 + max((layer_of[a] for a in inputs[i]), default=-1)
    for i in range(count):
        if not inputs[i] and users[i]:
            layer_of[i] = min(layer_of[b] for b in users[i]) - 1
    return layer_of


def with_bends(
    widths: list[float], edges: list[tuple[int, int]], layer_of: list[int]
) -> tuple[list[list[int]], list[float], set[int]]:
    """Each edge as the path of boxes and bends it passes; the widths of both; which of them are bends.

    `layer_of` grows by the layers of the bends.
    """
    widths, bends, paths = list(widths), set(), []
    for a, b in edges:
        path = [a]
        for layer in range(layer_of[a] + 1, layer_of[b]):
            path.append(len(widths))
            bends.add(len(widths))
            widths.append(BEND_WIDTH)
            layer_of.append(layer)
        paths.append([*path, b])
    return paths, widths, bends


def neighbours(count: int, paths: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """For each box and bend, those it is joined to in the layer above, and below."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for path in paths:
        for a, b in pairwise(path):
            above[b].append(a)
            below[a].append(b)
    return above, below


def ordered(layer_of: list[int], paths: list[list[int]]) -> list[list[int]]:
    """The boxes and bends of each layer from left to right, with few crossings."""
    above, below = neighbours(len(layer_of), paths)
    rows: list[list[int]] = [[] for _ in range(max(layer_of) + 1)]
    for i in first_order(len(layer_of), above):
        rows[layer_of[i]].append(i)
    best, fewest = rows, crossings(rows, below)
    for sweep in range(ORDER_SWEEPS):
        rows = [list(row) for row in rows]
        if sweep % 2 == 0:
            for other, row in pairwise(rows):
                row[:] = by_barycentre(row, other, above)
        else:
            for other, row in pairwise(reversed(rows)):
                row[:] = by_barycentre(row, other, below)
        count = crossings(rows, below)
        if count < fewest:
            best, fewest = rows, count
    return best


def by_barycentre(row: list[int], other: list[int], joined: list[list[int]]) -> list[int]:
    """A layer in the order of where the members are joined to the other layer, on average; the rest stays put."""
    place = {i: float(k) for k, i in enumerate(other)}
    key = {i: mean([place[j] for j in joined[i]], float(k)) for k, i in enumerate(row)}
    return sorted(row, key=key.__getitem__)


def first_order(count: int, above: list[list[int]]) -> list[int]:
    """Depth first from the last box upwards: what is used together starts side by side."""
    order: list[int] = []
    seen: set[int] = set()
    for root in reversed(range(count)):
        stack = [root]
        while stack:
            i = stack.pop()
            if i not in seen:
                seen.add(i)
                order.append(i)
                stack.extend(reversed(above[i]))
    return order


def crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for row, under in pairwise(rows):
        place = {i: k for k, i in enumerate(under)}
        passed: list[int] = []
        for i in row:
            ends = sorted(place[j] for j in below[i])
            total += sum(len(passed) - bisect.bisect_right(passed, end) for end in ends)
            for end in ends:
                bisect.insort(passed, end)
    return total


def placed(rows: list[list[int]], paths: list[list[int]], widths: list[float], bends: set[int]) -> list[float]:
    """The x of the middle of each box and bend, the leftmost edge at 0."""
    above, below = neighbours(len(widths), paths)
    xs = [0.0] * len(widths)
    for row in rows:
        for a, b in pairwise(row):
            xs[b] = xs[a] + (widths[a] + widths[b]) / 2 + GAP
    for sweep in range(PLACE_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            pulls = [[weight(i, j, above, bends) for j in above[i] + below[i]] for i in row]
            wanted = [middle([xs[j] for j in above[i] + below[i]], p, xs[i]) for i, p in zip(row, pulls, strict=True)]
            places = spread(wanted, [sum(p, SOURCE_WEIGHT) for p in pulls], [widths[i] for i in row])
            for i, x in zip(row, places, strict=True):
                xs[i] = x
    left = min(x - w / 2 for x, w in zip(xs, widths, strict=True))
    return [x - left for x in xs]


def weight(i: int, j: int, above: list[list[int]], bends: set[int]) -> float:
    """How strongly the edge between i and j pulls."""
    if i in bends or j in bends:
        return BENDS_WEIGHT if i in bends and j in bends else BEND_WEIGHT
    return 1.0 if above[i] and above[j] else SOURCE_WEIGHT


def middle(xs: list[float], weights: list[float], default: float) -> float:
    """The weighted mean of xs; `default` if there are none."""
    return sum(w * x for w, x in zip(weights, xs, strict=True)) / sum(weights) if xs else default


def mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def spread(wanted: list[float], pulls: list[float], widths: list[float]) -> list[float]:
    """The places nearest to `wanted` (least squares, weighted by `pulls`) that keep the order and do not overlap.

    Measured from where each box would be if all stood side by side, "no overlap" means "not decreasing". Boxes that
    want to be on the wrong side of each other form a group, which goes to the mean of what its members want.
    """
    shifts = [0.0]
    for a, b in pairwise(widths):
        shifts.append(shifts[-1] + (a + b) / 2 + GAP)
    groups: list[tuple[float, float, int]] = []  # mean, weight, members
    for x, pull, shift in zip(wanted, pulls, shifts, strict=True):
        group = (x - shift, pull, 1)
        while groups and groups[-1][0] > group[0]:
            m, w, n = groups.pop()
            group = ((m * w + group[0] * group[1]) / (w + group[1]), w + group[1], n + group[2])
        groups.append(group)
    places = [m for m, _, n in groups for _ in range(n)]
    return [x + shift for x, shift in zip(places, shifts, strict=True)]
