"""Where a function has no derivative: at a kink, at a jump, at the edge of where it is defined.

At a kink the slopes on the two sides disagree, at a jump the slope grows without bound. Both are looked at twice, the
second time a hundred times closer by, because a sharp curve looks like a kink from afar. No rule is wrong in such a
place, as long as it says something between the two slopes of a kink.

Comes before: `differences`, `local`. Comes after: `wrong_rule` and `wrong_second`, which blame no rule for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.debugging.gradcheck.differences import STEP
from tinygrad_llm.debugging.gradcheck.local import Local, indices_of


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


def bend_of(f: Callable[[float], float], size: float = 1.0) -> Bend | None:
    """How f fails to have a derivative at 0, if it does: the two one-sided slopes at h and at h/100 tell.

    size: of the number that f moves; h grows with it.
    """
    middle = f(0.0)
    slopes = {}
    step = STEP * max(1.0, abs(size))
    for h in (step, step / 100):
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
                if bend_of(local.along(i, index), local.arrays[i][index]) is not None:
                    return node.name
    return None


def bent_places(local: Local, i: int, analytic: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Where the op itself has no derivative, so that its rule may say what it likes within the two slopes."""
    bent = np.zeros(wrong.shape, bool)
    for index in map(tuple, np.argwhere(wrong)):
        bend = bend_of(local.along(i, index), local.arrays[i][index])
        bent[index] = bend is not None and bend.allows(float(analytic[index]))
    return bent
