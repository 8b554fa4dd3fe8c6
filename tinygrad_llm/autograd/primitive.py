"""What is recorded: primitives with their rules, and fused ops with their definitions.

A `Primitive` is one word of the vocabulary: `forward(*arrays, **options) -> array` and, right under it, its rule
`vjp(g, out, *inputs, **options)`, which answers: *if the loss changes by g per unit of `out`, by how much does it
change per unit of each input?* One gradient per input, or None where there is none.

Rules and definitions are written with operators and methods, which mean the same for raw arrays and for Tensors.
So one text serves twice: `backward()` feeds the rules raw arrays (fast, and what you see in a debugger is an array);
`backward(create_graph=True)` feeds them Tensors, the rule itself is recorded, and the gradient of a gradient costs
no extra code. A rule must therefore never reach for `.data`, never call a NumPy function on an input, and never
write in place.

A `Fused` op is a composite: its definition is the plain formula, which people read and debuggers step through, and
beside it may stand a fast pair per backend, from `kernels`, that must agree with it. `with plain():` (or the
environment variable TINYGRAD_LLM_PLAIN=1) switches every fast pair off. Second derivatives of a fused op are those
of its definition.

Comes before: `tensor`. Comes after: `ops` and `nn.functional`, which are written with `@primitive` and `@fused`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.pair import FastPair


class _Mode:
    """What is switched on at the moment; changed only by `no_grad` and `plain`."""

    recording = True
    fast = os.environ.get("TINYGRAD_LLM_PLAIN", "") in ("", "0")


mode = _Mode()


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Inside, nothing is recorded: values only, as for generating text."""
    before, mode.recording = mode.recording, False
    try:
        yield
    finally:
        mode.recording = before


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Inside, every fused op runs its plain definition: slower, and every step can be read."""
    before, mode.fast = mode.fast, False
    try:
        yield
    finally:
        mode.fast = before


FREED = object()  # what a node has saved after its gradient has passed


class Node:
    """Who made a tensor: the op, what went in, its options, and what a fast forward saved for its backward."""

    __slots__ = ("op", "inputs", "options", "saved")

    def __init__(self, op: Primitive | Fused, inputs: tuple, options: dict[str, Any], saved: Any = None) -> None:
        self.op, self.inputs, self.options, self.saved = op, inputs, options, saved

    @property
    def name(self) -> str:
        return self.op.name

    def free(self) -> None:
        """Forget the inputs, once the gradient has passed. The op's name stays, for the error of a second pass."""
        self.inputs, self.saved = (), FREED

    @property
    def is_freed(self) -> bool:
        return self.saved is FREED

    def pull(self, g: Any, out: Tensor, create_graph: bool) -> tuple:
        """The gradient of every input, given the gradient `g` of the output `out`."""
        return self.op.pull(g, out, self, create_graph)


class Primitive:
    """One op of the vocabulary: `forward(*arrays, **options)`, and its rule `vjp(g, out, *inputs, **options)`.

    Positional arguments are the inputs (arrays, Tensors, numbers); keyword arguments are options without gradient.
    Called with raw arrays it is just `forward`; called with a Tensor it returns a Tensor and records itself.
    """

    def __init__(self, forward: Callable[..., Array]) -> None:
        self.forward = forward
        self.rule: Callable[..., tuple] | None = None
        self.name = forward.__name__.rstrip("_")
        self.__name__, self.__doc__, self.__wrapped__ = self.name, forward.__doc__, forward
        self.__module__ = forward.__module__

    def vjp(self, rule: Callable[..., tuple]) -> Callable[..., tuple]:
        """Decorator: `rule` is the vector-Jacobian product of this op."""
        self.rule = rule
        return rule

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if not any(isinstance(x, Tensor) for x in inputs):
            return self.forward(*inputs, **options)
        # A NumPy scalar would turn float32 into float64; a Python number does not.
        inputs = tuple(x.item() if isinstance(x, np.generic) else x for x in inputs)
        arrays = tuple(map(raw, inputs))
        try:
            value = self.forward(*arrays, **options)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, self.name, arrays, options)
        return recorded(self, value, inputs, options)

    def pull(self, g: Any, out: Tensor, node: Node, create_graph: bool) -> tuple:
        assert self.rule is not None, f"{self.name} was recorded although it has no rule"
        if create_graph:
            return self.rule(g, out, *node.inputs, **node.options)
        return self.rule(g, out.data, *map(raw, node.inputs), **node.options)


