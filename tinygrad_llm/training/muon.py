"""Muon: momentum, orthogonalised, for the matrices inside a network; AdamW for everything else.

`muon` is the formula, for one matrix; `muon_in_place` computes the same for many, shared among the cores.

Builds on: `adamw`, `newton_schulz`. Used by: `trainer`.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_llm.backend import Array
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.threads import parallel_for
from tinygrad_llm.nn.module import Module
from tinygrad_llm.training.adamw import AdamW
from tinygrad_llm.training.newton_schulz import orthogonalize, orthogonalize_in_place
from tinygrad_llm.training.optimizer import Optimizer, Piece
from tinygrad_llm.training.parameter_groups import Groups, Parameters, is_hidden_matrix, is_pair, listed

UPDATE_RMS = 0.2  # the root mean square of an update, like that of AdamW's usual ones


def muon(w, g, m, *, lr, momentum, nesterov, weight_decay):
    """The next (w, m). Weights w (R, S) of one hidden matrix, its gradient g, its running sum of gradients m.

        m ← μ m + g
        u = orthogonalize(m)                   or with Nesterov's look ahead  orthogonalize(g + μ m)
        w ← w - lr · (0.2 √max(R, S) · u + weight_decay · w)

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". The factor is that of Liu et al.
    2025, "Muon is scalable for LLM training", equation 4, in place of Jordan's √max(1, R/S): u has min(R, S) singular
    values near 1, so a root mean square of 1/√max(R, S), and the factor makes it 0.2, which is about what AdamW's
    updates have. One learning rate and one weight decay then serve both optimizers and all shapes.
    """
    m = momentum * m + g
    u = orthogonalize(g + momentum * m if nesterov else m)
    return w - lr * (UPDATE_RMS * math.sqrt(max(w.shape)) * u + weight_decay * w), m


class Muon(AdamW):
    """Muon for hidden matrices (see `muon` for the formula), AdamW for embeddings, head and vectors.

    params: a module or its `named_parameters()`, whose names tell which matrices are embeddings or the head; or groups,
    in which "use_muon": False leaves a group to AdamW. Tensors without names must all be matrices, which Muon takes.
    lr, weight_decay: of both; Muon's updates are scaled to the size that AdamW's have. momentum, nesterov: of Muon.
    betas, eps: of AdamW.

    >>> optimizer = Muon(model, lr=6e-3, weight_decay=0.1)

    Raises InputError naming the setting that is out of its range, and for a parameter that is not a matrix.
    """

    def __init__(
        self,
        params: Parameters | Groups,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "use_muon": True,
            "momentum": momentum,
            "nesterov": nesterov,
            "betas": betas,
            "eps": eps,
        }
        Optimizer.__init__(self, muon_groups(params), defaults)

    def state_names_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum",) if group["use_muon"] else super().state_names_of(group)

    def is_elementwise(self, group: dict[str, Any]) -> bool:
        return not group["use_muon"]

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        wrong = [parameter for parameter in group["params"] if parameter.ndim != 2] if group["use_muon"] else []
        if wrong:
            raise InputError(
                f"Muon: it is for matrices, and one parameter has the shape {wrong[0].shape}. Give Muon(model), "
                "Muon(model.named_parameters()), or a group with use_muon=False for the parameters that are AdamW's."
            )

    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict[str, Any]) -> None:
        if group["use_muon"]:
            p[...], state["momentum"][...] = muon(p, g, state["momentum"], **muon_settings(group))
        else:
            super().update(p, g, state, step, group)

    def update_fast(self, pieces: list[Piece], group: dict[str, Any], scale: float) -> None:
        if group["use_muon"]:
            muon_in_place(pieces, scale=scale, **muon_settings(group))
        else:
            super().update_fast(pieces, group, scale)


def muon_settings(group: dict[str, Any]) -> dict[str, Any]:
    """The settings of a group that the formula uses."""
    return {name: group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}


def muon_groups(params: Parameters | Groups) -> Parameters | Groups:
    """Groups for Muon and for AdamW of parameters with names; anything else unchanged."""
    members = listed("Muon", params)
    if not (isinstance(params, Module) or (members and all(is_pair(member) for member in members))):
        return params if isinstance(params, Module) else members
    hidden = [(name, p) for name, p in members if is_hidden_matrix(name, p)]
    rest = [(name, p) for name, p in members if not is_hidden_matrix(name, p)]
    return [{"params": hidden, "use_muon": True}, {"params": rest, "use_muon": False}]


def muon_in_place(pieces: list[Piece], *, scale, lr, momentum, nesterov, weight_decay) -> None:
    """`muon` for all pieces, with the gradients g · scale; the weights and the momenta are changed.

    Each core takes some of the matrices: they are too small for one product to keep two cores busy.
    """

    def fast(first: int, last: int) -> None:
        for w, g, state, _ in pieces[first:last]:
            m = state["momentum"]
            g = g * scale
            m *= momentum
            m += g
            u = m * momentum if nesterov else m.copy()
            if nesterov:
                u += g
            u = orthogonalize_in_place(u)
            u *= lr * UPDATE_RMS * math.sqrt(max(w.shape))
            w *= 1.0 - lr * weight_decay
            w -= u

    if pieces:
        parallel_for(fast, len(pieces), one_blas_thread_each=True)
