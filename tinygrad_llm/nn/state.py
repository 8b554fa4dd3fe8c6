"""Values of parameters, copied in by name.

Used by: `Module.load_state_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_llm.autograd import Tensor, raw
from tinygrad_llm.backend import to_device, to_numpy
from tinygrad_llm.errors import InputError


def copy_values(state: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> None:
    """Write arrays or Tensors into the parameters of the same names. Raises InputError, and changes nothing, unless
    names and shapes agree exactly."""
    missing, extra = sorted(parameters.keys() - state.keys()), sorted(state.keys() - parameters.keys())
    if missing or extra:
        raise InputError(
            f"load_state_dict: the values are not of this kind of model: missing {missing[:3] or 'none'}, "
            f"not expected {extra[:3] or 'none'}. Build the model from the config that the values were saved with."
        )
    values = {name: to_numpy(raw(value)) for name, value in state.items()}
    for name, parameter in parameters.items():
        if values[name].shape != parameter.shape:
            raise InputError(
                f"load_state_dict: {name} has the shape {values[name].shape}, the model's is {parameter.shape}. "
                "Build the model from the config that the values were saved with."
            )
    for name, parameter in parameters.items():
        parameter.data[...] = to_device(values[name], parameter.device)
