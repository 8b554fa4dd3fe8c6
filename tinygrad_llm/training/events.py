"""What a training run tells while it runs. The trainer yields these; the terminal and the files make them visible.

Used by: `trainer`, which yields them.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resumed:
    """The run goes on from a checkpoint: `step` steps are done. damaged: newer checkpoints that could not be read,
    each with the reason in one sentence; the steps since then are done again."""

    step: int
    path: Path
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stepped:
    """One optimizer step is done.

    step: steps done so far. total_steps: of the whole run (an estimate while a run by minutes is young).
    loss: nats per token of the text of this step, before the step. lr: the learning rate it used.
    gradient_norm: of the whole gradient, before clipping. tokens: targets learned from in this step.
    seconds: what the step took. elapsed: seconds since the start of the run, evaluations and saving included.
    """

    step: int
    total_steps: int
    loss: float
    lr: float
    gradient_norm: float
    tokens: int
    seconds: float
    elapsed: float


@dataclass(frozen=True)
class Evaluated:
    """The model was measured on the validation windows after `step` steps.

    loss: nats per token. bits_per_byte: the same text in bits per byte, which compares between tokenizers.
    train_loss: the mean of the steps' losses since the evaluation before; None before the first step.
    """

    step: int
    loss: float
    bits_per_byte: float
    train_loss: float | None


@dataclass(frozen=True)
class Saved:
    """A checkpoint after `step` steps is safely on the disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class Finished:
    """The run is complete; its last evaluation, and the best one with its step."""

    step: int
    elapsed: float
    loss: float
    bits_per_byte: float
    best_bits_per_byte: float
    best_step: int


Event = Resumed | Stepped | Evaluated | Saved | Finished
