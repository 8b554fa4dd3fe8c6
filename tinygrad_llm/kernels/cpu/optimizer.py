"""What an optimizer does to the flat arrays of all parameters, in one pass."""

import math

import numpy as np

from tinygrad_llm.kernels.threads import SMALL_BYTES, parallel_for


def sum_of_squares(x):
    """Σ x² of a flat array, in float64 across blocks."""
    step = 1 << 18
    return math.fsum(float(np.dot(x[i : i + step], x[i : i + step])) for i in range(0, x.size, step))


ADAMW_BLOCK = 400_000  # numbers that a thread works on at a time: ten short operations each, so blocks must be large


def adamw_step(parameters, gradients, first, second, *, step, lr, betas, eps, weight_decay, gradient_scale):
    """One AdamW step on flat arrays, in place; the formula is `training.adamw.adamw`.

    With b = √(1 - β₂^step) for undoing the start of v, m̂ / (√v̂ + ε) is m b / (√v + ε b) / (1 - β₁^step): all factors
    become one.
    """
    beta1, beta2 = betas
    root = math.sqrt(1.0 - beta2**step)
    size = lr * root / (1.0 - beta1**step)

    def stretch(start, end):
        scratch = np.empty(min(ADAMW_BLOCK, end - start), parameters.dtype)
        for a in range(start, end, ADAMW_BLOCK):
            b = min(a + ADAMW_BLOCK, end)
            p, m, v, g = parameters[a:b], first[a:b], second[a:b], scratch[: b - a]
            np.multiply(gradients[a:b], (1.0 - beta1) * gradient_scale, out=g)
            m *= beta1
            m += g
            g *= g
            g *= (1.0 - beta2) / (1.0 - beta1) ** 2
            v *= beta2
            v += g
            np.sqrt(v, out=g)
            g += eps * root
            np.divide(m, g, out=g)
            g *= size
            p *= 1.0 - lr * weight_decay
            p -= g

    parallel_for(stretch, parameters.size, parallel=4 * parameters.nbytes >= SMALL_BYTES)
