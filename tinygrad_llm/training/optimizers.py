"""Optimizers: from gradients to the next weights. AdamW, and Muon for the hidden matrices.

Each has its plain definition, a formula on arrays, and beside it a version that goes over the flat arrays in one pass
and in place. `plain()` and GPUs use the definition, and the tests hold the two equal.

Comes before: `flat` (where weights and gradients live), `newton_schulz` (Muon's step). Comes after: `trainer`.
Left out on purpose: parameter groups to choose (the groups of `flat` are all that these models need), 8-bit states.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.backend import Array, array_module, device_of, to_device, to_numpy
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import cpu
from tinygrad_llm.kernels.threads import share_out
from tinygrad_llm.nn.module import Module
from tinygrad_llm.training.flat import FlatParameters
from tinygrad_llm.training.newton_schulz import orthogonalize, orthogonalize_in_place

MUON_RMS = 0.2  # the root mean square of an update of Muon, like that of AdamW's usual ones


class Optimizer(ABC):
    """What all optimizers share: the flat arrays, the norm of the gradient, clipping, saving.

    One that derives from this puts its running averages into `averages`, each with the place in `flat.values` where it
    starts (an average may cover a part of the parameters only), and defines `update`.
    """

    def __init__(self, model: Module, rate: float) -> None:
        self.flat = FlatParameters(model)
        self.rate = rate
        self.steps = 0
        self.averages: dict[str, tuple[int, Array]] = {}

    @abstractmethod
    def update(self, rate: float, scale: float) -> None:
        """Change the weights in place; the gradients count `scale` times."""

    def step(self, *, rate: float | None = None, scale: float = 1.0, clip: float | None = None) -> float:
        """One step along the gradients that `backward()` left; returns the norm of the whole gradient.

        rate: the learning rate, if not the one given at the start. scale: gradients are multiplied by it first
        (1 / number of targets, where losses were summed). clip: a gradient with a larger norm than this is scaled
        down to it (Pascanu et al. 2013, algorithm 1). The norm that is returned is after `scale`, before `clip`.

        Raises InputError naming the parameter when a gradient is NaN or infinite; the weights are as before.
        """
        gradients = self.flat.collect_gradients()
        norm = abs(scale) * math.sqrt(sum_of_squares(gradients))
        if not math.isfinite(norm):
            raise InputError(self._not_finite())
        if clip is not None and norm > clip:
            scale *= clip / norm
        self.steps += 1
        self.update(self.rate if rate is None else rate, scale)
        return norm

    def zero_grad(self) -> None:
        """Forget all gradients: call it between `step` and the next `backward`."""
        self.flat.zero_grad()

    def state(self) -> dict[str, np.ndarray]:
        """Everything that `step` remembers, by name, on the host: "steps", and each average of each parameter.

        On the CPU the arrays are the optimizer's own, not copies: save them before the next step.
        """
        pieces = {name: to_numpy(piece) for name, piece in self._pieces().items()}
        return {"steps": np.asarray(self.steps, np.int64), **pieces}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned. Raises InputError when it belongs to another model or optimizer."""
        pieces = self._pieces()
        shapes = {name: piece.shape for name, piece in pieces.items()} | {"steps": ()}
        for name in sorted(shapes.keys() | state.keys()):
            if name not in state or name not in shapes or state[name].shape != shapes[name]:
                raise InputError(f"optimizer state: {name} does not fit; it is from another model or optimizer.")
        self.steps = int(state["steps"])
        for name, piece in pieces.items():
            piece[...] = to_device(state[name], device_of(piece))

    def _pieces(self) -> dict[str, Array]:
        return {
            f"{average}/{name}": piece
            for average, (start, flat) in self.averages.items()
            for name, piece in self.flat.split(flat, start).items()
        }

    def _not_finite(self) -> str:
        name = self.flat.first_not_finite()
        what = f"of {name} holds NaN or infinity" if name else "is so large that its norm overflows"
        return (
            f"the gradient {what} (step {self.steps + 1}): the training has diverged. The weights are as before this "
            "step. Lower the rate, lengthen the warm-up, or clip more strongly."
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): see `adamw` for the formula.

    model: its parameters move into one flat array. rate: the learning rate when `step` is not given one.
    weight_decay: of matrices; vectors (biases, norms) do not decay. beta1, beta2: how much of the average gradient and
    of the average squared gradient stays at each step. eps: in the denominator.
    """

    def __init__(
        self,
        model: Module,
        rate: float = 1e-3,
        *,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(model, rate)
        self.weight_decay, self.beta1, self.beta2, self.eps = weight_decay, beta1, beta2, eps
        self._average_from(0)

    def _average_from(self, start: int) -> None:
        """Let the two averages of AdamW cover flat.values[start:]."""
        rest = self.flat.values[start:]
        xp = array_module(rest)
        self.averages = {"first": (start, xp.zeros_like(rest)), "second": (start, xp.zeros_like(rest))}

    def update(self, rate: float, scale: float) -> None:
        self._adamw(self.flat.matrices, rate, scale, self.weight_decay)
        self._adamw(self.flat.vectors, rate, scale, decay=0.0)

    def _adamw(self, part: slice, rate: float, scale: float, decay: float) -> None:
        (start, first), (_, second) = self.averages["first"], self.averages["second"]
        averaged = slice(part.start - start, part.stop - start)
        adamw_in_place(
            self.flat.values[part],
            self.flat.gradients[part],
            first[averaged],
            second[averaged],
            scale=scale,
            step=self.steps,
            rate=rate,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps,
            decay=decay,
        )


class Muon(AdamW):
    """Momentum, orthogonalised, for the hidden matrices (Jordan et al. 2024); AdamW for embeddings, head, vectors.

    See `muon` for the formula. momentum: how much of the running sum of gradients stays at each step. The learning
    rate and the weight decay are shared: Muon's updates are scaled to the size that AdamW's have.
    """

    def __init__(
        self,
        model: Module,
        rate: float = 1e-3,
        *,
        weight_decay: float = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(model, rate, weight_decay=weight_decay, beta1=beta1, beta2=beta2, eps=eps)
        self.momentum = momentum
        hidden = self.flat.values[self.flat.hidden]
        self._average_from(self.flat.hidden.stop)
        self.averages["momentum"] = (0, array_module(hidden).zeros_like(hidden))

    def update(self, rate: float, scale: float) -> None:
        self._adamw(self.flat.tables, rate, scale, self.weight_decay)
        self._adamw(self.flat.vectors, rate, scale, decay=0.0)
        momenta = self.flat.split(self.averages["momentum"][1])
        weights, gradients_of = self.flat.split(self.flat.values), self.flat.split(self.flat.gradients)
        muon_in_place(
            [(weights[name], gradients_of[name], momenta[name]) for name in momenta],
            scale=scale,
            rate=rate,
            momentum=self.momentum,
            decay=self.weight_decay,
        )


# --- the definitions ------------------------------------------------------------------------------------------------


def adamw(p, g, m, v, *, step, rate, beta1, beta2, eps, decay):
    """The next (p, m, v). Parameters p, their gradients g, averages m and v: arrays of one shape; step counts from 1.

        m ← β₁ m + (1 - β₁) g              the average gradient
        v ← β₂ v + (1 - β₂) g²             the average squared gradient
        m̂ = m / (1 - β₁^step)              both averages start at 0: undo that
        v̂ = v / (1 - β₂^step)
        p ← p - rate · (m̂ / (√v̂ + ε) + decay · p)

    Loshchilov & Hutter 2019, algorithm 2, with the schedule's factor inside the rate, which then scales the decay too.
    """
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * (g * g)
    m_hat = m / (1.0 - beta1**step)
    v_hat = v / (1.0 - beta2**step)
    return p - rate * (m_hat / (array_module(p).sqrt(v_hat) + eps) + decay * p), m, v


def muon(w, g, m, *, rate, momentum, decay):
    """The next (w, m). Weights w (R, S) of one hidden matrix, its gradient g, its running sum of gradients m.

        m ← μ m + g
        u = orthogonalize(g + μ m)                          Nesterov's look ahead; see `newton_schulz`
        w ← w - rate · (0.2 √max(R, S) · u + decay · w)

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". The factor is that of Liu et al.
    2025, "Muon is scalable for LLM training", equation 4, in place of Jordan's √max(1, R/S): u has min(R, S) singular
    values near 1, so a root mean square of 1/√max(R, S), and the factor makes it 0.2, which is about what AdamW's
    updates have. One learning rate and one weight decay then serve both optimizers and all shapes.
    """
    m = momentum * m + g
    u = orthogonalize(g + momentum * m)
    return w - rate * (MUON_RMS * math.sqrt(max(w.shape)) * u + decay * w), m


# --- the same in one pass -------------------------------------------------------------------------------------------


def is_fast(x: Array) -> bool:
    """Whether the one-pass version shall be used: on the CPU, outside `plain()`."""
    return mode.fast and array_module(x) is np


def sum_of_squares(x: Array) -> float:
    """Σ x² of a flat array; infinity where that is too large."""
    with np.errstate(over="ignore"):
        return cpu.sum_of_squares(x) if is_fast(x) else float((x * x).sum())


def adamw_in_place(p, g, m, v, *, scale, **numbers) -> None:
    """`adamw` with the gradients g · scale, on flat arrays; p, m and v are changed."""
    if is_fast(p):
        cpu.adamw_step(p, g, m, v, gradient_scale=scale, **numbers)
    else:
        p[...], m[...], v[...] = adamw(p, g * scale, m, v, **numbers)


def muon_in_place(matrices, *, scale, rate, momentum, decay) -> None:
    """`muon` with the gradients g · scale, for a list of (w, g, m); w and m are changed.

    Each core takes its share of the matrices: they are too small for one product to keep two cores busy.
    """

    def fast(first: int, last: int) -> None:
        for w, g, m in matrices[first:last]:
            m *= momentum
            m += g * scale
            u = m * momentum
            u += g * scale
            u = orthogonalize_in_place(u)
            u *= rate * MUON_RMS * math.sqrt(max(w.shape))
            w *= 1.0 - rate * decay
            w -= u

    if matrices and is_fast(matrices[0][0]):
        share_out(fast, len(matrices), one_blas_thread_each=True)
        return
    for w, g, m in matrices:
        w[...], m[...] = muon(w, g * scale, m, rate=rate, momentum=momentum, decay=decay)
