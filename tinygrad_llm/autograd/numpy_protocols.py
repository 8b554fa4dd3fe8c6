"""What NumPy does when it meets a Tensor: its operators go on, everything else is an error that says what to do.

Used by: `tensor`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tinygrad_llm.autograd.array_methods import ArrayMethods
from tinygrad_llm.autograd.op_table import ops

# The operators that NumPy's arrays hand on to a Tensor on their right.
OPERATORS = {
    *("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "matmul"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
}
OUR_NAMES = {"absolute": "abs", "amax": "max", "amin": "min"}  # where NumPy's name of a function is not ours


class NumpyProtocols:
    """Mixin for `Tensor`: the methods that NumPy calls."""

    __slots__ = ()

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """`array * tensor` arrives here, because NumPy asks the array on the left first."""
        if method == "__call__" and function.__name__ in OPERATORS and not options:
            return getattr(ops, function.__name__)(*inputs)
        raise refusal(function.__name__, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> NoReturn:
        raise refusal(function.__name__, options)

    def __array__(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(
            "this Tensor would have to become a NumPy array here, and lose its history. For plain values "
            "say tensor.numpy(); to join tensors say tg.ops.stack(...) or tg.ops.concatenate(...)."
        )


def refusal(name: str, options: dict[str, Any]) -> TypeError:
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
