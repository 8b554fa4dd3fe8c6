"""Attention: the step in which the vectors of a text talk to each other.

Each position asks a question (query), offers a label (key) and a content (value). It collects the contents of earlier
positions, weighted by how well their labels answer its question. That is how "bank" beside a river comes to mean a
riverbank.

Comes before: `layers`. Comes after: `transformer`.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Linear, RMSNorm
from tinygrad_llm.nn.module import Module


class KeyValueCache(Protocol):
    """What attention asks of a cache: remember the new keys and values of a layer, give back all it may look at."""

    length: int  # positions remembered so far, before the new ones
    starts: Array | None  # (B,): where the text of each row begins, when rows are padded at the front; else None

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Array | None]:
        """k, v: (B, T, K, D), new -> k, v: (B, S, K, D), old and new, and `starts` counted from the first of the S.

        A cache may leave out old positions that are outside the layer's window.
        """


class Attention(Module):
    """Multi-head causal self-attention. (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, layer: int, rng: np.random.Generator | None) -> None:
        C, D = config.width, config.channels_per_head
        self.layer, self.heads, self.kv_heads = layer, config.heads, config.num_kv_heads
        self.window, self.scale = config.window_of(layer), config.attention_scale
        self.softcap, self.dropout = config.attention_softcap, config.dropout
        bias = config.bias if config.qkv_bias is None else config.qkv_bias
        self.query = Linear(C, self.heads * D, rng, bias=bias)
        self.key = Linear(C, self.kv_heads * D, rng, bias=bias)
        self.value = Linear(C, self.kv_heads * D, rng, bias=bias)
        self.output = Linear(self.heads * D, C, rng, bias=config.bias, std=residual_std(config))
        self.query_norm = RMSNorm(D, config.norm_eps, plus_one=config.norm_weight_plus_one) if config.qk_norm else None
        self.key_norm = RMSNorm(D, config.norm_eps, plus_one=config.norm_weight_plus_one) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Array, Array] | None,
        cache: KeyValueCache | None = None,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        """rotation: (cos, sin) of the positions of x, each (T, D/2) or (B, T, D/2); None without rotary positions."""
        B, T, _ = x.shape
        q = self.query(x).reshape(B, T, self.heads, -1)  # (B, T, H, D)
        k = self.key(x).reshape(B, T, self.kv_heads, -1)  # (B, T, K, D)
        v = self.value(x).reshape(B, T, self.kv_heads, -1)  # (B, T, K, D)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if rotation is not None:
            q, k = F.rotate(q, *rotation), F.rotate(k, *rotation)
        starts = None
        if cache is not None:
            k, v, starts = cache.extend(self.layer, k, v)  # (B, S, K, D)
        y = F.attention(q, k, v, scale=self.scale, window=self.window, softcap=self.softcap, starts=starts)
        return F.dropout(self.output(y.reshape(B, T, -1)), self.dropout, rng)  # (B, T, H·D) -> (B, T, C)


def residual_std(config: TransformerConfig) -> float:
    """Initial scale of the matrices that write into the residual stream: 0.02 / √(2 · layers).

    There are 2 · layers of them, so their sum keeps the scale of one (Radford et al. 2019, section 2.3).
    """
    return 0.02 / math.sqrt(2 * config.layers)
