"""The MLP, or feed-forward layer: each vector by itself, widened, passed through an activation, and narrowed again.

Builds on: `layers`, `functional`. Used by: `transformer`, which alternates it with attention.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.init import Initializer, Seed, lecun_normal
from tinygrad_llm.nn.layers import Linear, outputs_of
from tinygrad_llm.nn.module import Module

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": F.gelu_tanh,
    "relu": F.relu,
    "relu_squared": F.relu_squared,
    "silu": F.silu,
}
GATES = {"silu": F.swiglu, "gelu_tanh": F.geglu_tanh}  # activation(gate) · up in one; of the others it is written out


class MLP(Module):
    """W_down f(W_up x + b_up) + b_down, f the activation; or gated, W_down (f(W_gate x) · W_up x). (B, T, C) -> same.

    GPT-2's is the first, with gelu_tanh (Radford et al. 2019). Llama's is the second, with silu ("SwiGLU"), Gemma's
    with gelu_tanh ("GeGLU"; Shazeer 2020, equation 6).

    width: C. hidden: F, by default 4 C. activation: one of ACTIVATIONS. init, output_init: of the matrices into and
    out of the hidden layer. seed: see `Linear`.
    """

    def __init__(
        self,
        width: int,
        hidden: int | None = None,
        activation: str = "gelu",
        gated: bool = False,
        *,
        bias: bool = True,
        init: Initializer = lecun_normal,
        output_init: Initializer | None = None,
        seed: Seed = None,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}; it was {activation!r}.")
        rng, hidden = np.random.default_rng(seed), hidden or 4 * width
        self.activation = activation
        self.gate = Linear(width, hidden, bias, init=init, seed=rng) if gated else None
        self.up = Linear(width, hidden, bias, init=init, seed=rng)
        self.down = Linear(hidden, width, bias, init=output_init or init, seed=rng)

    def forward(self, x: Tensor) -> Tensor:
        f = ACTIVATIONS[self.activation]
        if self.gate is None:
            return self.down(f(self.up(x)))  # (B, T, F) -> (B, T, C)
        gate, up = outputs_of((self.gate, self.up), x)  # (B, T, F) each
        fused = GATES.get(self.activation)
        return self.down(f(gate) * up if fused is None else fused(gate, up))

    def extra_repr(self) -> str:
        return self.activation + ("" if self.gate is None else ", gated")
