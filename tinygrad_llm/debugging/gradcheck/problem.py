"""The function that is checked: at one point, brought to one number.

The number is the sum of all values, each with a random weight. With equal weights mistakes could hide: the values of a
softmax always add up to 1, so the gradient of their plain sum is 0 whatever factor its rule forgot.

Comes before: `differences`. Comes after: `wrong_rule`, `wrong_second`, `check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module, to_numpy
from tinygrad_llm.debugging.gradcheck.differences import gradient_of, host
from tinygrad_llm.errors import InputError


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
        """Of length about 1, so that a step along it is as small as a step of one element.

        Each number has only four binary digits, so that the steps are exact for large inputs too.
        """
        size = 2.0 ** -round(math.log2(max(1, sum(x.size for x in self.point))) / 2)
        return [
            self.rng.integers(8, 16, x.shape) / 16.0 * self.rng.choice([-1.0, 1.0], x.shape) * size for x in self.point
        ]

    def magnitude(self, gradient: list[np.ndarray]) -> float:
        """How large the numbers are whose rounding reaches the loss: its terms, and the inputs times their slopes."""
        factors = [*zip(self.weights, self.values(self.point), strict=True), *zip(self.point, gradient, strict=True)]
        products = [np.abs(a * b) for a, b in factors]
        return sum(float(np.sum(x[np.isfinite(x)])) for x in products)
