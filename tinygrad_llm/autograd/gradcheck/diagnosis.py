"""Why a gradient is wrong.

When the two numbers differ, the function is first asked whether it has a derivative there at all: at a kink the two
sides disagree, at a jump the slope grows without bound. If it has, every op in its graph is taken out and checked by
itself, against its own forward. The first whose rule is wrong is the culprit, and its wrong gradient is
compared with the right one: is it its negative, a multiple, a transpose, right but for a factor that lies at hand?

Comes before: `differences`, `problem`, `report`. Comes after: `check`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_llm.autograd.gradcheck.differences import STEP, derivative, differs, gradient_of, host
from tinygrad_llm.autograd.gradcheck.problem import Problem
from tinygrad_llm.autograd.gradcheck.report import Finding
from tinygrad_llm.autograd.primitive import Fused, Node, Primitive
from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.backend import array_module

FULL = 400  # inputs with up to so many elements are compared element by element


# --- one op by itself -----------------------------------------------------------------------------------------


class Local:
    """An op taken out of the graph, with copies of what went in, in float64 unless told otherwise."""

    def __init__(self, node: Node, dtype: Any = np.float64) -> None:
        self.op, self.options = node.op, node.options
        self.tracked = [i for i, x in enumerate(node.inputs) if is_tracked(x)]
        self.arrays = [in_dtype(raw(x), dtype) for x in node.inputs]
        self.rng = np.random.default_rng(0)
        self.xp = array_module(self.arrays[self.tracked[0]])
        self.tensors, self.out = self.run(self.arrays)
        self.g = self.xp.asarray(self.rng.standard_normal(self.out.shape).astype(self.out.dtype))

    def run(self, arrays: list[Any]) -> tuple[list[Any], Tensor]:
        """The op on `arrays`, recorded."""
        tensors = [Tensor(x, requires_grad=True) if i in self.tracked else x for i, x in enumerate(arrays)]
        return tensors, self.op(*tensors, **self.options)

    def pull(self, g: Any, out: Tensor | None = None) -> tuple:
        """The gradients of all inputs by the rule, as raw arrays."""
        out = self.out if out is None else out
        assert out.node is not None
        return out.node.pull(g, out, False)

    def value(self, i: int, array: np.ndarray) -> np.ndarray:
        """The op's value when input i is replaced."""
        arrays = list(self.arrays)
        arrays[i] = self.xp.asarray(array)
        return host(raw(self.op(*arrays, **self.options)))

    def along(self, i: int, index: tuple[int, ...]) -> Callable[[float], float]:
        """t -> Σ g · value when one element of input i moves by t."""
        start, g = host(self.arrays[i]), host(self.g)

        def f(t: float) -> float:
            x = start.copy()
            x[index] += t
            return float(np.sum(g * self.value(i, x)))

        return f


def in_dtype(x: Any, dtype: Any) -> Any:
    """A copy of an array, in `dtype` if it is floating-point; numbers and the like as they are."""
    if not hasattr(x, "dtype"):
        return x
    return x.astype(dtype) if x.dtype.kind == "f" else x.copy()


