"""Functions that a user attaches to a tensor or a module, and the handle that detaches them.

Used by: `Tensor.register_hook`, `engine` (calls the hooks of a tensor), `nn.module`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_llm.errors import InputError


class HookHandle:
    """Detaches a hook: `handle.remove()`."""

    def __init__(self, hooks: dict[object, Any], hook: Callable[..., Any]) -> None:
        self.hooks, self.key = hooks, object()
        hooks[self.key] = hook

    def remove(self) -> None:
        """The hook is not called any more."""
        self.hooks.pop(self.key, None)


def apply_hooks(tensor: Any, g: Any) -> Any:
    """The gradient g of `tensor` as its hooks leave it. See `Tensor.register_hook`."""
    kind = type(tensor)
    for hook in list(tensor.hooks.values()):
        answer = hook(g if isinstance(g, kind) else kind(g))
        if answer is None:
            continue
        if answer.shape != tensor.shape:
            raise InputError(
                f"register_hook: the hook returned a gradient of shape {answer.shape}, it must have the tensor's "
                f"shape {tensor.shape}. Return None to leave the gradient as it is."
            )
        answer = answer if isinstance(answer, kind) else kind(answer)
        g = answer if isinstance(g, kind) else answer.data
    return g
