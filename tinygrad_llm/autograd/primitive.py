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

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygrad_llm.autograd.fingerprint import fingerprint
from tinygrad_llm.autograd.modes import mode, recording
from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.backend import Array, array_module, device_of
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels.pair import NOWHERE, FastPair, Place

FREED = object()  # what a node has saved after its gradient has passed


class Node:
    """Who made a tensor: the op, what went in, its options, what a fast forward saved, and how it all looked.

    looked: the fingerprint of the result. inputs_looked: of each input, None for a number and for a tensor that an op
    made (its own node has it); None altogether where that holds for all. lines: see `lines`; mostly not there.
    """

    __slots__ = ("inputs", "inputs_looked", "lines", "looked", "op", "options", "saved")

    lines: tuple

    def __init__(
        self,
        op: Op,
        inputs: tuple,
        options: dict[str, Any],
        saved: Any = None,
        looked: Any = None,
        inputs_looked: Sequence[Any] | None = None,
    ) -> None:
        self.op, self.inputs, self.options, self.saved = op, inputs, options, saved
        self.looked, self.inputs_looked = looked, inputs_looked

    @property
    def name(self) -> str:
        return self.op.name

    def free(self) -> None:
        """Forget the inputs, once the gradient has passed. The op's name stays, for the error of a second pass."""
        self.inputs, self.saved, self.looked, self.inputs_looked = (), FREED, None, None

    @property
    def is_freed(self) -> bool:
        return self.saved is FREED

    def pull(self, g: Any, out: Tensor, create_graph: bool, fill_buffers: bool = False) -> tuple:
        """The gradient of every input, given the gradient `g` of the output `out`.

        fill_buffers: an op that can may add the gradient of a parameter to its buffer, and answer with that.
        """
        if self.op.adds_in_place:
            gradients = self.op.pull(g, out, self, create_graph, [place_of(x, fill_buffers) for x in self.inputs])
        else:
            gradients = self.op.pull(g, out, self, create_graph)
        if mode.watchers:
            for watcher in mode.watchers:
                watcher.pulled(self, out, g, gradients)
        return gradients

    def changed(self, out: Tensor) -> int | None:
        """What was written into since it was recorded: 0: the result `out`, i: the i-th input, None: nothing."""
        if fingerprint(out.data) != self.looked:
            return 0
        if self.inputs_looked is not None:
            for i, before in enumerate(self.inputs_looked):
                if before is not None and fingerprint(raw(self.inputs[i])) != before:
                    return i + 1
        return None


def place_of(x: Any, fill_buffers: bool) -> Any:
    """Where the gradient of x shall go, in the words of `kernels.pair`."""
    if not is_tracked(x):
        return NOWHERE
    return Place(x.grad_buffer, is_empty=x.grad is None) if fill_buffers and engine.has_buffer(x) else None


class Primitive:
    """One op of the vocabulary: `forward(*arrays, **options)`, and its rule `vjp(g, out, *inputs, **options)`.

    Positional arguments are the inputs (arrays, Tensors, numbers); keyword arguments are options without gradient.
    Called with raw arrays it is just `forward`; called with a Tensor it returns a Tensor and records itself.
    """

    adds_in_place = False

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
        for x in inputs:
            if isinstance(x, Tensor):
                break
        else:
            return self.forward(*inputs, **options)
        arrays = []
        for x in inputs:
            if isinstance(x, Tensor):
                x = x.data
            elif isinstance(x, np.generic):  # would turn float32 into float64; a Python number does not
                return self(*[x.item() if isinstance(x, np.generic) else x for x in inputs], **options)
            arrays.append(x)
        try:
            value = self.forward(*arrays, **options)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, self.name, arrays, options)
        return recorded(self, value, inputs, arrays, options)

    def pull(self, g: Any, out: Tensor, node: Node, create_graph: bool) -> tuple:
        assert self.rule is not None, f"{self.name} was recorded although it has no rule"
        if create_graph:
            return self.rule(g, out, *node.inputs, **node.options)
        arrays = [x.data if isinstance(x, Tensor) else x for x in node.inputs]
        return self.rule(g, out.data, *arrays, **node.options)


def any_tracked(inputs: tuple) -> bool:
    """Whether a gradient shall flow back to any of the inputs. A plain loop: it runs for every op."""
    for x in inputs:  # noqa: SIM110  (any() with a generator takes three times as long)
        if isinstance(x, Tensor) and x.requires_grad:
            return True
    return False


def recorded(
    op: Op, value: Array, inputs: tuple, arrays: Sequence, options: dict[str, Any], saved: Any = None
) -> Tensor:
    """A Tensor of `value` that knows `op` made it, if a gradient may have to find its way back.

    arrays: what is inside the inputs.
    """
    out = Tensor(value)
    if mode.recording and op.rule is not None and out.data.dtype.kind == "f" and any_tracked(inputs):
        looked = [
            None if isinstance(x, Tensor) and x.node is not None else fingerprint(array)
            for x, array in zip(inputs, arrays, strict=True)
        ]
        out.requires_grad = True
        out.node = Node(op, inputs, options, saved, fingerprint(out.data), looked if any(looked) else None)
    if mode.watchers:
        for watcher in mode.watchers:
            watcher.computed(op, inputs, options, out)
    return out


