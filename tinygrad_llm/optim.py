"""Optimizers, clipping and learning-rate schedules: `tg.optim`.

optimizer = tg.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
schedule = tg.optim.cosine_schedule(lr=3e-4, steps=1000, warmup_steps=100)
for step in range(1000):
    model.loss(*batches.next()).backward()
    optimizer.lr = schedule(step)
    optimizer.step(clip=1.0)
    optimizer.zero_grad()
"""

from tinygrad_llm.other_names import of_module
from tinygrad_llm.training.adamw import AdamW
from tinygrad_llm.training.gradient_norm import clip_grad_norm_
from tinygrad_llm.training.muon import Muon
from tinygrad_llm.training.optimizer import Optimizer
from tinygrad_llm.training.parameter_groups import parameter_groups
from tinygrad_llm.training.schedules import (
    Schedule,
    constant_schedule,
    cosine_schedule,
    linear_schedule,
    warmup_stable_decay_schedule,
)
from tinygrad_llm.training.sgd import SGD

__all__ = [
    "SGD",
    "AdamW",
    "Muon",
    "Optimizer",
    "Schedule",
    "clip_grad_norm_",
    "constant_schedule",
    "cosine_schedule",
    "linear_schedule",
    "parameter_groups",
    "warmup_stable_decay_schedule",
]

__getattr__ = of_module("optim")
