"""The gradient of every example's own loss, in one backward pass.

`backward` gives the sum over the batch. Influence of examples, clipping per example and gradient noise need the terms
of that sum. One backward pass per example gives them, at the cost of as many passes as there are examples; but each op
that uses a parameter has them all. A linear layer gets g (B, T, O) and has x (B, T, I), and sums over B and T to get
dW = Σ_bt g_bt x_btᵀ; without the sum over b it has every example's dW_b (Goodfellow 2015, "Efficient per-example
gradient computations"). So there is one backward pass, in which the rules below take the place of the sums.

What is computed from parameters alone (a slice of a position table, a transposed weight) belongs to no example; its
op has one gradient per example, and its rule runs once for each. That is the only loop over examples, over ops that
are small because no data goes through them.

Builds on: `functional`, `autograd.engine`. Offered as `tg.nn.per_example_gradients`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_llm.autograd import Tensor, ops
from tinygrad_llm.autograd.engine import topological_order
from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.subgraph import gradients_at
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F


def per_example_gradients(losses: Tensor, parameters: Tensor | Sequence[Tensor] | Mapping[str, Tensor]) -> Any:
    """d losses[b] / d parameter for every example b, of shape (B, *parameter's shape).

    losses: (B,), each computed from its own example alone, in tensors whose first axis is the example (no statistics
    over the batch, and B not folded into another axis). parameters: one, several, or named ones as from
    `dict(module.named_parameters())`; the answer has the same form. Uses the graph up, as `backward` does; touches no
    `.grad`.

    Parameters may go through linear, embedding, layer_norm, rms_norm, matmul, add, subtract, multiply, divide.
    Raises InputError when one goes through another op, or where the first axis is not the example.

    >>> W = Tensor([[1.0, 2.0]], requires_grad=True)
    >>> x = Tensor([[1.0, 0.0], [0.0, 10.0]])
    >>> print(per_example_gradients(F.linear(x, W).sum(axis=1), W).numpy().tolist())
    [[[1.0, 0.0]], [[0.0, 10.0]]]
    """
    if losses.ndim != 1:
        raise InputError(f"per_example_gradients: losses must be one number per example, (B,), not {losses.shape}.")
    if isinstance(parameters, Mapping):
        found = per_example_gradients(losses, list(parameters.values()))
        return dict(zip(parameters, found, strict=True))
    wanted = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    terms = Terms(losses, wanted)
    with observing(terms):
        gradients_at(wanted, [losses], [array_module(losses.data).ones_like(losses.data)])  # of which `terms` sees all
    answers = tuple(Tensor(terms.of(x)) for x in wanted)
    return answers[0] if isinstance(parameters, Tensor) else answers


class Terms(Observer):
    """Collects, on the way back, one gradient per example for everything that belongs to no example."""

    def __init__(self, losses: Tensor, parameters: Sequence[Tensor]) -> None:
        self.examples = len(losses)
        self.found: dict[int, Array] = {}
        self.shared = {id(x) for x in parameters}  # and what is made of them alone
        for x in topological_order([losses]):
            if x.node is not None:
                given = (*x.node.inputs, *x.node.options.values())  # data too, such as the ids of a lookup
                if all(id(y) in self.shared for y in given if hasattr(y, "shape")):
                    self.shared.add(id(x))

    def of(self, x: Tensor) -> Array:
        """(B, *shape of x): zeros where nothing came."""
        return self.found.get(id(x), array_module(x.data).zeros((self.examples, *x.shape), x.dtype))

    def on_backward(self, node: Node, out: Tensor, g: Any, gradients: tuple) -> None:
        places = [i for i, x in enumerate(node.inputs) if id(x) in self.shared]
        if not places:
            return
        if id(out) in self.shared:
            each = [node.op.backward(node, g_b, out, [True] * len(node.inputs)) for g_b in self.of(out)]
            terms = [array_module(g).stack([row[i] for row in each]) for i in places]
        else:
            self.check(node, out)
            terms = [RULES[node.op](i, g, *node.arrays, **node.options) for i in places]
        for i, term in zip(places, terms, strict=True):
            x = node.inputs[i]
            self.found[id(x)] = self.found[id(x)] + term if id(x) in self.found else term

    def check(self, node: Node, out: Tensor) -> None:
        if node.op not in RULES:
            raise InputError(
                f"per_example_gradients: a parameter goes through the op '{node.name}', for which no rule is known; "
                f"there is one for {', '.join(op.name for op in RULES)}. Take one backward pass per example instead."
            )
        if out.ndim == 0 or out.shape[0] != self.examples:
            raise InputError(
                f"per_example_gradients: the op '{node.name}' makes {out.shape}, its first axis must be the "
                f"{self.examples} examples."
            )


# --- the rules: for input number `place`, what the op's own rule computes, without the sum over examples ----------


def per_example_linear(place: int, g: Array, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """dW_b = Σ_t g_bt x_btᵀ, db_b = Σ_t g_bt. x: (B, ..., I), g: (B, ..., O) -> (B, O, I) or (B, O)."""
    g_rows, x_rows = g.reshape(len(g), -1, g.shape[-1]), x.reshape(len(x), -1, x.shape[-1])  # (B, T, O), (B, T, I)
    return g_rows.swapaxes(1, 2) @ x_rows if place == 1 else g_rows.sum(axis=1)


def per_example_matmul(place: int, g: Array, x: Array, y: Array) -> Array:
    """x y with a parameter y: dy_b = Σ_t x_btᵀ g_bt. x: (B, ..., I), y: (I, O) -> (B, I, O)."""
    if place == 0 or y.ndim != 2:
        raise InputError("per_example_gradients: in x @ W the parameter W must be a matrix on the right.")
    return per_example_linear(1, x, g, y)


def per_example_embedding(place: int, g: Array, weight: Array, ids: Array) -> Array:
    """dW_b: the gradients of example b added up at the rows that it read. ids: (B, ...) -> (B, V, C)."""
    return per_example_getitem(place, g, weight, index=ids)


def per_example_getitem(place: int, g: Array, weight: Array, *, index: Array) -> Array:
    """The same for weight[index]."""
    if not hasattr(index, "dtype") or index.ndim == 0:
        raise InputError("per_example_gradients: a table must be read by ids of shape (B, ...).")
    examples = array_module(g).arange(len(g)).reshape(-1, *(1,) * (index.ndim - 1))
    return ops.add_at(g, index=(examples, index), shape=(len(g), *weight.shape))


def per_example_layer_norm(
    place: int, g: Array, x: Array, weight: Array, bias: Array | None = None, **options: Any
) -> Array:
    """dw_b = Σ_t g_bt · normed_bt, db_b = Σ_t g_bt. (B, ..., C) -> (B, C)."""
    normed = F.layer_norm(x, array_module(x).ones_like(weight), **options)
    return over_positions(g * normed if place == 1 else g, weight)


def per_example_rms_norm(place: int, g: Array, x: Array, weight: Array, **options: Any) -> Array:
    """dw_b = Σ_t g_bt · normed_bt. (B, ..., C) -> (B, C)."""
    return over_positions(g * F.rms_norm(x, array_module(x).ones_like(weight), **options), weight)


def elementwise(op: Any) -> Callable[..., Array]:
    """The rule for a broadcasting op of two: its own rule on the parameter spread out, then summed per example."""

    def rule(place: int, g: Array, *inputs: Any) -> Array:
        spread = list(inputs)
        spread[place] = array_module(g).broadcast_to(inputs[place], g.shape)
        return over_positions(op.rule(g, op(*spread), *spread)[place], inputs[place])

    return rule


def over_positions(terms: Array, parameter: Array) -> Array:
    """Sum terms (B, ...) to (B, *parameter's shape): over the axes that the parameter was spread over, but B."""
    shape = (1,) * (terms.ndim - parameter.ndim) + parameter.shape
    axes = tuple(i for i, n in enumerate(shape) if i > 0 and n == 1)
    return terms.sum(axis=axes, keepdims=True).reshape(len(terms), *parameter.shape)


RULES: dict[Any, Callable[..., Array]] = {
    F.linear: per_example_linear,
    F.embedding: per_example_embedding,
    ops.getitem: per_example_getitem,
    F.layer_norm: per_example_layer_norm,
    F.rms_norm: per_example_rms_norm,
    ops.matmul: per_example_matmul,
    ops.add: elementwise(ops.add),
    ops.subtract: elementwise(ops.subtract),
    ops.multiply: elementwise(ops.multiply),
    ops.divide: elementwise(ops.divide),
}
