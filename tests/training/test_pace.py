"""The length of a run: given in steps, or found from the clock and then fixed."""

import dataclasses
import json

import pytest

from tinygrad_llm.training.pace import Pace
from tinygrad_llm.training.settings import TrainingSettings


def test_steps_are_what_they_are():
    pace = Pace.start(TrainingSettings(steps=4))
    assert (pace.total, pace.is_final) == (4, True)
    assert [pace.progress(step, elapsed=1e9) for step in range(4)] == [0.125, 0.375, 0.625, 0.875]
    pace.stepped(1, elapsed=100.0)
    assert pace.total == 4


def minutes_run(minutes=1.0, step=0.5, evaluation=2.0, eval_every=10, until=None):
    """A run on a machine where everything always takes the same time. Returns the pace and when it ended."""
    pace = Pace.start(TrainingSettings(minutes=minutes, eval_every=eval_every))
    now, steps = 0.0, 0
    while pace.total is None or steps < pace.total:
        if steps % eval_every == 0:
            now += evaluation
            pace.evaluated(evaluation)
        now += step
        steps += 1
        pace.stepped(steps, now)
        if steps == until:
            break
    return pace, now + (evaluation if steps % eval_every else 0.0)


@pytest.mark.parametrize("step, evaluation", [(0.5, 2.0), (0.05, 0.0), (0.01, 3.0), (1.3, 4.0)])
def test_a_run_by_minutes_ends_on_time(step, evaluation):
    _, end = minutes_run(step=step, evaluation=evaluation)
    assert end == pytest.approx(60.0, abs=step + 2 * evaluation)


def test_progress_is_the_clock_until_a_tenth_is_over_and_then_steps():
    pace, _ = minutes_run(until=3)
    assert not pace.is_final
    assert pace.progress(3, elapsed=4.5) == 4.5 / 60.0
    pace, _ = minutes_run(until=20)
    assert pace.is_final
    total = pace.total
    assert pace.progress(20, elapsed=1e9) == 20.5 / total
    pace.stepped(21, elapsed=45.0)  # the machine has become slow: too late to matter
    assert pace.total == total


def test_one_step_that_takes_all_the_time_is_the_only_one():
    pace = Pace.start(TrainingSettings(minutes=0.1))
    pace.evaluated(1.0)
    pace.stepped(1, elapsed=21.0)
    assert (pace.total, pace.is_final) == (1, True)


def test_json_gives_it_back():
    for until in (3, 20):
        pace, _ = minutes_run(until=until)
        assert Pace.from_state(pace.settings, json.loads(json.dumps(pace.state()))) == pace


def test_another_budget_is_another_length():
    minutes, _ = minutes_run(until=20)
    state = minutes.state()
    assert Pace.from_state(TrainingSettings(steps=50), state) == dataclasses.replace(
        minutes, settings=TrainingSettings(steps=50), total=50, is_final=True
    )
    longer = Pace.from_state(dataclasses.replace(minutes.settings, minutes=2.0), state)
    assert (longer.total, longer.is_final) == (None, False)
    longer.stepped(21, elapsed=15.0)
    assert longer.is_final and 1.9 * minutes.total < longer.total < 2.3 * minutes.total
