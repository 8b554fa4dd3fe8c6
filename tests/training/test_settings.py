"""Settings: each number that cannot be is named, and JSON gives back the same settings."""

import json
import math

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.training.settings import TrainingSettings


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"steps": True},
        {"batch": 0},
        {"accumulate": -1},
        {"eval_every": 0},
        {"eval_windows": 0},
        {"checkpoint_every": 0},
        {"checkpoint_minutes": 0.0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"lr": "fast"},
        {"clip": -1.0},
        {"warmup": 1.1},
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"momentum": 1.0},
        {"min_lr": 0.01},
        {"weight_decay": -0.1},
        {"weight_decay": 1000.0},
        {"seed": -1},
        {"optimizer": "sgd"},
        {"schedule": "step"},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_named(bad):
    (name,) = bad
    with pytest.raises(InputError, match=name):
        TrainingSettings(**{"steps": 10, "lr": 1e-3, **bad})


def test_there_is_exactly_one_budget():
    for both in ({}, {"steps": 10, "minutes": 1.0}):
        with pytest.raises(InputError, match="either steps or minutes"):
            TrainingSettings(**both)
    with pytest.raises(InputError, match="minutes must be a number above 0"):
        TrainingSettings(minutes=0.0)


def test_json_gives_them_back():
    settings = TrainingSettings(minutes=3.5, optimizer="muon", clip=None, seed=7)
    assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_an_unknown_entry_is_named():
    with pytest.raises(InputError, match=r"unknown entries \['speed'\]"):
        TrainingSettings.from_dict({"steps": 1, "speed": 3})