def nodes_of(outputs: list[Tensor]) -> list[Node]:
    """The nodes behind the outputs, inputs before outputs. Only ops whose forward can be run by itself."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack = [(y, False) for y in outputs]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen and tensor.node is not None:
            seen.add(id(tensor))
            stack.append((tensor, True))
            stack.extend((x, False) for x in tensor.node.inputs if is_tracked(x))
    return [y.node for y in order if y.node is not None and isinstance(y.node.op, Primitive | Fused)]


def low_precision(outputs: list[Tensor]) -> str | None:
    """The first op on the way that computes in less than float64, if any."""
    for node in nodes_of(outputs):
        floats = [raw(x).dtype for x in node.inputs if hasattr(raw(x), "dtype") and raw(x).dtype.kind == "f"]
        if any(dtype.itemsize < 8 for dtype in floats):
            return node.name
    small = [y.node.name for y in outputs if y.dtype.itemsize < 8 and y.node is not None]
    return small[0] if small else None


# --- what a rule must never do ----------------------------------------------------------------------------------


def broken_contracts(outputs: list[Tensor]) -> list[Finding]:
    """The first op whose rule breaks its contract, whatever its numbers."""
    for node in nodes_of(outputs):
        for look in (broken_contract, wrong_dtype):
            found = look(node)
            if found is not None:
                diagnosis, because = found
                return [Finding(diagnosis, because, op=node.name)]
    return []


def broken_contract(node: Node) -> tuple[str, str] | None:
    """(diagnosis, because) when the op writes where it must not, or its gradients have the wrong form."""
    before = [in_dtype(raw(x), np.float64) for x in node.inputs]
    local = Local(node)
    changed = first_change(before, local.arrays)
    if changed is not None:
        return "wrong forward: changes an input", f"input {changed} of the op is not the same after the call."
    g, out = local.g.copy(), local.out.data.copy()
    try:
        gradients = local.pull(g)
    except Exception as error:  # whatever a rule raises belongs in the report
        return "wrong rule: fails", f"{type(error).__name__}: {error}"
    for name, old, new in (
        ("an input", before, local.arrays),
        ("its g", [local.g], [g]),
        ("out", [out], [local.out.data]),
    ):
        if first_change(old, new) is not None:
            return "wrong rule: changes an array in place", f"the rule writes into {name}; others still need it."
    if len(gradients) != len(local.arrays):
        return (
            "wrong rule: number of gradients",
            f"the rule returned {len(gradients)} for {len(local.arrays)} inputs; it owes one, or None, for each.",
        )
    for i in local.tracked:
        if gradients[i] is not None and gradients[i].shape != local.arrays[i].shape:
            return wrong_shape(i, gradients[i].shape, local)
    return impure_rule(local, gradients)


def wrong_shape(i: int, shape: tuple[int, ...], local: Local) -> tuple[str, str]:
    wanted = local.arrays[i].shape
    if shape == local.out.shape and broadcasts(wanted, shape):
        return (
            "wrong rule: missing unbroadcast",
            f"input {i} of shape {wanted} was broadcast to {shape}, and so is its gradient; sum it: unbroadcast(g, x).",
        )
    return "wrong rule: gradient shape", f"the gradient of input {i} has shape {shape}, the input {wanted}."


def broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of shape `small` is repeated to shape `large` by broadcasting."""
    pairs = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(m in (1, n) for m, n in pairs)


def impure_rule(local: Local, gradients: tuple) -> tuple[str, str] | None:
    """Whether the rule is a linear function of g, and nothing else: the same every time, in memory of its own."""
    first = [None if gx is None else host(gx) for gx in gradients]
    other = local.xp.asarray(local.rng.standard_normal(local.g.shape).astype(local.g.dtype))
    with_other = [None if gx is None else host(gx) for gx in local.pull(other)]
    if first_change(first, [None if gx is None else host(gx) for gx in gradients]) is not None:
        return "wrong rule: reuses memory", "a second call overwrote the gradients of the first; return new arrays."
    if first_change(first, [None if gx is None else host(gx) for gx in local.pull(local.g.copy())]) is not None:
        return "wrong rule: not linear", "two calls with the same g gave different gradients."
    doubled = [None if gx is None else host(gx) for gx in local.pull(2.0 * local.g)]
    for i in local.tracked:
        a, b, c = first[i], with_other[i], doubled[i]
        if a is None or b is None or c is None or not np.all(np.isfinite(a)) or not np.any(a):
            continue
        if local.g.size and np.array_equal(a, b):
            return "wrong rule: ignores the incoming gradient", f"the gradient of input {i} is the same for every g."
        if not np.allclose(2.0 * a, c, rtol=1e-9, atol=1e-12):
            return "wrong rule: not linear", f"twice the g does not give twice the gradient of input {i}."
    return None


def wrong_dtype(node: Node) -> tuple[str, str] | None:
    """(diagnosis, because) when float32 goes in and something else comes out, or comes back."""
    mixed = any(getattr(raw(x), "dtype", np.dtype(bool)).kind in "iu" for x in node.inputs)
    if mixed or "dtype" in node.options:
        return None  # integers make float64 of float32 by NumPy's rules; a cast is meant
    local = Local(node, np.float32)
    if local.out.dtype != np.float32:
        return "wrong forward: dtype", f"float32 went in, {local.out.dtype} came out; look for a NumPy scalar."
    for i, gx in enumerate(local.pull(local.g)):
        if i in local.tracked and gx is not None and gx.dtype != np.float32:
            return (
                "wrong rule: gradient dtype",
                f"input {i} is float32, its gradient {gx.dtype}; look for a NumPy scalar or a cast.",
            )
    return None


def first_change(before: list[Any], after: list[Any]) -> int | None:
    """Which array is no longer what it was."""
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if hasattr(old, "dtype") and not np.array_equal(host(old), host(new), equal_nan=True):
            return i
    return None


