"""What an op says when it fails: its name, what it was given, and what to do.

Used by: `primitive`, `fused`, `ops.composite`, `engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from tinygrad_llm.autograd.torch_names import refuse_arguments
from tinygrad_llm.backend import device_of
from tinygrad_llm.errors import InputError


def explain(error: Exception, name: str, arrays: Sequence[Any], options: dict[str, Any]) -> NoReturn:
    """Raise `error` again with the op's name and what it was given."""
    if isinstance(error, TypeError):
        refuse_arguments(name, options)
    devices = sorted({device_of(x) for x in arrays if getattr(x, "ndim", 0)})
    if len(devices) > 1:
        raise InputError(
            f"{call(name, arrays, options)}: some of these are on the {' and some on the '.join(devices)}; move them "
            f"to one device first: tensor.to({devices[-1]!r})."
        ) from error
    if str(error).startswith(f"{name}("):
        raise error  # the primitive inside a composite of the same name has said it
    kind = type(error) if type(error) in (ValueError, IndexError, TypeError, InputError) else ValueError
    raise kind(f"{call(name, arrays, options)}: {error}") from error


def refuse_to_record(op: Any, value: Any, arrays: Sequence[Any], options: dict[str, Any]) -> NoReturn:
    """Raise InputError: a gradient would have to pass through this op, and it cannot."""
    what = call(op.name, arrays, options)
    if op.rule is None:
        raise InputError(
            f"{what}: the op has no rule, so no gradient could pass through it. Define one with @{op.name}.vjp, or "
            "call the op on x.detach() for its value alone."
        )
    raise InputError(
        f"{what}: the result is {value.dtype}, which has no gradient here; gradients are those of real numbers. Keep "
        "real and imaginary parts in two tensors, or call the op on x.detach() for its value alone."
    )


def checked_gradients(node: Any, gradients: Any, wanted: Sequence[bool]) -> tuple:
    """The gradients that the rule of a node returned. Raises InputError unless there is one, or None, per input.

    Those that are wanted must have their input's shape.
    """
    if type(gradients) is not tuple or len(gradients) != len(node.inputs):
        what = f"{len(gradients)} gradients" if type(gradients) is tuple else f"a {type(gradients).__name__}"
        raise InputError(
            f"the rule of the op '{node.name}' returned {what}; it must return a tuple with one gradient, or None, for "
            f"each of its inputs, of which there are {len(node.inputs)}."
        )
    for i, (x, g, is_wanted) in enumerate(zip(node.arrays, gradients, wanted, strict=True), 1):
        if is_wanted and g is not None and g.shape != x.shape:
            raise InputError(
                f"the rule of the op '{node.name}' returned a gradient of shape {g.shape} for input {i}, of shape "
                f"{x.shape}. They must be equal; sum over axes that were broadcast."
            )
    return gradients


def call(name: str, arrays: Sequence[Any], options: dict[str, Any]) -> str:
    """The call as an error shows it: "sum(float32[2, 3], axis=5)"."""
    chosen = [f"{key}={value!r}" for key, value in options.items() if not hasattr(value, "shape")]
    return f"{name}({', '.join([*map(described, arrays), *chosen])})"


def described(x: Any) -> str:
    """An argument as an error shows it: "float32[2, 3]" for an array, those in brackets for a list of arrays."""
    if isinstance(x, tuple | list):
        return f"[{', '.join(map(described, x))}]"
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x)
