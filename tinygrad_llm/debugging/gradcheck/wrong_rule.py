"""Order 1: why the gradient is wrong.

When the two numbers differ, the function is first asked whether it has a derivative there at all. If it has, every op
in its graph is taken out and checked by itself, against its own forward. The first whose rule is wrong is the culprit,
and its wrong gradient is compared with the right one. If every op is right by itself, the numbers are too coarse or
the function leaves the graph.

Comes before: `bends` (no derivative), `explanations` (what the wrong gradient looks like), `local`, `problem`.
Comes after: `check`, when the gradients differ.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.debugging.gradcheck.bends import bend_of, bent_op, bent_places
from tinygrad_llm.debugging.gradcheck.differences import Numeric, derivative, differs, host, sizes_of
from tinygrad_llm.debugging.gradcheck.explanations import explained
from tinygrad_llm.debugging.gradcheck.local import Local, indices_of, low_precision, nodes_of
from tinygrad_llm.debugging.gradcheck.problem import Problem
from tinygrad_llm.debugging.gradcheck.report import Finding


def first_order(
    problem: Problem, i: int | None, index: tuple[int, ...] | None, analytic: float, numeric: float
) -> list[Finding]:
    """Why the gradient of input `i` at `index` (or, without them, in some direction) is not `numeric`."""
    place = None if i is None else problem.places[i]
    finding = Finding("", "", input=place, index=index, analytic=analytic, numeric=numeric)
    nodes = nodes_of(problem.outputs)
    coarse = low_precision(problem.outputs)
    if i is not None and index is not None and coarse is None:
        direction = problem.along(i, index)
        bend = bend_of(lambda t: problem.loss(problem.moved(direction, t)), problem.point[i][index])
        if bend is not None and bend.allows(analytic):
            return [replace(finding, diagnosis=bend.diagnosis, because=bend.because, op=bent_op(nodes))]
    for node in nodes:
        wrong = wrong_rule(node)
        if wrong is not None:
            diagnosis, because = wrong
            return [replace(finding, diagnosis=diagnosis, because=because, op=node.name)]
    if coarse is not None:
        because = "the op computes in less than float64; its rounding is larger than the change that is measured."
        return [replace(finding, diagnosis="float32 too coarse", because=because, op=coarse)]
    if not np.isfinite(numeric):
        because = "moving the inputs in a random direction leaves the region where the function is defined."
        return [replace(finding, diagnosis="not differentiable", because=because)]
    because = "every op is right by itself; the function leaves the graph: detach, .data, .numpy() or no_grad."
    return [replace(finding, diagnosis="graph cut", because=because)]


def wrong_rule(node: Node) -> tuple[str, str] | None:
    """(diagnosis, because) when the op's rule disagrees with its forward."""
    local = Local(node)
    gradients = local.pull(local.g)
    if local.out.dtype.itemsize < 8:
        return None  # computed in float32 whatever goes in: too coarse to tell
    for i in local.tracked:
        numeric = numeric_gradient(local, i)
        analytic = np.zeros(numeric.value.shape) if gradients[i] is None else host(gradients[i])
        looked_at = ~np.isnan(numeric.value)
        wrong = differs(analytic, numeric) & looked_at
        wrong &= ~bent_places(local, i, analytic, wrong)
        if not wrong.any():
            continue
        if gradients[i] is None:
            return "wrong rule: no gradient", f"the rule says None for input {i}, although the result depends on it."
        return explained(local, i, np.where(looked_at, analytic, 0.0), np.where(looked_at, numeric.value, 0.0), wrong)
    return None


def numeric_gradient(local: Local, i: int) -> Numeric:
    """d(Σ g · value)/d(input i) by moving every element; NaN where the op has no derivative, or was not looked at."""
    start = host(local.arrays[i])
    value, noise = np.full(start.shape, np.nan), np.zeros(start.shape)
    magnitude = float(np.sum(np.abs(host(local.g) * host(local.out.data))))
    for index in indices_of(value):
        sizes = [*sizes_of(start[index]), *sizes_of(start)]
        value[index], noise[index] = derivative(local.along(i, index), sizes, magnitude)
    return Numeric(value, noise)
