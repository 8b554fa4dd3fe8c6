"""What is recorded: primitives with their rules, and fused ops with their definitions.

A `Primitive` is one word of the vocabulary: `forward(*arrays, **options) -> array` and, right under it, its rule
`vjp(g, out, *inputs, **options)`, which answers: *if the loss changes by g per unit of `out`, by how much does it
change per unit of each input?* One gradient per input, or None where there is none.

Rules and definitions are written with operators and methods, which mean the same for raw arrays and for Tensors.
So one text serves twice: `backward()` gives the rules raw arrays (fast, and what you see in a debugger is an array);
`backward(create_graph=True)` gives them Tensors, the rule itself is recorded, and the gradient of a gradient costs
no extra code. A rule must therefore never reach for `.data`, never call a NumPy function on an input, and never
write in place.

A `Fused` op is a composite: its definition is the plain formula, which people read and debuggers step through, and
beside it may stand a fast pair per backend, from `kernels`, that must agree with it. `with plain():` (or the
environment variable TINYGRAD_LLM_PLAIN=1) switches every fast pair off. Second derivatives of a fused op are those
of its definition.

Builds on: `tensor`, `engine`. Used by: `ops` and `nn.functional`, which are written with `@primitive` and `@fused`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.autograd.arguments import arrange, input_names
from tinygrad_llm.autograd.changes import guard
from tinygrad_llm.autograd.modes import mode, recording
from tinygrad_llm.autograd.op_errors import explain, refuse_to_record
from tinygrad_llm.autograd.subgraph import gradients_at
from tinygrad_llm.autograd.tensor import Tensor, as_operand, is_tracked
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.kernels.pair import FastPair


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


class Fused:
    """A composite op: a plain `definition`, and per backend a fast pair that must agree with it.

    definition: the formula, in primitives. cpu, cuda: `FastPair(forward, backward)` from `kernels`, or None.
    """

    def __init__(self, definition: Callable[..., Any], cpu: FastPair | None, cuda: FastPair | None) -> None:
        self.definition = self.rule = definition  # its rule: differentiate the definition
        self.pairs = {"numpy": cpu, "cupy": cuda}
        self.name = definition.__name__
        self.__name__, self.__doc__, self.__wrapped__ = self.name, definition.__doc__, definition
        self.__module__ = definition.__module__
        self.input_names, self.most_inputs = input_names(definition)

    def fast_pair(self, array: Array) -> FastPair | None:
        """The fast pair for arrays of this kind, None inside `plain()` or where there is none."""
        return self.pairs.get(array_module(array).__name__) if mode.fast else None

    def on_arrays(self, like: Array) -> Callable[..., Array]:
        """What a call on bare arrays of this kind runs at present, for loops that need not ask again each time."""
        pair = self.fast_pair(like)
        return self.definition if pair is None else pair.value

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if len(inputs) > self.most_inputs or not self.input_names.isdisjoint(options):
            inputs, options = arrange(self.definition, self.name, inputs, options)
        if not mode.fast:
            return self.definition(*inputs, **options)
        inputs, arrays, has_tensor = unpacked(inputs)
        pair = self.fast_pair(arrays[0])
        if pair is None or not pair.accepts(*arrays, **options):
            return self.definition(*inputs, **options)
        will_record = has_tensor and mode.recording and any_tracked(inputs)
        try:
            value, saved = pair.forward(*arrays, **options) if will_record else (pair.value(*arrays, **options), None)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, self.name, arrays, options)
        return recorded(self, value, inputs, arrays, options, saved) if has_tensor else value

    def backward(self, node: Node, g: Any, out: Tensor, wanted: Sequence[bool]) -> tuple:
        """As that of a Primitive. wanted: of each input whether its gradient is used; the others may be None."""
        if isinstance(g, Tensor):
            return through_definition(self.definition, g, node.inputs, node.options)
        pair = self.pairs[array_module(node.value).__name__]
        assert pair is not None, f"{self.name} was recorded by a fast pair that is gone"
        skip = {"wanted": wanted} if pair.takes_wanted else {}
        gradients = pair.backward(g, node.saved, *node.arrays, **node.options, **skip)
        return gradients[: len(node.arrays)]  # inputs that were left out, such as a bias, have a None there


Op = Any  # a Primitive, a Fused, or whatever else has a name, a rule and a backward: see `recompute`


def unpacked(inputs: tuple) -> tuple[tuple, list[Any], bool]:
    """(inputs, the arrays in them, whether a Tensor is among them).

    Beside a Tensor, a NumPy number becomes a Python number, which does not turn float32 into float64, and a list an
    array.
    """
    arrays, has_tensor, has_other = [], False, False
    for x in inputs:
        if isinstance(x, Tensor):
            x, has_tensor = x.data, True
        elif isinstance(x, np.generic | list | tuple):
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
    """Decorator: this function of raw arrays is an op of the vocabulary; give it a rule with `@name.vjp`."""
    return Primitive(forward)


def fused(cpu: FastPair | None = None, cuda: FastPair | None = None) -> Callable[[Callable[..., Any]], Fused]:
    """Decorator: this formula is the definition of a fused op, with these fast pairs."""
    return lambda definition: Fused(definition, cpu, cuda)


# --- the gradient of a definition -------------------------------------------------------------------------------


@primitive
def alias(x: Array) -> Array:
    """The same values as another tensor: y = x, dy/dx = 1. Any shape."""
    return x


@alias.vjp
def alias_vjp(g: Any, out: Any, x: Any) -> tuple:
    return (g,)


def through_definition(
    definition: Callable[..., Tensor], g: Any, inputs: tuple, options: dict[str, Any], captured: Sequence[Tensor] = ()
) -> tuple:
    """The gradient of every input, and of every captured tensor: run the definition (again), and differentiate that.

    Each input becomes another tensor first, because one tensor may stand in several places (attention(x, x, x)) and
    each place has a gradient of its own. captured: tensors that the definition uses besides its inputs.
    g: a Tensor if the gradients shall have a history, else an array.
    """
    with_history = isinstance(g, Tensor)
    with recording(True):
        places = [as_new_tensor(x, with_history) if is_tracked(x) else x for x in inputs]
        out = definition(*places, **options)
        ends = [x for x in (*places, *captured) if is_tracked(x)]
        found = gradients_at(ends, [out], [g], stops=ends, retain_graph=with_history)
    gradient_of = {id(x): gx for x, gx in zip(ends, found, strict=True)}
    return tuple(gradient_of.get(id(x)) for x in (*places, *captured))


def as_new_tensor(x: Tensor, with_history: bool) -> Tensor:
    """The same values as another tensor: one that leads back to x, or a leaf."""
    return alias(x) if with_history else Tensor(x.data, requires_grad=True)
