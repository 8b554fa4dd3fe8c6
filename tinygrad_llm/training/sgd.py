"""Stochastic gradient descent: straight down the gradient, with momentum if wanted.

Builds on: `optimizer`. Used by: training loops of one's own.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.backend import Array
from tinygrad_llm.errors import InputError
from tinygrad_llm.training.optimizer import Optimizer
from tinygrad_llm.training.parameter_groups import Groups, Parameters


def sgd(p, g, m, *, lr, momentum, nesterov, weight_decay):
    """The next (p, m). Parameters p, their gradients g, running sum of gradients m: arrays of one shape.

        g ← g + weight_decay · p
        m ← μ m + g
        p ← p - lr · m                 or with Nesterov's look ahead  p ← p - lr · (g + μ m)

    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", in PyTorch's form, in
    which lr stands outside m. Unlike in AdamW, the decay is part of the gradient. With μ = 0, m is not needed: None.
    """
    g = g + weight_decay * p
    if momentum == 0.0:
        return p - lr * g, m
    m = momentum * m + g
    return p - lr * (g + momentum * m if nesterov else m), m


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay: see `sgd` for the formula.

    params: a module, its parameters, or groups of them (see `Optimizer`). lr: the learning rate. momentum μ: how much
    of the running sum of gradients stays at each step. weight_decay: added to the gradient, times the parameter.
    nesterov: whether a step looks ahead.

    >>> optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)

    Raises InputError naming the setting that is out of its range.
    """

    def __init__(
        self,
        params: Parameters | Groups,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})

    def state_names_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum",) if group["momentum"] else ()

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and not group["momentum"]:
            raise InputError("SGD: nesterov=True needs a momentum above 0, such as momentum=0.9.")

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict[str, Any]) -> None:
        settings = {name: group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}
        p[...], m = sgd(p, g, state.get("momentum"), **settings)
        if "momentum" in state:
            state["momentum"][...] = m
