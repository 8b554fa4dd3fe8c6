"""Training in one call, and the history that it returns."""

import math

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.events import Evaluated, Saved, Stepped
from tinygrad_llm.training.history import BARS, History, spark_line
from tinygrad_llm.training.in_memory import train
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer

SETTINGS = {"steps": 6, "batch": 3, "lr": 1e-2, "eval_every": 4}


def stepped(step, loss, **changes):
    values = {"total_steps": 9, "lr": 1e-3, "gradient_norm": 0.5, "tokens": 100, "seconds": 0.25, "elapsed": 1.0}
    return Stepped(step=step, loss=loss, **{**values, **changes})


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_trains_as_a_run_in_a_folder_does(world, config, tmp_path, optimizer):
    settings = TrainingSettings(**SETTINGS, optimizer=optimizer)
    in_folder, in_memory = Transformer(config, seed=1), Transformer(config, seed=1)
    run = RunFolder.create(tmp_path / "run", config, settings, world.tokenizer)
    list(Trainer(run, in_folder, world.tokens, world.validation).run())
    events = []
    history = train(
        in_memory,
        world.tokens,
        **SETTINGS,
        optimizer=optimizer,
        validation=world.tokens[:400],
        tokenizer=world.tokenizer,
        on_event=events.append,
    )
    for name, value in in_folder.state_dict().items():
        assert np.array_equal(value, in_memory.state_dict()[name]), name
    recorded = History.of_run(run)
    assert history.losses.tolist() == recorded.losses.tolist() and len(history.losses) == 6
    assert history.lrs.tolist() == recorded.lrs.tolist()
    assert history.evaluation_steps.tolist() == recorded.evaluation_steps.tolist() == [0, 4, 6]
    assert [e for e in events if isinstance(e, Stepped | Evaluated)] == history.events
    assert not [event for event in events if isinstance(event, Saved)]


def test_lists_settings_and_no_validation(world, config):
    settings = TrainingSettings(steps=1, batch=2)
    history = train(Transformer(config), world.tokens.tolist(), settings, steps=3)
    assert len(history.losses) == 3 and history.evaluations == []
    assert history.losses[0] == pytest.approx(math.log(280), abs=0.2)


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["a text"], {"steps": 1}, "tokenizer.encode_array"),
        ([np.arange(100)], {}, "either steps or minutes"),
        ([np.arange(100)], {"steps": 1, "rate": 1.0}, "unknown entries .'rate'."),
        ([np.arange(100)], {"steps": 1, "lr": math.nan}, "lr must be a number above 0"),
        ([np.arange(100)], {"steps": 1, "validation": np.arange(100)}, "validation needs tokenizer="),
        ([np.arange(3)], {"steps": 1}, "at least"),
    ],
)
def test_what_cannot_be_is_named(config, arguments, changes, message):
    with pytest.raises(InputError, match=message):
        train(Transformer(config), *arguments, **changes)


def test_a_history_prints_in_a_few_lines():
    assert repr(History()) == "Training history: no steps yet"
    events = [Evaluated(0, 5.5, 3.0, None), stepped(1, 5.0), stepped(2, 4.0, lr=2e-3), Evaluated(2, 4.5, 2.5, 4.5)]
    assert repr(History(events)).splitlines() == [
        "Training history: 2 steps, 200 tokens in 0.5 s",
        "  training loss  5.000 → 4.000 nats per token  █▁",
        "  held-out loss  5.500 → 4.500 nats per token, 2.500 bits per byte; best 4.500 after step 2",
        "  lr 1.00e-03 → 2.00e-03, gradient norm 0.5",
    ]
    assert History(reversed(events)).events[0] == events[0] and History(events).events == events


def test_a_history_is_a_chart_in_a_notebook():
    events = [stepped(step, 5.0 / step) for step in range(1, 30)] + [Evaluated(20, 1.25, 0.75, None)]
    page = History(events)._repr_html_()
    assert "<svg" in page and "held-out text: 1.250 nats per token, 0.750 bits per byte" in page and "29 steps" in page
    assert "no steps yet" in History()._repr_html_()


def test_a_spark_line_is_never_wider_than_asked_and_survives_any_values():
    assert spark_line(np.arange(8.0)) == BARS
    assert len(spark_line(np.arange(1000.0), width=40)) == 40
    assert spark_line(np.ones(3)) == BARS[0] * 3
    assert len(spark_line(np.array([1.0, math.inf, 2.0]))) == 3
