"""The loop: accumulated equals full batch, the order of events, the log, Ctrl-C, divergence, a run by minutes."""

import dataclasses
import math
import signal

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training import trainer as trainer_module
from tinygrad_llm.training.adamw import AdamW
from tinygrad_llm.training.checkpoints import newest_checkpoint
from tinygrad_llm.training.evaluation import evaluate
from tinygrad_llm.training.events import Evaluated, Finished, Resumed, Saved, Stepped
from tinygrad_llm.training.parameter_groups import parameter_groups
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer, interrupts_held_back, train_step


@pytest.fixture
def make_trainer(tmp_path, world):
    """A trainer in a new folder, or in the folder of that name."""

    def make(config, settings, name="run", clock=None):
        path = tmp_path / name
        run = RunFolder(path) if path.exists() else RunFolder.create(path, config, settings, world.tokenizer)
        model = Transformer(run.config, run.settings.seed)
        keywords = {} if clock is None else {"clock": clock}
        return Trainer(run, model, world.tokens, world.validation, **keywords)

    return make


def few_steps(**changes):
    return TrainingSettings(**{"steps": 6, "batch": 3, "lr": 1e-2, "eval_every": 4, "checkpoint_every": 2, **changes})


def without_times(lines):
    return [{name: value for name, value in line.items() if name not in ("seconds", "elapsed")} for line in lines]


# --- one step ---------------------------------------------------------------------------------------------------------


