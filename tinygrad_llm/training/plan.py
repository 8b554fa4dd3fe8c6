"""What a training run will need, and whether this machine has it, before it starts.

Everything here is counted from the config, without building the model, except two measurements: how much memory is
free, and how fast this machine multiplies matrices and goes over memory (half a second).

Builds on: `nn.describe`, `settings`. Used by: the command line, which shows the plan and stops if it cannot work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygrad_llm.backend import Array, import_cupy, to_numpy
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.cpu.attention import QUERY_BLOCK, worth_keeping
from tinygrad_llm.kernels.threads import thread_pool
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.describe import forward_operations, hidden_matrices, kept_numbers, num_parameters
from tinygrad_llm.training.newton_schulz import ITERATIONS
from tinygrad_llm.training.settings import TrainingSettings

FLOAT = 4  # bytes of a float32
MEASURED_SECONDS = 0.25
LARGEST_SIDE = 4096  # of the matrices that the speed is measured with
PASSES = 15  # over each number of the activations, beside the matrix products: measured, between 11 and 24


@dataclass(frozen=True)
class Plan:
    """What a run will need. Memory in bytes, time in seconds.

    parameters: numbers of the model. learned: how many of them learn: all, or those of adapters.
    tokens_per_step: targets of one step. flops_per_step: floating-point operations (additions and multiplications) of
    one step. weights, gradients, optimizer: arrays that stay. activations: what one batch leaves behind for its
    backward pass. saving: the copy that a checkpoint needs. available: memory that is free now, None if that cannot be
    found out. steps, seconds: of the whole run.
    """

    parameters: int
    learned: int
    tokens_per_step: int
    flops_per_step: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    saving: int
    available: int | None
    steps: int
    seconds: float

    @property
    def memory(self) -> int:
        """The most memory in use at once, in bytes: a checkpoint is written while there are no activations."""
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.saving)

    @property
    def checkpoint(self) -> int:
        """Bytes of one checkpoint: what is learned, and what the optimizer remembers."""
        return FLOAT * self.learned + self.optimizer

    def check(self) -> None:
        """Raise InputError when the run cannot fit into the memory that is free."""
        if self.available is not None and self.memory > self.available:
            raise InputError(
                f"this run needs about {gigabytes(self.memory)} of memory and {gigabytes(self.available)} are free. "
                f"{gigabytes(self.activations)} of it hold one batch: take a smaller batch (and accumulate several for "
                "the same step), a shorter context, fewer layers or a smaller width."
            )

    def summary(self) -> str:
        """Four lines for the terminal."""
        free = "" if self.available is None else f" ({gigabytes(self.available)} are free)"
        learned = "" if self.learned == self.parameters else f", of which {self.learned:,} learn"
        return (
            f"Model: {self.parameters:,} parameters{learned}.\n"
            f"Memory: {gigabytes(self.memory)}{free}: weights {gigabytes(self.weights)}, gradients "
            f"{gigabytes(self.gradients)}, optimizer {gigabytes(self.optimizer)}, one batch "
            f"{gigabytes(self.activations)}.\n"
            f"Work: {self.tokens_per_step:,} tokens and {self.flops_per_step / 1e9:,.1f} billion floating-point "
            "operations per step.\n"
            f"Time: about {self.steps:,} steps in {duration(self.seconds)}, judged by the speed of this machine now."
        )


def make_plan(
    config: TransformerConfig,
    settings: TrainingSettings,
    *,
    eval_windows: int = 0,
    device: str = "cpu",
    rank: int | None = None,
) -> Plan:
    """The plan for training a model of this config with these settings. Takes about half a second.

    eval_windows: how many windows one evaluation computes. rank: of adapters on all matrices, which alone learn (with
    AdamW); None: the whole model learns.
    """
    adapters = 0 if rank is None else sum(rank * sum(shape) for shape in hidden_matrices(config))
    parameters = num_parameters(config) + adapters
    learned = adapters or parameters
    context = settings.context or config.context
    tokens = settings.batch * settings.accumulate * context
    work = flops_per_token(config, context, adapters)
    after = 0 if adapters else optimizer_flops(config, settings)
    products, passes = matmul_rate(config, settings.batch * context, device), PASSES / pass_rate(device)
    per_token = work / products + activations_per_token(config, context) * passes
    # An evaluation goes forward only, a third of the work of a step with its backward pass.
    evaluation = eval_windows * context * per_token / (2 if adapters else 3)
    per_step = tokens * per_token + after / products + evaluation / settings.eval_every
    if settings.steps is not None:
        steps, seconds = settings.steps, settings.steps * per_step
    else:
        assert settings.minutes is not None, "settings have one of the two"
        seconds = 60.0 * settings.minutes
        steps = max(1, int(seconds / per_step))
    optimizer = FLOAT * (2 * learned if adapters else averages(config, settings))
    return Plan(
        parameters=parameters,
        learned=learned,
        tokens_per_step=tokens,
        flops_per_step=tokens * work + after,
        weights=FLOAT * parameters,
        # In their flat array, and once more in the backward pass of each core, on the way there.
        gradients=(1 + (thread_pool.cores if device == "cpu" else 1)) * FLOAT * learned,
        optimizer=optimizer,
        activations=FLOAT * settings.batch * context * activations_per_token(config, context),
        saving=2 * (FLOAT * parameters + optimizer),
        available=available_memory(device),
        steps=steps,
        seconds=seconds,
    )


# --- counting -------------------------------------------------------------------------------------------------------


def averages(config: TransformerConfig, settings: TrainingSettings) -> int:
    """Numbers that the optimizer remembers: two per parameter, one per number of a matrix that Muon has."""
    muon = sum(rows * columns for rows, columns in hidden_matrices(config)) if settings.optimizer == "muon" else 0
    return 2 * num_parameters(config) - muon


def flops_per_token(config: TransformerConfig, context: int, adapters: int = 0) -> int:
    """Floating-point operations per token, forward and backward: three times those of the forward pass.

    That is 6 N + 12 · layers · H · D · T (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, "PaLM", appendix B):
    backward, every product has two of the same size. As there, attention counts the full square of positions, although
    the future half of it need not be computed. adapters: numbers of adapters, beside which the N are frozen: these cost
    4 each, because no gradient of their own is computed.
    """
    products, everything = forward_operations(config, 0), forward_operations(config, context)
    attention = everything - products
    return (2 * products + 6 * adapters if adapters else 3 * products) + 3 * attention


def optimizer_flops(config: TransformerConfig, settings: TrainingSettings) -> int:
    """Muon's matrix products per step: of each (r, s) matrix, r <= s, 4 r² s + 2 r³ per iteration. AdamW has none."""
    if settings.optimizer != "muon":
        return 0
    sides = [(min(shape), max(shape)) for shape in hidden_matrices(config)]
    return ITERATIONS * sum(4 * r * r * s + 2 * r**3 for r, s in sides)


