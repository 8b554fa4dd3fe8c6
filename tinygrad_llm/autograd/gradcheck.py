"""Checking gradients by moving the inputs a little, and saying what is wrong where they differ.

A derivative can be had without any rule: change an input by ±h, and see how the result changes. It is slow and
a little inexact, but it is independent of the rules, so it can judge them. `gradcheck` compares the two for every
element and in a random direction, for the gradient (order 1) and for the gradient of the gradient (order 2), in
float64. Where they differ, `diagnosis` looks for the op that is wrong, and for the reason.

    >>> from tinygrad_llm.autograd import ops
    >>> import numpy as np
    >>> print(gradcheck(ops.tanh, [np.array([0.5, -1.0])]))
    gradients agree: 1 input, 2 elements, orders 1 and 2, largest relative difference 1e-10 or less

How far to move: the central difference of five points has an error of h⁴ from the curve and of 1e-16/h from rounding;
h = 1e-4 makes both about 1e-12.

Comes before: `engine` (the gradients that are checked). Comes after: `diagnosis` (why they are wrong); whoever writes
an op. Left out on purpose: complex numbers, sparse arrays, forward mode.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module, to_numpy
from tinygrad_llm.errors import InputError

STEP = 1e-4
TOLERANCE = 1e-6  # relative; a rule that is right agrees to 1e-9 or better


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    diagnosis: in two or three words, one of those in `diagnosis`. order: 1 the gradient, 2 the gradient's gradient.
    op: the op at fault where it could be found. input, index: which input of the checked function and which element;
    analytic, numeric: what the rules say there, and what moving the input says.
    """

    diagnosis: str
    because: str
    order: int = 1
    op: str | None = None
    input: int | None = None
    index: tuple[int, ...] | None = None
    analytic: float | None = None
    numeric: float | None = None

    def __str__(self) -> str:
        where = "" if self.input is None else f", input {self.input}"
        where += "" if self.index is None else f"{list(self.index)}"
        numbers = (
            "" if self.numeric is None else f": the rules say {self.analytic:.9g}, moving it says {self.numeric:.9g}"
        )
        op = "" if self.op is None else f" in op '{self.op}'"
        return f"order {self.order}{where}{numbers}. {self.diagnosis}{op}: {self.because}"


@dataclass
class Report:
    """What `gradcheck` looked at and what it found. It is right when `findings` is empty."""

    orders: tuple[int, ...]
    inputs: int = 0
    elements: int = 0
    largest_difference: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        if self.findings:
            return "gradients are wrong:\n" + "\n".join(f"  {finding}" for finding in self.findings)
        bound = next(b for b in (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1.0) if self.largest_difference <= b)
        return (
            f"gradients agree: {count(self.inputs, 'input')}, {count(self.elements, 'element')}, "
            f"order{'s' * (len(self.orders) > 1)} {' and '.join(map(str, self.orders))}, "
            f"largest relative difference {bound:.0e} or less"
        )


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)


class GradientError(AssertionError):
    """The gradients are wrong; `report` says where and why."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


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


class Problem:
    """The function at one point: its values, its loss Σ weights · values (the weights random), the loss's gradient."""

    def __init__(self, fn: Callable[..., Any], inputs: Sequence[Any], rng: np.random.Generator) -> None:
        self.fn, self.rng = fn, rng
        self.inputs = [raw(x) for x in inputs]
        self.places = [i for i, x in enumerate(self.inputs) if hasattr(x, "dtype") and x.dtype.kind == "f"]
        if not self.places:
            raise InputError("gradcheck: none of the inputs is a floating-point array; there is nothing to check.")
        self.xp = array_module(self.inputs[self.places[0]])
        self.point = [to_numpy(self.inputs[i]).astype(np.float64) for i in self.places]
        self.leaves, self.outputs = self.run(self.point)
        if not self.outputs:
            raise InputError("gradcheck: the function returned no floating-point Tensor.")
        self.weights = [rng.standard_normal(y.shape) for y in self.outputs]

    def run(self, point: list[np.ndarray]) -> tuple[list[Tensor], list[Tensor]]:
        """Fresh leaves at `point`, and the floating-point results of the function there."""
        leaves = [Tensor(self.xp.asarray(x.copy()), requires_grad=True) for x in point]
        inputs = list(self.inputs)
        for i, leaf in zip(self.places, leaves, strict=True):
            inputs[i] = leaf
        result = self.fn(*inputs)
        results = result if isinstance(result, tuple | list) else (result,)
        return leaves, [y for y in results if isinstance(y, Tensor) and y.dtype.kind == "f"]

    def values(self, point: list[np.ndarray]) -> list[np.ndarray]:
        return [host(y.data) for y in self.run(point)[1]]

    def loss(self, point: list[np.ndarray]) -> float:
        return sum(float(np.sum(w * y)) for w, y in zip(self.weights, self.values(point), strict=True))

    def gradient(self, point: list[np.ndarray]) -> list[np.ndarray]:
        """d(loss)/d(input) by the rules; zeros for an input that no gradient reached."""
        leaves, outputs = self.run(point)
        for y, w in zip(outputs, self.weights, strict=True):
            if y.requires_grad:
                y.backward(self.xp.asarray(w), retain_graph=True)
        return [gradient_of(leaf) for leaf in leaves]

    def moved(self, direction: list[np.ndarray], t: float) -> list[np.ndarray]:
        return [x + t * d for x, d in zip(self.point, direction, strict=True)]

    def along(self, i: int, index: tuple[int, ...]) -> list[np.ndarray]:
        """The direction in which only one element of input i (of those checked) moves."""
        direction = [np.zeros_like(x) for x in self.point]
        direction[i][index] = 1.0
        return direction

    def random_direction(self) -> list[np.ndarray]:
        """Of length 1, so that a step along it is as small as a step of one element."""
        direction = [self.rng.standard_normal(x.shape) for x in self.point]
        size = max(1e-300, float(np.sqrt(sum(np.sum(d * d) for d in direction))))
        return [d / size for d in direction]