def uneven_batch(config):
    """16 windows; of some, most targets do not count, and of one none."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, config.vocab_size, (16, config.context)).astype(np.int32)
    targets = rng.integers(0, config.vocab_size, ids.shape).astype(np.int32)
    for row in range(10):
        targets[row, row:] = -1
    return ids, targets


def test_accumulated_equals_the_full_batch_with_uneven_counts(config):
    ids, targets = uneven_batch(config)

    def gradient(pieces):
        model = Transformer(config, seed=1)
        optimizer = AdamW(model)
        result = train_step(model, optimizer, [(ids[a:b], targets[a:b]) for a, b in pieces], lr=0.0)
        return result, optimizer.flat.gradients / result.targets

    full, full_gradient = gradient([(0, 16)])
    pieces, pieces_gradient = gradient([(0, 1), (1, 4), (4, 12), (12, 16)])
    assert full.targets == pieces.targets == (targets >= 0).sum()
    assert pieces.loss == pytest.approx(full.loss, rel=1e-6)
    assert pieces.gradient_norm == pytest.approx(full.gradient_norm, rel=1e-6)
    assert np.abs(pieces_gradient - full_gradient).max() < 1e-6 * np.abs(full_gradient).max()


def test_a_step_is_along_the_gradient_of_the_mean_loss(config):
    ids, targets = uneven_batch(config)
    by_step, by_hand = Transformer(config), Transformer(config)
    result = train_step(by_step, AdamW(by_step), [(ids, targets)], lr=0.01)
    optimizer = AdamW(by_hand, lr=0.01)
    loss = by_hand.loss(ids, targets)
    loss.backward()
    norm = optimizer.step()
    assert (result.loss, result.gradient_norm) == pytest.approx((loss.item(), norm), rel=1e-6)
    for name, parameter in by_hand.named_parameters():
        np.testing.assert_allclose(by_step.state_dict()[name], parameter.data, rtol=0, atol=2e-5, err_msg=name)


def test_a_batch_without_targets_changes_nothing_but_the_decay(config):
    ids = np.zeros((2, config.context), np.int32)
    model = Transformer(config)
    before = model.final_norm.weight.data.copy()
    optimizer = AdamW(parameter_groups(model, weight_decay=0.1))
    result = train_step(model, optimizer, [(ids, np.full_like(ids, -1))], lr=0.01)
    assert (result.loss, result.gradient_norm, result.targets) == (0.0, 0.0, 0)
    assert np.array_equal(model.final_norm.weight.data, before)


# --- a whole run ------------------------------------------------------------------------------------------------------


def test_the_events_of_a_run_in_their_order(make_trainer, config, capsys):
    trainer = make_trainer(config, few_steps())
    events = list(trainer.run())
    told = [(type(event).__name__, event.step) for event in events]
    assert told == [
        ("Evaluated", 0),
        ("Stepped", 1),
        ("Stepped", 2),
        ("Saved", 2),
        ("Stepped", 3),
        ("Stepped", 4),
        ("Evaluated", 4),
        ("Saved", 4),
        ("Stepped", 5),
        ("Stepped", 6),
        ("Evaluated", 6),
        ("Saved", 6),
        ("Finished", 6),
    ]
    assert capsys.readouterr() == ("", "")
    steps = [event for event in events if isinstance(event, Stepped)]
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    assert all(step.total_steps == 6 and step.tokens == 3 * 16 for step in steps)
    assert evaluations[0].train_loss is None
    assert evaluations[1].train_loss == pytest.approx(np.mean([step.loss for step in steps[:4]]))
    assert evaluations[2].train_loss == pytest.approx(np.mean([step.loss for step in steps[4:]]))
    assert evaluations[2].loss == evaluate(trainer.model, trainer.validation, batch=3).loss
    assert evaluations[2].loss < evaluations[0].loss - 0.3
    best = min(evaluations, key=lambda event: event.loss)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.loss, finished.bits_per_byte) == (evaluations[2].loss, evaluations[2].bits_per_byte)
    assert (finished.best_bits_per_byte, finished.best_step) == (best.bits_per_byte, best.step)


def test_the_log_holds_every_step_and_evaluation(make_trainer, config):
    trainer = make_trainer(config, few_steps())
    events = [event for event in trainer.run() if isinstance(event, Stepped | Evaluated)]
    lines = trainer.run_folder.metrics()
    kinds = {"step": Stepped, "evaluation": Evaluated}
    assert [kinds[line.pop("event")](**line) for line in lines] == events


def test_the_weights_are_in_the_folder_after_every_checkpoint(make_trainer, config):
    trainer = make_trainer(config, few_steps())
    for event in trainer.run():
        if isinstance(event, Saved):
            model, _ = trainer.run_folder.load_model()
            for name, parameter in trainer.model.named_parameters():
                assert np.array_equal(model.state_dict()[name], parameter.data)


def test_the_rate_of_every_step_follows_the_schedule(make_trainer, tiny):
    settings = few_steps(steps=10, warmup=0.2, lr=1.0e-2, min_lr=1.0e-3, schedule="linear")
    lrs = [event.lr for event in make_trainer(tiny.gpt2(), settings).run() if isinstance(event, Stepped)]
    # Read in the middle of a step: 0.05 and 0.15 of the run lie in the warm-up, then 0.0625, 0.1875, ... of the rest.
    after = [1.0e-3 + 9.0e-3 * (1 - (k + 0.5) / 8) for k in range(8)]
    assert lrs == pytest.approx([0.25e-2, 0.75e-2, *after])


def test_a_run_by_minutes_ends_near_its_time(make_trainer, tiny):
    now = [0.0]

    def clock():
        now[0] += 0.01
        return now[0]

    events = list(make_trainer(tiny.gpt2(), few_steps(steps=None, minutes=0.1, eval_every=20), clock=clock).run())
    assert events[-1].elapsed == pytest.approx(6.0, rel=0.1)
    totals = [event.total_steps for event in events if isinstance(event, Stepped)]
    assert len(totals) == totals[-1]
    assert len(set(totals[len(totals) // 8 :])) == 1  # fixed after a tenth
    lrs = [event.lr for event in events if isinstance(event, Stepped)]
    assert max(lrs) == pytest.approx(1e-2, rel=0.05) and lrs[-1] == pytest.approx(1e-3, rel=0.02)


def test_saving_by_the_clock(make_trainer, tiny):
    now = [0.0]

    def clock():
        now[0] += 1.0
        return now[0]

    settings = few_steps(steps=30, eval_every=100, checkpoint_every=None, checkpoint_minutes=0.5)
    saved = [e.step for e in make_trainer(tiny.gpt2(), settings, clock=clock).run() if isinstance(e, Saved)]
    assert len(saved) >= 3 and saved[-1] == 30
    never = few_steps(steps=30, eval_every=100, checkpoint_every=None, checkpoint_minutes=None)
    events = make_trainer(tiny.gpt2(), never, name="other", clock=clock).run()
    assert [e.step for e in events if isinstance(e, Saved)] == [30]


def test_saving_twice_at_the_same_place_writes_once(make_trainer, tiny):
    trainer = make_trainer(tiny.gpt2(), few_steps(checkpoint_every=None))
    for event in trainer.run():
        if isinstance(event, Stepped) and event.step == 3:
            saved = trainer.save()
            written = saved.path.stat().st_mtime_ns
            assert trainer.save() == saved
            assert saved.path.stat().st_mtime_ns == written


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_run_that_diverges_says_so_and_keeps_its_checkpoint(make_trainer, tiny):
    trainer = make_trainer(tiny.gpt2(), few_steps())
    events = trainer.run()
    with pytest.raises(InputError, match=r"the gradient of .* holds NaN or infinity \(step 4\).*diverged"):
        for event in events:
            if isinstance(event, Stepped) and event.step == 3:
                trainer.model.embedding.weight.data[0, 0] = math.inf
    assert newest_checkpoint(trainer.run_folder.checkpoints)[1].step == 2


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_within_a_step_lets_it_finish_saves_and_can_be_resumed(make_trainer, tiny, monkeypatch):
    reference = make_trainer(tiny.gpt2(dropout=0.1), few_steps(), name="reference")
    list(reference.run())

    def interrupted_step(*args, **keywords):
        result = train_step(*args, **keywords)
        if args[1].steps == 3:
            signal.raise_signal(signal.SIGINT)
        return dataclasses.replace(result)

    monkeypatch.setattr(trainer_module, "train_step", interrupted_step)
    trainer = make_trainer(tiny.gpt2(dropout=0.1), few_steps())
    told = []
    with pytest.raises(KeyboardInterrupt):
        for event in trainer.run():
            told.append(event)
    monkeypatch.undo()
    assert told[-1] == Saved(2, told[-1].path) and trainer.step == 3
    assert newest_checkpoint(trainer.run_folder.checkpoints)[1].step == 3
    resumed = make_trainer(None, None)
    first, *rest = resumed.run()
    assert first == Resumed(3, first.path, ()) and rest[-1].step == 6
    assert np.array_equal(resumed.optimizer.flat.values, reference.optimizer.flat.values)
    assert without_times(resumed.run_folder.metrics()) == without_times(reference.run_folder.metrics())


def test_ctrl_c_while_the_caller_is_busy_can_be_saved_by_the_caller(make_trainer, tiny):
    trainer = make_trainer(tiny.gpt2(), few_steps(checkpoint_every=None))
    try:
        for event in trainer.run():
            if isinstance(event, Evaluated) and event.step == 4:
                signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        assert trainer.save().step == 4
    first, *rest = make_trainer(None, None).run()
    assert first.step == 4
    assert [event.step for event in rest if isinstance(event, Evaluated)] == [6]  # that of step 4 is not repeated


def test_ctrl_c_during_an_evaluation_makes_it_again(make_trainer, tiny, monkeypatch):
    trainer = make_trainer(tiny.gpt2(), few_steps(checkpoint_every=None))

    def interrupted(model, windows, batch):
        if trainer.step == 4:
            raise KeyboardInterrupt
        return evaluate(model, windows, batch)

    monkeypatch.setattr(trainer_module, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(trainer.run())
    monkeypatch.undo()
    first, *rest = make_trainer(None, None).run()
    assert first.step == 4
    assert [event.step for event in rest if isinstance(event, Evaluated)] == [4, 6]


def test_interrupts_are_held_back_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGINT)
    done = False
    with pytest.raises(KeyboardInterrupt), interrupts_held_back():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done and signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held_back():  # as under nohup: ignored stays ignored
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
