"""Linear layers, alone and with an adapter beside them."""

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.cpu.rows import as_rows, column_sum
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import blocks, over_rows

FEW_ROWS = 32  # up to which the other order is quicker, unless the matrix is a whole vocabulary
MANY_OUTPUTS = 16_384


def linear_forward(x, weight, bias=None):
    rows = as_rows(x)  # (N, I)
    y = times_weights(rows, weight)  # (N, O)
    if bias is not None:
        over_rows(lambda a, b: np.add(y[a:b], bias, out=y[a:b]), len(y), y.strides[0])
    return y.reshape(*x.shape[:-1], weight.shape[0]), None


def times_weights(rows, weight):
    """x Wᵀ. (N, I), (O, I) -> (N, O).

    For few rows most of the time goes into reading the weights, and OpenBLAS's product of matrices copies them first,
    to reuse them. One or two rows are quicker as products with a vector, which does not; for some more it copies less
    slowly in W xᵀ (8 rows: 10 % of the time of all, 32 rows: 20 %).
    """
    if len(rows) <= 2:
        return np.matvec(weight, rows)
    if len(rows) <= FEW_ROWS and len(weight) <= MANY_OUTPUTS:
        return np.ascontiguousarray((weight @ rows.T).T)
    return rows @ weight.T


def linear_backward(g, saved, x, weight, bias=None, *, wanted=(True, True, True)):
    g_rows, rows = as_rows(g), as_rows(x)  # (N, O), (N, I)
    dx = (g_rows @ weight).reshape(x.shape) if wanted[0] else None
    d_weight = g_rows.T @ rows if wanted[1] else None
    return dx, d_weight, None if bias is None else column_sum(g_rows)


linear = FastPair(linear_forward, linear_backward, takes_wanted=True, accepts=shapes.linear)


def lora_linear_forward(x, weight, A, B, bias=None, *, scale):
    """What is kept for the backward pass is only what comes between A and B, (N, r)."""
    rows = as_rows(x)  # (N, I)
    y, _ = linear_forward(rows, weight, bias)  # (N, O)
    inner = rows @ A.T  # (N, r)
    inner *= scale
    add_product(inner, B.T, y)
    return y.reshape(*x.shape[:-1], weight.shape[0]), inner


def lora_linear_backward(g, inner, x, weight, A, B, bias=None, *, scale, wanted=(True, True, True, True)):
    g_rows, rows = as_rows(g), as_rows(x)  # (N, O), (N, I)
    g_inner = g_rows @ B  # (N, r)
    g_inner *= scale
    dx = None
    if wanted[0]:
        dx = g_rows @ weight
        add_product(g_inner, A, dx)
        dx = dx.reshape(x.shape)
    products = [(g_rows, rows), (g_inner, rows), (g_rows, inner)]  # of the weight, A and B
    gradients = [a.T @ b if want else None for (a, b), want in zip(products, wanted[1:], strict=False)]
    return dx, *gradients, None if bias is None else column_sum(g_rows)


def add_product(x, y, out):
    """out += x @ y, a block of rows at a time: the product stays in the cache."""
    step = blocks(len(out), out.strides[0])
    for start in range(0, len(out), step):
        here = slice(start, start + step)
        out[here] += x[here] @ y


lora_linear = FastPair(lora_linear_forward, lora_linear_backward, takes_wanted=True, accepts=shapes.lora_linear)
