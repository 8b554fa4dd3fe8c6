"""Rotary positions: queries and keys are turned by angles that depend on where their tokens stand.

Pair i of the channels of a head is turned by the angle p · base^(-2i/D) at position p. A query
at position p and a key at position s, each turned by its own angle, then agree as if only the distance p - s mattered
(Su et al. 2021, "RoFormer", section 3.2). Nothing is learned. `functional.apply_rotary` does the turning.

Used by: `config`, `attention`, `transformer`.
Left out: angles for a part of the channels, and the scalings YaRN and LongRoPE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np

from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError

FIRST_TABLE = 256  # positions in the table at first; it doubles whenever a longer text needs it


@dataclass(frozen=True)
class RotaryScaling:
    """How a model that was trained on short texts was stretched to long ones: its angles turn more slowly.

    "linear": every angle is divided by `factor` (Chen et al. 2023, section 3.2).
    "llama3": fast pairs, which turn more than high_frequency_factor times within original_context positions, stay;
    slow ones, which turn less than low_frequency_factor times, are divided by `factor`; between them the division
    fades in (Llama 3.1, `apply_scaling` of Meta's reference code).
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 8192

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "llama3"):
            raise InputError(f"rotary_scaling: kind must be 'linear' or 'llama3', it was {self.kind!r}.")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise InputError(f"rotary_scaling: {field.name} must be a number, it was {value!r}.")
        if not self.factor > 0:
            raise InputError(f"rotary_scaling: factor must be above 0, it was {self.factor}.")
        if self.kind == "llama3" and not self.high_frequency_factor > self.low_frequency_factor:
            raise InputError(
                "rotary_scaling: high_frequency_factor must be above low_frequency_factor, they were "
                f"{self.high_frequency_factor} and {self.low_frequency_factor}."
            )

    def __call__(self, frequencies: np.ndarray) -> np.ndarray:
        """Angles per position -> the stretched ones, (D/2,)."""
        if self.kind == "linear":
            return frequencies / self.factor
        turns = self.original_context * frequencies / (2.0 * math.pi)  # (D/2,): within the original context
        low, high = self.low_frequency_factor, self.high_frequency_factor
        kept = np.clip((turns - low) / (high - low), 0.0, 1.0)  # (D/2,): 1 for fast pairs, 0 for slow ones
        return frequencies * (kept + (1.0 - kept) / self.factor)


def rotary_angles(
    positions: Array, head_dim: int, base: float, scaling: RotaryScaling | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of p · base^(-2i/D): the angle by which pair i turns at position p (Su et al. 2021, equation 15).

    positions: (T,) integers, head_dim: D -> two arrays (T, D/2), float64; cast them to the dtype of the model.
    """
    frequencies = base ** (-np.arange(0, head_dim, 2) / head_dim)  # (D/2,)
    if scaling is not None:
        frequencies = scaling(frequencies)
    angles = np.asarray(positions)[:, None] * frequencies  # (T, D/2)
    return np.cos(angles), np.sin(angles)


class RotaryEmbedding:
    """The angles of all positions met so far, computed once: `rotary(5)` are cos and sin of positions 0 … 4.

    head_dim: D. base, scaling: as in `rotary_angles`.
    """

    def __init__(self, head_dim: int, base: float = 10_000.0, scaling: RotaryScaling | None = None) -> None:
        self.head_dim, self.base, self.scaling = head_dim, base, scaling
        self.table: tuple[Array, Array] | None = None  # cos and sin, (positions, D/2) each

    def __repr__(self) -> str:
        return f"RotaryEmbedding({self.head_dim}, base={self.base:g}, scaling={self.scaling!r})"

    def __call__(self, end: int, places: Any = None, like: Array = None) -> tuple[Array, Array]:
        """cos and sin of the positions below `end`, or of those at `places`: (T, D/2) each, as `F.apply_rotary` takes.

        places: a slice of them, or integers (B, T), of which come (B, T, D/2) each. like: an array with the dtype and
        on the device that are wanted; None: float32, on the host.
        """
        cos, sin = self._up_to(end, np.float32(0) if like is None else like)
        return (cos[:end], sin[:end]) if places is None else (cos[places], sin[places])

    def _up_to(self, end: int, like: Array) -> tuple[Array, Array]:
        table, xp = self.table, array_module(like)
        rows = FIRST_TABLE
        if table is not None and array_module(table[0]) is xp and table[0].dtype == like.dtype:
            if len(table[0]) >= end:
                return table
            rows = 2 * len(table[0])
        cos, sin = rotary_angles(np.arange(max(end, rows)), self.head_dim, self.base, self.scaling)
        self.table = xp.asarray(cos, dtype=like.dtype), xp.asarray(sin, dtype=like.dtype)
        return self.table
