"""Schedules: their values, no jump where the warm-up ends, and never upwards after it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
