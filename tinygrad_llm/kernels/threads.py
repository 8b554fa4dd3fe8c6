"""Two kinds of parallel work on a CPU: rows of an array on our own threads, and matrix products on BLAS's.

NumPy's loops and matrix products release the interpreter's lock, so plain Python threads over blocks of rows use all
cores; and a block of rows stays in the cache while several operations pass over it in place. Blocks are large, since
two threads that come back for the interpreter's lock after every few microseconds mostly wait for each other.

The two kinds must not fight for the cores. Work that multiplies matrices inside our threads says
`one_blas_thread_each=True`, and BLAS then uses one thread per caller until it is done.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial

from threadpoolctl import LibController, ThreadpoolController

# What one thread works on at a time: it fits its share of the last cache. Blocks for the second-level cache would be
# read faster, but every block costs a dozen calls: with 1.5 MB a training step takes 4 to 10 % longer.
BLOCK_BYTES = 4_000_000
SMALL_BYTES = 3_000_000  # below this, handing work to a thread costs more than it saves


def core_count() -> int:
    """Cores that this process may use; the environment variable TINYGRAD_LLM_THREADS overrides."""
    wanted = os.environ.get("TINYGRAD_LLM_THREADS")
    if wanted:
        return max(1, int(wanted))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ThreadPool:
    """The threads and the BLAS switch, made when first needed (importing must stay quick)."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.blas: list[LibController] | None = None
        self.cores = core_count()
        self.inside = threading.local()

    def run(self, tasks: list[Callable[[], None]]) -> None:
        """All tasks at once, the last one on the calling thread; returns when all are done, raises what any raised."""
        if self.pool is None:
            with self.lock:
                self.pool = self.pool or ThreadPoolExecutor(max(1, self.cores - 1), "tinygrad_llm")
        futures = [self.pool.submit(self._run_one, task) for task in tasks[:-1]]
        try:
            self._run_one(tasks[-1])
        finally:
            for future in futures:
                future.result()

    def _run_one(self, task: Callable[[], None]) -> None:
        self.inside.a_task = True
        try:
            task()
        finally:
            self.inside.a_task = False

    @property
    def are_free(self) -> bool:
        """Whether work may be divided among threads: not from inside a task, which has one core to itself."""
        return self.cores > 1 and not getattr(self.inside, "a_task", False)

    @contextmanager
    def on_this_core(self) -> Iterator[None]:
        """Inside, nothing is divided: all work of this thread stays on its core."""
        before = getattr(self.inside, "a_task", False)
        self.inside.a_task = True
        try:
            with self.one_blas_thread_each():
                yield
        finally:
            self.inside.a_task = before

    @contextmanager
    def one_blas_thread_each(self) -> Iterator[None]:
        """Inside, every matrix product runs on the thread that asks for it."""
        if self.blas is None:
            found = ThreadpoolController().lib_controllers
            self.blas = [library for library in found if library.user_api == "blas"]
        before = [library.get_num_threads() for library in self.blas]
        try:
            for library in self.blas:
                library.set_num_threads(1)
            yield
        finally:
            for library, threads in zip(self.blas, before, strict=True):
                library.set_num_threads(threads)


thread_pool = ThreadPool()


def blocks(rows: int, bytes_per_row: int) -> int:
    """How many rows make one block."""
    return max(1, min(rows, BLOCK_BYTES // max(1, bytes_per_row)))


def over_rows(work: Callable[[int, int], None], rows: int, bytes_per_row: int) -> None:
    """Call work(start, end) for blocks that cover 0..rows, on all cores; `work` writes its own rows only."""
    block = blocks(rows, bytes_per_row)
    if block == rows and rows * bytes_per_row < SMALL_BYTES:
        return work(0, rows)

    def stretch(first: int, last: int) -> None:
        for start in range(first, last, block):
            work(start, min(start + block, last))

    parallel_for(stretch, rows, parallel=rows * bytes_per_row >= SMALL_BYTES)


def parallel_for(
    work: Callable[[int, int], None], count: int, parallel: bool = True, one_blas_thread_each: bool = False
) -> None:
    """Call work(first, last) on one stretch of 0..count per core; the stretches are the same in every run."""
    parts = min(thread_pool.cores, count) if parallel and thread_pool.are_free else 1
    if parts <= 1:
        work(0, count)
        return
    ends = [count * (i + 1) // parts for i in range(parts)]
    tasks: list[Callable[[], None]] = [partial(work, *stretch) for stretch in zip([0, *ends[:-1]], ends, strict=True)]
    with thread_pool.one_blas_thread_each() if one_blas_thread_each else nullcontext():
        thread_pool.run(tasks)
