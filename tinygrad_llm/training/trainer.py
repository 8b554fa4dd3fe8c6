"""Training: read a batch, measure how wrong the model is, change every weight a little; a few thousand times.

`train_step` is the whole idea and can be stepped through. `Trainer` puts it in order: the learning rate of each step,
evaluations, checkpoints, the log, Ctrl-C. It prints nothing: `run()` yields events, and others show them.

    for event in Trainer(run, model, tokens, validation).run():
        print(event)

Builds on: `adamw`, `muon`, `schedules`, `evaluation`, `checkpoints`. Used by: the command line.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygrad_llm.backend import to_device
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.adapter_file import save_adapters
from tinygrad_llm.nn.lora import adapters, merged_state
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import Batches, ValidationWindows
from tinygrad_llm.training.adamw import AdamW
from tinygrad_llm.training.checkpoints import Checkpoint, newest_checkpoint, write_checkpoint
from tinygrad_llm.training.data_parallel import DataParallel, is_worth_it
from tinygrad_llm.training.evaluation import evaluate
from tinygrad_llm.training.events import Evaluated, Event, Finished, Resumed, Saved, Stepped
from tinygrad_llm.training.muon import Muon
from tinygrad_llm.training.optimizer import Optimizer
from tinygrad_llm.training.pace import Pace
from tinygrad_llm.training.parameter_groups import parameter_groups
from tinygrad_llm.training.run_folder import ADAPTERS, RunFolder
from tinygrad_llm.training.schedules import learning_rate
from tinygrad_llm.training.settings import TrainingSettings

DROPOUT_STREAM = 1  # beside the seed, so that dropout's numbers are not those of the initial weights


@dataclass(frozen=True)
class StepResult:
    """loss: nats per target, before the step. gradient_norm: before clipping. targets: how many were learned from."""

    loss: float
    gradient_norm: float
    targets: int


def train_step(
    model: Transformer,
    optimizer: Optimizer,
    batches: list[tuple[np.ndarray, np.ndarray]],
    *,
    lr: float | None = None,
    clip: float | None = None,
    rng: np.random.Generator | None = None,
    data_parallel: DataParallel | None = None,
) -> StepResult:
    """One step of the optimizer along the gradient of the mean loss over all targets of `batches`.

    batches: (ids, targets), both (B, T) integers, negative targets do not count. Several of them give the gradient
    of one large batch with the memory of a small one: losses are summed, and divided by the number of targets of all.
    (A mean of the batches' means would give the targets of a batch with few of them too much weight.)
    rng: draws the dropout. lr: the learning rate; None: the optimizer's.
    data_parallel: computes the gradients on several cores.
    """
    device = model.unembedding.device
    optimizer.zero_grad()
    total, targets_seen = 0.0, 0
    for ids, targets in batches:
        if data_parallel is not None:
            total += data_parallel.backward(ids, targets, rng)
        else:
            loss = model.loss(to_device(ids, device), to_device(targets, device), reduction="sum", rng=rng)
            loss.backward()
            total += loss.item()
        targets_seen += int((targets >= 0).sum())
    if data_parallel is not None:
        data_parallel.all_reduce()
    if lr is not None:
        optimizer.lr = lr
    scale = 1.0 / max(1, targets_seen)
    norm = optimizer.step(scale=scale, clip=clip)
    return StepResult(total * scale, norm, targets_seen)


class Trainer:
    """Trains `model` on `tokens` as the settings say, and keeps the run folder up to date.

    Where the folder holds a checkpoint, it goes on from the newest one that is whole: weights, optimizer, random
    numbers and place in the text are set to what they were, so that the run ends, to the last bit, as if it had never
    been interrupted. What the logs say about later steps is cut off.

    run: the folder, whose settings hold; None for a run without a folder, which saves nothing and takes `settings`.
    model: as its config and seed made it, or another one to go on from, also with adapters (`nn.lora`); what it has
    learned by a checkpoint goes into it. tokens: (N,) integers, the training text. validation: windows of other
    text; None: nothing is evaluated.
    clock: seconds, going up.

    Raises InputError when no checkpoint can be read though there are some, or the text is another.
    """

    def __init__(
        self,
        run: RunFolder | None,
        model: Transformer,
        tokens: np.ndarray,
        validation: ValidationWindows | None,
        *,
        settings: TrainingSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_folder, self.model, self.validation, self.clock = run, model, validation, clock
        given = settings if run is None else run.settings
        assert given is not None, "a run without a folder is given its settings"
        self.settings = given
        context = self.settings.context or model.config.context
        self.batches = Batches(tokens, self.settings.batch, context, self.settings.seed, self.settings.begin_token)
        self.optimizer = make_optimizer(model, self.settings)
        self.rng = dropout_rng(self.settings)
        self.pace = Pace.start(self.settings)
        self.data_parallel: DataParallel | None = None
        self.step = 0
        self.text_checksum = zlib.crc32(np.ascontiguousarray(tokens).data)
        self.losses_since = (0.0, 0)  # sum and number of the steps' losses since the last evaluation
        self.last: Evaluated | None = None
        self.best: Evaluated | None = None
        self._elapsed_before, self._started = 0.0, clock()
        self._saved: tuple[Saved, Evaluated | None] | None = None
        self._saved_at = clock()
        self.resumed = self._resume()

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the run, the time between an interruption and its resumption left out."""
        return self._elapsed_before + self.clock() - self._started

    def run(self) -> Iterator[Event]:
        """Train until the budget is used up; yields an event whenever something has happened.

        Ctrl-C during a step waits for the end of the step; then a checkpoint is saved, and KeyboardInterrupt raised.
        When Ctrl-C hits while the caller works with an event, the caller can call `save` to the same effect. Leaving
        the loop saves nothing.

        Raises InputError when the training diverges, MachineError when the disk fails.
        """
        batch, context = self.settings.batch, self.batches.context
        if is_worth_it(self.model, batch, context):
            self.data_parallel = DataParallel(self.model, self.optimizer.flat, batch, context)
        try:
            if self.resumed is not None:
                yield self.resumed
            while True:
                if self._evaluation_is_due():
                    yield from self._evaluate()
                if self._is_finished():
                    break
                if self._checkpoint_is_due() and (saved := self.save()):
                    yield saved
                yield self._train_one_step()
        except KeyboardInterrupt:
            self.save()
            raise
        finally:
            if self.data_parallel is not None:
                self.data_parallel.close()
        if saved := self.save():
            yield saved
        if self.last is not None:
            yield self._finished()

    def _train_one_step(self) -> Stepped:
        began, elapsed = self.clock(), self.elapsed
        settings = self.settings
        lr = scheduled_lr(settings, self.pace.progress(self.step, elapsed))
        with interrupts_held_back():
            batches = [self.batches.next() for _ in range(settings.accumulate)]
            result = train_step(
                self.model,
                self.optimizer,
                batches,
                lr=lr,
                clip=settings.clip or None,
                rng=self.rng,
                data_parallel=self.data_parallel,
            )
            self.step += 1
            seconds = self.clock() - began
            self.pace.stepped(self.step, self.elapsed)
            self.losses_since = (self.losses_since[0] + result.loss, self.losses_since[1] + 1)
            assert self.pace.total is not None, "after a step there is an estimate"
            event = Stepped(
                step=self.step,
                total_steps=self.pace.total,
                loss=result.loss,
                lr=lr,
                gradient_norm=result.gradient_norm,
                tokens=result.targets,
                seconds=seconds,
                elapsed=self.elapsed,
            )
            self._log("step", event)
        return event

    def _log(self, name: str, event: Stepped | Evaluated) -> None:
        if self.run_folder is not None:
            self.run_folder.append_metrics({"event": name, **asdict(event)})

    def _evaluation_is_due(self) -> bool:
        if self.validation is None or (self.last is not None and self.last.step == self.step):
            return False
        return self.step % self.settings.eval_every == 0 or self._is_finished()

    def _evaluate(self) -> Iterator[Evaluated]:
        assert self.validation is not None, "an evaluation was due"
        began = self.clock()
        result = evaluate(self.model, self.validation, self.settings.batch)
        total, count = self.losses_since
        event = Evaluated(self.step, result.loss, result.bits_per_byte, total / count if count else None)
        with interrupts_held_back():
            self.last, self.losses_since = event, (0.0, 0)
            if self.best is None or event.loss < self.best.loss:
                self.best = event
            self._log("evaluation", event)
        yield event
        self.pace.evaluated(self.clock() - began)  # with the time the caller takes, for instance for a sample

    def _is_finished(self) -> bool:
        return self.pace.total is not None and self.step >= self.pace.total

    def _checkpoint_is_due(self) -> bool:
        settings = self.settings
        if self.step == 0 or (self._saved is not None and self._saved[0].step == self.step):
            return False
        if settings.checkpoint_every is not None and self.step % settings.checkpoint_every == 0:
            return True
        minutes = settings.checkpoint_minutes
        return minutes is not None and self.clock() - self._saved_at >= 60.0 * minutes

    def _finished(self) -> Finished:
        assert self.last is not None and self.best is not None, "a run ends with an evaluation"
        last, best = self.last, self.best
        return Finished(self.step, self.elapsed, last.loss, last.bits_per_byte, best.bits_per_byte, best.step)

    # --- saving and going on ----------------------------------------------------------------------------------------

    def save(self) -> Saved | None:
        """Write a checkpoint of where the run stands, and model.safetensors; does nothing if just that is saved.

        Without a folder nothing is saved: None.

        Raises MachineError when the disk is full or cannot be written; earlier checkpoints are untouched then.
        """
        if self.run_folder is None:
            return None
        if self._saved is not None and self._saved == (Saved(self.step, self._saved[0].path), self.last):
            return self._saved[0]
        # What is frozen is not learned here: who resumes the run brings it along.
        arrays = {f"model/{name}": learned.numpy() for name, learned in self.optimizer.flat.parameters.items()}
        arrays |= {f"optimizer/{name}": array for name, array in self.optimizer.state_dict().items()}
        path = write_checkpoint(
            self.run_folder.checkpoints, Checkpoint(self.step, arrays, self._state(self.run_folder))
        )
        self.run_folder.save_model(merged_state(self.model))
        if adapters(self.model):
            save_adapters(self.model, self.run_folder.path / ADAPTERS)
        saved = Saved(self.step, path)
        self._saved, self._saved_at = (saved, self.last), self.clock()
        return saved

    def _resume(self) -> Resumed | None:
        """Go to the newest whole checkpoint; None when there is none yet, and the run starts at step 0."""
        if self.run_folder is None:
            return None
        self.run_folder.remove_leftovers()
        path, checkpoint, damaged = newest_checkpoint(
            self.run_folder.checkpoints, partial(self._restore, self.run_folder)
        )
        if path is None or checkpoint is None:
            self.run_folder.cut_logs({})
            return None
        self._saved = (Saved(self.step, path), self.last)
        return Resumed(self.step, path, damaged)

    def _state(self, run: RunFolder) -> dict[str, Any]:
        """Where the run stands, apart from arrays."""
        return {
            "batches": self.batches.state(),
            "text_checksum": self.text_checksum,
            "rng": self.rng.bit_generator.state,
            "pace": self.pace.state(),
            "elapsed": self.elapsed,
            "losses_since": self.losses_since,
            "last": None if self.last is None else asdict(self.last),
            "best": None if self.best is None else asdict(self.best),
            "logs": run.sync_logs(),
        }

    def _restore(self, run: RunFolder, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        if state["text_checksum"] != self.text_checksum:
            raise InputError("the training text is not the one this run began with. Give the same text to resume it.")
        self.batches.restore(state["batches"])
        self.model.load_state_dict(self.model.state_dict() | arrays_under("model/", checkpoint.arrays))
        self.optimizer.load_state_dict(arrays_under("optimizer/", checkpoint.arrays))
        self.rng.bit_generator.state = state["rng"]
        self.pace = Pace.from_state(self.settings, state["pace"])
        self.step = checkpoint.step
        self._elapsed_before, self._started = state["elapsed"], self.clock()
        self.losses_since = tuple(state["losses_since"])
        self.last = None if state["last"] is None else Evaluated(**state["last"])
        self.best = None if state["best"] is None else Evaluated(**state["best"])
        run.cut_logs(state["logs"])


def make_optimizer(model: Transformer, settings: TrainingSettings) -> Optimizer:
    """The optimizer that the settings name."""
    groups = parameter_groups(model, settings.weight_decay, muon=settings.optimizer == "muon")
    betas = (settings.beta1, settings.beta2)
    if settings.optimizer == "muon":
        return Muon(groups, lr=settings.lr, momentum=settings.momentum, betas=betas)
    return AdamW(groups, lr=settings.lr, betas=betas)


def scheduled_lr(settings: TrainingSettings, progress: float) -> float:
    """The learning rate at `progress`, from 0 to 1."""
    return learning_rate(
        progress, schedule=settings.schedule, lr=settings.lr, min_lr=settings.min_lr, warmup=settings.warmup
    )


def dropout_rng(settings: TrainingSettings) -> np.random.Generator:
    """The generator that draws the dropout of a run."""
    return np.random.Generator(np.random.PCG64([settings.seed, DROPOUT_STREAM]))


def arrays_under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Inside, Ctrl-C waits until the block is done: an optimizer step is whole, or has not begun.

    Only the main thread receives Ctrl-C, and only it may decide what it does; elsewhere nothing needs to be held back.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        before(*held[0])
