"""What an op costs at least, told from the shapes: floating-point operations, and bytes that must be read and written.

Matrix products are counted exactly: one multiplication and one addition per term of each sum. Everything else is
counted by its bytes alone, because passes over memory are what element-wise work waits for: each input is read once,
each result written once. What an op keeps for itself meanwhile is its own affair and not counted, nor is a result that
is only another view of an input. So this is what the work itself asks for, however it is done: a kernel that computes
something twice gets no credit for that.

Comes before: `primitive`, whose ops it knows by their names, those of `nn.functional` too. Comes after: `profile`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module

# Ops whose rule looks at the gradient alone, not at what went in.
LINEAR = {
    *("add", "subtract", "negative", "sum", "mean", "alias", "astype"),
    *("reshape", "transpose", "swapaxes", "expand_dims", "squeeze", "broadcast_to", "concatenate"),
    *("getitem", "embedding", "add_at"),
}
ATTENTION = {"causal_attention", "capped_attention"}
# Ops that read as much of their first input as they give out, not all of it.
SELECTING = {"getitem", "embedding"}


class Cost(NamedTuple):
    """operations: additions and multiplications. moved: bytes read and written."""

    operations: int
    moved: int


NOTHING = Cost(0, 0)


def forward_cost(name: str, inputs: tuple, options: dict[str, Any], out: Tensor) -> Cost:
    """Of computing `out` from the inputs by the op `name`."""
    arrays = [raw(x) for x in (*inputs, *options.values())]
    if any(is_view(out.data, x) for x in arrays):
        return NOTHING
    read = sum(size_in_bytes(x) for x in arrays)
    if name in SELECTING:
        read += out.data.nbytes - size_in_bytes(arrays[0])
    return Cost(product_operations(name, arrays, options, out), read + out.data.nbytes)


def backward_cost(name: str, inputs: tuple, options: dict[str, Any], out: Tensor, g: Any, gradients: tuple) -> Cost:
    """Of computing the gradients of the inputs that want one, from the gradient `g` of `out`."""
    wanted = [isinstance(x, Tensor) and x.requires_grad for x in inputs]
    arrays = [raw(x) for x in inputs]
    passed_on = [is_view(raw(gx), raw(g)) for gx in gradients]
    written = sum(
        size_in_bytes(x) for x, want, same in zip(arrays, wanted, passed_on, strict=True) if want and not same
    )
    if not written:
        return NOTHING
    read = 0 if name in LINEAR else sum(size_in_bytes(x) for x in (*arrays, *map(raw, options.values())))
    # Each gradient of a product is a product of the same size: of g with the other factors.
    products = product_operations(name, arrays, options, out) * sum(wanted)
    if name in ATTENTION:
        products = product_operations(name, arrays, options, out) * 2  # four instead of two: dq, dk, dv, d(weights)
    elif name == "linear" and wanted[-1] and len(wanted) == 3:
        products -= product_operations(name, arrays, options, out)  # that of the bias is a sum
    elif name == "lora_linear":
        rows, (weight, A, B) = out.data.size // out.shape[-1], (matrix.size for matrix in arrays[1:4])
        sizes = (weight + A + B, weight, A, B)  # the gradient of x comes through all three
        products = 2 * rows * sum(size for size, want in zip(sizes, wanted, strict=False) if want)
    return Cost(products, size_in_bytes(raw(g)) + read + written)


def product_operations(name: str, arrays: list, options: dict[str, Any], out: Tensor) -> int:
    """Operations of the matrix products inside the op, 0 for any other op."""
    match name:
        case "matmul":
            return 2 * out.data.size * arrays[0].shape[-1]
        case "linear":
            return 2 * out.data.size * arrays[1].shape[1]
        case "lora_linear":
            return 2 * out.data.size // out.shape[-1] * sum(matrix.size for matrix in arrays[1:4])
        case "linear_cross_entropy":
            return 2 * arrays[0].size * arrays[1].shape[0]
        case "causal_attention" | "capped_attention":
            (B, T, H, D), (_, S, _, Dv), window = arrays[0].shape, arrays[2].shape, options.get("window")
            return 2 * B * H * (D + Dv) * visible_pairs(T, S, window)  # q kᵀ, and the weights times v
    return 0


def visible_pairs(queries: int, keys: int, window: int | None) -> int:
    """How many (query, key) pairs there are with the key at the query's own or an earlier position, within the window.

    The queries are the last of the positions.

    >>> visible_pairs(3, 3, None), visible_pairs(1, 3, None), visible_pairs(3, 3, 2)
    (6, 3, 5)
    """
    most = keys if window is None else window
    return int(np.minimum(np.arange(keys - queries + 1, keys + 1), most).sum())


def size_in_bytes(x: Any) -> int:
    """Of an array; 0 for anything else, such as a number or None."""
    return int(getattr(x, "nbytes", 0))


def is_view(a: Any, b: Any) -> bool:
    """Whether two arrays lie in the same memory, judged by where they begin and end."""
    if not (hasattr(a, "shape") and hasattr(b, "shape")):
        return False
    return a is b or bool(array_module(a).may_share_memory(a, b))
