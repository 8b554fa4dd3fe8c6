"""Values added at the positions that an index names: the gradient of every lookup.

`out[positions[k]] += rows[k]` for all k, where a position may occur several times. The order of the additions is
fixed, so the same input gives the same bits every time, on a GPU too: there the rows are sorted by position and each
run is summed, because atomic additions happen in any order.

Builds on: `backend`. Used by: `autograd.ops`, whose rule of x[index] adds gradients at the positions that were read.
"""

import math
from typing import Any

import numpy as np

from tinygrad_llm.backend import Array, array_module

WIDE = 128  # from this many columns on, one addition per row costs less than one flat index per value


def add_at(values: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with `values` added at `index`, in any form that x[index] takes; repeated positions add up.

    values: the shape of x[index], or one that broadcasts to it.
    """
    xp, shape = array_module(values), tuple(shape)
    if names_each_once(index):
        out = xp.zeros(shape, values.dtype)
        out[index] = xp.broadcast_to(values, out[index].shape)
        return out
    read, rest = positions(index, shape, xp)
    count, width = math.prod(shape[: len(shape) - len(rest)]), math.prod(rest)
    rows = xp.broadcast_to(values, read.shape + rest).reshape(read.size, width)
    return add_rows(rows, read.reshape(-1), count).reshape(shape)


def positions(index: Any, shape: tuple[int, ...], xp: Any) -> tuple[Array, tuple[int, ...]]:
    """Which entries x[index] reads: their flat positions over the axes that it addresses, and the lengths of the rest.

    The axes behind the last one that the index addresses are left alone, so whole rows can be handled together.
    """
    parts = as_parts(index)
    if any(part is Ellipsis for part in parts):
        addressed = len(shape)
    else:
        addressed = sum(part.ndim if is_mask(part) else part is not None for part in parts)
    lengths = shape[:addressed]
    return xp.arange(math.prod(lengths)).reshape(lengths)[index], shape[addressed:]


def names_each_once(index: Any) -> bool:
    """Whether an index can name no position twice: it has slices, integers, None, … and masks, no integer arrays."""
    return all(
        part is None or part is Ellipsis or isinstance(part, slice | int) or is_mask(part) for part in as_parts(index)
    )


def as_parts(index: Any) -> tuple:
    """An index as the tuple of its parts, lists as arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(np.asarray(part) if isinstance(part, list) else part for part in parts)


def is_mask(part: Any) -> Any:
    """Whether a part of an index is boolean: it selects positions rather than naming them."""
    return isinstance(part, bool) or (hasattr(part, "dtype") and part.dtype.kind == "b")


def add_rows(rows: Array, positions: Array, count: int) -> Array:
    """Zeros (count, W) with row k of `rows` (N, W) added at row positions[k], an integer from 0 to count - 1."""
    xp = array_module(rows)
    if xp is not np:
        return add_sorted_runs(rows, positions, count)
    out = np.zeros((count, rows.shape[1]), rows.dtype)
    add_rows_to(out, rows, positions)
    return out


def add_rows_to(out: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> None:
    """In position: row k of `rows` (N, W) is added to row positions[k] of `out`. NumPy only."""
    if rows.shape[1] >= WIDE:
        for position, row in zip(positions.tolist(), rows, strict=True):
            out[position] += row
    else:
        columns = np.arange(rows.shape[1])
        np.add.at(out.reshape(-1), (positions[:, None] * rows.shape[1] + columns).reshape(-1), rows.reshape(-1))


def add_sorted_runs(rows: Array, positions: Array, count: int) -> Array:
    """The same by sorting: rows with the same position come to stand together, in their old order, and are summed."""
    xp = array_module(rows)
    out = xp.zeros((count, rows.shape[1]), rows.dtype)
    if positions.size == 0:
        return out
    order = xp.argsort(positions, kind="stable")
    ordered = positions[order]
    is_start = xp.ones(ordered.shape, dtype=bool)
    is_start[1:] = ordered[1:] != ordered[:-1]
    starts = xp.flatnonzero(is_start)
    out[ordered[starts]] = xp.add.reduceat(rows[order], starts, axis=0)
    return out
