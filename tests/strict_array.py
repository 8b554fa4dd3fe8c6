"""An array that will not be copied to the host: what a GPU array is like, on a machine without a GPU.

It holds a NumPy array and computes with it, but it offers only the methods and functions that NumPy and CuPy share,
and it refuses everything that would be wrong or slow on a GPU: turning itself into a NumPy array, a Python number or
a truth value, taking part in an operation with a NumPy array, being indexed by one. So an op that runs on it
runs on CuPy, and leaks nothing to the host on the way.

`strict(x)` wraps a NumPy array, `unwrap(s)` takes it out again; the tests use these, the framework cannot.
"""

from typing import Any

import numpy as np

METHODS = """argmax argmin argsort astype copy cumsum flatten max mean min reshape squeeze std sum swapaxes
transpose var view"""
FUNCTIONS = """abs add all any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort
broadcast_to ceil concatenate copysign cos cosh cumsum einsum empty exp exp2 expand_dims expm1
flatnonzero flip floor floor_divide hypot isfinite isinf isnan log log10 log1p log2 logaddexp logical_and
logical_not logical_or maximum minimum multiply nan_to_num ones ones_like pad reciprocal remainder roll
round sign sin sinh sqrt subtract sum tan tanh tril triu trunc where zeros zeros_like"""


class HostCopy(TypeError):
    """Something tried to bring a strict array to the host, or to mix it with an array that lives there."""


class StrictArray:
    __array_ufunc__ = None  # NumPy arrays leave operators to us, and we refuse
    __hash__ = object.__hash__

    def __init__(self, array: np.ndarray) -> None:
        self._array = np.asarray(array)

    shape = property(lambda self: self._array.shape)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    dtype = property(lambda self: self._array.dtype)
    itemsize = property(lambda self: self._array.itemsize)
    nbytes = property(lambda self: self._array.nbytes)
    T = property(lambda self: StrictArray(self._array.T))

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        return f"StrictArray({self.dtype}{list(self.shape)})"

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return namespace

    def __getitem__(self, index: Any) -> "StrictArray":
        return StrictArray(self._array[inside(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._array[inside(index)] = inside(value)


def refusing(what: str) -> Any:
    def refuse(self: StrictArray, *args: Any, **kwargs: Any) -> Any:
        raise HostCopy(f"{what}: on a GPU this copies a strict array to the host and waits for it.")

    return refuse


for name in ("array", "array_function", "float", "int", "index", "bool", "complex", "iter", "contains"):
    setattr(StrictArray, f"__{name}__", refusing(f"__{name}__"))
for name in ["item", "tolist", "tobytes"]:
    setattr(StrictArray, name, refusing(name))


def inside(x: Any) -> Any:
    """The NumPy array in every strict array, also in lists and tuples. A NumPy array among them is refused."""
    if isinstance(x, StrictArray):
        return x._array
    if isinstance(x, np.ndarray):
        raise HostCopy(f"a NumPy array of shape {x.shape} met a strict array: move it there once, with xp.asarray.")
    if isinstance(x, tuple | list):
        return type(x)(map(inside, x))
    return x


def outside(x: Any) -> Any:
    return StrictArray(x) if isinstance(x, np.ndarray | np.generic) else x


def wrapped(function: Any) -> Any:
    def strict_function(*args: Any, **kwargs: Any) -> Any:
        return outside(function(*map(inside, args), **{key: inside(value) for key, value in kwargs.items()}))

    return strict_function


def operator(name: str) -> Any:
    def apply(self: StrictArray, *others: Any) -> Any:
        return outside(getattr(self._array, name)(*map(inside, others)))

    return apply


BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]
for name in [*BINARY, *("r" + name for name in BINARY), *("i" + name for name in BINARY)]:
    setattr(StrictArray, f"__{name}__", operator(f"__{name}__"))
for name in ["neg", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge"]:
    setattr(StrictArray, f"__{name}__", operator(f"__{name}__"))
for name in METHODS.split():
    setattr(StrictArray, name, wrapped(getattr(np.ndarray, name)))


class StrictUfunc:
    """A function that also has the one ufunc method both libraries have for it."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self.ufunc = ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return wrapped(self.ufunc)(*args, **kwargs)

    def reduceat(self, *args: Any, **kwargs: Any) -> Any:
        return wrapped(self.ufunc.reduceat)(*args, **kwargs)


class Namespace:
    """The functions that NumPy and CuPy share, for strict arrays. `asarray` is the one door from the host."""

    __name__ = "strict"

    def asarray(self, x: Any, dtype: Any = None) -> StrictArray:
        return StrictArray(np.asarray(x._array if isinstance(x, StrictArray) else x, dtype=dtype))

    def array(self, x: Any, dtype: Any = None) -> StrictArray:
        return StrictArray(np.array(x._array if isinstance(x, StrictArray) else x, dtype=dtype))


for name in FUNCTIONS.split():
    setattr(Namespace, name, staticmethod(wrapped(getattr(np, name))))
Namespace.add = StrictUfunc(np.add)
namespace = Namespace()


def strict(x: Any) -> Any:
    """A NumPy array (or a tuple or list with some in it) as strict arrays; anything else as it is."""
    if isinstance(x, tuple | list):
        return type(x)(map(strict, x))
    return StrictArray(x.copy()) if isinstance(x, np.ndarray) else x


def unwrap(x: Any) -> Any:
    """The NumPy array in a strict array."""
    return x._array if isinstance(x, StrictArray) else x
