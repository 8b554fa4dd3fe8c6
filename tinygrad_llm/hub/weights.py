"""Numbers from a file into float32 arrays, block by block on all cores.

A file of weights is gigabytes of one array after the other. Reading it whole and converting it afterwards would hold
the model two or three times. So each block (a few hundred kilobytes) is read, widened to float32 and written to its
place in the array of the model before the next one is read: beside the model itself only a few blocks are in memory.

Plain reads and no memory map, on purpose: when a mapped file is shortened by somebody else, the process dies without
a word; here a read comes back short, and that is an error with a name.

Builds on: `kernels.threads`.
Used by: `gguf` and `safetensors`, which know where in a file each array stands, and `architectures`, which says which
parameter it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.kernels.threads import parallel_for

BLOCK = 1 << 17  # numbers that one thread converts at a time: 512 KiB as float32, with scratch space in the cache
SMALL = 1 << 16  # below this many numbers a second thread costs more than it saves


class Weights(Protocol):
    """What the readers of all formats offer."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> shape of every array in the file, rows first."""

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Fill `out` (float32, contiguous, of the shape of the array) with the values of the array `name`.

        Raises InputError when the values are not all finite, or the file is shorter than it was; MachineError when it
        cannot be read.
        """

    def close(self) -> None:
        """Nothing will be read any more."""


@dataclass(frozen=True)
class Encoding:
    """How numbers are written: in units of `numbers` numbers that take `size` bytes.

    decode: bytes (U, size) uint8 -> float32 (U, numbers), exactly what the file means.
    """

    name: str
    numbers: int
    size: int
    decode: Callable[[np.ndarray], np.ndarray]


def decode_f32(units: np.ndarray) -> np.ndarray:
    return units.view("<f4")


def decode_f16(units: np.ndarray) -> np.ndarray:
    return units.view("<f2").astype(np.float32)


def decode_bf16(units: np.ndarray) -> np.ndarray:
    """A bfloat16 is the upper half of a float32: shifting it there is exact. NumPy has no such type."""
    return (units.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


F32 = Encoding("F32", 1, 4, decode_f32)
F16 = Encoding("F16", 1, 2, decode_f16)
BF16 = Encoding("BF16", 1, 2, decode_bf16)


def read_numbers(path: Path, offset: int, encoding: Encoding, out: np.ndarray, name: str) -> None:
    """Fill `out` (float32, contiguous) from the bytes of `path` that begin at `offset`. `name` is for the errors.

    Raises InputError when the file ends too early or a number is not finite, MachineError when it cannot be read.
    """
    values = out.reshape(-1)
    units = values.size // encoding.numbers
    per_block = max(1, BLOCK // encoding.numbers)

    def convert(first: int, last: int) -> None:
        with open(path, "rb") as file:
            file.seek(offset + first * encoding.size)
            for start in range(first, last, per_block):
                end = min(start + per_block, last)
                raw = np.empty((end - start, encoding.size), np.uint8)
                if file.readinto(raw.data) < raw.size:
                    raise InputError(f"{path} ends in the middle of {name}. Fetch it again.")
                with np.errstate(all="ignore"):  # damaged scales overflow; what comes of it is looked at below
                    numbers = encoding.decode(raw).reshape(-1)
                    total = float(numbers.sum(dtype=np.float32))
                if not math.isfinite(total) and not np.isfinite(numbers).all():  # the sum alone may overflow
                    raise InputError(f"{path}: {name} has values that are infinite or not numbers. Fetch it again.")
                values[start * encoding.numbers : end * encoding.numbers] = numbers

    try:
        parallel_for(convert, units, parallel=values.size >= SMALL)
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}. Check the disk.") from error
