"""Noticing that a value was changed in place between the forward pass and the backward pass.

A rule such as that of x·y reads x and y again, long after they were multiplied. If somebody writes into them meanwhile
(`x.data[0] = 5`, an optimizer's step), the gradient would be wrong without a word. There are three guards:

- The result of a recorded op is read-only: NumPy refuses to write into it, at the line that tries.
- An array that takes the place of a result (`y.data = ...`) is an error in `backward`.
- Of the inputs that no op made (parameters, data) a fingerprint is kept, and `backward` compares. Up to WHOLE_BYTES
  that is a copy, so every change is an error. Of larger arrays it is SAMPLES values, evenly spaced: a step of an
  optimizer or `x.data *= 2` is an error, a single number in the middle may go unnoticed.

Left out on purpose: making those inputs read-only as well. They belong to the user or are views of an optimizer's flat
array, which their own flag does not protect; and a whole copy or checksum of them costs several percent of a training
step where they are large. Reading from a GPU would make the host wait, so there only an exchanged array is noticed.

Used by: `primitive` (takes the fingerprints), `engine` (compares).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError

WHOLE_BYTES = 16_384  # arrays up to this size are kept whole: 64 × 64 numbers of float32
SAMPLES = 32  # of a larger array


def guard(out: Any, inputs: tuple, arrays: Sequence[Any]) -> list[Any] | None:
    """Make the result `out` of an op read-only; return fingerprints of the inputs, None for those that an op made.

    arrays: what is inside the inputs. Returns None where there is nothing to compare.
    """
    if type(out.data) is np.ndarray:
        if any(out.data is x for x in arrays):
            out.data = out.data.view()  # an op that returns its input: that array may belong to the user
        out.data.flags.writeable = False
    seen = [None if getattr(x, "node", None) else fingerprint(a) for x, a in zip(inputs, arrays, strict=True)]
    return seen if any(seen) else None


def fingerprint(array: Any) -> bytes | int | None:
    """What differs if `array` is changed; None for a number, which cannot be."""
    if type(array) is not np.ndarray:
        return None if isinstance(array, int | float) else id(array)
    if array.nbytes <= WHOLE_BYTES:
        return array.tobytes()
    return array.flat[:: (array.size - 1) // (SAMPLES - 1)].tobytes()


def check_unchanged(tensor: Any, node: Any) -> None:
    """Raise InputError where a value that the rule of `node`, which made `tensor`, reads was changed meanwhile."""
    if tensor.data is not node.value:
        refuse(f"the result of the op '{node.name}', {described(node.value)},")
    for i, (x, array) in enumerate(zip(node.inputs, node.arrays, strict=True)):
        now = x.data if hasattr(x, "requires_grad") else array
        seen = None if node.fingerprints is None else node.fingerprints[i]
        if now is not array if seen is None else fingerprint(now) != seen:
            refuse(f"input {i + 1} of the op '{node.name}', {described(array)},")


def check_not_freed(node: Any) -> None:
    """Raise InputError where an earlier backward pass has used the node up."""
    if node.is_freed:
        raise InputError(
            f"backward: the graph behind the op '{node.name}' was already used and freed. "
            "Compute the loss again, or keep the graph: loss.backward(retain_graph=True)."
        )


def refuse(what: str) -> None:
    raise InputError(
        f"backward: {what} was changed in place after it was computed with, so the gradient would be wrong. Change "
        "values (or step the optimizer) after backward(), or make a new tensor: x = x.at(index).set(value)."
    )


def described(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"