# --- order 1 ----------------------------------------------------------------------------------------------------


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
        bend = bend_of(lambda t: problem.loss(problem.moved(direction, t)))
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


@dataclass(frozen=True)
class Bend:
    """What a function that has no derivative does at a point, with its slopes on both sides."""

    diagnosis: str
    because: str
    left: float
    right: float

    def allows(self, slope: float) -> bool:
        """Whether a rule may say `slope`: at a kink anything between the two sides, elsewhere anything."""
        low, high = sorted((self.left, self.right))
        margin = 1e-3 * (high - low)
        return self.diagnosis != "kink here" or low - margin <= slope <= high + margin


def bend_of(f: Callable[[float], float]) -> Bend | None:
    """How f fails to have a derivative at 0, if it does: the two one-sided slopes at h and at h/100 tell."""
    middle = f(0.0)
    slopes = {}
    for h in (STEP, STEP / 100):
        slopes[h] = ((middle - f(-h)) / h, (f(h) - middle) / h)
    (left, right), (near_left, near_right) = slopes.values()
    if not all(map(np.isfinite, (left, right, near_left, near_right))):
        because = "the value is not finite here or right beside it: the edge of where the function is defined."
        return Bend("not differentiable", because, left, right)
    if max(abs(near_left), abs(near_right)) > 5.0 * max(abs(left), abs(right), 1e-3):
        because = "closer by, the slope only grows: the function jumps, or stands upright, here."
        return Bend("not differentiable", because, near_left, near_right)
    gap, near_gap = abs(left - right), abs(near_left - near_right)
    size = 1e-3 * max(abs(left), abs(right), 1e-3)
    if near_gap <= size and gap <= size:
        return None
    if gap > size and near_gap < 0.1 * gap:
        if near_gap > 0.005 * gap:
            return None  # it shrinks with h: a curve, if a sharp one
        because = f"the slope is {left:.6g} on one side and {right:.6g} on the other; move the input away."
        return Bend("kink here", because, left, right)
    because = f"the slope is {near_left:.6g} on one side and {near_right:.6g} on the other; move the input away."
    return Bend("kink here", because, near_left, near_right)


def bent_op(nodes: list[Node]) -> str | None:
    """The first op that has no derivative where it stands."""
    for node in nodes:
        local = Local(node)
        for i in local.tracked:
            for index in indices_of(local.arrays[i]):
                if bend_of(local.along(i, index)) is not None:
                    return node.name
    return None


def indices_of(x: Any) -> Iterator[tuple[int, ...]]:
    """Every index of an array, or FULL of them."""
    return itertools.islice(itertools.product(*map(range, x.shape)), FULL)


def numeric_gradient(local: Local, i: int) -> np.ndarray:
    """d(Σ g · value)/d(input i) by moving every element; NaN where the op has no derivative, or was not looked at."""
    gradient = np.full(local.arrays[i].shape, np.nan)
    for index in indices_of(gradient):
        f = local.along(i, index)
        gradient[index] = derivative(f)
    return gradient


def wrong_rule(node: Node) -> tuple[str, str] | None:
    """(diagnosis, because) when the op's rule disagrees with its forward."""
    local = Local(node)
    gradients = local.pull(local.g)
    scale = float(np.sum(np.abs(host(local.g) * host(local.out.data))))
    if local.out.dtype.itemsize < 8:
        return None  # computed in float32 whatever goes in: too coarse to tell
    for i in local.tracked:
        numeric = numeric_gradient(local, i)
        analytic = np.zeros(numeric.shape) if gradients[i] is None else host(gradients[i])
        looked_at = ~np.isnan(numeric)
        wrong = differs(analytic, numeric, scale) & looked_at
        wrong &= ~bent_places(local, i, analytic, wrong)
        if not wrong.any():
            continue
        if gradients[i] is None:
            return "wrong rule: no gradient", f"the rule says None for input {i}, although the result depends on it."
        return explained(local, i, np.where(looked_at, analytic, 0.0), np.where(looked_at, numeric, 0.0), wrong)
    return None


