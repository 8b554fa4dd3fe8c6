"""GELU, and the gates of SwiGLU and GeGLU: a few short operations per number, block by block in place."""

import math

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.cpu.rows import as_rows
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import SMALL_BYTES, over_rows

GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


def gelu_tanh_forward(x):
    rows = as_rows(x)
    y = np.empty_like(rows)
    over_rows(lambda a, b: gelu_block(rows[a:b], out=y[a:b]), len(rows), 2 * rows.strides[0])
    y = y.reshape(x.shape)
    return y, y


def gelu_block(x, out):
    """out = ½ x (1 + tanh u) = x / (1 + e^(-2u)), u = √(2/π) (x + 0.044715 x³): an exponential costs half a tanh."""
    np.multiply(x, x, out=out)
    out *= -2.0 * GELU_SLOPE * GELU_CUBIC
    out -= 2.0 * GELU_SLOPE
    out *= x
    with np.errstate(over="ignore"):  # e^(-2u) may be infinite, and gelu(x) then is 0
        np.exp(out, out=out)
    out += 1.0
    np.divide(x, out, out=out)


def gelu_slope_block(x, y, out):
    """out = d gelu / dx = ½ (1 + t) + ½ x (1 - t²) · √(2/π) (1 + 3 · 0.044715 x²).

    t = tanh u is read back from y = gelu(x), because a division costs a tenth of a tanh: ½ (1 + t) = y / x =: h, and
    so ½ x (1 - t²) = 2 x h (1 - h) = 2 y (1 - h). At x = 0, h is ½.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0
        h = y / x
    h[x == 0.0] = 0.5
    np.multiply(x, x, out=out)
    out *= 6.0 * GELU_SLOPE * GELU_CUBIC
    out += 2.0 * GELU_SLOPE
    out *= y
    out -= out * h
    out += h


def gelu_tanh_backward(g, y, x):
    rows, y_rows, g_rows = as_rows(x), as_rows(y), as_rows(g)
    dx = np.empty_like(rows)

    def block(a, b):
        gelu_slope_block(rows[a:b], y_rows[a:b], out=dx[a:b])
        dx[a:b] *= g_rows[a:b]

    over_rows(block, len(rows), 4 * rows.strides[0])
    return (dx.reshape(x.shape),)


gelu_tanh = FastPair(gelu_tanh_forward, gelu_tanh_backward, accepts=shapes.numbers)


def logistic(x, out):
    """out = 1 / (1 + e^-x)."""
    np.negative(x, out=out)
    with np.errstate(over="ignore"):  # e^-x may be infinite, and the result then is 0
        np.exp(out, out=out)
    out += 1.0
    np.reciprocal(out, out=out)


def swiglu_forward(gate, up):
    gates, ups = as_rows(gate), as_rows(up)
    y = np.empty_like(gates)

    def block(a, b):
        logistic(gates[a:b], out=y[a:b])
        y[a:b] *= gates[a:b]
        y[a:b] *= ups[a:b]

    over_rows(block, len(gates), 3 * gates.strides[0])
    return y.reshape(gate.shape), None


def swiglu_value(gate, up):
    """Without a gradient to come. Few vectors, as in writing token by token, need no blocks."""
    if gate.nbytes >= SMALL_BYTES:
        return swiglu_forward(gate, up)[0]
    y = -gate
    with np.errstate(over="ignore"):  # e^-gate may be infinite, and the result then is 0
        np.exp(y, out=y)
    y += 1.0
    np.divide(gate, y, out=y)
    y *= up
    return y


def swiglu_backward(g, saved, gate, up):
    gates, ups, g_rows = as_rows(gate), as_rows(up), as_rows(g)
    d_gate, d_up = np.empty_like(gates), np.empty_like(ups)

    def block(a, b):
        x, dx, du = gates[a:b], d_gate[a:b], d_up[a:b]
        s = np.empty_like(x)
        logistic(x, out=s)
        np.multiply(x, s, out=du)  # silu(x)
        np.subtract(1.0, s, out=dx)  # silu'(x) = s + silu(x) (1 - s)
        dx *= du
        dx += s
        dx *= ups[a:b]
        dx *= g_rows[a:b]
        du *= g_rows[a:b]

    over_rows(block, len(gates), 6 * gates.strides[0])
    return d_gate.reshape(gate.shape), d_up.reshape(up.shape)


swiglu = FastPair(swiglu_forward, swiglu_backward, swiglu_value, accepts=shapes.gate)


def geglu_tanh_forward(gate, up):
    gates, ups = as_rows(gate), as_rows(up)
    y = np.empty_like(gates)

    def block(a, b):
        gelu_block(gates[a:b], out=y[a:b])
        y[a:b] *= ups[a:b]

    over_rows(block, len(gates), 3 * gates.strides[0])
    return y.reshape(gate.shape), None


def geglu_tanh_backward(g, saved, gate, up):
    gates, ups, g_rows = as_rows(gate), as_rows(up), as_rows(g)
    d_gate, d_up = np.empty_like(gates), np.empty_like(ups)

    def block(a, b):
        x, dx, du = gates[a:b], d_gate[a:b], d_up[a:b]
        gelu_block(x, out=du)
        gelu_slope_block(x, du, out=dx)
        dx *= ups[a:b]
        dx *= g_rows[a:b]
        du *= g_rows[a:b]

    over_rows(block, len(gates), 6 * gates.strides[0])
    return d_gate.reshape(gate.shape), d_up.reshape(up.shape)


geglu_tanh = FastPair(geglu_tanh_forward, geglu_tanh_backward, accepts=shapes.gate)
