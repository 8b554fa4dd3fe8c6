"""What is recorded: primitives with their rules.

A `Primitive` is one word of the vocabulary: `forward(*arrays, **options) -> array` and, right under it, its rule
`vjp(g, out, *inputs, **options)`, which answers: *if the loss changes by g per unit of `out`, by how much does it
change per unit of each input?* One gradient per input, or None where there is none.

Rules and definitions are written with operators and methods, which mean the same for raw arrays and for Tensors.
So one text serves twice: `backward()` gives the rules raw arrays (fast, and what you see in a debugger is an array);
`backward(create_graph=True)` gives them Tensors, the rule itself is recorded, and the gradient of a gradient costs
no extra code. A rule must therefore never reach for `.data`, never call a NumPy function on an input, and never
write in place.

Builds on: `tensor`. Used by: `ops`, which is written with `@primitive`; `fused`, for ops made of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.arguments import arrange, input_names
from tinygrad_llm.autograd.changes import guard
from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.autograd.op_errors import explain, refuse_to_record
from tinygrad_llm.autograd.tensor import Tensor, as_operand
from tinygrad_llm.backend import Array

NOT_ARRAYS = (np.generic, list, tuple)  # what becomes a number or an array beside a Tensor


class Node:
    """What made a tensor: the op, its inputs (as Tensors, and the arrays in them), its options, and the value.

    saved: what a fast forward keeps for its backward. fingerprints: see `changes`. lines: see `debugging.lines`.
    """

    __slots__ = ("arrays", "fingerprints", "inputs", "is_freed", "lines", "op", "options", "saved", "value")

    lines: tuple

    def __init__(
        self,
        op: Op,
        inputs: tuple,
        arrays: Sequence[Any],
        options: dict[str, Any],
        value: Array,
        saved: Any = None,
        fingerprints: Sequence[Any] | None = None,
    ) -> None:
        self.op, self.inputs, self.arrays, self.options, self.value = op, inputs, arrays, options, value
        self.saved, self.fingerprints, self.is_freed = saved, fingerprints, False

    @property
    def name(self) -> str:
        return self.op.name

    def free(self) -> None:
        """Forget all values, once the gradient has passed. The op's name stays, for the error of a second pass."""
        self.inputs, self.arrays, self.value, self.saved, self.fingerprints = (), (), None, None, None
        self.is_freed = True


class Primitive:
    """One op of the vocabulary: `forward(*arrays, **options)`, and its rule `vjp(g, out, *inputs, **options)`.

    The positional parameters of `forward` are inputs (arrays, Tensors, numbers); its keyword-only ones are options
    without gradient, which a call may also give by position, as in NumPy: ops.sum(x, 0) is ops.sum(x, axis=0).
    Called with raw arrays it is just `forward`; called with a Tensor it returns a Tensor and records itself.
    """

    def __init__(self, forward: Callable[..., Array]) -> None:
        self.forward = forward
        self.rule: Callable[..., tuple] | None = None
        self.name = forward.__name__.rstrip("_")
        self.__name__, self.__doc__, self.__wrapped__ = self.name, forward.__doc__, forward
        self.__module__ = forward.__module__
        self.input_names, self.most_inputs = input_names(forward)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def vjp(self, rule: Callable[..., tuple]) -> Callable[..., tuple]:
        """Decorator: `rule` is the vector-Jacobian product of this op."""
        self.rule = rule
        return rule

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if len(inputs) > self.most_inputs or not self.input_names.isdisjoint(options):
            inputs, options = arrange(self.forward, self.name, inputs, options)
        inputs, arrays, has_tensor = unpacked(inputs)
        try:
            value = self.forward(*arrays, **options)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, self.name, arrays, options)
        return recorded(self, value, inputs, arrays, options) if has_tensor else value

    def backward(self, node: Node, g: Any, out: Tensor, wanted: Sequence[bool]) -> tuple:
        """The gradient of every input, given the gradient g of `out`: Tensors where g is one, else raw arrays."""
        assert self.rule is not None, f"{self.name} was recorded although it has no rule"
        if isinstance(g, Tensor):
            return self.rule(g, out, *node.inputs, **node.options)
        return self.rule(g, node.value, *node.arrays, **node.options)


Op = Any  # a Primitive, a Fused, or whatever else has a name, a rule and a backward: see `fused` and `recompute`


def unpacked(inputs: tuple) -> tuple[tuple, list[Any], bool]:
    """(inputs, the arrays in them, whether a Tensor is among them).

    Beside a Tensor, a NumPy number becomes a Python number, which does not turn float32 into float64, and a list an
    array.
    """
    arrays, has_tensor, has_other = [], False, False
    for x in inputs:
        if isinstance(x, Tensor):
            x, has_tensor = x.data, True
        elif isinstance(x, NOT_ARRAYS):
            has_other = True
        arrays.append(x)
    if has_tensor and has_other:
        return unpacked(tuple(map(as_operand, inputs)))
    return inputs, arrays, has_tensor


def any_tracked(inputs: tuple) -> bool:
    """Whether any of the inputs requires a gradient. A plain loop: it runs for every op."""
    for x in inputs:  # noqa: SIM110  (any() with a generator takes three times as long)
        if isinstance(x, Tensor) and x.requires_grad:
            return True
    return False


def recorded(
    op: Op, value: Array, inputs: tuple, arrays: Sequence[Any], options: dict[str, Any], saved: Any = None
) -> Tensor:
    """A Tensor of `value`, with a node where a gradient may have to pass from it to one of the inputs.

    arrays: what is inside the inputs. A result of integers or booleans has no gradient.
    """
    out = Tensor(value)
    if mode.recording and out.data.dtype.kind not in "biu" and any_tracked(inputs):
        if op.rule is None or out.data.dtype.kind != "f":
            refuse_to_record(op, out.data, arrays, options)
        out.requires_grad = True
        fingerprints = guard(out, inputs, arrays)
        out.node = Node(op, inputs, arrays, options, out.data, saved, fingerprints)
    for observer in mode.observers:
        observer.on_forward(op, inputs, options, out)
    return out


def primitive(forward: Callable[..., Array]) -> Primitive:
    """Decorator: this function of raw arrays is an op of the vocabulary; give it a rule with `@name.vjp`.

    >>> @primitive
    ... def softsign(x):
    ...     return x / (1 + abs(x))
    >>> @softsign.vjp
    ... def softsign_vjp(g, out, x):
    ...     return (g / (1 + abs(x)) ** 2,)
    >>> x = Tensor([-3.0, 1.0], requires_grad=True)
    >>> softsign(x).sum().backward()
    >>> print(x.grad.numpy())
    [0.0625 0.25  ]
    >>> report = tg.gradcheck(softsign, [np.array([-3.0, 1.0])])  # raises GradientError if the rule were wrong
    """
    return Primitive(forward)
