"""All parameters of a model side by side in one array, for values that are loaded next.

The system backs one large array with large pages, which are filled and read faster than many small ones; and weights
that are neighbours in memory can be multiplied as one matrix (`Attention`).

Builds on: `module`. Used by: `transformer`.
"""

from __future__ import annotations

import numpy as np

from tinygrad_llm.nn.module import Module


def move_into_one_array(module: Module) -> None:
    """Give every parameter its piece of one new, empty array, in the order of definition; the values are lost."""
    parameters = list(module.parameters())
    everything = np.empty(sum(parameter.size for parameter in parameters), parameters[0].dtype)
    end = 0
    for parameter in parameters:
        start, end = end, end + parameter.size
        parameter.data = everything[start:end].reshape(parameter.shape)