def recorded(op: Primitive | Fused, value: Array, inputs: tuple, options: dict[str, Any], saved: Any = None) -> Tensor:
    """A Tensor of `value` that knows `op` made it, if a gradient may have to find its way back."""
    out = Tensor(value)
    if mode.recording and op.rule is not None and any(map(is_tracked, inputs)) and out.data.dtype.kind == "f":
        out.requires_grad = True
        out.node = Node(op, inputs, options, saved)
    return out


def explain(error: Exception, name: str, arrays: tuple, options: dict[str, Any]) -> NoReturn:
    """Raise `error` again with the op's name and what it was given."""
    given = ", ".join(f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x) for x in arrays)
    chosen = "".join(f", {key}={value!r}" for key, value in options.items() if not hasattr(value, "shape"))
    kind = type(error) if type(error) in (ValueError, IndexError, TypeError, InputError) else ValueError
    raise kind(f"{name}({given}{chosen}): {error}") from error


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

    def fast_pair(self, array: Array) -> FastPair | None:
        """The fast pair for arrays of this kind, None inside `plain()` or where there is none."""
        return self.pairs.get(array_module(array).__name__) if mode.fast else None

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        pair = self.fast_pair(raw(inputs[0]))
        if pair is None:
            return self.definition(*inputs, **options)
        arrays = tuple(map(raw, inputs))
        will_record = mode.recording and any(map(is_tracked, inputs))
        try:
            value, saved = pair.forward(*arrays, **options) if will_record else (pair.value(*arrays, **options), None)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, self.name, arrays, options)
        if not any(isinstance(x, Tensor) for x in inputs):
            return value
        return recorded(self, value, inputs, options, saved)

    def pull(self, g: Any, out: Tensor, node: Node, create_graph: bool) -> tuple:
        if create_graph:
            return self.pull_through_definition(g, node)
        pair = self.pairs[array_module(out.data).__name__]
        assert pair is not None, f"{self.name} was recorded by a fast pair that is gone"
        return pair.backward(g, node.saved, *map(raw, node.inputs), **node.options)

    def pull_through_definition(self, g: Tensor, node: Node) -> tuple:
        """The gradients as Tensors with a history: run the definition again, and walk back through it.

        Each input is aliased first, because one tensor may stand in several places (attention(x, x, x)) and each
        place has a gradient of its own.
        """
        aliases = [ops.alias(x) if is_tracked(x) else x for x in node.inputs]
        again = self.definition(*aliases, **node.options)
        places = [x for x in aliases if is_tracked(x)]
        found = {id(x): gx for x, gx in engine.pull_back(again, g, stop_at=places, create_graph=True)}
        return tuple(found.get(id(x)) for x in aliases)


def primitive(forward: Callable[..., Array]) -> Primitive:
    """Decorator: this function of raw arrays is an op of the vocabulary; give it a rule with `@name.vjp`."""
    return Primitive(forward)


def fused(cpu: FastPair | None = None, cuda: FastPair | None = None) -> Callable[[Callable[..., Any]], Fused]:
    """Decorator: this formula is the definition of a fused op, with these fast pairs."""
    return lambda definition: Fused(definition, cpu, cuda)


# Differentiating a definition needs the engine and an op, which are themselves built on this file.
from tinygrad_llm.autograd import engine, ops  # noqa: E402  (see the line above)
