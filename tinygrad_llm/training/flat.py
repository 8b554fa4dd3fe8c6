"""Many parameters in one flat array, and all their gradients in another.

An optimizer does the same few operations to every parameter. Parameter by parameter that is hundreds of small calls;
on one long array it is one pass, and so is the sum of the gradients of several processes. Nothing changes for anybody
else: each parameter's `data` becomes a view of its piece, and the backward pass writes its gradient into a view of the
other array (`Tensor.grad_buffer`).

Builds on: `autograd`. Used by: `optimizer`, `data_parallel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array, array_module, device_of
from tinygrad_llm.errors import InputError


class FlatParameters:
    """The given parameters, moved into one flat array.

    parameters: by name; their order is the order in memory. values, gradients: (N,) of the parameters' dtype, on their
    device. slices: name -> the slice of its numbers.

    Raises InputError when the parameters differ in dtype or device.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.parameters = dict(parameters)
        for what in ("dtype", "device"):
            kinds = {str(getattr(parameter, what)) for parameter in self.parameters.values()}
            if len(kinds) > 1:
                raise InputError(
                    f"the parameters of an optimizer must have one {what}, they have {sorted(kinds)}. "
                    f"Convert them, or make an optimizer for each {what}."
                )
        sizes = [parameter.size for parameter in self.parameters.values()]
        ends = list(accumulate(sizes))
        self.slices = {
            name: slice(end - size, end) for name, size, end in zip(self.parameters, sizes, ends, strict=True)
        }
        first = next(iter(self.parameters.values())).data
        xp = array_module(first)
        values = xp.zeros(ends[-1], first.dtype)
        for name, view in self.split(values).items():
            view[...] = self.parameters[name].data
        self.move_to(values, xp.zeros_like(values))

    def move_to(self, values: Array, gradients: Array) -> None:
        """Let the parameters live in `values`, which holds their numbers already, and their gradients in `gradients`.

        Both (N,), in the order of `slices`. Gradients that were computed go along.
        """
        self.values, self.gradients = values, gradients
        self._views, self._buffers = self.split(values), self.split(gradients)
        for name, parameter in self.parameters.items():
            parameter.data, parameter.grad_buffer = self._views[name], self._buffers[name]
        self.collect()

    def split(self, flat: Array) -> dict[str, Array]:
        """An array of N numbers -> its pieces by name, as views in the parameters' shapes."""
        return {name: flat[here].reshape(self.parameters[name].shape) for name, here in self.slices.items()}

    def collect(self) -> None:
        """Make `values` and `gradients` complete, whatever was assigned to `parameter.data` and `parameter.grad`.

        A parameter that was given another array moves back with that array's values; a gradient that lies elsewhere is
        copied. The piece of a parameter without a gradient is left as it is.

        Raises InputError when a parameter was moved to another device.
        """
        for name, parameter in self.parameters.items():
            view, buffer = self._views[name], self._buffers[name]
            if parameter.data is not view:
                if device_of(parameter.data) != device_of(view) or parameter.data.shape != view.shape:
                    raise InputError(
                        f"{name} was moved to another device or reshaped after the optimizer was made. Make the "
                        "optimizer afterwards."
                    )
                view[...] = parameter.data
                parameter.data, parameter.grad_buffer = view, buffer
            if parameter.grad is not None and parameter.grad.data is not buffer:
                buffer[...] = parameter.grad.data
                parameter.grad = Tensor(buffer)

    def runs(self, counts: Mapping[str, int]) -> list[tuple[slice, int]]:
        """The parameters named in `counts` that have a gradient, as (slice of the flat arrays, count).

        Neighbours with the same count are one slice.
        """
        runs: list[tuple[slice, int]] = []
        for name, count in counts.items():
            if self.parameters[name].grad is None:
                continue
            here = self.slices[name]
            if runs and runs[-1][0].stop == here.start and runs[-1][1] == count:
                here = slice(runs.pop()[0].start, here.stop)
            runs.append((here, count))
        return runs

    def zero_missing(self) -> None:
        """Give every parameter without a gradient one of zeros."""
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                self._buffers[name][...] = 0.0
                parameter.grad = Tensor(self._buffers[name])

    def zero_grad(self) -> None:
        """Set every gradient to None, without touching its memory: the next one is written over it, not added."""
        for parameter in self.parameters.values():
            parameter.grad = None
