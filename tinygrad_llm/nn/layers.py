"""The small layers: a matrix with a bias, a table of vectors, the two norms.

Each is its parameters and one formula from `functional`.
"""

from __future__ import annotations

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.module import Module


def normal(rng: np.random.Generator | None, shape: tuple[int, ...], std: float) -> Tensor:
    """A parameter drawn from a normal distribution, float32; without a generator left empty, to be loaded next."""
    if rng is None:
        return Tensor(np.empty(shape, np.float32), requires_grad=True)
    return Tensor(rng.standard_normal(shape, dtype=np.float32) * np.float32(std), requires_grad=True)


class Linear(Module):
    """y = x Wᵀ + b. (..., inputs) -> (..., outputs).

    The weight is stored (outputs, inputs): `x @ W.T` reads both row by row, which BLAS does up to 1.5 times faster.
    """

    def __init__(
        self, inputs: int, outputs: int, rng: np.random.Generator | None, *, bias: bool, std: float = 0.02
    ) -> None:
        self.weight = normal(rng, (outputs, inputs), std)
        self.bias = Tensor(np.zeros(outputs, np.float32), requires_grad=True) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A table with one vector per id. (...) integers -> (..., width)."""

    def __init__(self, rows: int, width: int, rng: np.random.Generator | None, *, std: float = 0.02) -> None:
        self.weight = normal(rng, (rows, width), std)

    def forward(self, ids: Array) -> Tensor:
        return F.embedding(self.weight, ids)


class LayerNorm(Module):
    """Each vector shifted to mean 0, scaled to variance 1, then by a learned weight and bias. (..., C) -> (..., C)."""

    def __init__(self, width: int, eps: float, *, bias: bool) -> None:
        self.weight = Tensor(np.ones(width, np.float32), requires_grad=True)
        self.bias = Tensor(np.zeros(width, np.float32), requires_grad=True) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight, self.bias, eps=self.eps)


class RMSNorm(Module):
    """Each vector scaled to root mean square 1, then by a learned weight. (..., C) -> (..., C).

    plus_one: by 1 + weight, with weights that start at 0, as Gemma's files have them.
    """

    def __init__(self, width: int, eps: float, *, plus_one: bool = False) -> None:
        self.weight = Tensor(np.full(width, 0.0 if plus_one else 1.0, np.float32), requires_grad=True)
        self.eps, self.plus_one = eps, plus_one

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight + 1.0 if self.plus_one else self.weight, eps=self.eps)
