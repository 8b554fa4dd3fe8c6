"""Layer norm and RMS norm."""

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.cpu.rows import as_rows, column_sum, column_sums, row_means, row_sums
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import SMALL_BYTES, over_rows


def layer_norm_forward(x, weight, bias=None, *, eps=1e-5):
    rows = as_rows(x)
    y = np.empty_like(rows)
    mean = np.empty((len(rows), 1), rows.dtype)
    scale = np.empty_like(mean)  # 1 / √(var + eps)

    def block(a, b):
        xb, yb = rows[a:b], y[a:b]
        mean[a:b] = row_means(xb)
        np.subtract(xb, mean[a:b], out=yb)
        scale[a:b, 0] = inverse_root_mean_square(yb, eps)
        yb *= scale[a:b]
        yb *= weight
        if bias is not None:
            yb += bias

    over_rows(block, len(rows), 3 * rows.strides[0])
    return y.reshape(x.shape), (mean, scale)


def inverse_root_mean_square(rows, eps):
    """1 / √(mean(row²) + eps) of each row."""
    return 1.0 / np.sqrt(np.vecdot(rows, rows) / rows.shape[-1] + eps)


def layer_norm_backward(g, saved, x, weight, bias=None, *, eps=1e-5):
    """With c = x - mean, s = scale and n = c s: dx = s (g w - mean(g w) - n mean(g w n)), dw = Σ g n over the rows.

    All sums are products of g or g c with the vectors s and w, and what they give is a number per row: no further pass
    over the rows is made for them.
    """
    mean, scale = saved
    rows, g_rows = as_rows(x), as_rows(g)
    dx = np.empty_like(rows)
    d_weight, d_bias = {}, {}

    def block(a, b):
        gb, db, s = g_rows[a:b], dx[a:b], scale[a:b]
        centred = rows[a:b] - mean[a:b]
        np.multiply(gb, centred, out=db)
        d_weight[a] = s[:, 0] @ db
        d_bias[a] = column_sum(gb)
        centred *= row_sums(db, weight) * (s * s / db.shape[-1])  # n mean(g w n)
        np.multiply(gb, weight, out=db)
        db -= centred
        db -= row_sums(gb, weight) / db.shape[-1]
        db *= s

    over_rows(block, len(rows), 3 * rows.strides[0])
    return dx.reshape(x.shape), column_sums(d_weight, weight), None if bias is None else column_sums(d_bias, bias)


layer_norm = FastPair(layer_norm_forward, layer_norm_backward, accepts=shapes.norm)


def rms_norm_forward(x, weight, *, eps=1e-5):
    rows = as_rows(x)
    y = np.empty_like(rows)
    scale = np.empty((len(rows), 1), rows.dtype)

    def block(a, b):
        scale[a:b, 0] = inverse_root_mean_square(rows[a:b], eps)
        np.multiply(rows[a:b], scale[a:b], out=y[a:b])
        y[a:b] *= weight

    over_rows(block, len(rows), 2 * rows.strides[0])
    return y.reshape(x.shape), scale


def rms_norm_value(x, weight, *, eps=1e-5):
    """Without a gradient to come. Few vectors, as in writing token by token, need no blocks."""
    if x.nbytes >= SMALL_BYTES:
        return rms_norm_forward(x, weight, eps=eps)[0]
    size = np.vecdot(x, x)[..., None]  # (..., 1)
    size *= 1.0 / x.shape[-1]
    size += eps
    y = x / np.sqrt(size, out=size)
    y *= weight
    return y


def rms_norm_backward(g, scale, x, weight, *, eps=1e-5):
    """With s = scale and n = x s: dx = s (g w - n mean(g w n)), dw = Σ g n over the rows; sums as in layer norm."""
    rows, g_rows = as_rows(x), as_rows(g)
    dx = np.empty_like(rows)
    d_weight = {}

    def block(a, b):
        gb, db, s = g_rows[a:b], dx[a:b], scale[a:b]
        products = gb * rows[a:b]
        d_weight[a] = s[:, 0] @ products
        share = row_sums(products, weight) * (s * s / db.shape[-1])
        np.multiply(rows[a:b], share, out=products)  # n mean(g w n)
        np.multiply(gb, weight, out=db)
        db -= products
        db *= s

    over_rows(block, len(rows), 3 * rows.strides[0])
    return dx.reshape(x.shape), column_sums(d_weight, weight)


rms_norm = FastPair(rms_norm_forward, rms_norm_backward, rms_norm_value, accepts=shapes.norm)
