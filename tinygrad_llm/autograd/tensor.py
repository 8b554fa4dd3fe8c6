"""The tensor: an array, and the memory of how it was made.

A `Tensor` holds an array (`data`), whether gradients are wanted (`requires_grad`), the gradient once it is known
(`grad`), and the op that made it (`node`). Its operators are NumPy's, its autograd names PyTorch's. It computes
nothing by itself: `x + y` is the primitive `add`, and `x.backward()` is the walk in `engine.py`.

A NumPy function on a Tensor is an error that says what to do, never a silently dropped graph.

Comes before: `backend` (where arrays live). Comes after: `primitive` (what is recorded), `ops` (the vocabulary),
`engine` (the walk back). Left out on purpose: devices as objects, dtypes of our own, lazy evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from tinygrad_llm.backend import DEFAULT_DTYPE, Array, array_module, device_of, to_device, to_numpy
from tinygrad_llm.errors import InputError

if TYPE_CHECKING:
    from tinygrad_llm.autograd.ops.index import At
    from tinygrad_llm.autograd.primitive import Node

Hook = Callable[["Tensor"], "Tensor | None"]
# The operators that NumPy's arrays hand on to a Tensor on their right; all other NumPy functions are refused.
ARITHMETIC = ("add", "subtract", "multiply", "divide", "power", "matmul")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
# Where NumPy's name of a function is not ours.
OUR_NAMES = {"absolute": "abs", "concatenate": "concat", "amax": "max", "amin": "min", "dot": "matmul"}
Axis = int | tuple[int, ...] | None


class Tensor:
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
        if requires_grad and data.dtype.kind != "f":
            raise InputError(
                f"Tensor(requires_grad=True): only floating-point tensors have gradients, this one is {data.dtype}; "
                "convert it first: tensor.astype('float32')."
            )
        self.data: Array = data
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.grad_buffer: Array | None = None
        self.node: Node | None = None
        self.hooks: dict[object, Hook] | None = None

    # --- what it is ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def device(self) -> str:
        """ "cpu" or "cuda"."""
        return device_of(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=60, precision=5)
        made = f", made by {self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}, shape={self.shape}, {self.dtype}{made})"

    def item(self) -> float:
        """The one number in this tensor, as a Python number. On a GPU this waits for the result."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, without history. Shares memory on the CPU."""
        return to_numpy(self.data)

    def to(self, device: str) -> Tensor:
        """The same values on `device` ("cpu" or "cuda"), as a new leaf."""
        return Tensor(to_device(self.data, device), self.requires_grad)

    # --- NumPy must not reach inside -----------------------------------------------------------------------

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **kwargs: Any) -> Tensor:
        """`array * tensor` arrives here, because NumPy asks the array on the left first: so its operators pass."""
        if method == "__call__" and function.__name__ in ARITHMETIC + COMPARISONS and not kwargs:
            return getattr(ops, function.__name__)(*inputs)
        raise TypeError(no_numpy(function.__name__, kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> NoReturn:
        raise TypeError(no_numpy(function.__name__, kwargs))

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "this Tensor would have to become a NumPy array here, and lose its history. For plain values "
            "say tensor.numpy(); to join tensors say ops.stack(...) or ops.concat(...)."
        )

    def __float__(self) -> float:
        return float(self.data)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    # --- gradients -----------------------------------------------------------------------------------------

    def backward(self, seed: Any = None, *, create_graph: bool = False, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `leaf.grad` for every leaf that requires a gradient.

        seed: the gradient with respect to this tensor, of its shape; 1 when it is a single number.
        create_graph: record the backward pass too, so that gradients can be differentiated again.
        retain_graph: keep the graph for another backward pass; it is freed node by node otherwise.
        """
        engine.backward(self, seed, create_graph=create_graph, retain_graph=retain_graph)

    def register_hook(self, hook: Hook) -> HookHandle:
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
            raise InputError(f"requires_grad_: only floating-point tensors have gradients, this one is {self.dtype}.")
        self.requires_grad = requires_grad
        return self

    # --- arithmetic ----------------------------------------------------------------------------------------

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

    def __pow__(self, exponent: Any) -> Tensor:
        return ops.power(self, exponent)

    def __rpow__(self, base: Any) -> Tensor:
        return ops.power(base, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

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

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(
            "tensor[index] = value would change a value that gradients may need. Make a new tensor: "
            "tensor = tensor.at(index).set(value); or, for a parameter outside a graph, write into tensor.data[index]."
        )

    # --- NumPy's methods -----------------------------------------------------------------------------------

    def exp(self) -> Tensor:
        return ops.exp(self)

    def log(self) -> Tensor:
        return ops.log(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.min(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return ops.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return ops.std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.prod(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        return ops.cumsum(self, axis=axis)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clip(self, min, max)

    def repeat(self, repeats: Any, axis: int | None = None) -> Tensor:
        return ops.repeat(self, repeats, axis=axis)

    def take(self, indices: Any, axis: int | None = None) -> Tensor:
        return ops.take(self, indices, axis=axis)

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape=as_one_tuple(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, axes=as_one_tuple(axes) or None)

    @property
    def T(self) -> Tensor:
        return ops.transpose(self)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        return ops.swapaxes(self, axis1=axis1, axis2=axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        return ops.squeeze(self, axis=axis)

    def astype(self, dtype: Any) -> Tensor:
        return ops.astype(self, dtype=np.dtype(dtype))

    def argmax(self, axis: int | None = None) -> Array:
        """Where the largest value is: plain integers, no gradient."""
        return self.data.argmax(axis=axis)

    # --- methods that NumPy's arrays do not have -------------------------------------------------------------

    def at(self, index: Any) -> At:
        """The places self[index], to be written without changing this tensor: x.at(i).set(v), x.at(i).add(v)."""
        return ops.at(self, index)

    def sigmoid(self) -> Tensor:
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        return ops.relu(self)

    def softmax(self, axis: int = -1) -> Tensor:
        return ops.softmax(self, axis=axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        return ops.log_softmax(self, axis=axis)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.logsumexp(self, axis=axis, keepdims=keepdims)

    def norm(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.norm(self, axis=axis, keepdims=keepdims)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        return ops.masked_fill(self, mask, value)


def no_numpy(name: str, kwargs: dict[str, Any]) -> str:
    """The sentence for a NumPy function that was called on a Tensor."""
    ours = OUR_NAMES.get(name, name)
    if kwargs.get("out") is not None:
        advice = "an array cannot take a Tensor in place: write array = array + tensor, not array += tensor"
    elif hasattr(Tensor, ours):
        advice = f"say tensor.{ours}(...)"
    elif hasattr(ops, ours):
        advice = f"say ops.{ours}(...), with `from tinygrad_llm.autograd import ops`"
    else:
        advice = "write it with the tensor's own operations"
    return (
        f"np.{name} was called on a Tensor and would lose its history: {advice}; for plain values say tensor.numpy()."
    )


class HookHandle:
    """Ends a hook: `handle.remove()`."""

    def __init__(self, hooks: dict[object, Any], hook: Callable[..., Any]) -> None:
        self.hooks, self.key = hooks, object()
        hooks[self.key] = hook

    def remove(self) -> None:
        """The hook is not called any more."""
        self.hooks.pop(self.key, None)


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


def as_one_tuple(arguments: Sequence[Any]) -> tuple[Any, ...]:
    """NumPy lets one write x.reshape(2, 3) and x.reshape((2, 3)): both are (2, 3)."""
    if len(arguments) == 1 and isinstance(arguments[0], tuple | list):
        return tuple(arguments[0])
    return tuple(arguments)


def raw(x: Any) -> Any:
    """The array inside a Tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


def is_tracked(x: Any) -> bool:
    """Whether a gradient shall flow back to `x`."""
    return isinstance(x, Tensor) and x.requires_grad


def zeros(shape: Sequence[int], dtype: Any = DEFAULT_DTYPE, requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros on the CPU."""
    return Tensor(np.zeros(shape, dtype), requires_grad)


def ones_like(x: Tensor) -> Tensor:
    """A Tensor of ones, on the device of `x`."""
    return Tensor(array_module(x.data).ones_like(x.data))


# The operators above need the vocabulary, and the vocabulary needs Tensor: so it is imported once Tensor exists.
from tinygrad_llm.autograd import engine, ops  # noqa: E402  (see the line above)