def bent_places(local: Local, i: int, analytic: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Where the op itself has no derivative, so that its rule may say what it likes within the two slopes."""
    bent = np.zeros(wrong.shape, bool)
    for index in map(tuple, np.argwhere(wrong)):
        bend = bend_of(local.along(i, index))
        bent[index] = bend is not None and bend.allows(float(analytic[index]))
    return bent


# --- what the wrong gradient looks like ---------------------------------------------------------------------------


def explained(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str]:
    """(diagnosis, because): how the rule's gradient `a` of input i relates to the right one, `n`."""
    for explanation in (not_finite, sign, constant_factor, repeated_places, transposed, dropped_factor, wrong_places):
        found = explanation(local, i, a, n, wrong)
        if found is not None:
            return found
    index = tuple(map(int, np.argwhere(wrong)[0]))
    return (
        "wrong rule: value",
        f"at {list(index)} of input {i} the rule gives {a[index]:.6g}, moving it {n[index]:.6g} ({wrong.sum()} of "
        f"{wrong.size} elements are wrong).",
    )


def same(a: np.ndarray, n: np.ndarray) -> bool:
    return a.shape == n.shape and bool(
        np.allclose(a, n, rtol=1e-6, atol=1e-8 * max(1.0, float(np.max(np.abs(n), initial=0))))
    )


def not_finite(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    if np.isfinite(a).all():
        return None
    index = tuple(map(int, np.argwhere(~np.isfinite(a))[0]))
    return (
        "wrong rule: value",
        f"the gradient of input {i} is {a[index]} at {list(index)}, the right one {n[index]:.6g}.",
    )


def sign(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    return ("wrong rule: sign", f"the gradient of input {i} is the negative of the right one.") if same(-a, n) else None


def constant_factor(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    if not np.any(a):
        return "wrong rule: constant factor", f"the gradient of input {i} is 0 everywhere."
    if a.size < 2:
        return None
    largest = np.unravel_index(np.argmax(np.abs(a)), a.shape)
    c = float(n[largest] / a[largest])
    if c == 0.0 or not same(a * c, n):
        return None
    terms = max(1, a.size // max(1, local.out.size))  # how many values a reduction brought together
    hints = {1.0 / terms: "1/n of a mean", float(terms): "n, of a sum where a mean was meant"}
    if terms > 1:
        hints |= {terms / (terms - 1): "n/(n - 1): ddof", (terms - 1) / terms: "(n - 1)/n: ddof"}
    hint = next((text for value, text in hints.items() if terms > 1 and abs(c / value - 1) < 1e-6), "")
    return (
        "wrong rule: constant factor",
        f"the gradient of input {i} must be {c:.6g} times as large" + (f" ({hint})." if hint else "."),
    )


def repeated_places(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    """Right where a value is used once, wrong where it is used more than once."""
    uses = np.zeros(a.shape)
    start = host(local.arrays[i])
    for index in indices_of(a):
        x = start.copy()
        x[index] += 1.0
        uses[index] = np.sum(local.value(i, x) != local.value(i, start))
    if not wrong.all() and np.all(uses[wrong] > 1) and np.all(uses[~wrong] <= 1):
        return (
            "wrong rule: repeated places",
            f"the gradient of input {i} is right where a value is used once; the uses of the others must be added up.",
        )
    return None


def transposed(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    for axes in itertools.permutations(range(a.ndim)):
        if same(a.transpose(axes), n):
            return (
                "wrong rule: transposed",
                f"the gradient of input {i} is right when its axes are put in order {axes}.",
            )
    for count in range(1, a.ndim + 1):
        for axes in itertools.combinations(range(a.ndim), count):
            if same(np.flip(a, axes), n):
                return "wrong rule: transposed", f"the gradient of input {i} is right when reversed along axes {axes}."
    for j in local.tracked:
        x = local.arrays[j]
        if x.ndim >= 2 and x.shape[-1] == x.shape[-2] and right_with_swapped(local, i, j, n):
            return (
                "wrong rule: transposed",
                f"the gradient of input {i} is right with the last axes of input {j} swapped.",
            )
    return None


def right_with_swapped(local: Local, i: int, j: int, n: np.ndarray) -> bool:
    """Whether the rule gives the right gradient of input i when input j is transposed behind its back."""
    assert local.out.node is not None
    node, inputs = local.out.node, list(local.tensors)
    inputs[j] = Tensor(local.arrays[j].swapaxes(-1, -2).copy(), requires_grad=True)
    swapped = Node(node.op, tuple(inputs), node.options, node.saved)
    gradient = swapped.pull(local.g, local.out, False)[i]
    return gradient is not None and same(host(gradient), n)


def dropped_factor(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    """Whether right / wrong is something that lies at hand: an input, the result, or a power of one."""
    used = np.abs(a) > 1e-9 * np.max(np.abs(a), initial=0.0)
    at_hand = {f"input {j}": host(x) for j, x in enumerate(local.arrays) if hasattr(x, "dtype")}
    at_hand["the result"] = host(local.out.data)
    powers = {"{}": 1.0, "1 / {}": -1.0, "the square of {}": 2.0, "1 / the square of {}": -2.0}
    for name, value in at_hand.items():
        for phrase, power in powers.items():
            with np.errstate(all="ignore"):
                factor = np.asarray(value**power)
            if is_factor(a, n, used, factor):
                return (
                    "wrong rule: dropped factor",
                    f"the gradient of input {i} lacks the factor {phrase.format(name)}.",
                )
            if is_factor(a, n, used, -factor):
                return (
                    "wrong rule: dropped factor",
                    f"the gradient of input {i} lacks the factor -{phrase.format(name)}.",
                )
    return None


def is_factor(a: np.ndarray, n: np.ndarray, used: np.ndarray, factor: np.ndarray) -> bool:
    try:
        full = np.broadcast_to(factor, a.shape)
    except ValueError:
        return False
    return bool(np.isfinite(full).all() and used.any()) and same((a * full)[used], n[used])


def wrong_places(local: Local, i: int, a: np.ndarray, n: np.ndarray, wrong: np.ndarray) -> tuple[str, str] | None:
    """Whether gradient goes to elements that had no part in a result, or misses some that had."""
    if a.size * local.out.size > FULL:
        return None
    start = host(local.arrays[i])
    for k in range(local.out.size):
        g = np.zeros(local.out.size)
        g[k] = 1.0
        gradient = local.pull(local.xp.asarray(g.reshape(local.out.shape)))[i]
        reached = np.abs(host(gradient)) > 1e-12
        for index in indices_of(a):
            x = start.copy()
            x[index] += STEP
            has_part = local.value(i, x).reshape(-1)[k] != local.value(i, start).reshape(-1)[k]
            if reached[index] and not has_part:
                result = tuple(map(int, np.unravel_index(k, local.out.shape)))
                return (
                    "wrong rule: wrong places",
                    f"the gradient of result {list(result)} goes to element {list(index)} of input {i}, which had no "
                    "part in it: a wrong axis, order or index.",
                )
    return None


# --- order 2 ----------------------------------------------------------------------------------------------------


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
        bend = bend_of(lambda t: float(problem.gradient(problem.moved(v, t))[i][index]))
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


def second_by_rule(local: Local) -> tuple[list[Any], Any, list[Any]]:
    """Differentiate the op's own rule: (gradients as the rule gave them, g, the op's inputs), all as Tensors.

    After it, `.grad` of g and of the inputs holds the derivative of Σ u · gradient, with u from `probes`.
    """
    tensors, out = local.run([x.copy() if hasattr(x, "copy") else x for x in local.arrays])
    g = Tensor(local.g.copy(), requires_grad=True)
    assert out.node is not None
    gradients = list(out.node.pull(g, out, True))
    for i, u in probes(local).items():
        gx = gradients[i]
        if isinstance(gx, Tensor) and gx.requires_grad:
            gx.backward(u, retain_graph=True)
    return gradients, g, tensors


def probes(local: Local) -> dict[int, Any]:
    """Fixed random weights for the gradient of each input."""
    rng = np.random.default_rng(1)
    return {i: local.xp.asarray(rng.standard_normal(local.arrays[i].shape)) for i in local.tracked}


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
        wrong = differs(analytic, numeric, float(np.nanmax(np.abs(numeric), initial=0.0))) & ~np.isnan(numeric)
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
            f"rules, {numeric[index]:.6g} by moving it: part of it lost its history.",
        )
    return None


def moved_rule(local: Local, i: int | None, shape: tuple[int, ...]) -> np.ndarray:
    """d(Σ u · gradient by the rule) / d(input i, or g when i is None), by moving; NaN where nothing was moved."""
    weights = {j: host(u) for j, u in probes(local).items()}
    start = host(local.g if i is None else local.arrays[i])
    result = np.full(shape, np.nan)
    for index in indices_of(result):

        def f(t: float, index: tuple[int, ...] = index) -> float:
            x = start.copy()
            x[index] += t
            moved = local.xp.asarray(x)
            arrays = [moved if j == i else a for j, a in enumerate(local.arrays)]
            gradients = local.pull(moved if i is None else local.g, local.run(arrays)[1])
            return sum(float(np.sum(u * host(gradients[j]))) for j, u in weights.items() if gradients[j] is not None)

        result[index] = derivative(f)
    return result
