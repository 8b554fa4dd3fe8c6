"""Vectors out of a table, and their gradients back into it."""

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.segments import add_rows_to

SMALL_TABLE = 32_000  # numbers in a table: up to here a product is quicker than one addition per token


def embedding_forward(weight, ids):
    return weight[ids], None


def embedding_backward(g, saved, weight, ids):
    """One row is added per token, in their order, so the sum repeats to the last bit; of a small table all at once."""
    rows, ids = g.reshape(-1, weight.shape[1]), np.asarray(ids).reshape(-1) % len(weight)  # (N, C), (N,)
    if weight.size <= SMALL_TABLE:
        return one_hot(ids, len(weight), rows.dtype) @ rows, None
    out = np.zeros(weight.shape, g.dtype)
    add_rows_to(out, rows, ids)
    return out, None


def one_hot(ids, count, dtype):
    """(count, N): 1 in column n at row ids[n], else 0."""
    columns = np.zeros((count, len(ids)), dtype)
    columns[ids, np.arange(len(ids))] = 1.0
    return columns


embedding = FastPair(embedding_forward, embedding_backward, accepts=shapes.embedding)
