"""Resumed equals uninterrupted, to the last bit: weights, optimizer, random numbers, place in the text, logs."""

import errno
import os

import numpy as np
import pytest

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training import data_parallel
from tinygrad_llm.training.checkpoints import list_checkpoints
from tinygrad_llm.training.events import Evaluated, Resumed, Stepped
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer

STEPS = 9


def settings(**changes):
    values = {"steps": STEPS, "batch": 3, "accumulate": 2, "lr": 1e-2, "eval_every": 4, "checkpoint_every": 3}
    return TrainingSettings(**{**values, **changes})


@pytest.fixture
def train(tmp_path, world):
    """Train in the folder `name`, from its newest checkpoint if it has one, up to the step `until`, then vanish."""

    def run(name, config=None, chosen=None, until=None, clock=None):
        path = tmp_path / name
        folder = RunFolder(path) if path.exists() else RunFolder.create(path, config, chosen, world.tokenizer)
        model = Transformer(folder.config, folder.settings.seed)
        keywords = {} if clock is None else {"clock": clock}
        trainer = Trainer(folder, model, world.tokens, world.validation, **keywords)
        for event in trainer.run():
            if isinstance(event, Evaluated):
                folder.append_sample(event.step, f"sample {event.loss}")
            if isinstance(event, Stepped) and event.step == until:
                break
        return trainer

    return run


def check_equal(resumed, reference):
    assert np.array_equal(resumed.optimizer.flat.values, reference.optimizer.flat.values)
    state, expected = resumed.optimizer.state_dict(), reference.optimizer.state_dict()
    assert state.keys() == expected.keys()
    for name, array in state.items():
        assert np.array_equal(array, expected[name]), name
    assert resumed.rng.bit_generator.state == reference.rng.bit_generator.state
    assert resumed.batches.state() == reference.batches.state()
    assert (resumed.last, resumed.best) == (reference.last, reference.best)

    def log(trainer):
        times = ("seconds", "elapsed")
        return [{n: v for n, v in line.items() if n not in times} for line in trainer.run_folder.metrics()]

    assert log(resumed) == log(reference)
    for name in ("samples.txt", "model.safetensors"):
        assert (resumed.run_folder.path / name).read_bytes() == (reference.run_folder.path / name).read_bytes()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_resumed_equals_uninterrupted_wherever_it_stopped(train, tiny, optimizer, kind):
    config = getattr(tiny, kind)(dropout=0.2)
    chosen = settings(optimizer=optimizer)
    reference = train("whole", config, chosen)
    assert reference.step == STEPS
    for until in (1, 3, 4, 5, 8):
        name = f"until-{until}"
        train(name, config, chosen, until=until)
        resumed = train(name)
        assert (resumed.resumed is None) if until <= 3 else resumed.resumed.step == 3 * ((until - 1) // 3)
        check_equal(resumed, reference)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory without a name is Linux's")
def test_resumed_equals_uninterrupted_with_workers(train, tiny, monkeypatch):
    monkeypatch.setattr(data_parallel, "WORTH_OPERATIONS", 0.0)
    monkeypatch.setattr(data_parallel.thread_pool, "cores", 2)
    config, chosen = tiny.llama(dropout=0.2), settings(optimizer="muon")
    reference = train("whole", config, chosen)
    assert len(reference.data_parallel.workers) == 1
    train("stopped", config, chosen, until=5)
    resumed = train("stopped")
    assert resumed.resumed.step == 3
    check_equal(resumed, reference)


def test_stopped_again_and_again(train, tiny):
    config = tiny.gpt2(dropout=0.1)
    reference = train("whole", config, settings())
    train("pieces", config, settings(), until=2)
    for until in (4, 5, 7, 8, 9):
        train("pieces", until=until)
    check_equal(train("pieces"), reference)


def test_a_finished_run_is_finished(train, tiny):
    train("run", tiny.gpt2(), settings())
    again = train("run")
    assert again.resumed.step == again.step == STEPS


def test_a_finished_run_can_be_prolonged(train, tiny):
    finished = train("run", tiny.gpt2(), settings())
    finished.run_folder.change_budget(steps=STEPS + 3)
    longer = train("run")
    assert (longer.resumed.step, longer.step) == (STEPS, STEPS + 3)
    assert [line["step"] for line in longer.run_folder.metrics() if line["event"] == "step"] == [*range(1, STEPS + 4)]


def test_a_damaged_newest_checkpoint_costs_steps_and_nothing_else(train, tiny, world):
    config = tiny.llama(dropout=0.1)
    reference = train("whole", config, settings())
    stopped = train("damaged", config, settings(), until=8)
    newest, before = list_checkpoints(stopped.run_folder.checkpoints)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 16
    newest.write_bytes(content)
    resumed = train("damaged")
    (reason,) = resumed.resumed.damaged
    assert resumed.resumed == Resumed(3, before, (reason,))
    assert f"{newest} is damaged" in reason
    check_equal(resumed, reference)


def test_a_full_disk_ends_the_run_and_costs_steps_and_nothing_else(train, tiny, monkeypatch):
    config = tiny.gpt2(dropout=0.1)
    reference = train("whole", config, settings())
    train("full", config, settings(), until=4)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="the disk is full|No space left on device"):
        train("full")
    monkeypatch.undo()
    resumed = train("full")
    assert resumed.resumed.step == 3
    check_equal(resumed, reference)


def test_a_run_by_minutes_is_bit_equal_once_its_length_is_known(train, tiny):
    config, chosen = tiny.gpt2(dropout=0.1), settings(steps=None, minutes=0.1, checkpoint_every=40, eval_every=50)

    def clock(seconds):
        now = [0.0]

        def tick():
            now[0] += seconds
            return now[0]

        return tick

    reference = train("whole", config, chosen, clock=clock(0.01))
    train("slower", config, chosen, until=45, clock=clock(0.01))
    resumed = train("slower", clock=clock(0.05))  # on a slower machine
    assert resumed.resumed.step == 40 and resumed.pace.is_final
    check_equal(resumed, reference)


def test_leftovers_of_a_killed_process_are_removed(train, tiny):
    stopped = train("run", tiny.gpt2(), settings(), until=4)
    leftovers = [stopped.run_folder.checkpoints / ".step-00000006.safetensors.123.tmp"]
    leftovers.append(stopped.run_folder.path / ".model.safetensors.123.tmp")
    for path in leftovers:
        path.write_bytes(b"half")
    train("run", until=5)
    assert not any(path.exists() for path in leftovers)


def test_another_text_is_refused(train, tiny, world):
    stopped = train("run", tiny.gpt2(), settings(), until=4)
    other = world.tokens.copy()
    other[7] += 1
    with pytest.raises(InputError, match="the training text is not the one this run began with"):
        Trainer(stopped.run_folder, Transformer(tiny.gpt2()), other, world.validation)
