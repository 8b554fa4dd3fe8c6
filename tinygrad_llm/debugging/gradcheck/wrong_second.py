"""Order 2: why the gradient of the gradient is wrong.

A rule is a function like any other: of the op's inputs and of the incoming gradient g. So it is checked like one. What
it gives is differentiated, once by the rules of the ops that it is written with and once by moving.

Comes before: `bends` (no second derivative), `local`, `problem`. Comes after: `check`, when order 2 differs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.debugging.gradcheck.bends import bend_of
from tinygrad_llm.debugging.gradcheck.differences import Numeric, derivative, differs, gradient_of, host, same, sizes_of
from tinygrad_llm.debugging.gradcheck.local import Local, indices_of, nodes_of
from tinygrad_llm.debugging.gradcheck.problem import Problem
from tinygrad_llm.debugging.gradcheck.report import Finding


def second_order(
    problem: Problem,
    v: list[np.ndarray],
    i: int | None,
    index: tuple[int, ...] | None,
    analytic: float,
    numeric: float,
) -> list[Finding]:
    """Why the second derivative at `index` of input i (None: with respect to the weights) is not `numeric`."""
    place = None if i is None else problem.places[i]
    finding = Finding("", "", 2, None, place, index if i is not None else None, analytic, numeric)
    if i is not None and index is not None:
        bend = bend_of(lambda t: float(problem.gradient(problem.moved(v, t))[i][index]), problem.point[i][index])
        if bend is not None:
            because = "the gradient has no derivative here: " + bend.because
            return [replace(finding, diagnosis=bend.diagnosis, because=because)]
    for node in nodes_of(problem.outputs):
        wrong = wrong_second(node)
        if wrong is not None:
            diagnosis, because = wrong
            return [replace(finding, diagnosis=diagnosis, because=because, op=node.name)]
    because = "every op's rule is right by itself; part of the function's gradient lost its history."
    return [replace(finding, diagnosis="wrong second derivative: value", because=because)]


def second_order_failed(problem: Problem, error: Exception) -> list[Finding]:
    """Which rule raised when it was given Tensors."""
    for node in nodes_of(problem.outputs):
        try:
            second_by_rule(Local(node))
        except Exception as its_error:  # whatever a rule raises belongs in the report
            because = f"{type(its_error).__name__}: {its_error}"
            return [Finding("wrong second derivative: fails with Tensors", because, 2, node.name)]
    return [Finding("wrong second derivative: fails with Tensors", f"{type(error).__name__}: {error}", 2)]


def wrong_second(node: Node) -> tuple[str, str] | None:
    """(diagnosis, because) when the op's rule, differentiated, disagrees with the rule, moved."""
    local = Local(node)
    gradients, g, tensors = second_by_rule(local)
    for i, gx in enumerate(local.pull(local.g)):
        given = gradients[i]
        if i in local.tracked and gx is not None and given is not None and not same(host(raw(given)), host(gx)):
            return (
                "wrong second derivative: definition differs",
                f"with Tensors the rule gives another gradient of input {i} than with arrays.",
            )
    places: list[int | None] = [*local.tracked, None]  # None: the incoming gradient
    for place in places:
        name, variable = ("the incoming gradient g", g) if place is None else (f"input {place}", tensors[place])
        analytic = gradient_of(variable)
        numeric = moved_rule(local, place, variable.shape)
        wrong = differs(analytic, numeric) & ~np.isnan(numeric.value)
        if not wrong.any():
            continue
        if not np.any(analytic[wrong]):
            return (
                "wrong second derivative: left the graph",
                f"the rule's gradient depends on {name}, but has no history that says so: it reached for .data, or "
                "called a NumPy function.",
            )
        index = tuple(map(int, np.argwhere(wrong)[0]))
        return (
            "wrong second derivative: value",
            f"the derivative of the rule with respect to {name} at {list(index)} is {analytic[index]:.6g} by the "
            f"rules, {numeric.value[index]:.6g} by moving it: part of it lost its history.",
        )
    return None


def second_by_rule(local: Local) -> tuple[list[Any], Any, list[Any]]:
    """Differentiate the op's own rule: (gradients as the rule gave them, g, the op's inputs), all as Tensors.

    After it, `.grad` of g and of the inputs holds the derivative of Σ u · gradient, with u from `probes`.
    """
    tensors, out = local.run([x.copy() if hasattr(x, "copy") else x for x in local.arrays])
    g = Tensor(local.g.copy(), requires_grad=True)
    assert out.node is not None
    gradients = list(out.node.op.backward(out.node, g, out, [True] * len(out.node.inputs)))
    for i, u in probes(local).items():
        gx = gradients[i]
        if isinstance(gx, Tensor) and gx.requires_grad:
            gx.backward(u, retain_graph=True)
    return gradients, g, tensors


def probes(local: Local) -> dict[int, Any]:
    """Fixed random weights for the gradient of each input."""
    rng = np.random.default_rng(1)
    return {i: local.xp.asarray(rng.standard_normal(local.arrays[i].shape)) for i in local.tracked}


def moved_rule(local: Local, i: int | None, shape: tuple[int, ...]) -> Numeric:
    """d(Σ u · gradient by the rule) / d(input i, or g when i is None), by moving; NaN where nothing was moved."""
    weights = {j: host(u) for j, u in probes(local).items()}
    start = host(local.g if i is None else local.arrays[i])
    value, noise = np.full(shape, np.nan), np.zeros(shape)
    for index in indices_of(value):

        def f(t: float, index: tuple[int, ...] = index) -> float:
            x = start.copy()
            x[index] += t
            moved = local.xp.asarray(x)
            arrays = [moved if j == i else a for j, a in enumerate(local.arrays)]
            gradients = local.pull(moved if i is None else local.g, local.run(arrays)[1])
            return sum(float(np.sum(u * host(gradients[j]))) for j, u in weights.items() if gradients[j] is not None)

        sizes = [*sizes_of(start[index]), *sizes_of(start)]
        value[index], noise[index] = derivative(f, sizes, abs(f(0.0)))
    return Numeric(value, noise)