def explain(error: Exception, name: str, arrays: Sequence[Any], options: dict[str, Any]) -> NoReturn:
    """Raise `error` again with the op's name and what it was given."""
    given = ", ".join(map(described, arrays))
    chosen = "".join(f", {key}={value!r}" for key, value in options.items() if not hasattr(value, "shape"))
    devices = sorted({device_of(x) for x in arrays if getattr(x, "ndim", 0)})
    if len(devices) > 1:
        raise InputError(
            f"{name}({given}{chosen}): some of these are on the {' and some on the '.join(devices)}; move them to one "
            f"device first: tensor.to({devices[-1]!r})."
        ) from error
    kind = type(error) if type(error) in (ValueError, IndexError, TypeError, InputError) else ValueError
    raise kind(f"{name}({given}{chosen}): {error}") from error


def described(x: Any) -> str:
    """An argument as an error shows it: "float32[2, 3]" for an array, those in brackets for a list of arrays."""
    if isinstance(x, tuple | list):
        return f"[{', '.join(map(described, x))}]"
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x)


class Fused:
    """A composite op: a plain `definition`, and per backend a fast pair that must agree with it.

    definition: the formula, in primitives. cpu, cuda: `FastPair(forward, backward)` from `kernels`, or None.
    """

    def __init__(self, definition: Callable[..., Any], cpu: FastPair | None, cuda: FastPair | None) -> None:
        self.definition = self.rule = definition  # its rule: differentiate the definition
        self.pairs = {"numpy": cpu, "cupy": cuda}
        self.adds_in_place = any(pair is not None and pair.adds_in_place for pair in (cpu, cuda))
        self.name = definition.__name__
        self.__name__, self.__doc__, self.__wrapped__ = self.name, definition.__doc__, definition
        self.__module__ = definition.__module__

    def fast_pair(self, array: Array) -> FastPair | None:
        """The fast pair for arrays of this kind, None inside `plain()` or where there is none."""
        return self.pairs.get(array_module(array).__name__) if mode.fast else None

    def on_arrays(self, like: Array) -> Callable[..., Array]:
        """What a call on bare arrays of this kind runs at present, for loops that need not ask again each time."""
        pair = self.fast_pair(like)
        return self.definition if pair is None else pair.value

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        arrays, has_tensor = [], False
        for x in inputs:
            if isinstance(x, Tensor):
                x, has_tensor = x.data, True
            arrays.append(x)
        pair = self.fast_pair(arrays[0])
        if pair is None:
            return self.definition(*inputs, **options)
        will_record = has_tensor and mode.recording and any_tracked(inputs)
        try:
            value, saved = pair.forward(*arrays, **options) if will_record else (pair.value(*arrays, **options), None)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, self.name, arrays, options)
        return recorded(self, value, inputs, arrays, options, saved) if has_tensor else value

    def pull(self, g: Any, out: Tensor, node: Node, create_graph: bool, places: Sequence[Any] = ()) -> tuple:
        if create_graph:
            return pull_through(self.definition, g, node.inputs, node.options, create_graph=True)
        pair = self.pairs[array_module(out.data).__name__]
        assert pair is not None, f"{self.name} was recorded by a fast pair that is gone"
        arrays = [x.data if isinstance(x, Tensor) else x for x in node.inputs]
        into = {"places": places} if places and pair.adds_in_place else {}
        gradients = pair.backward(g, node.saved, *arrays, **node.options, **into)
        return gradients[: len(arrays)]  # inputs that were left out, such as a bias, have a None there


def pull_through(
    definition: Callable[..., Tensor],
    g: Any,
    inputs: Sequence[Any],
    options: dict[str, Any],
    *,
    create_graph: bool,
    captured: Sequence[Tensor] = (),
) -> tuple:
    """The gradient of every input, and of every captured tensor: run the definition (again), and walk back through it.

    Each input gets another name first, because one tensor may stand in several places (attention(x, x, x)) and each
    place has a gradient of its own. captured: tensors that the definition uses besides its inputs.
    """
    with recording(True):
        names = [renamed(x, create_graph) if is_tracked(x) else x for x in inputs]
        again = definition(*names, **options)
        places = [x for x in (*names, *captured) if is_tracked(x)]
        walk = engine.pull_back([again], [g], wanted=places, stops=places, create_graph=create_graph)
        found = {id(x): gx for x, gx in walk}
    return tuple(found.get(id(x)) for x in (*names, *captured))


def renamed(x: Tensor, with_history: bool) -> Tensor:
    """The same values under another name: one that leads back to x, or a leaf."""
    return ops.alias(x) if with_history else Tensor(x.data, requires_grad=True)


Op = Any  # a Primitive, a Fused, or whatever else has a name, a rule and a pull: see `recompute`


def primitive(forward: Callable[..., Array]) -> Primitive:
    """Decorator: this function of raw arrays is an op of the vocabulary; give it a rule with `@name.vjp`."""
    return Primitive(forward)


def fused(cpu: FastPair | None = None, cuda: FastPair | None = None) -> Callable[[Callable[..., Any]], Fused]:
    """Decorator: this formula is the definition of a fused op, with these fast pairs."""
    return lambda definition: Fused(definition, cpu, cuda)


# Differentiating a definition needs the engine and an op, which are themselves built on this file.
from tinygrad_llm.autograd import engine, ops  # noqa: E402  (see the line above)
