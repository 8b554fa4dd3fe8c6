"""Sums and means over the tokens that count.

Replies differ in length, so a batch of them is a rectangle with a mask: True where a token belongs to the reply, False
for the prompt and for padding. What stands under False may be anything, infinities and NaN included: it is replaced
before it is used, not multiplied by 0.

Used by: every formula of this folder that sees single tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.autograd import ops, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError


def as_mask(mask: Any, like: Any, name: str = "mask") -> Any:
    """`mask` as booleans, on the device of `like`. Raises InputError where the shapes differ."""
    mask = array_module(raw(like)).asarray(raw(mask)).astype(bool)
    if mask.shape != like.shape:
        raise InputError(f"{name} has the shape {mask.shape}, it must have that of the values, {like.shape}.")
    return mask


def masked(x: Any, mask: Any) -> Any:
    """x where the mask holds, 0 elsewhere; no gradient flows from the zeros. Any shape."""
    return ops.where(as_mask(mask, x), x, 0.0)


def masked_sum(x: Any, mask: Any, axis: int | None = None) -> Any:
    """Σ x over the tokens that count; 0 where none does. (N, T) -> (N,) for axis -1, a single number for None."""
    return ops.sum(masked(x, mask), axis=axis)


def masked_mean(x: Any, mask: Any, axis: int | None = None) -> Any:
    """Σ x / n over the n tokens that count; 0 where none does. (N, T) -> (N,) for axis -1, a single number for None."""
    mask = as_mask(mask, x)
    count = array_module(mask).maximum(mask.sum(axis=axis), 1).astype(x.dtype)
    return masked_sum(x, mask, axis) / count


def as_floats(x: Any) -> Any:
    """A Tensor or an array as it is; a list of numbers as an array of float64."""
    return np.asarray(x, np.float64) if isinstance(x, list | tuple | int | float) else x


def as_lengths(lengths: Any, like: Any, name: str) -> Any:
    """Numbers of tokens, in the dtype and on the device of `like`. Raises InputError for an empty reply. (N,)."""
    lengths = array_module(raw(like)).asarray(raw(as_floats(lengths)), dtype=like.dtype)
    if lengths.shape != like.shape:
        raise InputError(
            f"{name} has the shape {lengths.shape}, it must have that of the log-probabilities, {like.shape}."
        )
    if bool((lengths < 1).any()):
        raise InputError(f"{name} holds a number below 1: a reply without tokens has no log-probability per token.")
    return lengths


def check_same_shape(**arrays: Any) -> None:
    """Raise InputError, with the names, unless all have the shape of the first."""
    (first, x), *others = arrays.items()
    for name, y in others:
        if y.shape != x.shape:
            raise InputError(f"{name} has the shape {y.shape}, it must have that of {first}, {x.shape}.")
