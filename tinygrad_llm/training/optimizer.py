"""What all optimizers share: parameter groups, the step, clipping, saving.

An optimizer of one's own defines `update`, the formula for one parameter:

    class SignSGD(Optimizer):
        state_names = ("momentum",)                               # arrays like the parameter, zero at first

        def __init__(self, params, lr=1e-3, momentum=0.9):
            super().__init__(params, {"lr": lr, "momentum": momentum})

        def update(self, p, g, state, step, group):
            m = state["momentum"]
            m[...] = group["momentum"] * m + g
            p[...] -= group["lr"] * array_module(m).sign(m)

Outside `plain()` the same formula runs on long pieces of one flat array that holds many parameters (see `flat`).

Builds on: `parameter_groups`, `flat`, `gradient_norm`. Used by: `adamw`, `muon`, `sgd`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.backend import Array, array_module, device_of, to_device, to_numpy
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.threads import SMALL_BYTES, parallel_for
from tinygrad_llm.training.flat import FlatParameters
from tinygrad_llm.training.gradient_norm import gradient_norm
from tinygrad_llm.training.parameter_groups import Groups, Parameters, read_groups

BLOCK = 400_000  # numbers that a thread works on at a time: a few short operations each, so blocks must be large


class Piece(NamedTuple):
    """What one update works on: a parameter, or outside `plain()` a part of the flat array that holds many.

    p: parameters. g: their gradient. state: arrays of the same shape, by name. step: of this update, from 1.
    """

    p: Array
    g: Array
    state: dict[str, Array]
    step: int


class Optimizer(ABC):
    """Base class of optimizers, with PyTorch's names.

    params: a module, an iterable of tensors or of (name, tensor) pairs, or a list of groups: dicts with "params" and
    settings of their own, such as {"params": [w], "weight_decay": 0.0}. Parameters whose `requires_grad` is False are
    left out, and so are those without a gradient in a step. defaults: the settings of groups that do not name them.

    An optimizer of one's own is the formula for one parameter p, with its gradient g, both arrays; p is changed. state:
    arrays of p's shape, by the names in `state_names`, 0 at first. step: counts from 1. group: its settings.

    >>> class Momentum(Optimizer):
    ...     state_names = ("velocity",)
    ...     def __init__(self, params, lr=0.1, momentum=0.9):
    ...         super().__init__(params, {"lr": lr, "momentum": momentum})
    ...     def update(self, p, g, state, step, group):
    ...         state["velocity"] *= group["momentum"]
    ...         state["velocity"] += g
    ...         p -= group["lr"] * state["velocity"]
    >>> w = Tensor([1.0], requires_grad=True)
    >>> optimizer = Momentum([w])
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     norm = optimizer.step()
    >>> print(f"{w.item():.2f}")  # 1 - 0.2, then - (0.18 + 0.16)
    0.46

    settings: what the groups may name; it becomes `param_groups`, a list of dicts that may be changed at any time.
    """

    state_names: ClassVar[tuple[str, ...]] = ()
    elementwise: ClassVar[bool] = True  # whether `update` treats every number alike, wherever it stands

    def __init__(self, params: Parameters | Groups, defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        self.param_groups: list[dict[str, Any]] = []
        self._names: list[list[str]] = []  # of the parameters of each group
        parameters: dict[str, Tensor] = {}
        for group, settings in read_groups(name, params):
            unknown = sorted(settings.keys() - defaults.keys())
            if unknown:
                raise InputError(f"{name}: unknown settings {unknown} in a group; it may set {sorted(defaults)}.")
            self.param_groups.append({"params": list(group.values()), **defaults, **settings})
            self._names.append(list(group))
            parameters |= group
        for settings in self.param_groups:
            self.check(settings)
        self.flat = FlatParameters(parameters)
        self._steps = dict.fromkeys(parameters, 0)  # how often each parameter was updated
        self.state = [
            {state: self._zeros_like(names) for state in self.state_names_of(group)}
            for names, group in zip(self._names, self.param_groups, strict=True)
        ]

    # --- what a subclass defines --------------------------------------------------------------------------------------

    @abstractmethod
    def update(self, p: Array, g: Array, state: dict[str, Array], step: int, group: dict[str, Any]) -> None:
        """Change the parameters `p` and their `state` in place, along the gradient `g`; `step` counts from 1.

        All arrays have the shape of `p`. group: the settings that hold for them, such as group["lr"].
        """

    def state_names_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of the arrays that are kept for every parameter of the group."""
        return self.state_names

    def is_elementwise(self, group: dict[str, Any]) -> bool:
        """Whether `update` may be given many parameters of the group in a row."""
        return self.elementwise

    def check(self, group: dict[str, Any]) -> None:
        """Raise InputError, naming the setting, when one of the group's settings cannot be."""
        check_settings(type(self).__name__, group)

    def update_fast(self, pieces: list[Piece], group: dict[str, Any], scale: float) -> None:
        """`update` for all pieces, whose gradients count `scale` times, on the CPU. In blocks, shared among the cores.

        A subclass may put a faster version in the place of this one.
        """
        for p, g, state, step in pieces:
            if p.ndim != 1 or not self.is_elementwise(group):
                self.update(p, g * scale, state, step, group)
                continue

            def stretch(start: int, end: int, p=p, g=g, state=state, step=step) -> None:
                for a in range(start, end, BLOCK):
                    here = slice(a, min(a + BLOCK, end))
                    part = {name: array[here] for name, array in state.items()}
                    self.update(p[here], g[here] * scale, part, step, group)

            parallel_for(stretch, p.size, parallel=4 * p.nbytes >= SMALL_BYTES)

    # --- what a user calls --------------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The learning rate of the first group; assigning changes that of all groups."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, lr: float) -> None:
        for group in self.param_groups:
            group["lr"] = lr

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return max(self._steps.values())

    def step(self, *, scale: float = 1.0, clip: float | None = None) -> float:
        """One step along the gradients that `backward()` left; returns the norm of the whole gradient.

        scale: gradients are multiplied by it first (1 / number of targets, where losses were summed). clip: a gradient
        with a larger norm than this is scaled down to it (see `clip_grad_norm_`). The norm that is returned is after
        `scale`, before `clip`. Parameters whose gradient is None stay as they are.

        Raises InputError naming the parameter when a gradient is NaN or infinite; the weights are as before.
        """
        for group in self.param_groups:
            self.check(group)
        pieces = [self.pieces(number) for number in range(len(self.param_groups))]
        norm = abs(scale) * gradient_norm(piece.g for group in pieces for piece in group)
        if not math.isfinite(norm):
            raise InputError(self._not_finite())
        if clip is not None and norm > clip:
            scale *= clip / norm
        self.apply(pieces, scale)
        for name, parameter in self.flat.parameters.items():
            self._steps[name] += parameter.grad is not None
        return norm

    def apply(self, pieces: list[list[Piece]], scale: float) -> None:
        """Update the pieces of every group; gradients count `scale` times."""
        for group, in_group in zip(self.param_groups, pieces, strict=True):
            if mode.fast and array_module(self.flat.values) is np:
                self.update_fast(in_group, group, scale)
            else:
                for p, g, state, step in in_group:
                    self.update(p, g * scale, state, step, group)

    def zero_grad(self) -> None:
        """Set all gradients to None: call it between `step` and the next `backward`."""
        self.flat.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that `step` remembers, by name, on the host: lr of each group, steps and state of each parameter.

        One flat dict of arrays, which safetensors or np.savez can write. On the CPU the arrays are the optimizer's
        own, not copies: save them before the next step.
        """
        pieces = {name: to_numpy(piece) for name, piece in self._state_by_name().items()}
        lrs = {f"lr/{number}": np.asarray(group["lr"], np.float64) for number, group in enumerate(self.param_groups)}
        return {"steps": np.array(list(self._steps.values()), np.int64), **lrs, **pieces}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state_dict` returned. Raises InputError when it is of another model or optimizer."""
        pieces = self._state_by_name()
        shapes: dict[str, tuple[int, ...]] = {name: piece.shape for name, piece in pieces.items()}
        shapes |= {f"lr/{number}": () for number in range(len(self.param_groups))} | {"steps": (len(self._steps),)}
        for name in sorted(shapes.keys() | state.keys()):
            if name not in state or name not in shapes or np.shape(state[name]) != shapes[name]:
                raise InputError(f"optimizer state: {name} does not fit; it is from another model or optimizer.")
        self._steps = dict(zip(self._steps, np.asarray(state["steps"]).tolist(), strict=True))
        for number, group in enumerate(self.param_groups):
            group["lr"] = float(state[f"lr/{number}"])
        for name, piece in pieces.items():
            piece[...] = to_device(state[name], device_of(piece))

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}: {self.steps} steps"]
        for group in self.param_groups:
            count, numbers = len(group["params"]), sum(parameter.size for parameter in group["params"])
            settings = ", ".join(f"{name}={value}" for name, value in group.items() if name != "params")
            lines.append(f"  {count} parameter{'s' * (count != 1)}, {numbers:,} numbers: {settings}")
        return "\n".join(lines)

    # --- inside -------------------------------------------------------------------------------------------------------

    def pieces(self, number: int) -> list[Piece]:
        """What there is to update in group `number`: in `plain()` one piece per parameter, else as few as possible."""
        names, start = self._names[number], self.flat.slices[self._names[number][0]].start
        if not mode.fast or not self.is_elementwise(self.param_groups[number]):
            parameters = {name: self.flat.parameters[name] for name in names}
            return [
                Piece(p.data, p.grad.data, self._state_of(number, name), self._steps[name] + 1)
                for name, p in parameters.items()
                if p.grad is not None
            ]
        self.flat.collect()
        return [
            Piece(
                self.flat.values[run],
                self.flat.gradients[run],
                {state: flat[run.start - start : run.stop - start] for state, flat in self.state[number].items()},
                step + 1,
            )
            for run, step in self.flat.runs({name: self._steps[name] for name in names})
        ]

    def _state_of(self, number: int, name: str) -> dict[str, Array]:
        """The state of the parameter `name` of group `number`: views in the parameter's shape."""
        here, start = self.flat.slices[name], self.flat.slices[self._names[number][0]].start
        shape = self.flat.parameters[name].shape
        return {
            state: flat[here.start - start : here.stop - start].reshape(shape)
            for state, flat in self.state[number].items()
        }

    def _state_by_name(self) -> dict[str, Array]:
        return {
            f"{state}/{name}": view
            for number, names in enumerate(self._names)
            for name in names
            for state, view in self._state_of(number, name).items()
        }

    def _zeros_like(self, names: list[str]) -> Array:
        """Zeros for all numbers of these parameters, which are neighbours in the flat array."""
        here = slice(self.flat.slices[names[0]].start, self.flat.slices[names[-1]].stop)
        return array_module(self.flat.values).zeros_like(self.flat.values[here])

    def _not_finite(self) -> str:
        name = next(
            (n for n, p in self.flat.parameters.items() if p.grad is not None and not is_finite(p.grad.data)), ""
        )
        what = f"of {name} holds NaN or infinity" if name else "is so large that its norm overflows"
        return (
            f"the gradient {what} (step {self.steps + 1}): the training has diverged. The weights are as "
            "before this step. Lower the lr, lengthen the warm-up, or clip more strongly."
        )


def is_finite(x: Array) -> bool:
    """Whether no number of `x` is NaN or infinite."""
    return bool(array_module(x).isfinite(x).all())


def check_settings(optimizer: str, settings: Mapping[str, Any]) -> None:
    """Raise InputError, naming the setting, unless all of them are numbers in their range."""
    for name, value in settings.items():
        if name == "betas" and not (isinstance(value, tuple | list) and len(value) == 2):
            raise InputError(f"{optimizer}: betas must be two numbers, such as (0.9, 0.999), it was {value!r}.")
        wanted, is_allowed = ALLOWED.get(name, ("", None))
        for number in value if name == "betas" else [value]:
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if is_allowed is not None and not (is_number and math.isfinite(number) and is_allowed(number)):
                raise InputError(f"{optimizer}: {name} must be {wanted}, it was {value!r}.")


ALLOWED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("a number of at least 0", lambda x: x >= 0),
    "weight_decay": ("a number of at least 0", lambda x: x >= 0),
    "eps": ("a number above 0", lambda x: x > 0),
    "betas": ("two numbers, both at least 0 and below 1", lambda x: 0 <= x < 1),
    "momentum": ("at least 0 and below 1", lambda x: 0 <= x < 1),
}
