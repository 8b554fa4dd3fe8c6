"""The weights of several linear layers as one matrix, for one product with their common input.

Writing a token reads every weight once, and one large product reads faster than several small ones. Weights that are
neighbours in memory, as they are after loading (`one_array`), already are one matrix: nothing is copied.

Used by: `layers.outputs_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import is_not
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array


def merged_weight(layers: Sequence[Any]) -> tuple[Tensor | None, list[int]]:
    """One matrix with the rows of all the weights, in the same memory, and where the rows of each begin and end.

    The matrix is None where the weights are not neighbours.
    """
    weights = [layer.weight.data for layer in layers]
    known = found.get(layers[0])
    if known is None or any(map(is_not, known[0], weights)):
        matrix = side_by_side(weights)
        ends = [0, *accumulate(map(len, weights))]
        known = found[layers[0]] = (weights, None if matrix is None else Tensor(matrix), ends)
    return known[1], known[2]


# The merged weight of the layers that begin with this one, the arrays that it was made of, and their ends.
found: WeakKeyDictionary[Any, tuple[list[Array], Tensor | None, list[int]]] = WeakKeyDictionary()


def side_by_side(matrices: Sequence[Array]) -> np.ndarray | None:
    """One matrix with the rows of all, in the same memory, if they lie there one after the other; else None."""
    for one, next_one in pairwise(matrices):
        alike = isinstance(one, np.ndarray) and one.flags.c_contiguous and next_one.flags.c_contiguous
        if not alike or one.dtype != next_one.dtype or one.shape[1] != next_one.shape[1]:
            return None
        if one.base is None or one.base is not next_one.base or one.ctypes.data + one.nbytes != next_one.ctypes.data:
            return None
    rows = sum(len(matrix) for matrix in matrices)
    return np.lib.stride_tricks.as_strided(matrices[0], (rows, matrices[0].shape[1]))
