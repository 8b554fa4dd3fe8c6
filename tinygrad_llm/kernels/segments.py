"""Rows added up by the place they belong to: the gradient of every lookup.

`out[places[k]] += rows[k]` for all k, where a place may come several times. The additions happen in a fixed order, so
the same input gives the same bits every time, on a GPU too: there the rows are sorted by place and each run is summed,
because atomic additions would come in any order.

Comes before: `backend`. Comes after: `autograd.ops.index`, whose rules add gradients at the places that were read.
"""

import numpy as np

from tinygrad_llm.backend import Array, array_module

WIDE = 128  # from this many columns on, one addition per row costs less than one flat index per value


def add_rows(rows: Array, places: Array, count: int) -> Array:
    """Zeros (count, W) with row k of `rows` (N, W) added at row places[k], an integer from 0 to count - 1."""
    xp = array_module(rows)
    if xp is not np:
        return add_sorted_runs(rows, places, count)
    out = np.zeros((count, rows.shape[1]), rows.dtype)
    add_rows_to(out, rows, places)
    return out


def add_rows_to(out: np.ndarray, rows: np.ndarray, places: np.ndarray) -> None:
    """In place: row k of `rows` (N, W) is added to row places[k] of `out`. NumPy only."""
    if rows.shape[1] >= WIDE:
        for place, row in zip(places.tolist(), rows, strict=True):
            out[place] += row
    else:
        columns = np.arange(rows.shape[1])
        np.add.at(out.reshape(-1), (places[:, None] * rows.shape[1] + columns).reshape(-1), rows.reshape(-1))


def add_sorted_runs(rows: Array, places: Array, count: int) -> Array:
    """The same by sorting: rows with the same place come to stand together, in their old order, and are summed."""
    xp = array_module(rows)
    out = xp.zeros((count, rows.shape[1]), rows.dtype)
    if places.size == 0:
        return out
    order = xp.argsort(places, kind="stable")
    ordered = places[order]
    is_start = xp.ones(ordered.shape, dtype=bool)
    is_start[1:] = ordered[1:] != ordered[:-1]
    starts = xp.flatnonzero(is_start)
    out[ordered[starts]] = xp.add.reduceat(rows[order], starts, axis=0)
    return out
