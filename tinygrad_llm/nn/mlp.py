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

    def __init__(self, config: TransformerConfig, rng: np.random.Generator) -> None:
        self.up = Linear(config.width, config.mlp_width, rng, bias=config.bias)
        self.down = Linear(config.mlp_width, config.width, rng, bias=config.bias, std=residual_std(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class SwigluMLP(Module):
    """W₂ (silu(W_gate x) · W_up x), the MLP of Llama (Shazeer 2020, equation 6). (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, rng: np.random.Generator) -> None:
        self.gate = Linear(config.width, config.mlp_width, rng, bias=config.bias)
        self.up = Linear(config.width, config.mlp_width, rng, bias=config.bias)
        self.down = Linear(config.mlp_width, config.width, rng, bias=config.bias, std=residual_std(config))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu_gate(self.gate(x), self.up(x)))
