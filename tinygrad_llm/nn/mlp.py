"""The feed-forward layer: each vector by itself, widened, bent, and narrowed again. It stores most of the patterns.

Comes before: `layers`. Comes after: `transformer`, which alternates it with attention.
"""

from __future__ import annotations

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention import residual_std
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module


class GeluMLP(Module):
    """W₂ gelu(W₁ x + b₁) + b₂, the MLP of GPT-2. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, rng: np.random.Generator | None) -> None:
        self.up = Linear(config.width, config.mlp_width, rng, bias=config.bias)
        self.down = Linear(config.mlp_width, config.width, rng, bias=config.bias, std=residual_std(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class GatedMLP(Module):
    """W₂ (silu(W_gate x) · W_up x), the MLP of Llama, or with gelu for silu, that of Gemma. (B, T, C) -> (B, T, C).

    Shazeer 2020, equation 6: SwiGLU and GeGLU.
    """

    def __init__(self, config: TransformerConfig, rng: np.random.Generator | None) -> None:
        self.gate = Linear(config.width, config.mlp_width, rng, bias=config.bias)
        self.up = Linear(config.width, config.mlp_width, rng, bias=config.bias)
        self.down = Linear(config.mlp_width, config.width, rng, bias=config.bias, std=residual_std(config))
        self.gating = F.gelu_gate if config.mlp == "geglu" else F.silu_gate

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.gating(self.gate(x), self.up(x)))


def mlp(config: TransformerConfig, rng: np.random.Generator | None) -> GeluMLP | GatedMLP:
    """The MLP that the config asks for."""
    return GeluMLP(config, rng) if config.mlp == "gelu" else GatedMLP(config, rng)
