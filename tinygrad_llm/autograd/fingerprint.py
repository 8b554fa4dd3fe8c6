"""Noticing that a value was changed in place between the forward pass and the backward pass.

A rule such as that of x·y reads x and y again, long after they were multiplied. If somebody wrote into them
meanwhile (`x.data[0] = 5`, an optimizer's step), the gradient would be wrong without a word. So each op that is
recorded keeps a fingerprint of its result, and of every input that no op made, and the walk back compares.

Small arrays are kept whole (at a twentieth of the cost of the op that is recorded), so every change is seen. Of larger
ones a few values are kept, evenly spaced, the first among them: enough for a step of an optimizer or `x.data *= 2`,
not for one value somewhere in the middle. Reading from a GPU would make the host wait for it, so there only
the exchange of the whole array (`x.data = ...`) is seen.

Comes before: `backend`. Comes after: `primitive`, which takes the fingerprints, and `engine`, which compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WHOLE_BYTES = 4096  # arrays up to this size are kept whole
SAMPLES = 32  # of a larger array


def fingerprint(array: Any) -> bytes | int | None:
    """What will differ if `array` is changed; None for a number, which cannot be."""
    if type(array) is not np.ndarray:
        return None if isinstance(array, int | float) else id(array)
    if array.nbytes <= WHOLE_BYTES:
        return array.tobytes()
    return array.flat[:: (array.size - 1) // (SAMPLES - 1)].tobytes()
