"""Checks of the arguments of `functional.attention`: each error says what was given and what is wanted."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.errors import InputError


def check_attention(q: Any, k: Any, v: Any, causal: bool, window: int | None) -> tuple[int, int]:
    """(T, S). Raises InputError for shapes that do not fit each other."""
    shapes = f"q {q.shape}, k {k.shape}, v {v.shape}"
    if not q.ndim == k.ndim == v.ndim == 4:
        raise InputError(f"attention: q, k and v must be (batch, positions, heads, channels); they were {shapes}.")
    (B, T, H, D), (b, S, K, d) = q.shape, k.shape
    if (b, d) != (B, D) or v.shape[:3] != k.shape[:3] or K == 0 or H % K:
        raise InputError(
            f"attention: {shapes} do not fit. Wanted are (B, T, H, D), (B, S, K, D), (B, S, K, Dv), with K dividing H."
        )
    if causal and T > S:
        raise InputError(
            f"attention: {T} queries cannot be the last of {S} positions, as causal=True has it. Give all keys."
        )
    if window is not None and (not causal or window < 1):
        raise InputError(f"attention: window must be at least 1, with causal=True; it was {window}, causal={causal}.")
    return T, S
