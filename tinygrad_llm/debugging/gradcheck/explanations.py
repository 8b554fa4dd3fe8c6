"""What a wrong gradient looks like beside the right one.

Is it its negative, a multiple, a transpose, right but for a factor that lies at hand? The explanations are tried one
after the other, and the first that fits is given. Where none fits, the two numbers must do.

Comes before: `differences`, `local`. Comes after: `wrong_rule`, which finds the op.
"""

from __future__ import annotations

import itertools

import numpy as np

from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.debugging.gradcheck.differences import STEP, host, same
from tinygrad_llm.debugging.gradcheck.local import FULL, Local, indices_of


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
    swapped = Node(node.op, tuple(inputs), [raw(x) for x in inputs], node.options, node.value, node.saved)
    gradient = node.op.backward(swapped, local.g, local.out, [True] * len(inputs))[i]
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
