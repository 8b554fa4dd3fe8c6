"""Moving values to another device, with their gradient coming back.

Builds on: `primitive`. Used by: `Tensor.to`.
"""

from tinygrad_llm import backend
from tinygrad_llm.autograd.primitive import primitive
from tinygrad_llm.autograd.tensor import raw


@primitive
def to_device(x, *, device):
    """The same values on `device`, "cpu" or "cuda"; dy/dx = 1, and the gradient moves to where x is. Any shape.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> ops.to_device(x, "cpu").sum().backward()
    >>> print(x.grad.numpy())
    [1. 1.]
    """
    return backend.to_device(x, device)


@to_device.vjp
def to_device_vjp(g, out, x, *, device):
    return (to_device(g, device=backend.device_of(raw(x))),)
