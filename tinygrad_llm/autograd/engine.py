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

from collections.abc import Container, Iterator, Sequence
from typing import Any

from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError


def backward(root: Tensor, seed: Any = None, *, create_graph: bool = False, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf), times `seed`, to `leaf.grad` for every leaf behind `root`. See `Tensor.backward`."""
    walk = pull_back(
        [root], [seed], create_graph=create_graph, retain_graph=retain_graph, fill_buffers=not create_graph
    )
    for leaf, g in walk:
        accumulate(leaf, g)


def accumulate(leaf: Tensor, g: Any) -> None:
    """leaf.grad += g. Into `leaf.grad_buffer` where the leaf has one; else `leaf.grad` gets memory of its own.

    A g that is the buffer itself was added in there by the op that made it (`kernels.pair.Place`).
    """
    if leaf.grad_buffer is not None:
        was_empty = leaf.grad is None
        if was_empty:
            leaf.grad = Tensor(leaf.grad_buffer)
        if raw(g) is leaf.grad_buffer:
            return
        if was_empty:
            leaf.grad_buffer[...] = raw(g)
        else:
            leaf.grad_buffer += raw(g)
    elif leaf.grad is not None:
        leaf.grad = leaf.grad + g
    else:
        leaf.grad = g if isinstance(g, Tensor) else Tensor(array_module(leaf.data).array(g))


def pull_back(
    roots: Sequence[Tensor],
    seeds: Sequence[Any],
    *,
    wanted: Sequence[Tensor] | None = None,
    stops: Sequence[Tensor] = (),
    create_graph: bool = False,
    retain_graph: bool = False,
    fill_buffers: bool = False,
) -> Iterator[tuple[Tensor, Any]]:
    """Yield (tensor, gradient with respect to it) for every leaf behind the roots, or for every tensor of `wanted`.

    What is differentiated is Σ roots · seeds. seeds: one per root, of its shape; None is 1 for a single number.
    stops: do not look behind these tensors.
    create_graph: gradients are Tensors with a history; otherwise raw arrays, and the graph is freed on the way
    unless `retain_graph`.
    fill_buffers: a leaf with a `grad_buffer` is not yielded; its gradients go there as they come.

    Raises InputError for a root without history, for a missing or misshapen seed, when the graph was freed before,
    and when a value that the graph needs was changed in place.
    """
    sums = Sums(may_add_in_place=not create_graph)
    for root, seed in zip(roots, seeds, strict=True):
        sums.add(root, first_gradient(root, seed, create_graph))
    order = topological_order(roots, {id(x) for x in stops})
    if wanted is None:
        ends = {id(x) for x in order if x.node is None}
        passing = {id(x) for x in order if x.node is not None}
    else:
        ends = {id(x) for x in wanted}
        passing = on_the_way(order, ends)
    passing.difference_update([id(x) for x in stops])
    check([x for x in order if id(x) in passing])
    while order:
        tensor = order.pop()
        g = sums.pop(tensor)
        if g is None:
            continue
        if tensor.hooks:
            g = after_hooks(tensor, g, create_graph)
        if id(tensor) in ends:
            yield tensor, g
        node = tensor.node
        if node is None or id(tensor) not in passing:
            continue
        for x, gx in zip(node.inputs, node.pull(g, tensor, create_graph, fill_buffers), strict=True):
            if gx is not None and isinstance(x, Tensor) and x.requires_grad:
                if fill_buffers and has_buffer(x):
                    accumulate(x, gx)
                else:
                    sums.add(x, gx)
        if not (create_graph or retain_graph):
            node.free()


def has_buffer(x: Any) -> bool:
    """Whether gradients of x can be collected in its buffer one by one: hooks would have to see their sum."""
    return isinstance(x, Tensor) and x.grad_buffer is not None and x.node is None and not x.hooks


class Sums:
    """For every tensor the sum of the gradients that have arrived so far. Tensors are told apart by identity."""

    __slots__ = ("gradient_of", "may_add_in_place", "ours")

    def __init__(self, may_add_in_place: bool) -> None:
        self.may_add_in_place = may_add_in_place
        self.gradient_of: dict[int, Any] = {}
        self.ours: set[int] = set()  # made here: nobody else holds them, so the next term may be added in place

    def add(self, x: Tensor, g: Any) -> None:
        if g.dtype is not x.data.dtype:
            g = g.astype(x.data.dtype)  # an op that mixed precisions: each input gets its own back
        key = id(x)
        sum_so_far = self.gradient_of.get(key)
        if sum_so_far is None:
            self.gradient_of[key] = g  # perhaps shared: the op `add` hands the same g to both of its inputs
        elif key in self.ours:
            self.gradient_of[key] += g
        else:
            self.gradient_of[key] = sum_so_far + g
            if self.may_add_in_place:
                self.ours.add(key)

    def pop(self, x: Tensor) -> Any:
        """The finished sum, None if nothing arrived."""
        return self.gradient_of.pop(id(x), None)


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


def topological_order(roots: Sequence[Tensor], stops: Container[int] = ()) -> list[Tensor]:
    """Every tensor behind the roots that wants a gradient, inputs before outputs; not behind those in `stops` (ids).

    An iterative depth-first post-order: a tensor comes out once all that it was made from has come out. Inputs are
    visited from the first to the last: in y = x Wᵀ + b all that is behind x comes before W and b. So on the way back
    the gradients of W and b are finished right after y's, and need not be kept until the end.
    """
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(root, False) for root in roots]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            if tensor.node is None or id(tensor) in stops:
                order.append(tensor)
                continue
            stack.append((tensor, True))
            for x in reversed(tensor.node.inputs):
                if isinstance(x, Tensor) and x.requires_grad:
                    stack.append((x, False))
    return order


def on_the_way(order: list[Tensor], ends: set[int]) -> set[int]:
    """Which tensors of a topological order have one with an id in `ends` behind them: the gradient must pass there."""
    passing: set[int] = set()
    for tensor in order:
        inputs = tensor.node.inputs if tensor.node is not None else ()
        if any(isinstance(x, Tensor) and (id(x) in ends or id(x) in passing) for x in inputs):
            passing.add(id(tensor))
    return passing


def check(passing: list[Tensor]) -> None:
    """Raise InputError where the graph was freed, or where a value was changed in place since it was recorded."""
    for tensor in passing:
        node = tensor.node
        assert node is not None
        if node.is_freed:
            raise InputError(
                f"backward: the graph behind the op '{node.name}' was already used and freed. "
                "Compute the loss again, or keep the graph: loss.backward(retain_graph=True)."
            )
        place = node.changed(tensor)
        if place is not None:
            raise InputError(
                f"backward: {what_changed(tensor, place, passing)} was changed in place after it was computed with, "
                "so the gradient would be wrong. Change values (or step the optimizer) after backward(), or make a new "
                "tensor: x = x.at(index).set(value)."
            )


def what_changed(tensor: Tensor, place: int, passing: list[Tensor]) -> str:
    """Which value was written into, and which op needs it as it was. `place` as `Node.changed` gives it."""
    node = tensor.node
    assert node is not None
    if place:
        x = raw(node.inputs[place - 1])
        return f"input {place} of the op '{node.name}', {x.dtype}{list(x.shape)},"
    users = [f"'{y.node.name}'" for y in passing if y.node is not None and any(x is tensor for x in y.node.inputs)]
    needed = f", which the op {' and the op '.join(users)} needs," if users else ""
    return f"the result of the op '{node.name}', {tensor.dtype}{list(tensor.shape)}{needed}"


def after_hooks(tensor: Tensor, g: Any, create_graph: bool) -> Any:
    """The gradient of `tensor` as its hooks leave it. See `Tensor.register_hook`."""
    for hook in list((tensor.hooks or {}).values()):
        answer = hook(g if isinstance(g, Tensor) else Tensor(g))
        if answer is not None:
            if answer.shape != tensor.shape:
                raise InputError(
                    f"register_hook: the hook returned a gradient of shape {answer.shape}, it must have the tensor's "
                    f"shape {tensor.shape}. Return None to leave the gradient as it is."
                )
            g = answer if create_graph else raw(answer)
    return g