def host(array: Any) -> np.ndarray:
    return to_numpy(array).astype(np.float64)


def gradient_of(leaf: Tensor) -> np.ndarray:
    return np.zeros(leaf.shape) if leaf.grad is None else host(leaf.grad.data)


def derivative(f: Callable[[float], Any], h: float = STEP) -> Any:
    """f'(0) by the central difference of five points (its error: h⁴/30 times the fifth derivative)."""
    return (8.0 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12.0 * h)


def derivative_of_each(f: Callable[[float], list[np.ndarray]]) -> list[np.ndarray]:
    """The derivative of every array in the list that f returns."""
    results = {t: f(t) for t in (-2 * STEP, -STEP, STEP, 2 * STEP)}

    def element(k: int) -> Callable[[float], np.ndarray]:
        return lambda t: results[t][k]

    return [derivative(element(k)) for k in range(len(results[STEP]))]


def differs(analytic: Any, numeric: Any, scale: float) -> np.ndarray:
    """Where two derivatives differ by more than the tolerance; `scale`: the size of what was differentiated."""
    with np.errstate(invalid="ignore"):
        close = np.abs(analytic - numeric) <= TOLERANCE * (np.abs(numeric) + 1e-2 * scale + 1e-2)
    return ~(close | (np.isnan(analytic) & np.isnan(numeric)))


def relative_difference(analytic: Any, numeric: Any) -> float:
    """The largest difference, measured by the largest value."""
    largest = float(np.max(np.abs(numeric), initial=1e-300))
    return float(np.max(np.abs(analytic - numeric), initial=0.0)) / max(largest, 1e-4)


# --- order 1 --------------------------------------------------------------------------------------------------


def find_unsound(problem: Problem) -> list[Finding]:
    """What needs no second number: randomness, and ops that break the contract of a rule."""
    once, again = problem.values(problem.point), problem.values(problem.point)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(once, again, strict=True)):
        return [Finding("not deterministic", "two calls with the same inputs gave different results; fix the seed.")]
    return diagnosis.broken_contracts(problem.outputs)


def check_gradient(problem: Problem, report: Report, max_elements: int) -> list[Finding]:
    """Order 1: every element (or so many of them), then one random direction."""
    analytic = problem.gradient(problem.point)
    scale = sum(
        float(np.sum(np.abs(w * y))) for w, y in zip(problem.weights, problem.values(problem.point), strict=True)
    )
    for i, index in elements(problem, max_elements):
        direction = problem.along(i, index)
        numeric = slope(problem, direction, analytic[i][index], scale)
        report.elements += 1
        report.largest_difference = max(
            report.largest_difference,
            abs(analytic[i][index] - numeric) / max(abs(numeric), float(np.max(np.abs(analytic[i]))), 1e-4),
        )
        if differs(analytic[i][index], numeric, scale):
            return diagnosis.first_order(problem, i, index, float(analytic[i][index]), numeric)
    direction = problem.random_direction()
    product = sum(float(np.sum(a * d)) for a, d in zip(analytic, direction, strict=True))
    numeric = slope(problem, direction, product, scale)
    if differs(product, numeric, scale):
        return diagnosis.first_order(problem, None, None, product, numeric)
    return []


def slope(problem: Problem, direction: list[np.ndarray], expected: float, scale: float) -> float:
    """How the loss changes along `direction`. When that is not as expected, a bend may lie within reach of the step,
    so a much shorter one is tried too."""

    def f(t: float) -> float:
        return problem.loss(problem.moved(direction, t))

    far = derivative(f)
    if not differs(expected, far, scale):
        return far
    near = derivative(f, STEP / 1000)
    return near if abs(near - expected) < abs(far - expected) else far


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
    v = problem.random_direction()
    numeric = derivative_of_each(lambda t: problem.gradient(problem.moved(v, t)))
    numeric_jv = derivative_of_each(lambda t: problem.values(problem.moved(v, t)))
    try:
        analytic, analytic_jv = second_by_rules(problem, v)
    except Exception as error:  # whatever a rule does wrong with Tensors belongs in the report
        return diagnosis.second_order_failed(problem, error)
    gradient = problem.gradient(problem.point)
    for i in range(len(analytic)):
        scale = float(np.max(np.abs(gradient[i]), initial=0.0))
        report.largest_difference = max(report.largest_difference, relative_difference(analytic[i], numeric[i]))
        wrong = np.argwhere(differs(analytic[i], numeric[i], scale))
        if len(wrong):
            index = tuple(map(int, wrong[0]))
            return diagnosis.second_order(problem, v, i, index, float(analytic[i][index]), float(numeric[i][index]))
    for k in range(len(analytic_jv)):
        wrong = np.argwhere(differs(analytic_jv[k], numeric_jv[k], 1.0))
        if len(wrong):
            index = tuple(map(int, wrong[0]))
            return diagnosis.second_order(
                problem, v, None, None, float(analytic_jv[k][index]), float(numeric_jv[k][index])
            )
    return []


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


# The diagnosis compares too, with the functions above.
from tinygrad_llm.autograd import diagnosis  # noqa: E402  (see the line above)
