"""A module is a plain namespace of parameters, with a `forward` that computes with them.

An attribute that is a Tensor is a parameter and one that is a Module is a child, also inside a list, tuple or dict. One
that is an array is a constant: it moves with the model but is not learned. Anything else is a setting.
There is no registry and no mode: what a module computes depends only on its parameters and on its arguments, so there
is no `train()` and no `eval()`. Dropout, for instance, happens when a random generator is passed.

Builds on: `autograd`. Used by: `layers`, `attention`, `mlp`, `transformer`, and modules of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, Self

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.hooks import HookHandle
from tinygrad_llm.backend import to_device
from tinygrad_llm.drawing.views import shown_by
from tinygrad_llm.nn.module_text import module_text, no_module_attribute
from tinygrad_llm.nn.state import copy_values

ForwardHook = Callable[["Module", tuple, Any], Any]  # (module, inputs, output) -> the new output, or None


class Module:
    """Base class of everything that has parameters. A subclass defines `forward`.

    >>> class Scale(Module):
    ...     def __init__(self, width):
    ...         self.weight = Tensor(np.ones(width, np.float32), requires_grad=True)
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> [(name, parameter.shape) for name, parameter in Scale(3).named_parameters()]
    [('weight', (3,))]
    """

    forward_hooks: dict[object, ForwardHook] | None = None
    _repr_html_ = shown_by("tinygrad_llm.pictures.module")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """`forward`, then the forward hooks in the order of their registration."""
        y = self.forward(*inputs, **options)
        for hook in tuple((self.forward_hooks or {}).values()):
            changed = hook(self, inputs, y)
            y = y if changed is None else changed
        return y

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What this module computes. Raises TypeError in a class that does not define it."""
        raise TypeError(f"{type(self).__name__} defines no forward, so it cannot be called.")

    def register_forward_hook(self, hook: ForwardHook) -> HookHandle:
        """Call `hook(module, inputs, output)` after every call; what it returns, unless None, replaces the output.

        The returned handle's `remove()` removes the hook. For gradients, register a hook on the output itself:
        `output.register_hook(...)`.
        """
        if self.forward_hooks is None:
            self.forward_hooks = {}
        return HookHandle(self.forward_hooks, hook)

    def __repr__(self) -> str:
        """The tree of modules and parameters, with shapes and counts."""
        return module_text(self)

    def extra_repr(self) -> str:
        """What `print` shows in brackets behind the class: the settings that matter. For subclasses to define."""
        return ""

    def __getattr__(self, name: str) -> NoReturn:
        raise no_module_attribute(type(self).__name__, name)

    # --- parameters and children --------------------------------------------------------------------------------------

    def named_members(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of every attribute; the members of lists, tuples and dicts as name.0, name.key, …"""
        for name, value in vars(self).items():
            if name != "forward_hooks":
                yield from flattened(name, value)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, child) of every module directly inside this one."""
        return ((name, value) for name, value in self.named_members() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """Every module directly inside this one."""
        return (child for _, child in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """("", this module), then (dotted name, module) for everything inside; a shared module only once."""
        seen: set[int] = set()
        for name, module in self._walk(""):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, name: str) -> Iterator[tuple[str, Module]]:
        yield name, self
        for child_name, child in self.named_children():
            yield from child._walk(f"{name}.{child_name}" if name else child_name)

    def modules(self) -> Iterator[Module]:
        """This module and every module inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, parameter) in the order of definition; a shared parameter only once, under its first name."""
        seen: set[int] = set()
        for name, parameter in self._walk_parameters(""):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _walk_parameters(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.named_members():
            if isinstance(value, Tensor):
                yield prefix + name, value
            elif isinstance(value, Module):
                yield from value._walk_parameters(f"{prefix}{name}.")

    def parameters(self) -> Iterator[Tensor]:
        """Every parameter once, in the order of definition."""
        return (parameter for _, parameter in self.named_parameters())

    def num_parameters(self) -> int:
        """How many numbers the parameters hold."""
        return sum(parameter.size for parameter in self.parameters())

    # --- changes to all of them ---------------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let all parameters want gradients, or freeze them all with False; in place, returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function(module)` for every module inside, children first, then for this one; returns the module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, device: str) -> Self:
        """Move all parameters and constants to "cpu" or "cuda"; in place, returns the module."""
        for module in self.modules():
            for name, value in module.named_members():
                if isinstance(value, Tensor):
                    value.data, value.grad, value.grad_buffer = to_device(value.data, device), None, None
                elif hasattr(value, "dtype") and name in vars(module):
                    setattr(module, name, to_device(value, device))
        return self

    # --- values -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """The values of all parameters by name, as NumPy arrays. On the CPU they share the parameters' memory."""
        return {name: parameter.numpy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> Self:
        """Copy values (arrays or Tensors by name) into the parameters, in place; returns the module.

        Raises InputError, and changes nothing, unless names and shapes agree exactly.
        """
        copy_values(state, dict(self.named_parameters()))
        return self


def flattened(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(name, value); for a list, tuple or dict the same of its members, which are called name.0 or name.key."""
    if isinstance(value, list | tuple):
        for i, member in enumerate(value):
            yield from flattened(f"{name}.{i}", member)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from flattened(f"{name}.{key}", member)
    else:
        yield name, value
