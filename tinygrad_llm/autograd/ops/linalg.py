"""Matrix products: where nearly all the arithmetic of a language model is."""

from tinygrad_llm.autograd.ops.shape import expand_dims, unbroadcast
from tinygrad_llm.autograd.primitive import primitive


@primitive
def matmul(x, y):
    """y_ij = Σ_k a_ik b_kj over the last two axes, the leading ones broadcast; vectors as in NumPy's `@`.

    d/dx = g yᵀ, d/dy = xᵀ g. Shapes: (..., n, k) @ (..., k, m) -> (..., n, m).
    """
    return x @ y


@matmul.vjp
def matmul_vjp(g, out, x, y):
    if x.ndim == 1 and y.ndim == 1:  # a dot product: a single number came out
        return g * y, g * x
    if x.ndim == 1:  # a row vector in front of matrices
        g_row, x_row = expand_dims(g, axis=-2), expand_dims(x, axis=0)
        dx, dy = matmul_vjp(g_row, None, x_row, y)
        return dx.reshape(x.shape), dy
    if y.ndim == 1:  # a column vector behind matrices
        g_column, y_column = expand_dims(g, axis=-1), expand_dims(y, axis=-1)
        dx, dy = matmul_vjp(g_column, None, x, y_column)
        return dx, dy.reshape(y.shape)
    return unbroadcast(g @ y.swapaxes(-1, -2), x), unbroadcast(x.swapaxes(-1, -2) @ g, y)
