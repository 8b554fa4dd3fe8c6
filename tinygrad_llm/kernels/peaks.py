"""How fast this machine is at best: large matrix products, and passes over memory. What profiles are measured against.

Comes before: `threads`. Comes after: profiles and benchmarks, which say what share of this they reach.
Left out on purpose: figures from data sheets. What counts is what this machine, with this NumPy, does today.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.kernels.threads import parallel_for, thread_pool

SIDES = (1024, 2048)  # of the square matrices that are multiplied; the better one counts
STREAM_BYTES = 256_000_000  # of the array that is read: much larger than any cache
SECONDS = 0.4  # how long each of the five ways to be fast is tried; the best repetition counts


@dataclass(frozen=True)
class Peaks:
    """What the machine can do at most. cores: how many of them took part.

    operations: floating-point operations per second (a multiplication and an addition are two), in float32 products.
    read: bytes per second when an array is only read. copy: when one is copied, bytes read and written together.
    """

    cores: int
    operations: float
    read: float
    copy: float

    @property
    def bandwidth(self) -> float:
        """Bytes per second, in whichever way is faster."""
        return max(self.read, self.copy)

    def least_seconds(self, operations: float, moved: float) -> float:
        """The time that so many operations and so many bytes moved must take: the slower of the two.

        Memory works while the cores compute, so at best only one of them is waited for: the roofline model (Williams,
        Waterman & Patterson 2009).
        """
        return max(operations / self.operations, moved / self.bandwidth)


def measured_peaks(*, one_core: bool = False) -> Peaks:
    """The peaks of all cores, or of one. Takes about two seconds and 0.5 GB of memory.

    Best, not typical: whatever else runs on the machine can only make it look slower.
    """
    with thread_pool.on_this_core() if one_core else nullcontext():
        cores = 1 if one_core else thread_pool.cores
        products = [product_rate(side, together) for side in SIDES for together in (True, False)]
        read, copy = stream_rates()
    return Peaks(cores, max(products), read, copy)


def product_rate(side: int, together: bool) -> float:
    """Operations per second of square products: all cores together at one, or each core at one of its own."""
    count = 1 if together else thread_pool.cores
    x, weight = np.ones((count, side, side), np.float32), np.ones((side, side), np.float32)
    y = np.empty_like(x)

    def multiply(first: int, last: int) -> None:
        for i in range(first, last):
            np.matmul(x[i], weight, out=y[i])

    work = (lambda: multiply(0, 1)) if together else lambda: parallel_for(multiply, count, one_blas_thread_each=True)
    return count * 2.0 * side**3 / best_seconds(work)


def stream_rates() -> tuple[float, float]:
    """Bytes per second when a large array is read, and when its first half is copied onto its second."""
    x = np.ones(STREAM_BYTES // 4, np.float32)
    half = x.size // 2

    def read(first: int, last: int) -> None:
        np.dot(x[first:last], x[first:last])

    def copy(first: int, last: int) -> None:
        x[half + first : half + last] = x[first:last]

    reading = best_seconds(lambda: parallel_for(read, x.size, one_blas_thread_each=True))
    copying = best_seconds(lambda: parallel_for(copy, half))
    return x.nbytes / reading, 2 * 4 * half / copying


def best_seconds(work: Callable[[], object]) -> float:
    """How long `work` takes when it is fastest, among as many times as fit into `SECONDS`."""
    best, began = math.inf, time.perf_counter()
    while (start := time.perf_counter()) - began < SECONDS:
        work()
        best = min(best, time.perf_counter() - start)
    return best
