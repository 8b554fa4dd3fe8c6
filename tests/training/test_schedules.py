"""Schedules: their values, no jump where the warm-up ends, and never upwards after it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.optim import (
    AdamW,
    Schedule,
    constant_schedule,
    cosine_schedule,
    linear_schedule,
    warmup_stable_decay_schedule,
)
from tinygrad_llm.training.schedules import SCHEDULES, cosine, learning_rate, linear, warmup_stable_decay

NAMES = sorted(SCHEDULES)
progresses = st.floats(0.0, 1.0)


def test_values():
    assert [cosine(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert cosine(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert [linear(p) for p in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    assert [warmup_stable_decay(p) for p in (0.0, 0.8, 0.9, 1.0)] == pytest.approx([1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("schedule", NAMES)
def test_the_warm_up_is_straight_and_the_end_is_min_lr(schedule):
    def lr_at(progress):
        return learning_rate(progress, schedule=schedule, lr=2.0, min_lr=0.5, warmup=0.1)

    assert [lr_at(p) for p in (0.0, 0.05, 0.1)] == pytest.approx([0.0, 1.0, 2.0])
    assert lr_at(0.1 - 1e-9) == pytest.approx(2.0)
    assert lr_at(1.0) == pytest.approx(2.0 if schedule == "constant" else 0.5)


def test_halfway_after_the_warm_up():
    assert learning_rate(0.6, schedule="cosine", lr=1.0, min_lr=0.2, warmup=0.2) == pytest.approx(0.6)
    assert learning_rate(0.6, schedule="linear", lr=1.0, min_lr=0.2, warmup=0.2) == pytest.approx(0.6)


def test_without_warm_up_it_begins_at_the_top():
    assert learning_rate(0.0, schedule="cosine", lr=1.0, min_lr=0.0, warmup=0.0) == 1.0


@given(st.sampled_from(NAMES), progresses, progresses, st.floats(0.0, 0.9))
def test_after_the_warm_up_it_never_rises(schedule, a, b, warmup):
    early, late = sorted((warmup + a * (1 - warmup), warmup + b * (1 - warmup)))
    lrs = [learning_rate(min(p, 1.0), schedule=schedule, lr=1.0, min_lr=0.1, warmup=warmup) for p in (early, late)]
    assert lrs[0] >= lrs[1] - 1e-12
    assert all(0.1 - 1e-12 <= lr <= 1.0 + 1e-12 for lr in lrs)


@pytest.mark.parametrize("schedule", NAMES)
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_outside_the_run_it_is_as_at_its_ends(schedule, warmup):
    def lr_at(progress):
        return learning_rate(progress, schedule=schedule, lr=2.0, min_lr=0.5, warmup=warmup)

    assert lr_at(2.0) == lr_at(1.0 + 1e-9) == lr_at(math.inf) == lr_at(1.0)
    assert lr_at(-1.0) == lr_at(0.0) == (0.0 if warmup else 2.0)
    end = 2.0 if schedule == "constant" or warmup == 1.0 else 0.5
    assert lr_at(1.0) == pytest.approx(end)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"schedule": "sine"}, "schedule must be one of cosine"),
        ({"warmup": -0.1}, "warmup must be a share"),
        ({"warmup": 1.1}, "warmup must be a share"),
        ({"warmup": math.nan}, "warmup must be a share"),
        ({"progress": math.nan}, "progress must be a number"),
    ],
)
def test_what_cannot_be_is_named(bad, message):
    good = {"progress": 0.5, "schedule": "cosine", "lr": 1.0, "warmup": 0.1}
    with pytest.raises(InputError, match=message):
        learning_rate(**{**good, **bad})


def test_the_values_of_transformers():
    """get_cosine_schedule_with_warmup and get_linear_schedule_with_warmup, 3 steps of warm-up, 10 steps."""
    cosine_of_step = [0, 1 / 3, 2 / 3, 1.0] + [0.5 * (1 + math.cos(math.pi * k / 7)) for k in range(1, 8)]
    linear_of_step = [0, 1 / 3, 2 / 3, 1.0] + [(7 - k) / 7 for k in range(1, 8)]
    by_step = [cosine_schedule(lr=1.0, steps=10, warmup_steps=3), linear_schedule(lr=1.0, steps=10, warmup_steps=3)]
    for schedule, expected in zip(by_step, (cosine_of_step, linear_of_step), strict=True):
        assert [schedule(step) for step in range(11)] == pytest.approx(expected)
        assert schedule(11) == schedule(1000) == pytest.approx(0.0)


def test_schedules_of_the_step():
    flat = constant_schedule(0.5, steps=10, warmup_steps=2)
    assert [flat(step) for step in (0, 1, 2, 9, 50)] == [0.0, 0.25, 0.5, 0.5, 0.5]
    stable = warmup_stable_decay_schedule(1.0, steps=100, min_lr=0.1)
    assert [stable(step) for step in (0, 80, 90, 100)] == pytest.approx([1.0, 1.0, 0.55, 0.1])
    assert repr(cosine_schedule(3e-4, 1000)) == (
        "Schedule(shape='cosine', lr=0.0003, steps=1000, warmup_steps=0, min_lr=0.0)"
    )


def test_a_schedule_sets_the_learning_rate_of_an_optimizer():
    x = Tensor(np.ones(1, np.float32), requires_grad=True)
    optimizer, schedule = AdamW([x], lr=1.0), linear_schedule(lr=1.0, steps=4)
    seen = []
    for step in range(4):
        optimizer.lr = schedule(step)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"shape": "sine"}, "shape must be one of"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"warmup_steps": 11}, "warmup_steps must lie between 0 and steps"),
        ({"lr": math.nan}, "lr must be"),
        ({"lr": -1.0}, "lr must be"),
        ({"min_lr": 2.0}, "min_lr must lie"),
        ({"min_lr": -0.1}, "min_lr must lie"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(bad, message):
    with pytest.raises(InputError, match=message):
        Schedule(**{"shape": "cosine", "lr": 1.0, "steps": 10, **bad})
