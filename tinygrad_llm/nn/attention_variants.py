"""Causal attention with what some models and batches need beside the formula: soft caps, rows padded at the front.

Builds on: `functional`. Used by: `attention` (models with soft caps), `generation.cache` (padded rows).
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd import fused, ops, raw
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.kernels import cpu
from tinygrad_llm.nn import functional as F


@fused(cpu=cpu.causal_attention)
def capped_attention(q, k, v, *, softcap=None, padding=None, window=None, scale=None):
    """`F.causal_attention` with capped scores, and with rows that begin later.

    q: (B, T, H, D), k: (B, S, K, D), v: (B, S, K, Dv) -> (B, T, H, Dv).
    softcap: see `soft_cap`; of the scores. padding: (B,) integers, how many of the first positions of each row are
    padding: no token sees them, and each of them sees only itself.
    """
    T, S = q.shape[1], k.shape[1]
    scores = soft_cap(F.attention_scores(q, k, scale), softcap)  # (B, H, T, S)
    mask = F.causal_mask(T, S, window, like=raw(q))  # (T, S)
    if padding is not None:
        mask = mask & padding_mask(T, S, padding)  # (B, 1, T, S)
    return F.weighted_sum(F.softmax(F.masked(scores, mask)), v)  # (B, T, H, Dv)


def soft_cap(x: Any, cap: float | None) -> Any:
    """cap · tanh(x / cap): nearly x where x is small, never beyond ±cap (Gemma 2, section 2). None leaves x."""
    return x if cap is None else ops.tanh(x * (1.0 / cap)) * cap


def padding_mask(queries: int, keys: int, padding: Array) -> Array:
    """False for keys that are padding, except that a position sees itself. padding: (B,) -> (B, 1, T, S) booleans."""
    xp = array_module(padding)
    query, key = xp.arange(keys - queries, keys)[:, None], xp.arange(keys)[None, :]  # (T, 1), (1, S)
    return (key >= padding[:, None, None, None]) | (key == query)
