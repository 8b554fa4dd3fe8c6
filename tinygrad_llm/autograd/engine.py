"""The walk back: reverse-mode differentiation of whatever was recorded.

Every op knows how a gradient passes through it. What remains is the order. A tensor that is used twice gets two
gradients, and it may pass on only their sum; so it must wait until every tensor made from it has been visited:

    b = a + a          # b is used twice below
    c = b + b          # going back from c: visit c, then b (once, with both gradients), then a

Visit b as soon as its first gradient arrives, as a plain depth-first walk does, and a gets gradients of half the
paths, or of some paths twice. The order that waits is the reverse of a topological order: inputs before outputs.

The walk is a loop, not a recursion, so ten thousand chained ops are no problem. Each node is freed once its
gradient has passed, so memory shrinks as the walk goes.

Comes before: `primitive` (the nodes). Comes after: `functional` (grad, hessian and the like, made of this walk).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tinygrad_llm.autograd.tensor import Tensor, is_tracked, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError


def backward(
    root: Tensor, seed: Any = None, *, create_graph: bool = False, retain_graph: bool = False
) -> None:
    """Add d(root)/d(leaf), times `seed`, to `leaf.grad` for every leaf behind `root`. See `Tensor.backward`."""
    for leaf, g in pull_back(root, seed, create_graph=create_graph, retain_graph=retain_graph):
        accumulate(leaf, g)


def accumulate(leaf: Tensor, g: Any) -> None:
    """leaf.grad += g. Into `leaf.grad_buffer` where the leaf has one; else `leaf.grad` gets memory of its own."""
    if leaf.grad_buffer is not None:
        if leaf.grad is None:
            leaf.grad = Tensor(leaf.grad_buffer)
            leaf.grad_buffer[...] = raw(g)
        else:
            leaf.grad_buffer += raw(g)
    elif leaf.grad is not None:
        leaf.grad = leaf.grad + g
    else:
        leaf.grad = g if isinstance(g, Tensor) else Tensor(array_module(leaf.data).array(g))


def pull_back(
    root: Tensor,
    seed: Any = None,
    *,
    stop_at: Sequence[Tensor] | None = None,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Iterator[tuple[Tensor, Any]]:
    """Yield (tensor, gradient of `root` with respect to it) for every leaf, or for every tensor of `stop_at`.

    seed: what the gradient starts with, of root's shape; 1 if root is a single number.
    stop_at: treat these tensors as the leaves: the walk does not look behind them.
    create_graph: gradients are Tensors with a history; otherwise raw arrays, and the graph is freed on the way
    unless `retain_graph`.

    Raises InputError without history, without a seed for a non-scalar root, or when the graph was freed before.
    """
    gradient_of = {id(root): first_gradient(root, seed, create_graph)}
    ours: set[int] = set()  # sums made here: nobody else holds them, so the next term may be added in place
    stops = None if stop_at is None else {id(x) for x in stop_at}
    order = topological_order(root, stops or set())
    while order:
        tensor = order.pop()
        g = gradient_of.pop(id(tensor), None)
        if g is None:
            continue
        is_stop = stops is not None and id(tensor) in stops
        if is_stop or (stops is None and tensor.node is None):
            yield tensor, g
        if is_stop or tensor.node is None:
            continue
        node = tensor.node
        for x, gx in zip(node.inputs, node.pull(g, tensor, create_graph), strict=True):
            if gx is None or not is_tracked(x):
                continue
            if gx.dtype != x.dtype:
                gx = gx.astype(x.dtype)  # an op that mixed precisions: each input gets its own back
            if id(x) not in gradient_of:
                gradient_of[id(x)] = gx  # perhaps shared: `add` hands the same g to both of its inputs
            elif id(x) in ours:
                gradient_of[id(x)] += gx
            else:
                gradient_of[id(x)] = gradient_of[id(x)] + gx
                if not create_graph:
                    ours.add(id(x))
        if not (create_graph or retain_graph):
            node.free()


def first_gradient(root: Tensor, seed: Any, create_graph: bool) -> Any:
    """What the walk starts with: d(root)/d(root) = 1, or the user's seed."""
    if not root.requires_grad:
        raise InputError(
            "backward: this tensor has no history, so there is nothing to differentiate. Compute it from tensors with "
            "requires_grad=True, outside no_grad()."
        )
    if seed is None:
        if root.size != 1:
            raise InputError(
                f"backward: a tensor of shape {root.shape} is not a single number; reduce it first, for instance "
                "loss.mean().backward(), or pass the gradient to start with: y.backward(seed)."
            )
        seed = array_module(root.data).ones_like(root.data)
    seed = seed if isinstance(seed, Tensor) else Tensor(array_module(root.data).asarray(seed, dtype=root.dtype))
    if seed.shape != root.shape:
        raise InputError(f"backward: seed has shape {seed.shape}, it must have the tensor's shape {root.shape}.")
    return seed if create_graph else seed.data


def topological_order(root: Tensor, stops: set[int]) -> list[Tensor]:
    """Every tensor behind `root` that wants a gradient, inputs before outputs; iterative depth-first post-order."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(root, False)]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            if tensor.node is not None and id(tensor) not in stops:
                if tensor.node.is_freed:
                    raise InputError(
                        f"backward: the graph behind the op '{tensor.node.name}' was already used and freed. "
                        "Compute the loss again, or keep the graph: loss.backward(retain_graph=True)."
                    )
                stack.extend((x, False) for x in tensor.node.inputs if is_tracked(x))
    return order

