"""Fused ops: a formula that people read, and beside it a fast way to compute the same.

A `Fused` op is made of others. Its definition is the plain formula, which a debugger can step through; a fast pair per
backend, from `kernels`, must agree with it. `with plain():` (or the environment variable TINYGRAD_LLM_PLAIN=1) switches
every fast pair off. Under `create_graph=True` a fused op differentiates its definition, so it is exact at every order.

Builds on: `primitive`. Used by: `ops` and `nn.functional`, which are written with `@fused`; `recompute`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_llm.autograd.arguments import arrange, input_names
from tinygrad_llm.autograd.modes import mode, recording
from tinygrad_llm.autograd.op_errors import explain
from tinygrad_llm.autograd.primitive import Node, any_tracked, primitive, recorded, unpacked
from tinygrad_llm.autograd.subgraph import gradients_at, requiring_grad
from tinygrad_llm.autograd.tensor import Tensor, is_tracked
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.kernels.pair import FastPair


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

    def __repr__(self) -> str:
        return f"<fused op {self.name}>"

    def fast_pair(self, array: Array) -> FastPair | None:
        """The fast pair for arrays of this kind, None inside `plain()` or where there is none."""
        return self.pairs.get(array_module(array).__name__) if mode.fast else None

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

    Each input becomes another tensor first, because one tensor may stand for several inputs (attention(x, x, x)) and
    each input has a gradient of its own. captured: tensors that the definition uses besides its inputs.
    g: a Tensor if the gradients shall have a history, else an array.
    """
    with_history = isinstance(g, Tensor)
    with recording(True):
        variables = [as_variable(x, with_history) if is_tracked(x) else x for x in inputs]
        made = [x for x, given in zip(variables, inputs, strict=True) if x is not given]
        with requiring_grad([x for x in made if x.node is None]):
            out = definition(*variables, **options)
            ends = [*made, *filter(is_tracked, captured)]
            found = gradients_at(ends, [out], [g], stops=ends, retain_graph=with_history)
    gradient_of = {id(x): gx for x, gx in zip(ends, found, strict=True)}
    return tuple(gradient_of.get(id(x)) for x in (*variables, *captured))


def as_variable(x: Tensor, with_history: bool) -> Tensor:
    """The same values as another tensor: one that leads back to x, or a leaf. See `requiring_grad`."""
    return alias(x) if with_history else Tensor(x.data)
