"""NumPy functions that are called on a Tensor: its operators go on, everything else is an error that says what to do.

Used by: `tensor`.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd.array_methods import ArrayMethods
from tinygrad_llm.autograd.op_table import ops

# The operators that NumPy's arrays hand on to a Tensor on their right.
OPERATORS = {
    *("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
}
OUR_NAMES = {"absolute": "abs", "amax": "max", "amin": "min"}  # where NumPy's name of a function is not ours


def called_on_tensor(function: Any, method: str, inputs: tuple, options: dict[str, Any]) -> Any:
    """What a ufunc with a Tensor among its inputs gives: the op, if it came from an operator; else TypeError."""
    if method == "__call__" and function.__name__ in OPERATORS and not options:
        return getattr(ops, function.__name__)(*inputs)
    raise numpy_refusal(function.__name__, options)


def numpy_refusal(name: str, options: dict[str, Any]) -> TypeError:
    """The error for a NumPy function that was called on a Tensor."""
    ours = OUR_NAMES.get(name, name)
    if options.get("out") is not None:
        advice = "an array cannot take a Tensor in place: write array = array + tensor, not array += tensor"
    elif hasattr(ArrayMethods, ours):
        advice = f"say tensor.{ours}(...)"
    elif hasattr(ops, ours):
        advice = f"say tg.ops.{ours}(...)"
    else:
        advice = "write it with the tensor's own operations"
    return TypeError(
        f"np.{name} was called on a Tensor and would lose its history: {advice}; for plain values say tensor.numpy()."
    )
