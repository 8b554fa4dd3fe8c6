"""Orthogonalising a matrix with matrix products alone: the step inside Muon.

A gradient G = U Σ Vᵀ is usually dominated by a few directions with large singular values. Muon steps along U Vᵀ
instead: the same directions, all with equal strength. A singular value decomposition would find it, slowly;
Newton and Schulz's iteration applies an odd polynomial to every singular value at once, again and again, until all are
near 1, and a polynomial of a matrix is only products.

Used by: `muon`.
"""

import math

import numpy as np

from tinygrad_llm.backend import Array, array_module

A, B, C = 3.4445, -4.7750, 2.0315  # a x + b x³ + c x⁵, chosen to lift small singular values fast (Jordan et al. 2024)
ITERATIONS = 5
TINY = 1e-7  # so that a gradient of zeros stays zero


def orthogonalize(matrix: Array) -> Array:
    """About U Vᵀ of `matrix` = U Σ Vᵀ. (R, S) -> (R, S).

    X₀ = M / ‖M‖, then five times X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X (Jordan et al. 2024, "Muon"). Singular values that
    are 0.02 to 1 in X₀ end between 0.68 and 1.14, smaller ones lower; that they are not 1 does no harm to training.
    Departure: in float32 instead of bfloat16, for which CPUs have no fast products.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T  # the products x xᵀ are smaller then
    x = x / (array_module(x).sqrt((x * x).sum()) + TINY)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = A * x + (B * gram + C * (gram @ gram)) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def orthogonalize_in_place(matrix: np.ndarray) -> np.ndarray:
    """`orthogonalize`, with every product and sum written into memory that is made once. May overwrite `matrix`."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = np.ascontiguousarray(matrix.T) if tall else matrix  # (r, s), r <= s
    x *= 1.0 / (math.sqrt(np.vdot(x, x)) + TINY)
    product, gram, square = np.empty_like(x), np.empty((len(x), len(x)), x.dtype), np.empty((len(x), len(x)), x.dtype)
    for _ in range(ITERATIONS):
        np.matmul(x, x.T, out=gram)
        np.matmul(gram, gram, out=square)
        square *= C
        gram *= B
        gram += square
        np.matmul(gram, x, out=product)
        x *= A
        x += product
    return x.T if tall else x
