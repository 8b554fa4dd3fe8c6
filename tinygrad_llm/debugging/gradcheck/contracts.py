"""What a rule must never do, whatever its numbers.

It writes into no array, gives one gradient per input, of the input's shape and dtype and in memory of its own, and is
linear in g. The op's forward leaves its inputs alone, too, and makes no float64 of float32.

Comes before: `local`, `report`. Comes after: `check`, which looks here first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.debugging.gradcheck.differences import host
from tinygrad_llm.debugging.gradcheck.local import Local, in_dtype, nodes_of
from tinygrad_llm.debugging.gradcheck.report import Finding


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
        if "read-only" in str(error):  # as the result of a recorded op is
            return "wrong rule: changes an array in place", "the rule writes into out; others still need it."
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
