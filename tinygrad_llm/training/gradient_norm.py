"""The norm of a gradient of many parts, and clipping it.

Used by: `optimizer`; training loops of one's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import cpu


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> float:
    """Scale the gradients of `parameters` down so that their norm is at most `max_norm`; return the norm before.

        norm = √(Σ over all parameters of Σ g²)
        g ← g · min(1, max_norm / norm)

    The norm is of all gradients together (Pascanu et al. 2013, algorithm 1). Parameters without a gradient do not
    count. A norm that is NaN or infinite is returned and nothing is scaled: the step of an optimizer then raises the
    error that names the parameter. `optimizer.step(clip=max_norm)` does the same with one pass less over memory.

    Raises InputError when max_norm is not a number above 0.
    """
    if not (isinstance(max_norm, int | float) and max_norm > 0):
        raise InputError(f"clip_grad_norm_: max_norm must be a number above 0, it was {max_norm!r}.")
    every = [parameters] if isinstance(parameters, Tensor) else parameters
    gradients: dict[Tensor, Array] = {p: p.grad.data for p in every if p.grad is not None}
    norm = gradient_norm(gradients.values())
    if math.isfinite(norm) and norm > max_norm:
        for parameter, g in gradients.items():
            # Two parameters may have one array as their gradient: only a buffer of the parameter's own is changed.
            if parameter.grad_buffer is not None and g is parameter.grad_buffer:
                parameter.grad_buffer *= max_norm / norm
            else:
                parameter.grad = Tensor(g * (max_norm / norm))
    return norm


def gradient_norm(gradients: Iterable[Array]) -> float:
    """√(Σ over all arrays of Σ g²); infinity where that is too large."""
    return math.sqrt(math.fsum(sum_of_squares(g) for g in gradients))


def sum_of_squares(g: Array) -> float:
    """Σ g²; infinity where that is too large."""
    with np.errstate(over="ignore"):
        if mode.fast and array_module(g) is np and g.flags.c_contiguous:
            return cpu.sum_of_squares(g.reshape(-1))
        return float((g * g).sum())
