"""Two settings of the process that make NumPy fast for training; imported before anything else.

1. Large arrays come and go in every step. By default the allocator returns each to the system, and the next one is
   paid for page by page; told to keep them (glibc's mallopt), element-wise work takes about half the time.
2. OpenBLAS's threads wait for their next product by spinning, for tens of milliseconds, on the cores that our own
   threads (`kernels.threads`) want in between. A timeout of half a millisecond sends them to sleep before they are in
   the way, but not between two products of a model that writes: to wake them again would cost more than a small product
   takes. OpenBLAS reads it when NumPy is loaded: in a program that imported NumPy before tinygrad_llm it has no effect,
   and training is up to a fifth slower.
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names and numbers of glibc's mallopt(3)
KEEP_BELOW = 1 << 30  # bytes; larger single arrays go back to the system when they are freed


def keep_freed_memory() -> None:
    """Tell glibc's allocator to reuse large blocks; on other systems there is nothing to tell."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, KEEP_BELOW)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * KEEP_BELOW - 1)


os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")  # 2^20 clock ticks
keep_freed_memory()
