"""Data parallelism over the cores: a crew of processes, each with its share of every batch.

The loss is a sum over examples, so its gradient is too. Each member of the crew runs the whole forward and backward
pass of its share with matrix products on one core, and nobody waits for anybody until the end, when the gradients are
added.

Processes and not threads, because Python lets only one thread at a time run its code: with two threads the gradients
of a small model took 1.45 times as long as those of half the batch alone, with two processes 1.06 times. They share
memory: the weights are one array that all of them see, and each has an array for its gradients. The sums are made in
the order of the members, so on the same number of cores a run repeats bit for bit.

Comes before: `helper` (what a further process does), `flat` (weights and gradients as one array each). Comes after:
`trainer`. The same scheme over several machines would put an all-reduce in the place of `finish`.
Left out on purpose: systems other than Linux, where each op is shared among threads instead (`kernels.threads`).
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import subprocess
import sys
import weakref
from typing import Any

import numpy as np

from tinygrad_llm.backend import Array
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.kernels.threads import workers
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.flat import FlatParameters

WORTH_A_CREW = 1e9  # floating-point operations of a batch: below, telling the others costs more than they save
MANY_TOKENS, FEW_PARAMETERS = 1024, 40_000_000  # see `is_worth_a_crew`


class Crew:
    """This process and one helper per further core, which together compute the gradients of a batch.

    model: all its parameters learn; they are in `flat`, and move into memory that all share. batch: the most examples
    of one call. context: T, tokens of an example; None: as many as the model can look at.

    Use it as a context manager, or call `close`; helpers also end when this process does.
    Raises MachineError when a helper dies.
    """

    def __init__(self, model: Transformer, flat: FlatParameters, batch: int, context: int | None = None) -> None:
        if flat.values.size != model.num_parameters():
            raise InputError("Crew(model): helpers know nothing of frozen parameters and adapters. Train without it.")
        self.model, self.flat = model, flat
        self.size = min(workers.cores, batch)
        self.layout = Layout(model.config, flat.values.size, batch, self.size, context or model.config.context)
        self.memory = os.memfd_create("tinygrad_llm")
        os.ftruncate(self.memory, self.layout.bytes)
        self.arrays = self.layout.map(self.memory)
        self.arrays.values[...] = flat.values
        flat.move_to(self.arrays.values, self.arrays.gradients[0])
        self.helpers = [self._start(member) for member in range(1, self.size)]
        self.has_begun = False
        self._end = weakref.finalize(self, end, self.helpers, self.memory)

    def _start(self, member: int) -> subprocess.Popen[bytes]:
        job = {"memory": self.memory, "layout": self.layout.to_dict(), "member": member}
        return subprocess.Popen(
            [sys.executable, "-m", "tinygrad_llm.training.helper", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self.memory],
            start_new_session=True,  # Ctrl-C is for this process alone
            env={**os.environ, "TINYGRAD_LLM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send the helpers home. The weights stay where they are."""
        self._end()

    def add_gradients(self, ids: Array, targets: Array, rng: np.random.Generator | None = None) -> float:
        """Add d(summed loss)/d(parameters), each member to its own gradients; return the summed loss, in nats.

        ids, targets: (B, T) integers, negative targets do not count. rng: draws the dropout.
        """
        seeds = None if rng is None or self.model.config.dropout == 0.0 else rng.integers(0, 2**63, self.size).tolist()
        ends = [len(ids) * (member + 1) // self.size for member in range(self.size)]
        for member, helper in enumerate(self.helpers, start=1):
            here = slice(ends[member - 1], ends[member])
            rows = here.stop - here.start
            self.arrays.ids[member, :rows], self.arrays.targets[member, :rows] = ids[here], targets[here]
            seed = None if seeds is None else seeds[member]
            tell(helper, {"rows": rows, "seed": seed, "begins": not self.has_begun})
        self.has_begun = True
        with workers.on_this_core():
            loss = share_of_gradients(self.model, ids[: ends[0]], targets[: ends[0]], seeds and seeds[0])
        return loss + sum(answer(helper) for helper in self.helpers)

    def finish(self) -> None:
        """Add the helpers' gradients to those of this process: from here on it has those of the whole batch."""
        gradients = self.flat.collect_gradients()
        for member in range(1, self.size):
            gradients += self.arrays.gradients[member]
        self.has_begun = False


class Layout:
    """What lies where in the shared memory: the weights; and per member its gradients, ids and targets."""

    def __init__(self, config: TransformerConfig, parameters: int, batch: int, size: int, context: int) -> None:
        self.config, self.parameters, self.batch, self.size, self.context = config, parameters, batch, size, context
        rows = -(-batch // size)
        shapes = {"ids": (size, rows, context), "targets": (size, rows, context)}
        self.shapes = shapes | {"values": (parameters,), "gradients": (size, parameters)}
        self.dtypes = {"ids": np.int64, "targets": np.int64, "values": np.float32, "gradients": np.float32}
        sizes = [int(np.prod(shape)) * np.dtype(self.dtypes[name]).itemsize for name, shape in self.shapes.items()]
        self.starts = dict(zip(self.shapes, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        self.bytes = sum(sizes)

    def map(self, memory: int) -> Any:
        """The arrays in the shared memory behind the file descriptor, by name."""
        buffer = mmap.mmap(memory, self.bytes)
        return SharedArrays(
            **{
                name: np.ndarray(shape, self.dtypes[name], buffer, self.starts[name])
                for name, shape in self.shapes.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "parameters": self.parameters,
            "batch": self.batch,
            "size": self.size,
            "context": self.context,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Layout:
        return cls(**{**values, "config": TransformerConfig.from_dict(values["config"])})


class SharedArrays:
    """values (N,), gradients (members, N), ids and targets (members, rows, T)."""

    def __init__(self, values: Array, gradients: Array, ids: Array, targets: Array) -> None:
        self.values, self.gradients, self.ids, self.targets = values, gradients, ids, targets


def share_of_gradients(model: Transformer, ids: Array, targets: Array, seed: int | None) -> float:
    """One member's part: add the gradients of its examples to its own; return their summed loss, in nats."""
    rng = None if seed is None else np.random.Generator(np.random.PCG64(seed))
    loss = model.loss(ids, targets, reduction="sum", rng=rng)
    loss.backward()
    return loss.item()


def tell(helper: subprocess.Popen[bytes], what: dict[str, Any]) -> None:
    """Send one line to a helper."""
    assert helper.stdin is not None
    try:
        helper.stdin.write(json.dumps(what).encode() + b"\n")
        helper.stdin.flush()
    except OSError as error:
        raise MachineError(GONE) from error


def answer(helper: subprocess.Popen[bytes]) -> float:
    """Wait for the loss that a helper computed."""
    assert helper.stdout is not None
    line = helper.stdout.readline()
    if not line:
        raise MachineError(GONE)
    return float(line)


GONE = (
    "a helper process ended in the middle of its work; perhaps the memory is full, or it was killed. Resume the run; "
    "with the environment variable TINYGRAD_LLM_THREADS=1 it needs no helpers."
)


def end(helpers: list[subprocess.Popen[bytes]], memory: int) -> None:
    """Close the pipes, which is how helpers are told to go, and wait until they have gone."""
    for helper in helpers:
        for pipe in (helper.stdin, helper.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # something was still to be told to a helper that died
                    pipe.close()
        helper.wait()
    os.close(memory)


def is_worth_a_crew(model: Transformer, batch: int, context: int | None = None) -> bool:
    """Whether a crew can be had, and saves more time than it costs. batch, context: as for `Crew`.

    Every member makes gradients of all parameters, which then have to be added up. That work grows with the parameters
    alone, what is shared grows with parameters times tokens: for a large model it does not pay below about a thousand
    tokens (88 million, 256 tokens: 2 % slower; 30 million, 512 tokens: 10 % faster), and the gradients of each member
    take memory. A model with frozen parameters is never worth one: they would have to be shared as well, and large
    arrays keep the threads of a single process busy.
    """
    tokens, parameters = batch * (context or model.config.context), model.num_parameters()
    if tokens < MANY_TOKENS and parameters > FEW_PARAMETERS:
        return False
    operations = 6.0 * parameters * tokens
    possible = hasattr(os, "memfd_create") and model.unembedding.device == "cpu" and workers.are_free
    kinds = {(parameter.dtype, parameter.requires_grad) for parameter in model.parameters()}
    return possible and batch > 1 and operations >= WORTH_A_CREW and kinds == {(np.dtype(np.float32), True)}
