"""Dropout: which numbers are dropped is drawn once, two bytes each, and looked up again on the way back."""

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.cpu.rows import as_rows
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import over_rows


def dropped_forward(x, draws, *, p):
    return drop(x, draws, p), None


def dropped_backward(g, saved, x, draws, *, p):
    return drop(g, draws, p), None


def drop(x, draws, p):
    """x / (1 - p) where the draw is at least p · 65,536, else 0."""
    rows = as_rows(x)
    rows_of_draws = draws.reshape(rows.shape)
    y = np.empty_like(rows)

    def block(a, b):
        y[a:b] = rows_of_draws[a:b] >= round(p * 65_536)
        y[a:b] *= 1.0 / (1.0 - p)
        y[a:b] *= rows[a:b]

    over_rows(block, len(rows), 3 * rows.strides[0])
    return y.reshape(x.shape)


dropped = FastPair(dropped_forward, dropped_backward, accepts=shapes.dropped)
