"""A module is a plain namespace of parameters.

An attribute that is a Tensor is a parameter, one that is a Module (or a list of them) is a part, one that is an array
is a constant (it moves with the model but is not learned); anything else is a setting. There is no registry and no
mode: what a module does depends only on its parameters and on what it is called with.

Comes before: `autograd`. Comes after: `layers`, `attention`, `mlp`, `transformer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.tensor import HookHandle
from tinygrad_llm.backend import to_device
from tinygrad_llm.errors import InputError

ModuleHook = Callable[["Module", tuple, Any], Any]  # (module, inputs, output) -> what replaces the output, or None


class Module:
    """Base of everything that has parameters. One that derives from it defines `forward`."""

    hooks: dict[object, ModuleHook] | None = None

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """`forward`, and then the hooks, in the order of their registration."""
        y = self.forward(*inputs, **options)
        for hook in tuple((self.hooks or {}).values()):
            other = hook(self, inputs, y)
            y = y if other is None else other
        return y

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What this module computes. Raises TypeError here: each kind of module says it for itself."""
        raise TypeError(f"{type(self).__name__} defines no forward, so it cannot be called.")

    def register_hook(self, hook: ModuleHook) -> HookHandle:
        """Call `hook(module, inputs, output)` after every call: to look, or to put something in the output's place.

        What the hook returns replaces the output; None leaves it. The handle's `remove()` ends it. For gradients, hook
        the output: `output.register_hook(...)`.
        """
        if self.hooks is None:
            self.hooks = {}
        return HookHandle(self.hooks, hook)

    def parts(self) -> Iterator[tuple[str, Any]]:
        """(name, attribute) of everything in here; the members of a list as name.0, name.1, …"""
        for name, value in vars(self).items():
            if isinstance(value, list):
                yield from ((f"{name}.{i}", member) for i, member in enumerate(value))
            else:
                yield name, value

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter under its dotted name, in the order of definition; a shared one only once."""
        found: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, parameter in self._named_tensors():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                found[name] = parameter
        return found

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.parts():
            if isinstance(value, Tensor):
                yield name, value
            elif isinstance(value, Module):
                yield from ((f"{name}.{inner}", tensor) for inner, tensor in value._named_tensors())

    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters().values())

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters().values():
            parameter.zero_grad()

    def move_into_one_array(self) -> None:
        """Give the parameters places in one new, empty array, one after the other; their values are lost.

        For values that are loaded next: the system backs one large array with large pages, which are filled and read
        faster than many small ones.
        """
        parameters = list(self.parameters().values())
        everything = np.empty(sum(parameter.size for parameter in parameters), parameters[0].dtype)
        end = 0
        for parameter in parameters:
            start, end = end, end + parameter.size
            parameter.data = everything[start:end].reshape(parameter.shape)

    def state(self) -> dict[str, np.ndarray]:
        """The values of all parameters, on the host."""
        return {name: parameter.numpy() for name, parameter in self.parameters().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> Self:
        """Copy values into the parameters, in place. Raises InputError unless names and shapes agree exactly."""
        parameters = self.parameters()
        missing, extra = sorted(parameters.keys() - state.keys()), sorted(state.keys() - parameters.keys())
        if missing or extra:
            raise InputError(
                f"load_state: the values do not belong to this model: missing {missing[:3] or 'none'}, "
                f"not expected {extra[:3] or 'none'}. Build the model from the config the values were saved with."
            )
        for name, parameter in parameters.items():
            if state[name].shape != parameter.shape:
                raise InputError(f"load_state: {name} is {state[name].shape}, the model wants {parameter.shape}.")
        for name, parameter in parameters.items():
            parameter.data[...] = to_device(state[name], parameter.device)
        return self

    def to(self, device: str) -> Self:
        """Move all parameters and constants to "cpu" or "cuda", in place; returns itself."""
        for name, value in self.parts():
            if isinstance(value, Module):
                value.to(device)
            elif isinstance(value, Tensor):
                value.data, value.grad, value.grad_buffer = to_device(value.data, device), None, None
            elif hasattr(value, "dtype"):
                setattr(self, name, to_device(value, device))
        return self
