"""Arrays as rows, and sums over them: what the fast pairs share."""

import math

import numpy as np


def as_rows(x):
    """x as (rows, C), without copying where possible; a single number is one row of one."""
    x = np.ascontiguousarray(x)
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def row_sums(rows, weight):
    """Σ row · weight of each row, (n, 1). A product with a vector is several times faster than NumPy's short sums."""
    return (rows @ weight)[:, None]


def row_means(rows):
    """The mean of each row, (n, 1)."""
    return row_sums(rows, np.full(rows.shape[-1], 1.0 / rows.shape[-1], rows.dtype))


def column_sum(rows):
    """The sum over rows, (C,), as a product with a vector of ones."""
    return np.ones(len(rows), rows.dtype) @ rows


def column_sums(parts, like):
    """The sum of the partial results that the blocks left in a dictionary keyed by their first row.

    like: an array of the result's shape, for the sum over no rows.
    """
    return sum(parts[start] for start in sorted(parts)) if parts else np.zeros_like(like)
