"""AdamW: the optimizer that most language models are trained with.

`adamw` is the formula, for one parameter; `kernels.cpu.adamw_step` computes the same in one pass over memory.

Builds on: `optimizer`. Used by: `trainer`, `muon`.
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.kernels import cpu
from tinygrad_llm.training.optimizer import Optimizer, Piece
from tinygrad_llm.training.parameter_groups import Groups, Parameters


def adamw(p, g, m, v, *, step, lr, betas, eps, weight_decay):
    """The next (p, m, v). Parameters p, their gradients g, averages m and v: arrays of one shape; step counts from 1.

        m ← β₁ m + (1 - β₁) g              the average gradient
        v ← β₂ v + (1 - β₂) g²             the average squared gradient
        m̂ = m / (1 - β₁^step)              both averages start at 0: undo that
        v̂ = v / (1 - β₂^step)
        p ← p - lr · (m̂ / (√v̂ + ε) + weight_decay · p)

    Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2. As in PyTorch, the factor of the
    schedule is inside lr, which then scales the decay too.
    """
    beta1, beta2 = betas
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * (g * g)
    m_hat = m / (1.0 - beta1**step)
    v_hat = v / (1.0 - beta2**step)
    return p - lr * (m_hat / (array_module(p).sqrt(v_hat) + eps) + weight_decay * p), m, v


class AdamW(Optimizer):
    """Adam with decoupled weight decay: see `adamw` for the formula.

    params: a module, its parameters, or groups of them (see `Optimizer`). lr: the learning rate. betas: how much of the
    average gradient and of the average squared gradient stays at each step. eps: in the denominator. weight_decay: of
    all parameters, as in PyTorch; `parameter_groups(model, weight_decay)` leaves out vectors (biases, norms).

    >>> optimizer = AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    >>> model.loss(ids, targets).backward()
    >>> optimizer.step(clip=1.0)
    >>> optimizer.zero_grad()

    Raises InputError naming the setting that is out of its range.
    """

    state_names = ("first", "second")

    def __init__(
        self,
        params: Parameters | Groups,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict[str, Any]) -> None:
        m, v = state["first"], state["second"]
        p[...], m[...], v[...] = adamw(p, g, m, v, step=step, **adamw_settings(group))

    def update_fast(self, pieces: list[Piece], group: dict[str, Any], scale: float) -> None:
        for p, g, state, step in pieces:
            cpu.adamw_step(
                p, g, state["first"], state["second"], step=step, gradient_scale=scale, **adamw_settings(group)
            )


def adamw_settings(group: dict[str, Any]) -> dict[str, Any]:
    """The settings of a group that the formula uses."""
    return {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
