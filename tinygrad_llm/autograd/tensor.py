"""The tensor: an array, and the memory of how it was made.

A `Tensor` holds an array (`data`), whether gradients are wanted (`requires_grad`), the gradient once it is known
(`grad`), and the node that says how it was made (`node`, None for a leaf). Its operators and methods are NumPy's, its
autograd names PyTorch's. It computes nothing by itself: `x + y` is the op `add`, and `x.backward()` is the backward
pass in `engine`.

A NumPy function on a Tensor is an error that says what to do, never a silently dropped graph.

Builds on: `backend` (where arrays live), `engine`. Used by: `primitive` (what is recorded), `ops` (the vocabulary).
Left out on purpose: devices as objects, dtypes of our own, lazy evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from tinygrad_llm.autograd.array_methods import ArrayMethods
from tinygrad_llm.autograd.engine import backward_pass
from tinygrad_llm.autograd.hooks import HookHandle
from tinygrad_llm.autograd.numpy_protocols import NumpyProtocols
from tinygrad_llm.autograd.op_table import ops
from tinygrad_llm.autograd.torch_names import Size, no_attribute
from tinygrad_llm.backend import DEFAULT_DTYPE, Array, array_module, device_of
from tinygrad_llm.errors import InputError

if TYPE_CHECKING:
    from tinygrad_llm.autograd.primitive import Node


class Tensor(ArrayMethods, NumpyProtocols):
    """An array that remembers how it was made, so that gradients can flow back through it.

    data: an array (kept, not copied), or Python numbers and lists of them (which become float32).
    requires_grad: whether `backward` shall compute d(loss)/d(this). Only floating-point tensors can.

    Raises InputError when gradients are asked of integers or booleans.
    """

    __slots__ = ("__weakref__", "data", "grad", "grad_buffer", "hooks", "node", "requires_grad")
    __hash__ = object.__hash__  # by identity: == compares values

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if type(data) is not np.ndarray:
            data = as_array(data)
        self.data: Array = data
        self.requires_grad = False
        self.grad: Tensor | None = None
        self.grad_buffer: Array | None = None
        self.node: Node | None = None
        self.hooks: dict[object, Callable[[Tensor], Tensor | None]] | None = None
        if requires_grad:
            self.requires_grad_()

    # --- what it is ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return Size(self.data.size)

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def device(self) -> str:
        """ "cpu" or "cuda"."""
        return device_of(self.data)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=60, precision=5)
        made = f", made by {self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, {self.dtype}{made})"

    def __getattr__(self, name: str) -> NoReturn:
        raise no_attribute(name)

    def to(self, device: str) -> Tensor:
        """The same values on `device` ("cpu" or "cuda"); the gradient comes back to where this tensor is."""
        return self if device == self.device else ops.to_device(self, device=device)

    # --- gradients -----------------------------------------------------------------------------------------

    def backward(self, gradient: Any = None, *, create_graph: bool = False, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `leaf.grad` for every leaf that requires a gradient.

        gradient: the gradient with respect to this tensor, of its shape; 1 when it is a single number.
        create_graph: record the backward pass too, so that gradients can be differentiated again.
        retain_graph: keep the graph for another backward pass; it is freed node by node otherwise.
        """
        g = self.first_gradient(gradient)
        passed = backward_pass([self], [g if create_graph else g.data], retain_graph=create_graph or retain_graph)
        for tensor, g in passed:
            if tensor.node is None:
                tensor.accumulate_grad(g)

    def first_gradient(self, gradient: Any = None) -> Tensor:
        """What a backward pass from here starts with: d(self)/d(self) = 1, or the user's gradient."""
        if not self.requires_grad:
            raise InputError(
                "backward: this tensor has no history, so there is nothing to differentiate. Compute it from tensors "
                "with requires_grad=True, outside no_grad()."
            )
        if gradient is None:
            if self.size != 1:
                raise InputError(
                    f"backward: a tensor of shape {self.shape} is not a single number; reduce it first, for instance "
                    "loss.mean().backward(), or pass the gradient to start with: y.backward(gradient)."
                )
            gradient = array_module(self.data).ones_like(self.data)
        if not isinstance(gradient, Tensor):
            gradient = Tensor(array_module(self.data).asarray(gradient, dtype=self.dtype))
        if gradient.shape != self.shape:
            raise InputError(
                f"backward: gradient has shape {gradient.shape}, it must have the tensor's shape {self.shape}."
            )
        return gradient

    def accumulate_grad(self, g: Any) -> None:
        """self.grad += g, an array or a Tensor with history. In `grad_buffer`, where an optimizer gave one."""
        if is_tracked(g):
            self.grad = g if self.grad is None else self.grad + g
        elif self.grad is not None and self.grad.data is self.grad_buffer:
            self.grad_buffer += raw(g)
        elif self.grad is not None:
            self.grad = self.grad + g
        elif self.grad_buffer is not None:
            self.grad_buffer[...] = raw(g)
            self.grad = Tensor(self.grad_buffer)
        else:
            self.grad = Tensor(array_module(self.data).array(raw(g)))  # a copy: rules may give one array to two inputs

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook(gradient)` whenever the gradient with respect to this tensor is complete, before it goes further.

        What the hook returns takes the gradient's place (None leaves it as it is); it must not write into it.
        The handle's `remove()` ends it. Raises InputError for a tensor that no gradient reaches.

        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> handle = y.register_hook(lambda g: g.clip(-1.0, 1.0))
        >>> (100.0 * y).sum().backward()
        >>> print(x.grad.numpy())
        [2. 4.]
        """
        if not self.requires_grad:
            raise InputError("register_hook: no gradient will reach this tensor; it needs requires_grad=True.")
        if self.hooks is None:
            self.hooks = {}
        return HookHandle(self.hooks, hook)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def detach(self) -> Tensor:
        """The same values (shared memory) without history: gradients stop here."""
        return Tensor(self.data)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients (or freeze) in place; returns itself."""
        if requires_grad and self.data.dtype.kind != "f":
            raise InputError(
                f"requires_grad=True: only floating-point tensors have gradients, this one is {self.dtype}; convert it "
                "first: tensor.astype('float32')."
            )
        self.requires_grad = requires_grad
        return self

    # --- operators ----------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __pow__(self, exponent: Any) -> Tensor:
        return ops.power(self, exponent)

    def __rpow__(self, base: Any) -> Tensor:
        return ops.power(base, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    # Comparisons give tensors of booleans, through which no gradient flows.

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]  # NumPy's meaning: element by element
        return ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]  # NumPy's meaning: element by element
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index=index)


def as_array(data: Any) -> Array:
    """Numbers and lists of them as an array, Python's floats as float32; an array as it is."""
    if isinstance(data, Tensor):
        raise InputError(
            "Tensor(data): data is a Tensor already; use it, or tensor.detach() for its values without history."
        )
    if isinstance(data, np.generic):
        return np.asarray(data)
    if isinstance(data, int | float | list | tuple):
        array = np.asarray(data)
        return array.astype(DEFAULT_DTYPE) if array.dtype == np.float64 else array
    if not hasattr(data, "dtype"):
        raise InputError(f"Tensor(data): data must be an array, a number or a list of numbers, it was {data!r}.")
    return data


def as_operand(x: Any) -> Any:
    """Beside a Tensor, a NumPy number becomes a Python number, which leaves float32 as it is, and a list an array."""
    if isinstance(x, np.generic):
        return x.item()
    return as_array(x) if isinstance(x, list | tuple) else x


def raw(x: Any) -> Any:
    """The array inside a Tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


def is_tracked(x: Any) -> bool:
    """Whether a gradient shall flow back to `x`."""
    return isinstance(x, Tensor) and x.requires_grad
