"""Where the time of a training step goes: the ops, and what stands around them.

The step is the trainer's own, only looked at.

Builds on: `debugging.profile`, `trainer` (`train_step`). Used by: `tinygrad-llm profile`.
Left out on purpose: the processes of `data_parallel`. One process does the whole batch here, its ops on all cores,
so a step may take longer than in training; what each op costs is seen better so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_llm.debugging.costs import NOTHING, Cost
from tinygrad_llm.debugging.profile import Profile
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import Batches
from tinygrad_llm.training.muon import Muon
from tinygrad_llm.training.optimizer import Optimizer
from tinygrad_llm.training.plan import optimizer_flops
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import train_step

BATCH, ENGINE, NORM, UPDATE = "(batch)", "(after the last op)", "(gradient norm)", "(optimizer)"


def profile_training(
    model: Transformer, optimizer: Optimizer, batches: Batches, *, steps: int = 5, warmup: int = 2, lr: float = 1e-4
) -> Profile:
    """The profile of one training step: of `steps` steps, after `warmup` others, the one that took the median time.

    The steps change the model.
    """
    for _ in range(warmup):
        train_step(model, optimizer, [batches.next()], lr=lr, clip=1.0)
    profiles = [profile_step(model, optimizer, batches, lr) for _ in range(steps)]
    return sorted(profiles, key=lambda profile: profile.total().seconds)[steps // 2]


def profile_step(model: Transformer, optimizer: Optimizer, batches: Batches, lr: float) -> Profile:
    """The profile of the next training step."""
    norm, update = optimizer_costs(model, optimizer)
    profile = Profile()
    # On this one object the two methods are put in the place of the class's, and taken away again at the end.
    methods = vars(optimizer)
    methods["step"] = marked(profile, ENGINE, optimizer.step)
    methods["apply"] = marked(profile, NORM, optimizer.apply, norm)
    try:
        with profile:
            batch = batches.next()
            profile.mark(BATCH)
            train_step(model, optimizer, [batch], lr=lr, clip=1.0)
            profile.mark(UPDATE, update)
    finally:
        del methods["step"], methods["apply"]
    return profile


def marked(profile: Profile, name: str, function: Callable[..., Any], cost: Cost = NOTHING) -> Callable[..., Any]:
    """The same function; what was done since the last mark, up to its call, counts as `name`."""

    def call(*arguments: Any, **options: Any) -> Any:
        profile.mark(name, cost)
        return function(*arguments, **options)

    return call


def optimizer_costs(model: Transformer, optimizer: Optimizer) -> tuple[Cost, Cost]:
    """What the norm of the gradient costs, which reads it once, and what the update does.

    The update reads the gradient, and reads and writes the weights and every average.
    """
    gradients, values = optimizer.flat.gradients.nbytes, optimizer.flat.values.nbytes
    averages = sum(array.nbytes for state in optimizer.state for array in state.values())
    kind = TrainingSettings(steps=1, optimizer="muon" if isinstance(optimizer, Muon) else "adamw")
    update = Cost(optimizer_flops(model.config, kind), gradients + 2 * values + 2 * averages)
    return Cost(0, gradients), update
