"""The check itself: the gradients by the rules beside those by moving, order 1 and then order 2.

Each step builds on the one before it, so the first that finds something is the last.

Comes before: `problem`, whose two gradients it compares; `contracts`, `wrong_rule` and `wrong_second`, which say what
is wrong; `report`. Comes after: whoever writes an op.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor
from tinygrad_llm.debugging.gradcheck import contracts
from tinygrad_llm.debugging.gradcheck.differences import (
    Numeric,
    derivative,
    differs,
    gradient_of,
    relative_difference,
    sizes_of,
)
from tinygrad_llm.debugging.gradcheck.problem import Problem
from tinygrad_llm.debugging.gradcheck.report import Finding, GradientError, Report
from tinygrad_llm.errors import InputError


def gradcheck(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    order: int = 2,
    max_elements: int = 100,
    seed: int = 0,
) -> Report:
    """Check the gradients of `fn(*inputs)` with respect to every floating-point input.

    fn: takes the inputs, returns a Tensor or several. It must be deterministic.
    inputs: arrays or Tensors, used in float64 whatever their dtype; anything else is passed on as it is.
    order: 1 for the gradient, 2 for the gradient's gradient too.
    max_elements: of each input, so many elements are moved one by one (a random choice); a random direction moves
    all at once.

    Returns the report. Raises GradientError, which carries it, when something is wrong; InputError when there is
    nothing to check.
    """
    if order not in (1, 2):
        raise InputError(f"gradcheck: order must be 1 or 2, it was {order!r}.")
    with np.errstate(all="ignore"):  # what is not finite is reported, with more than a warning says
        problem = Problem(fn, inputs, np.random.default_rng(seed))
        report = Report(orders=tuple(range(1, order + 1)), inputs=len(problem.places))
        report.findings += find_unsound(problem)
        if not report.findings:
            report.findings += check_gradient(problem, report, max_elements)
        if not report.findings and order == 2:
            report.findings += check_second(problem, report)
    if report.findings:
        raise GradientError(report)
    return report


# --- order 1 --------------------------------------------------------------------------------------------------


def find_unsound(problem: Problem) -> list[Finding]:
    """What needs no second number: randomness, and ops that break the contract of a rule."""
    once, again = problem.values(problem.point), problem.values(problem.point)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(once, again, strict=True)):
        return [Finding("not deterministic", "two calls with the same inputs gave different results; fix the seed.")]
    return contracts.broken_contracts(problem.outputs)


def check_gradient(problem: Problem, report: Report, max_elements: int) -> list[Finding]:
    """Order 1: every element (or so many of them), then one random direction."""
    from tinygrad_llm.debugging.gradcheck import wrong_rule  # here, because `import tinygrad_llm` must stay quick

    analytic = problem.gradient(problem.point)
    magnitude = problem.magnitude(analytic)
    for i, index in elements(problem, max_elements):
        numeric = slope(problem, problem.along(i, index), [problem.point[i][index]], magnitude)
        report.elements += 1
        largest = float(np.max(np.abs(analytic[i])))
        report.note(relative_difference(analytic[i][index], numeric.value, largest))
        if differs(analytic[i][index], numeric):
            return wrong_rule.first_order(problem, i, index, float(analytic[i][index]), float(numeric.value))
    direction = problem.random_direction()
    product = sum(float(np.sum(a * d)) for a, d in zip(analytic, direction, strict=True))
    numeric = slope(problem, direction, [], magnitude)
    if differs(product, numeric):
        return wrong_rule.first_order(problem, None, None, product, float(numeric.value))
    return []


def slope(problem: Problem, direction: list[np.ndarray], moved: list[float], magnitude: float) -> Numeric:
    """How the loss changes along `direction`. moved: the number that moves, if it is only one."""
    return derivative(
        lambda t: problem.loss(problem.moved(direction, t)),
        [*sizes_of(np.array(moved)), *sizes_of(*problem.point)],
        magnitude,
    )


def elements(problem: Problem, max_elements: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(input, index) of every element that is moved by itself."""
    for i, x in enumerate(problem.point):
        indices = list(itertools.product(*map(range, x.shape)))
        if len(indices) > max_elements:
            chosen = problem.rng.choice(len(indices), max_elements, replace=False)
            indices = [indices[k] for k in sorted(chosen)]
        yield from ((i, index) for index in indices)


# --- order 2 --------------------------------------------------------------------------------------------------


def check_second(problem: Problem, report: Report) -> list[Finding]:
    """Order 2: the Hessian times a random vector v, which is how the gradient changes when the inputs move along v.

    The weights of the loss are an input too: the gradient is linear in them, with the slope J v, which is how the
    values change along v. A rule that loses its incoming gradient shows there.
    """
    from tinygrad_llm.debugging.gradcheck import wrong_second  # here, because `import tinygrad_llm` must stay quick

    v = problem.random_direction()
    sizes = sizes_of(*problem.point)
    gradients = remembered(lambda t: problem.gradient(problem.moved(v, t)))
    values = remembered(lambda t: problem.values(problem.moved(v, t)))
    try:
        analytic, analytic_jv = second_by_rules(problem, v)
    except Exception as error:  # whatever a rule does wrong with Tensors belongs in the report
        return wrong_second.second_order_failed(problem, error)
    magnitude = problem.magnitude(gradients(0.0))
    slopes = magnitude / max(sizes, default=1.0)  # the loss changes about that much per unit of an input
    for i in range(len(analytic)):
        numeric = derivative(element(gradients, i), sizes, slopes)
        report.note(relative_difference(analytic[i], numeric.value))
        wrong = np.argwhere(differs(analytic[i], numeric))
        if len(wrong):
            index = tuple(map(int, wrong[0]))
            return wrong_second.second_order(
                problem, v, i, index, float(analytic[i][index]), float(numeric.value[index])
            )
    for k in range(len(analytic_jv)):
        numeric = derivative(element(values, k), sizes, magnitude)
        wrong = np.argwhere(differs(analytic_jv[k], numeric))
        if len(wrong):
            index = tuple(map(int, wrong[0]))
            return wrong_second.second_order(
                problem, v, None, None, float(analytic_jv[k][index]), float(numeric.value[index])
            )
    return []


def remembered(f: Callable[[float], list[np.ndarray]]) -> Callable[[float], list[np.ndarray]]:
    """f, computed once for each t."""
    results: dict[float, list[np.ndarray]] = {}

    def lookup(t: float) -> list[np.ndarray]:
        if t not in results:
            results[t] = f(t)
        return results[t]

    return lookup


def element(f: Callable[[float], list[np.ndarray]], k: int) -> Callable[[float], np.ndarray]:
    return lambda t: f(t)[k]


def second_by_rules(problem: Problem, v: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(Hessian · v, Jacobian · v) by differentiating the gradient."""
    leaves, outputs = problem.run(problem.point)
    weights = [Tensor(problem.xp.asarray(w.copy()), requires_grad=True) for w in problem.weights]
    for y, w in zip(outputs, weights, strict=True):
        if y.requires_grad:
            y.backward(w, create_graph=True)
    gradients = [leaf.grad for leaf in leaves]
    for x in (*leaves, *weights):
        x.grad = None
    for g, direction in zip(gradients, v, strict=True):
        if g is not None and g.requires_grad:
            g.backward(problem.xp.asarray(direction), retain_graph=True)
    return [gradient_of(x) for x in leaves], [gradient_of(w) for w in weights]
