"""Initial values of parameters: functions `(shape, rng) -> array`, and `parameter`, which makes a Tensor with one.

    nn.Linear(64, 64, init=nn.init.orthogonal, seed=0)
    nn.init.normal(std=0.02)((4, 3), np.random.default_rng(0))

A matrix is stored (outputs, inputs). Its products keep the scale of their inputs when its numbers have the standard
deviation 1/√inputs; the rules below differ in which scale they keep, forward, backward or both.

Used by: `layers` and everything that is made of them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError

Initializer = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]  # (shape, rng) -> float32
Seed = int | np.random.Generator | None  # None: other values each time


def parameter(shape: tuple[int, ...], init: Initializer, seed: Seed = None) -> Tensor:
    """A float32 Tensor of this shape that requires gradients, with values from `init`."""
    make = replacement.get() or init
    rng: Any = None if make in WITHOUT_RNG else np.random.default_rng(seed)
    return Tensor(make(shape, rng), requires_grad=True)


def zeros(shape: tuple[int, ...], rng: np.random.Generator | None = None) -> np.ndarray:
    """All 0: biases."""
    return np.zeros(shape, np.float32)


def ones(shape: tuple[int, ...], rng: np.random.Generator | None = None) -> np.ndarray:
    """All 1: the weights of norms."""
    return np.ones(shape, np.float32)


def normal(std: float = 0.02) -> Initializer:
    """Normal with mean 0 and this standard deviation: GPT-2's rule (Radford et al. 2018, section 4.1)."""

    def init(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)

    return init


def uniform(limit: float) -> Initializer:
    """Uniform between -limit and limit."""

    def init(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return (2.0 * rng.random(shape, dtype=np.float32) - 1.0) * np.float32(limit)

    return init


def lecun_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal, variance 1/inputs: keeps the scale of the inputs (LeCun et al. 1998, section 4.6)."""
    return normal(math.sqrt(1.0 / fans(shape)[0]))(shape, rng)


def xavier_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal, variance 2/(inputs + outputs): between forward and backward scale (Glorot & Bengio 2010, equation 12)."""
    return normal(math.sqrt(2.0 / sum(fans(shape))))(shape, rng)


def xavier_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform with the same variance: within ±√(6/(inputs + outputs)) (Glorot & Bengio 2010, equation 16)."""
    return uniform(math.sqrt(6.0 / sum(fans(shape))))(shape, rng)


def kaiming_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal, variance 2/inputs: keeps the scale through a ReLU behind it (He et al. 2015, equation 10)."""
    return normal(math.sqrt(2.0 / fans(shape)[0]))(shape, rng)


def kaiming_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform with the same variance: within ±√(6/inputs)."""
    return uniform(math.sqrt(6.0 / fans(shape)[0]))(shape, rng)


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random matrix with orthonormal rows, or columns where it is taller: keeps lengths (Saxe et al. 2013)."""
    outputs, inputs = matrix(shape)
    q, r = np.linalg.qr(rng.standard_normal((max(outputs, inputs), min(outputs, inputs))))
    q = q * np.sign(np.diagonal(r))  # the signs of QR are not random; these are (Mezzadri 2007, section 5)
    return np.ascontiguousarray(q if outputs >= inputs else q.T, np.float32)


def scaled(init: Initializer, factor: float) -> Initializer:
    """The values of another initialiser times a factor."""
    return lambda shape, rng: init(shape, rng) * np.float32(factor)


BY_NAME: dict[str, Initializer] = {
    "xavier_normal": xavier_normal,
    "kaiming_normal": kaiming_normal,
    "orthogonal": orthogonal,
}  # those of `TransformerConfig.init` besides "normal"


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise InputError(
            f"init: this rule is for matrices, (outputs, inputs); the shape was {shape}. Take nn.init.normal."
        )
    return shape


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(inputs, outputs) of a matrix."""
    outputs, inputs = matrix(shape)
    return inputs, outputs


# --- parameters without values --------------------------------------------------------------------------------------

replacement: ContextVar[Initializer | None] = ContextVar("replacement", default=None)


@contextlib.contextmanager
def replaced_by(init: Initializer) -> Iterator[None]:
    """Inside, every new parameter has values from `init`, whatever its module asks for."""
    token = replacement.set(init)
    try:
        yield
    finally:
        replacement.reset(token)


def empty(shape: tuple[int, ...], rng: np.random.Generator | None = None) -> np.ndarray:
    """Memory with arbitrary values, to be filled next."""
    return np.empty(shape, np.float32)


def shape_only(shape: tuple[int, ...], rng: np.random.Generator | None = None) -> np.ndarray:
    """An array of this shape that takes no memory: one 0 that stands everywhere. To count with, not to compute with."""
    return np.broadcast_to(np.float32(0.0), shape)


WITHOUT_RNG = (zeros, ones, empty, shape_only)  # a new generator takes longer than these
