"""The small layers: a matrix with a bias, a table of vectors, the two norms.

Each is its parameters and one formula from `functional`.

Builds on: `module`, `functional`, `init`. Used by: `attention`, `mlp`, `transformer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.backend import Array
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.init import Initializer, Seed, lecun_normal, normal, ones, parameter, zeros
from tinygrad_llm.nn.merged_linear import merged_weight
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.token_ids import as_rows


class Linear(Module):
    """y = x Wᵀ + b. (..., inputs) -> (..., outputs).

    weight: (outputs, inputs): `x @ W.T` reads both row by row, which BLAS does up to 1.5 times faster. bias:
    (outputs,), initially 0. init: of the weight; by default normal with variance 1/inputs. seed: an integer, a NumPy
    generator, or None for other values each time.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, init: Initializer = lecun_normal, seed: Seed = None
    ) -> None:
        self.weight = parameter((outputs, inputs), init, seed)
        self.bias = parameter((outputs,), zeros) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}" + ("" if self.bias is not None else ", bias=False")


def outputs_of(layers: Sequence[Any], x: Tensor) -> list[Tensor]:
    """[layer(x) for layer in layers]. (..., I) -> (..., O) each.

    Of a single position, as in generation, one product is faster; it is taken where the layers are Linear without bias,
    no gradient is recorded, and nothing observes the layers.
    """
    weight = None
    if x.shape[-2] == 1 and mode.fast and not mode.recording and not mode.observers:
        weight, ends = merged_weight(layers) if all(map(is_bare, layers)) else (None, [])
    if weight is None:
        return [layer(x) for layer in layers]
    y = F.linear(x, weight).data  # (..., all O together)
    return [Tensor(y[..., start:end]) for start, end in pairwise(ends)]


def is_bare(layer: Module) -> bool:
    """Whether a layer is nothing but a product with its weight."""
    return type(layer) is Linear and layer.bias is None and not layer.forward_hooks


class Embedding(Module):
    """A table with one vector per id. (...) integers -> (..., width). init: by default normal with variance 0.02².

    Raises InputError for ids that are not rows of the table; negative ones do not count from the end.
    """

    def __init__(self, rows: int, width: int, *, init: Initializer | None = None, seed: Seed = None) -> None:
        self.weight = parameter((rows, width), init or normal(0.02), seed)

    def forward(self, ids: Array) -> Tensor:
        return F.embedding(self.weight, as_rows(ids, len(self.weight)))

    def extra_repr(self) -> str:
        return "{}, {}".format(*self.weight.shape)


class LayerNorm(Module):
    """Each vector shifted to mean 0, scaled to variance 1, then by a learned weight and bias. (..., C) -> (..., C)."""

    def __init__(self, width: int, eps: float = 1e-5, *, bias: bool = True) -> None:
        self.weight = parameter((width,), ones)
        self.bias = parameter((width,), zeros) if bias else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return str(len(self.weight)) + ("" if self.bias is not None else ", bias=False")


class RMSNorm(Module):
    """Each vector scaled to root mean square 1, then by a learned weight. (..., C) -> (..., C).

    plus_one: by 1 + weight, with weights that start at 0, as Gemma's files have them.
    """

    def __init__(self, width: int, eps: float = 1e-5, *, plus_one: bool = False) -> None:
        self.weight = parameter((width,), zeros if plus_one else ones)
        self.eps, self.plus_one = eps, plus_one

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight + 1.0 if self.plus_one else self.weight, eps=self.eps)

    def extra_repr(self) -> str:
        return str(len(self.weight))
