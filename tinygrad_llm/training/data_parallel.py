"""Data parallelism over the cores: workers, each a process with its part of every batch, and an all-reduce at the end.

The loss is a sum over examples, so its gradient is too. Each worker runs the whole forward and backward pass of its
part with matrix products on one core, and none waits for another until the end, when the gradients are added.

Processes and not threads, because Python lets only one thread at a time run its code: with two threads the gradients
of a small model took 1.45 times as long as those of half the batch alone, with two processes 1.06 times. They share
memory: the weights are one array that all of them see, and each has an array for its gradients. The sums are made in
the order of the workers, so on the same number of cores a run repeats bit for bit.

Builds on: `flat` (weights and gradients as one array each), `worker` (the program of the other processes).
Used by: `trainer`.
Left out on purpose: systems other than Linux, where each op is divided among threads instead (`kernels.threads`).
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import subprocess
import sys
import weakref
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.backend import Array
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.kernels.threads import thread_pool
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.flat import FlatParameters

WORTH_OPERATIONS = 1e9  # floating-point operations of a batch: below, telling the workers costs more than they save
MANY_TOKENS, FEW_PARAMETERS = 1024, 40_000_000  # see `is_worth_it`


class DataParallel:
    """This process, which has rank 0, and one worker per further core, which together compute a batch's gradients.

    model: all its parameters learn; they are in `flat`, and move into memory that all processes share. batch: the$
    examples of one call. context: T, tokens of an example; None: as many as the model can look at.

    Use it as a context manager, or call `close`; the workers also end when this process does.
    Raises MachineError when a worker dies.
    """

    def __init__(self, model: Transformer, flat: FlatParameters, batch: int, context: int | None = None) -> None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        if {id(parameter) for parameter in flat.parameters.values()} != names.keys():
            raise InputError(
                "DataParallel(model): workers know nothing of frozen parameters and adapters. Train without it."
            )
        self.model, self.flat = model, flat
        self.size = min(thread_pool.cores, batch)
        self.layout = Layout(
            model.config,
            names=tuple(names[id(parameter)] for parameter in flat.parameters.values()),
            parameters=flat.values.size,
            batch=batch,
            size=self.size,
            context=context or model.config.context,
        )
        self.memory = os.memfd_create("tinygrad_llm")
        os.ftruncate(self.memory, self.layout.bytes)
        self.arrays = self.layout.map(self.memory)
        self.arrays.values[...] = flat.values
        flat.move_to(self.arrays.values, self.arrays.gradients[0])
        self.workers = [self._start(rank) for rank in range(1, self.size)]
        self.has_begun = False
        self._end = weakref.finalize(self, end, self.workers, self.memory)

    def _start(self, rank: int) -> subprocess.Popen[bytes]:
        job = {"memory": self.memory, "layout": self.layout.to_dict(), "rank": rank}
        return subprocess.Popen(
            [sys.executable, "-m", "tinygrad_llm.training.worker", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self.memory],
            start_new_session=True,  # Ctrl-C is for this process alone
            env={**os.environ, "TINYGRAD_LLM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> DataParallel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers. The weights stay where they are."""
        self._end()

    def backward(self, ids: Array, targets: Array, rng: np.random.Generator | None = None) -> float:
        """Add d(summed loss)/d(parameters), each worker to its own gradients; return the summed loss, in nats.

        ids, targets: (B, T) integers, negative targets do not count. rng: draws the dropout.
        """
        seeds = None if rng is None or self.model.config.dropout == 0.0 else rng.integers(0, 2**63, self.size).tolist()
        ends = [len(ids) * (rank + 1) // self.size for rank in range(self.size)]
        for rank, worker in enumerate(self.workers, start=1):
            here = slice(ends[rank - 1], ends[rank])
            rows = here.stop - here.start
            self.arrays.ids[rank, :rows], self.arrays.targets[rank, :rows] = ids[here], targets[here]
            seed = None if seeds is None else seeds[rank]
            send(worker, {"rows": rows, "seed": seed, "begins": not self.has_begun})
        self.has_begun = True
        with thread_pool.on_this_core():
            loss = add_gradients(self.model, ids[: ends[0]], targets[: ends[0]], seeds and seeds[0])
        return loss + sum(receive(worker) for worker in self.workers)

    def all_reduce(self) -> None:
        """Add the workers' gradients to those of this process: from here on it has those of the whole batch."""
        self.flat.collect()
        self.flat.zero_missing()
        for rank in range(1, self.size):
            self.flat.gradients += self.arrays.gradients[rank]
        self.has_begun = False


class SharedArrays(NamedTuple):
    """values (N,), gradients (ranks, N), ids and targets (ranks, rows, T)."""

    values: Array
    gradients: Array
    ids: Array
    targets: Array


@dataclass(frozen=True)
class Layout:
    """What lies where in the shared memory: the weights; and per rank its gradients, ids and targets.

    names: of the model's parameters, in their order in memory. parameters N: how many numbers they hold. batch:
    the most examples. size: how many ranks. context T: tokens of an example.
    """

    config: TransformerConfig
    names: tuple[str, ...]
    parameters: int
    batch: int
    size: int
    context: int

    def pieces(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of each array, in their order in memory."""
        rows = -(-self.batch // self.size)
        examples = ((self.size, rows, self.context), np.dtype(np.int64))
        values, gradients = (self.parameters,), (self.size, self.parameters)
        return {
            "ids": examples,
            "targets": examples,
            "values": (values, np.dtype(np.float32)),
            "gradients": (gradients, np.dtype(np.float32)),
        }

    @property
    def bytes(self) -> int:
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.pieces().values())

    def map(self, memory: int) -> SharedArrays:
        """The arrays in the shared memory behind the file descriptor."""
        buffer, start, arrays = mmap.mmap(memory, self.bytes), 0, {}
        for name, (shape, dtype) in self.pieces().items():
            arrays[name] = np.ndarray(shape, dtype, buffer, start)
            start += arrays[name].nbytes
        return SharedArrays(**arrays)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Layout:
        return cls(**{**values, "config": TransformerConfig.from_dict(values["config"])})


def add_gradients(model: Transformer, ids: Array, targets: Array, seed: int | None) -> float:
    """Add the gradients of these examples to those of the parameters; return their summed loss, in nats."""
    rng = None if seed is None else np.random.Generator(np.random.PCG64(seed))
    loss = model.loss(ids, targets, reduction="sum", rng=rng)
    loss.backward()
    return loss.item()


def send(worker: subprocess.Popen[bytes], task: dict[str, Any]) -> None:
    """Send one line to a worker."""
    assert worker.stdin is not None
    try:
        worker.stdin.write(json.dumps(task).encode() + b"\n")
        worker.stdin.flush()
    except OSError as error:
        raise MachineError(DIED) from error


def receive(worker: subprocess.Popen[bytes]) -> float:
    """Wait for the loss that a worker computed."""
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise MachineError(DIED)
    return float(line)


DIED = (
    "a worker process ended unexpectedly; perhaps the memory is full, or it was killed. Resume the run; with the "
    "environment variable TINYGRAD_LLM_THREADS=1 it needs no workers."
)


def end(workers: list[subprocess.Popen[bytes]], memory: int) -> None:
    """Close the pipes, at which workers end, and wait until they have ended."""
    for worker in workers:
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # something was still to be sent to a worker that died
                    pipe.close()
        worker.wait()
    os.close(memory)


def is_worth_it(model: Transformer, batch: int, context: int | None = None) -> bool:
    """Whether `DataParallel` is possible, and saves more time than it costs. batch, context: as there.

    Every rank makes gradients of all parameters, which then have to be added up. That work grows with the parameters
    alone, what is divided grows with parameters times tokens: for a large model it does not pay below about a thousand
    tokens (88 million, 256 tokens: 2 % slower; 30 million, 512 tokens: 10 % faster), and the gradients of each rank
    take memory. For a model with frozen parameters it never pays: they would have to be shared as well, and large
    arrays keep the threads of a single process busy.
    """
    tokens, parameters = batch * (context or model.config.context), model.num_parameters()
    if tokens < MANY_TOKENS and parameters > FEW_PARAMETERS:
        return False
    operations = 6.0 * parameters * tokens
    possible = hasattr(os, "memfd_create") and model.unembedding.device == "cpu" and thread_pool.are_free
    kinds = {(parameter.dtype, parameter.requires_grad) for parameter in model.parameters()}
    return possible and batch > 1 and operations >= WORTH_OPERATIONS and kinds == {(np.dtype(np.float32), True)}
