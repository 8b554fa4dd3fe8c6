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
from itertools import repeat
from typing import Any, NoReturn

import numpy as np

from tinygrad_llm.errors import InputError

WHOLE_BYTES = 16_384  # arrays up to this size are kept whole: 64 × 64 numbers of float32
SAMPLES = 32  # of a larger array


def guard(out: Any, inputs: tuple, arrays: Sequence[Any]) -> list[Any] | None:
    """Make the result `out` of an op read-only; return fingerprints of the inputs, None for those that an op made.

    arrays: what is inside the inputs. Returns None where there is nothing to compare.
    """
    value, has_leaf = out.data, False
    seen: list[Any] = []
    for x, array in zip(inputs, arrays, strict=True):
        if array is value:
            out.data = value = value[...]  # an op that returns its input: that array may belong to the user
        if type(array) is float or getattr(x, "node", None) is not None:
            seen.append(None)
        else:
            seen.append(fingerprint(array))
            has_leaf = True
    if type(value) is np.ndarray:
        value.flags.writeable = False
    return seen if has_leaf else None


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
    fingerprints = node.fingerprints or repeat(None)
    for x, array, seen in zip(node.inputs, node.arrays, fingerprints):  # noqa: B905  (repeat has no end)
        now = x if x is array else x.data
        if now is not array if seen is None else fingerprint(now) != seen:
            i = 1 + [y is x for y in node.inputs].index(True)
            refuse(f"input {i} of the op '{node.name}', {described(array)},")


def refuse_freed(node: Any) -> NoReturn:
    raise InputError(
        f"backward: the graph behind the op '{node.name}' was already used and freed. "
        "Compute the loss again, or keep the graph: loss.backward(retain_graph=True)."
    )


def refuse(what: str) -> NoReturn:
    raise InputError(
        f"backward: {what} was changed in place after it was computed with, so the gradient would be wrong. Change "
        "values (or step the optimizer) after backward(), or make a new tensor: x = x.at(index).set(value)."
    )


def described(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"
