"""The backward pass: reverse-mode differentiation of whatever was recorded.

Every op knows how a gradient passes through it: its vjp, the chain rule for one op. What remains is the order. A tensor
that is used twice gets two gradients and may pass on only their sum, so it waits for every tensor made from it:

    b = a + a          # dc/da = 4
    c = b + b          # from c: visit c, then b (once, with the sum of both its gradients, 2), then a

Visit b each time a gradient arrives, as a plain depth-first traversal does, and the work doubles with every such line;
visit it only the first time, and a gets the gradients of half the paths. The order that waits is the reverse of a
topological order, a list in which inputs stand before outputs. A loop makes it, so long chains are no problem.

Used by: `Tensor.backward`, and `subgraph` for derivatives of functions and of definitions.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

from tinygrad_llm.autograd.changes import check_unchanged, refuse_freed
from tinygrad_llm.autograd.hooks import apply_hooks
from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.autograd.op_errors import checked_gradients


def backward_pass(
    roots: Sequence[Any], gradients: Sequence[Any], order: list[Any] | None = None, *, retain_graph: bool = False
) -> Iterator[tuple[Any, Any]]:
    """Yield (tensor, gradient of Σ roots · gradients with respect to it), from the roots back to the leaves.

    gradients: one per root, of its shape. Arrays give arrays; Tensors give Tensors with a history of their own.
    order: which tensors get a gradient, inputs before outputs; everything behind the roots if it is None.
    retain_graph: keep the graph for another pass. Otherwise each node is freed once its gradient has passed.

    Raises InputError where the graph was freed, or a value that it needs was changed in place.
    """
    order = topological_order(roots) if order is None else order
    for tensor in order:
        if tensor.node is not None:
            check_unchanged(tensor, tensor.node)  # before any gradient is handed out
    total: dict[int, Any] = dict.fromkeys(map(id, order))  # the sum of the gradients that have arrived, by tensor
    for root, g in zip(roots, gradients, strict=True):
        add_to(total, root, g)

    while order:
        tensor = order.pop()
        g = total.pop(id(tensor))  # complete: every tensor made from this one has been visited
        if g is None:
            continue
        if tensor.hooks:
            g = apply_hooks(tensor, g)
        yield tensor, g
        node = tensor.node
        wanted = [] if node is None else [id(x) in total for x in node.inputs]
        if not any(wanted):
            continue
        found = checked_gradients(node, node.op.backward(node, g, tensor, wanted), wanted)
        for observer in mode.observers:
            observer.on_backward(node, tensor, g, found)
        for x, gx in zip(node.inputs, found, strict=True):
            if gx is not None:
                add_to(total, x, gx)
        if not retain_graph:
            node.free()


def add_to(total: dict[int, Any], x: Any, g: Any) -> None:
    """total[x] += g, where x is in it. Not in place: a rule may give one array to two inputs, as that of x + y does."""
    if id(x) in total:
        if g.dtype is not x.dtype:
            g = g.astype(x.dtype)  # an op that mixes precisions: each input gets its own back
        so_far = total[id(x)]
        total[id(x)] = g if so_far is None else so_far + g


def topological_order(roots: Sequence[Any], stops: Container[int] = ()) -> list[Any]:
    """Every tensor behind the roots that requires a gradient, inputs before outputs; nothing behind `stops` (ids).

    An iterative depth-first post-order: a tensor comes out once everything that it was made from has come out. Inputs
    are visited from the first to the last: in y = x Wᵀ + b all that is behind x comes before W and b. So in the
    backward pass the gradients of W and b are complete right after y's, and need not be kept until the end.

    Raises InputError where an earlier backward pass has freed the graph.
    """
    order: list[Any] = []
    seen: set[int] = set()
    stack = [(root, False) for root in roots]
    while stack:
        tensor, inputs_are_done = stack.pop()
        if inputs_are_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            if tensor.node is not None and id(tensor) not in stops:
                if tensor.node.is_freed:
                    refuse_freed(tensor.node)
                stack.extend((x, False) for x in reversed(tensor.node.inputs) if getattr(x, "requires_grad", False))
    return order
