"""Derivatives by moving: how far to move, and when two derivatives are the same.

The central difference of five points has an error of h⁴ from the curve and of 1e-16/h from rounding; h = 1e-4 makes
both about 1e-12.

Comes before: `tensor`. Comes after: everything else in this folder, except `report`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor
from tinygrad_llm.backend import to_numpy

STEP = 1e-4
TOLERANCE = 1e-6  # relative; a rule that is right agrees to 1e-9 or better


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


def same(a: np.ndarray, n: np.ndarray) -> bool:
    return a.shape == n.shape and bool(
        np.allclose(a, n, rtol=1e-6, atol=1e-8 * max(1.0, float(np.max(np.abs(n), initial=0))))
    )


def host(array: Any) -> np.ndarray:
    return to_numpy(array).astype(np.float64)


def gradient_of(leaf: Tensor) -> np.ndarray:
    return np.zeros(leaf.shape) if leaf.grad is None else host(leaf.grad.data)
