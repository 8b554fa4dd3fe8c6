"""Functions that make new tensors: constants, ranges, random numbers.

Every one takes `dtype` (float32 unless told otherwise; integers for ranges of integers), `requires_grad` and `device`
("cpu" or "cuda"). Shapes may be given as one tuple or number by number: zeros(2, 3) is zeros((2, 3)). Random ones take
`seed`, an integer or a NumPy generator; without it they draw something new at every call. Draws are made on the host,
so that the same seed gives the same numbers on every device.

Builds on: `tensor`. Used by: programs; the package itself makes its arrays in `backend`'s libraries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.autograd.array_methods import as_one_tuple
from tinygrad_llm.autograd.tensor import Tensor, as_array, raw
from tinygrad_llm.backend import DEFAULT_DTYPE, Array, device_of, to_device
from tinygrad_llm.errors import InputError

Seed = int | np.random.Generator | None


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """A Tensor with a copy of `data`: an array, a Tensor (its values), a number or nested lists of numbers.

    Python's floats become float32, arrays keep their dtype, unless `dtype` says otherwise; arrays stay on their device
    unless `device` does. `Tensor(array)` is the same without the copy.

    >>> print(tensor([[1, 2], [3, 4]], dtype="float32"))
    Tensor([[1., 2.],
            [3., 4.]], shape=(2, 2), float32)
    """
    array = raw(data) if isinstance(data, Tensor) else as_array(data)
    array = array.astype(array.dtype if dtype is None else dtype)  # astype copies
    return finish(array, requires_grad, device_of(array) if device is None else device)


def zeros(*shape: Any, dtype: Any = DEFAULT_DTYPE, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """Zeros of `shape`.

    >>> print(zeros(2, 3).shape, zeros((2, 3)).shape, zeros(4, dtype="int64").dtype)
    (2, 3) (2, 3) int64
    """
    return finish(np.zeros(checked("zeros", shape), dtype), requires_grad, device)


def ones(*shape: Any, dtype: Any = DEFAULT_DTYPE, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """Ones of `shape`.

    >>> print(ones(2).numpy())
    [1. 1.]
    """
    return finish(np.ones(checked("ones", shape), dtype), requires_grad, device)


def full(shape: Any, value: Any, *, dtype: Any = None, requires_grad: bool = False, device: str = "cpu") -> Tensor:
    """`value` everywhere. dtype: float32 for a Python float, else that of the value.

    >>> print(full((2, 2), 0.5).numpy().tolist(), full(3, 7).dtype)
    [[0.5, 0.5], [0.5, 0.5]] int64
    """
    value = as_array(value)
    return finish(np.full(checked("full", (shape,)), value, dtype or value.dtype), requires_grad, device)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """start, start + step, ... before stop; from 0 when only one number is given.

    dtype: integers when all three are, unless gradients are required; else float32.

    >>> print(arange(3).numpy(), arange(1, 2, 0.5).numpy())
    [0 1 2] [1.  1.5]
    """
    start, stop = (0, start) if stop is None else (start, stop)
    values = np.arange(start, stop, step)
    return finish(values.astype(dtype or default_dtype(values, requires_grad)), requires_grad, device)


def linspace(
    start: float,
    stop: float,
    num: int = 50,
    *,
    dtype: Any = DEFAULT_DTYPE,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """`num` numbers at equal distances, from start to stop, both included.

    >>> print(linspace(0.0, 1.0, 5).numpy())
    [0.   0.25 0.5  0.75 1.  ]
    """
    return finish(np.linspace(start, stop, num).astype(dtype), requires_grad, device)


def eye(
    n: int, m: int | None = None, *, dtype: Any = DEFAULT_DTYPE, requires_grad: bool = False, device: str = "cpu"
) -> Tensor:
    """The (n, m) matrix with ones on its diagonal; m is n unless given.

    >>> print(eye(2).numpy().tolist())
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return finish(np.eye(n, m, dtype=dtype), requires_grad, device)


