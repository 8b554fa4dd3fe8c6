"""Rotary positions: where a token stands is told to attention by turning its queries and keys.

Pair i of the channels of a head is a small clock hand that turns by the angle p · base^(-2i/D) at position p. A query
at position p and a key at position s, each turned by its own angle, then agree as if only the distance p - s mattered
(Su et al. 2021, "RoFormer", section 3.2). Nothing is learned.

Comes before: `functional`, whose `rotate` does the turning. Comes after: `attention`, `transformer`.
Left out on purpose: tables for a part of the channels, and the scalings YaRN and LongRoPE.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError

FIRST_TABLE = 256  # positions in the table at first; it doubles whenever a longer text comes


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
    positions: Array, width: int, base: float, scaling: RotaryScaling | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of p · base^(-2i/D): the angle by which pair i turns at position p (Su et al. 2021, equation 15).

    positions: (T,) integers, width: D -> two arrays (T, D/2), float64; cast them to the dtype of the model.
    """
    frequencies = base ** (-np.arange(0, width, 2) / width)  # (D/2,)
    if scaling is not None:
        frequencies = scaling(frequencies)
    angles = np.asarray(positions)[:, None] * frequencies  # (T, D/2)
    return np.cos(angles), np.sin(angles)


class RotaryTable:
    """The angles of the positions met so far: computed once, for as long a text as there was."""

    def __init__(self, width: int, base: float, scaling: RotaryScaling | None = None) -> None:
        self.width, self.base, self.scaling = width, base, scaling
        self.table: tuple[Array, Array] | None = None  # cos and sin, (positions, D/2) each

    def __call__(self, past: int, length: int, starts: Array | None, like: Array) -> tuple[Array, Array]:
        """cos and sin of positions past … past + length - 1, (T, D/2) each, of the dtype and on the device of `like`.

        starts: (B,), where the text of each row begins; its positions count from there: (B, T, D/2) each.
        """
        cos, sin = self._up_to(past + length, like)
        if starts is None:
            return cos[past : past + length], sin[past : past + length]
        places = row_positions(past, length, starts)  # (B, T)
        return cos[places], sin[places]

    def _up_to(self, positions: int, like: Array) -> tuple[Array, Array]:
        table = self.table
        rows = FIRST_TABLE
        if table is not None and type(table[0]) is type(like) and table[0].dtype == like.dtype:
            if len(table[0]) >= positions:
                return table
            rows = 2 * len(table[0])
        cos, sin = rotary_angles(np.arange(max(positions, rows)), self.width, self.base, self.scaling)
        xp = array_module(like)
        self.table = xp.asarray(cos, dtype=like.dtype), xp.asarray(sin, dtype=like.dtype)
        return self.table


def row_positions(past: int, length: int, starts: Array) -> Array:
    """The position of every token in its own row: (B, T); 0 for the padding before the row's start.

    starts: (B,), where the text of each row begins.
    """
    places = past + array_module(starts).arange(length) - starts[:, None]  # (B, T)
    return places * (places > 0)
