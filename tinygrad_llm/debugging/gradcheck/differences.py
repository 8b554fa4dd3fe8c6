"""Derivatives by moving: how far to move, and when two derivatives are the same.

The central difference of five points has an error of h⁴ from the curve and of ε|f|/h from rounding. Which step h makes
both small depends on the function and on the size of its inputs: 1e-4 is far for log at 1e-8, and next to nothing for
x² at 1e8. So a step of about 1e-4 is taken first, and where its estimated error is too large, steps in proportion to
the inputs, and shorter ones, which stay clear of a kink nearby. Steps are powers of two, so that x + h is exact.

Builds on: `tensor`. Used by: everything else in this folder, except `report`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor
from tinygrad_llm.backend import to_numpy

STEP = 2.0**-13  # about 1e-4: for inputs around 1 both errors are then about 1e-12
TOLERANCE = 1e-6  # relative; a rule that is right agrees to 1e-9 or better
ENOUGH = 1e-7  # a step whose estimated error is below this, relatively, is not improved
ROUNDING = 8.0 * 2.0**-52  # how much of its size a computed value may be wrong by, at most


class Numeric(NamedTuple):
    """A derivative by moving. value: what it is. noise: how much of it may be rounding, or the curve's bend."""

    value: Any
    noise: Any


def derivative(f: Callable[[float], Any], sizes: Iterable[float] = (), magnitude: float = 0.0) -> Numeric:
    """f'(0), for each element of what f returns, by central differences with the best step that was tried.

    sizes: how large the numbers are that f moves. magnitude: of the numbers whose rounding reaches f, if larger than f.
    """
    value: Any = np.nan
    error: Any = math.inf
    first_bend: Any = None
    step: Any = STEP
    unsure: Any = 0.0
    sizes = list(sizes)
    moved = max(sizes, default=0.0)
    with np.errstate(all="ignore"):
        middle = np.asarray(f(0.0))
        for h in steps(sizes):
            left2, left, right, right2 = (np.asarray(f(t)) for t in (-2 * h, -h, h, 2 * h))
            near, wide = (right - left) / (2 * h), (right2 - left2) / (4 * h)
            d = (4.0 * near - wide) / 3.0  # its error: h⁴/30 times the fifth derivative
            kink = np.abs((right2 - 2.0 * middle + left2) / (2 * h) - 2.0 * (right - 2.0 * middle + left) / h)
            bend = np.abs(near - wide) + kink  # small where the function is a parabola, as large as a kink is sharp
            steepest = np.max(np.abs(d), initial=0.0, where=np.isfinite(d))
            size = np.maximum(magnitude, np.max(np.abs((left2, left, right, right2)), axis=0))
            rounding = ROUNDING * (size + (moved + h) * steepest) / h
            slopes = np.abs(near) + np.abs(wide) + 1e-300
            estimate = np.minimum(bend, 30.0 * bend * bend / slopes) + kink + rounding
            better = estimate < error  # not where it is nan: outside of the domain
            if h > STEP:
                better &= bend <= 1e-6 * slopes  # a wave that is sampled too rarely looks flat
            first_bend = bend if first_bend is None else first_bend
            # What shrinks with the step is a curve and no kink, however sharp: x·max(x, 0) at 0.
            curved = np.where(bend < 0.01 * first_bend, 4.0 * bend, 0.0) + ROUNDING * size / h
            value, step = np.where(better, d, value), np.where(better, h, step)
            unsure, error = np.where(better, curved, unsure), np.where(better, estimate, error)
            if np.all(error <= ENOUGH * (np.abs(value) + size / (moved or 1.0))):
                break
        steepest = np.max(np.abs(value), initial=0.0, where=np.isfinite(value))
    noise = unsure + ROUNDING * (moved + step) * steepest / step
    return Numeric(np.asarray(value)[()], np.asarray(noise)[()])


def steps(sizes: Iterable[float]) -> list[float]:
    """The steps to try for numbers of these sizes: powers of two, the usual one first, none close to another."""
    usual = math.log2(STEP)
    wanted = [usual + math.log2(size) for size in (1.0, *sizes) if 0.0 < size < math.inf]
    shortest, lowest = min(wanted), max(wanted) - 32  # x + h must differ from x in many digits
    chosen: list[int] = []
    for exponent in map(round, (*wanted, usual - 10, usual - 20, shortest - 10, shortest - 20)):
        if exponent > lowest and all(abs(exponent - other) > 2 for other in chosen):
            chosen.append(exponent)
    return [2.0**exponent for exponent in chosen]


def sizes_of(*arrays: np.ndarray) -> list[float]:
    """The largest number and the smallest that is not 0."""
    numbers = np.abs(np.concatenate([np.ravel(x) for x in arrays])) if arrays else np.zeros(0)
    numbers = numbers[(numbers > 0) & np.isfinite(numbers)]
    return [float(numbers.max()), float(numbers.min())] if numbers.size else []


def differs(analytic: Any, numeric: Numeric) -> np.ndarray:
    """Where two derivatives differ by more than the tolerance and the rounding of the one by moving."""
    value, noise = numeric
    with np.errstate(invalid="ignore"):
        close = np.abs(analytic - value) <= TOLERANCE * np.abs(value) + noise
    return ~(close | (np.isnan(analytic) & np.isnan(value)))


def relative_difference(analytic: Any, numeric: Any, largest: float = 0.0) -> float:
    """The largest difference, measured by the largest value."""
    largest = max(largest, float(np.max(np.abs(numeric), initial=0.0)))
    difference = float(np.max(np.abs(analytic - numeric), initial=0.0))
    return difference / largest if largest else difference


def same(a: np.ndarray, n: np.ndarray) -> bool:
    return a.shape == n.shape and bool(
        np.allclose(a, n, rtol=1e-6, atol=1e-8 * float(np.max(np.abs(n), initial=0)) + 1e-300)
    )


def host(array: Any) -> np.ndarray:
    return to_numpy(array).astype(np.float64)


def gradient_of(leaf: Tensor) -> np.ndarray:
    return np.zeros(leaf.shape) if leaf.grad is None else host(leaf.grad.data)