def activations_per_token(config: TransformerConfig, context: int) -> int:
    """How many numbers the forward pass keeps for the backward pass, per token of texts of `context`."""
    return kept_numbers(config, kept_keys(config, context))


def kept_keys(config: TransformerConfig, context: int) -> int:
    """For how many keys per query and head attention keeps the exponential: none after the query's own block."""
    if not worth_keeping(context, config.head_dim, config.attention_softcap):
        return 0
    return (context + min(QUERY_BLOCK, context)) // 2  # with a window fewer, which nobody counts


# --- measuring ------------------------------------------------------------------------------------------------------


def matmul_rate(config: TransformerConfig, tokens: int, device: str = "cpu") -> float:
    """Floating-point operations per second of (tokens, C) @ (C, F) on this machine, right now, in float32."""
    xp = np if device == "cpu" else import_cupy()
    # Larger products are no faster, and a model that cannot fit shall be refused rather than measured.
    tokens, width, hidden = (min(side, LARGEST_SIDE) for side in (tokens, config.width, config.hidden))
    x, weight = xp.ones((tokens, width), xp.float32), xp.ones((hidden, width), xp.float32)
    y = x @ weight.T
    return 2.0 * tokens * width * hidden * repetitions(lambda: xp.matmul(x, weight.T, out=y), y)


def pass_rate(device: str = "cpu") -> float:
    """Numbers per second when every number of a large array is read, changed a little and written, in float32."""
    xp = np if device == "cpu" else import_cupy()
    x = xp.ones((1000, 1000), xp.float32)
    y = x + 1.0
    return x.size * repetitions(lambda: xp.add(x, 1.0, out=y), y)


def repetitions(work: Callable[[], object], result: Array) -> float:
    """How often per second `work` can be done, which writes `result`."""
    times = 0
    work()  # the first time wakes the threads, and is not counted
    to_numpy(result[:1])
    began = time.perf_counter()
    while (seconds := time.perf_counter() - began) < MEASURED_SECONDS:
        work()
        to_numpy(result[:1])  # a GPU has only queued it until something is asked for
        times += 1
    return times / seconds


def available_memory(device: str = "cpu") -> int | None:
    """Bytes that are free, within what a container allows; None where the system does not say."""
    if device == "cuda":
        return int(import_cupy().cuda.Device().mem_info[0])
    known = [limit for limit in (free_memory(), free_in_container()) if limit is not None]
    return min(known, default=None)


def free_memory() -> int | None:
    """Linux: memory that can be had without swapping. Other POSIX systems: all there is. Windows: not known."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def free_in_container() -> int | None:
    """What the control group (version 2) of a container leaves, None without a limit."""
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if not (limit.exists() and used.exists()) or limit.read_text().strip() == "max":
        return None
    return max(0, int(limit.read_text()) - int(used.read_text()))


def gigabytes(count: int) -> str:
    """A number of bytes for reading: 1.2 GB, or 31 MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def duration(seconds: float) -> str:
    """A time for reading: 40 seconds, 12 minutes, 3.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.3g} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
