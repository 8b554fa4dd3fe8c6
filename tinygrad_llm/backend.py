"""NumPy or CuPy: the one place that knows which library an array belongs to.

An array says where it lives, so nothing else has to: every function of the framework asks `array_module(x)`
and calls the names that NumPy 2 and CuPy 14 share. There is no global device and no dispatcher. CuPy is
imported by the user's own request (`to_device(x, "cuda")`), never by `import tinygrad_llm`.

Comes before: nothing. Comes after: `kernels`, which compute, and `autograd`, which records.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError, MachineError

Array = Any  # numpy.ndarray, cupy.ndarray, or anything that answers `__array_namespace__`
DEFAULT_DTYPE = np.float32  # what Python numbers and lists become; arrays keep the dtype that they have
DEVICES = ("cpu", "cuda")


def array_module(x: Array) -> ModuleType:
    """The library whose functions work on `x`: `numpy` for NumPy arrays and Python numbers, `cupy` for CuPy's.

    Any other array library is asked through `__array_namespace__` (the array API standard, section
    "array object"), which is how the tests slip in an array that refuses to be copied to the host.
    """
    if type(x) is np.ndarray or isinstance(x, np.ndarray | np.generic | int | float):  # the first is asked very often
        return np
    library = type(x).__module__.partition(".")[0]
    if library == "cupy":
        return sys.modules["cupy"]
    return x.__array_namespace__()


def device_of(x: Array) -> str:
    """ "cpu" or "cuda": where the array lives."""
    return "cuda" if type(x).__module__.partition(".")[0] == "cupy" else "cpu"


def import_cupy() -> ModuleType:
    """CuPy, or a sentence that says how to get it."""
    try:
        import cupy
    except ImportError as error:
        raise MachineError(
            "device 'cuda' needs the package cupy, which is not installed: pip install 'tinygrad_llm[cuda]', "
            "or stay on device 'cpu'."
        ) from error
    return cupy


def to_device(x: Array, device: str) -> Array:
    """The array `x` on `device` ("cpu" or "cuda"); the same object when it is there already."""
    if device not in DEVICES:
        raise InputError(f"device must be one of {DEVICES}, it was {device!r}.")
    if device == device_of(x):
        return x
    return import_cupy().asarray(x) if device == "cuda" else to_numpy(x)


def to_numpy(x: Array) -> np.ndarray:
    """The array `x` on the host. From a GPU this waits for all work that is queued there."""
    return x.get() if device_of(x) == "cuda" else np.asarray(x)