def rand(
    *shape: Any, seed: Seed = None, dtype: Any = DEFAULT_DTYPE, requires_grad: bool = False, device: str = "cpu"
) -> Tensor:
    """Numbers from [0, 1), all equally likely.

    >>> print((rand(3, seed=0) == rand(3, seed=0)).numpy())
    [ True  True  True]
    """
    values = generator("rand", seed).random(checked("rand", shape))
    return finish(np.minimum(values.astype(dtype), np.nextafter(np.ones((), dtype), 0)), requires_grad, device)


def randn(
    *shape: Any, seed: Seed = None, dtype: Any = DEFAULT_DTYPE, requires_grad: bool = False, device: str = "cpu"
) -> Tensor:
    """Numbers from the normal distribution with mean 0 and standard deviation 1.

    >>> print(randn(2, 3, seed=0).shape)
    (2, 3)
    """
    values = generator("randn", seed).standard_normal(checked("randn", shape))
    return finish(values.astype(dtype), requires_grad, device)


def randint(
    low: int, high: int | None = None, shape: Any = (), *, seed: Seed = None, dtype: Any = "int64", device: str = "cpu"
) -> Tensor:
    """Integers from low to high - 1, all equally likely; from 0 to low - 1 when high is None.

    >>> print(sorted(set(randint(3, shape=100, seed=0).tolist())))
    [0, 1, 2]
    """
    low, high = (0, low) if high is None else (low, high)
    if high <= low:
        raise InputError(f"randint: high must be above low, they were low={low} and high={high}.")
    return finish(generator("randint", seed).integers(low, high, checked("randint", (shape,)), dtype), False, device)


def zeros_like(x: Any, *, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """Zeros of the shape, dtype and device of x, unless told otherwise.

    >>> print(zeros_like(Tensor([1, 2])).dtype)
    int64
    """
    return full_like(x, 0, dtype=dtype, requires_grad=requires_grad, device=device)


def ones_like(x: Any, *, dtype: Any = None, requires_grad: bool = False, device: str | None = None) -> Tensor:
    """Ones of the shape, dtype and device of x, unless told otherwise.

    >>> print(ones_like(Tensor([1.5, 2.5])).numpy())
    [1. 1.]
    """
    return full_like(x, 1, dtype=dtype, requires_grad=requires_grad, device=device)


def full_like(
    x: Any, value: Any, *, dtype: Any = None, requires_grad: bool = False, device: str | None = None
) -> Tensor:
    """`value` everywhere, in the shape, dtype and device of x, unless told otherwise.

    >>> print(full_like(Tensor([1.0, 2.0]), 7).numpy())
    [7. 7.]
    """
    array = raw(x) if isinstance(x, Tensor) else as_array(x)
    values = np.full(array.shape, value, dtype or array.dtype)
    return finish(values, requires_grad, device_of(array) if device is None else device)


# --- what they share ------------------------------------------------------------------------------------------


def finish(array: Array, requires_grad: bool, device: str) -> Tensor:
    """The array on its device, as a Tensor."""
    return Tensor(to_device(array, device), requires_grad)


def checked(name: str, shape: tuple) -> tuple[int, ...]:
    """A shape given as numbers or as one tuple. Raises InputError when a length is no integer, or negative."""
    lengths = as_one_tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in lengths):
        raise InputError(f"{name}: a shape must be integers of at least 0, as in {name}(2, 3); it was {lengths}.")
    return tuple(map(int, lengths))


def default_dtype(values: np.ndarray, requires_grad: bool) -> Any:
    """Integers stay integers, unless gradients are required; everything else is float32."""
    return values.dtype if values.dtype.kind == "i" and not requires_grad else DEFAULT_DTYPE


def generator(name: str, seed: Seed) -> np.random.Generator:
    """The generator itself, or one that starts from `seed`, or an unpredictable one for None."""
    if seed is None or isinstance(seed, np.random.Generator | np.integer) or (isinstance(seed, int) and seed >= 0):
        return np.random.default_rng(seed)
    raise InputError(f"{name}: seed must be an integer of at least 0, a NumPy generator or None; it was {seed!r}.")
