"""Attention: the step in which information moves between the positions of a text.

Each position has a query, a key and a value. It averages the values of earlier positions, weighted by how well their
keys fit its query. That is how "bank" beside a river comes to mean a riverbank.

Builds on: `layers`, `functional`. Used by: `transformer`.
Left out: the key-value cache, which is in `generation.cache`, and the formula of soft caps (`attention_variants`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention_variants import capped_attention
from tinygrad_llm.nn.init import Initializer, Seed, lecun_normal
from tinygrad_llm.nn.layers import Linear, RMSNorm, outputs_of
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.rotary import RotaryEmbedding

if TYPE_CHECKING:
    from tinygrad_llm.nn.cache_protocol import KeyValueCache


class Attention(Module):
    """Multi-head causal self-attention. (B, T, C) -> (B, T, C).

    width: C. heads, kv_heads: H query heads and K key-value heads, which groups of H/K query heads share; by default H.
    head_dim: D, by default C/H. bias: of all four matrices; qkv_bias: of query, key and value, by default as bias.
    rotary: the angles of the positions; None: attention does not know where a token stands. window, scale: see
    `functional.attention`. softcap: of the scores, see `attention_variants`. qk_norm: makes the norms of queries and
    keys, for instance `nn.RMSNorm`. dropout: of the result. layer: the number under which a cache keeps keys and
    values. init, output_init: of the matrices. seed: see `Linear`.

    A variant derives from it and takes its place in a block:

    >>> class GatedAttention(Attention):
    ...     def __init__(self, width, heads, **options):
    ...         super().__init__(width, heads, **options)
    ...         self.gate = Linear(width, width, bias=False)
    ...     def forward(self, x, cache=None, rng=None):
    ...         return F.sigmoid(self.gate(x)) * super().forward(x, cache, rng)  # (B, T, C)
    >>> GatedAttention(8, 2, seed=0)(Tensor(np.zeros((1, 3, 8)))).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        *,
        bias: bool = True,
        qkv_bias: bool | None = None,
        rotary: RotaryEmbedding | None = None,
        window: int | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        qk_norm: Callable[[int], RMSNorm] | None = None,
        dropout: float = 0.0,
        layer: int = 0,
        init: Initializer = lecun_normal,
        output_init: Initializer | None = None,
        seed: Seed = None,
    ) -> None:
        if head_dim is None and width % heads:
            raise InputError(f"heads must divide the width, or give head_dim; width was {width}, heads {heads}.")
        rng, D = np.random.default_rng(seed), head_dim or width // heads
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads or heads, D
        self.rotary, self.window, self.scale, self.dropout, self.layer = rotary, window, scale, dropout, layer
        self.softcap = softcap
        self.query = Linear(width, self.heads * D, qkv_bias, init=init, seed=rng)
        self.key = Linear(width, self.kv_heads * D, qkv_bias, init=init, seed=rng)
        self.value = Linear(width, self.kv_heads * D, qkv_bias, init=init, seed=rng)
        self.query_norm = None if qk_norm is None else qk_norm(D)
        self.key_norm = None if qk_norm is None else qk_norm(D)
        self.output = Linear(self.heads * D, width, bias, init=output_init or init, seed=rng)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None) -> Tensor:
        """cache: keys and values of earlier positions, which x continues. rng: draws dropout; None means no dropout."""
        B, T, _ = x.shape
        q, k, v = outputs_of((self.query, self.key, self.value), x)
        q = q.reshape(B, T, self.heads, -1)  # (B, T, H, D)
        k = k.reshape(B, T, self.kv_heads, -1)  # (B, T, K, D)
        v = v.reshape(B, T, self.kv_heads, -1)  # (B, T, K, D)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        if self.rotary is not None:
            cos, sin = self.rotary(T, like=x.data) if cache is None else cache.angles(self.rotary, T, like=x.data)
            q, k = F.apply_rotary(q, cos, sin), F.apply_rotary(k, cos, sin)
        if cache is not None:
            y = cache.attention(self, q, k, v)  # (B, T, H, D)
        elif self.softcap is not None:
            y = capped_attention(q, k, v, softcap=self.softcap, window=self.window, scale=self.scale)
        else:
            y = F.causal_attention(q, k, v, window=self.window, scale=self.scale)
        return F.dropout(self.output(y.reshape(B, T, -1)), self.dropout, rng)  # (B, T, H·D) -> (B, T, C)

    def extra_repr(self) -> str:
        shared = "" if self.kv_heads == self.heads else f", kv_heads={self.kv_heads}"
        window = "" if self.window is None else f", window={self.window}"
        return f"heads={self.heads}{shared}, head_dim={self.head_dim}{window}"
