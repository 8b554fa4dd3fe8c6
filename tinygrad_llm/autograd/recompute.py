"""`checkpoint`: trade compute for memory, by computing a piece of the forward pass again when its gradient is due.

A recorded computation keeps every intermediate value until the gradient has passed. `checkpoint(fn)` keeps only what
goes into `fn` and what comes out; the rest is computed a second time on the way back (Chen et al. 2016, "Training deep
nets with sublinear memory cost", section 4). With one checkpoint per layer of a transformer, memory for n layers is n
activations plus the inside of one layer, instead of the inside of n, for about a third more arithmetic.

It is an op like a fused one: a definition, whose gradient is that of running it once more. Gradients of every order
follow, and so do those of parameters that `fn` uses without taking them as arguments.

Builds on: `primitive`, which differentiates a definition. Used by: any deep model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.fused import through_definition
from tinygrad_llm.autograd.modes import Observer, mode, no_grad, observing
from tinygrad_llm.autograd.primitive import Node, Op, recorded
from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.errors import InputError

SAME = 1e-3  # relative: two runs may differ by rounding (a fast pair in one of them), not by chance


def checkpoint(fn: Callable[..., Tensor], rng: np.random.Generator | None = None) -> Callable[..., Tensor]:
    """The same function, which forgets what it computes inside and computes it again on the way back.

    fn(*inputs, **options) must return one Tensor, and the same one when it is called again.
    rng: the generator that fn draws from (dropout), if any: it is set back for the second run, so that both draw the
    same, and then put where it was.

    Raises InputError when fn does not return a Tensor, or returned other values the second time.

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = checkpoint(lambda x: (x * w).tanh())(Tensor([0.0, 0.0]))
    >>> y.sum().backward()
    >>> print(w.grad.numpy())
    [0. 0.]
    """
    op = Recomputed(fn, rng)

    def recomputed(*inputs: Any, **options: Any) -> Tensor:
        if not mode.recording:
            return fn(*inputs, **options)
        state = None if rng is None else rng.bit_generator.state
        captured = Captured()
        with no_grad(), observing(captured):
            out = fn(*(x.detach() if isinstance(x, Tensor) else x for x in inputs), **options)
        if not isinstance(out, Tensor):
            raise InputError(f"checkpoint: {op.name} must return one Tensor, it returned {type(out).__name__}.")
        everything = (*inputs, *captured.tensors())
        return recorded(op, out.data, everything, [raw(x) for x in everything], options, (len(inputs), state))

    return recomputed


class Captured(Observer):
    """Collects the tensors that require gradients, that an op takes as inputs, and that the function did not make.

    It observes inside `no_grad`, and the arguments of the function were detached. So what still requires a gradient is
    either captured or made by the function itself, where that takes derivatives.
    """

    def __init__(self) -> None:
        self.met: dict[int, Tensor] = {}
        self.made: dict[int, Tensor] = {}

    def on_forward(self, op: Op, inputs: tuple, options: dict[str, Any], out: Tensor) -> None:
        self.met.update({id(x): x for x in inputs if is_tracked(x)})
        if out.requires_grad:
            self.made[id(out)] = out

    def tensors(self) -> list[Tensor]:
        """Those that require gradients still: the variables of derivatives that the function took do not."""
        return [x for key, x in self.met.items() if key not in self.made and x.requires_grad]


class Recomputed:
    """The op that `checkpoint` records. The inputs of its node are those of the function, then what that captured."""

    def __init__(self, fn: Callable[..., Tensor], rng: np.random.Generator | None) -> None:
        self.fn = self.rule = fn
        self.rng = rng
        self.name = getattr(fn, "__name__", type(fn).__name__)

    def backward(self, node: Node, g: Any, out: Tensor, wanted: Sequence[bool]) -> tuple:
        """The gradient of every input, as that of the definition of a Fused op."""
        count, state = node.saved
        value = node.value

        def again(*inputs: Any, **options: Any) -> Tensor:
            new = self.run(inputs, options, state)
            if value.size and abs(new.data - value).max() > SAME * abs(value).max():
                raise InputError(
                    f"checkpoint: {self.name} returned other values when it was run again. If it draws random numbers, "
                    "say checkpoint(fn, rng=generator); else something that it uses was changed in between."
                )
            return new

        return through_definition(again, g, node.inputs[:count], node.options, captured=node.inputs[count:])

    def run(self, inputs: tuple, options: dict[str, Any], state: Any) -> Tensor:
        """fn, with its generator set back to `state`."""
        if self.rng is None:
            return self.fn(*inputs, **options)
        now = self.rng.bit_generator.state
        self.rng.bit_generator.state = state
        try:
            return self.fn(*inputs, **options)
        finally:
            self.rng.bit_generator.state = now
