"""The backward pass to chosen tensors only, instead of to every leaf.

Used by: `functional`, and the gradient of a definition in `primitive` and `recompute`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Sequence
from typing import Any

from tinygrad_llm.autograd.engine import backward_pass, topological_order


def leading_to(order: Sequence[Any], ends: Container[int]) -> list[Any]:
    """The part of a topological order through which a gradient must pass to reach the tensors in `ends` (ids)."""
    passing: dict[int, Any] = {}
    for tensor in order:
        inputs = () if tensor.node is None else tensor.node.inputs
        if id(tensor) in ends or any(id(x) in passing for x in inputs):
            passing[id(tensor)] = tensor
    return list(passing.values())


def gradients_at(
    ends: Sequence[Any],
    roots: Sequence[Any],
    gradients: Sequence[Any],
    *,
    stops: Sequence[Any] = (),
    retain_graph: bool = False,
) -> list[Any]:
    """The gradient of Σ roots · gradients with respect to each tensor of `ends`; None where nothing leads there.

    stops: tensors behind which nothing is needed. The rest as for `backward_pass`.
    """
    wanted = {id(x) for x in ends}
    order = leading_to(topological_order(roots, {id(x) for x in stops}), wanted)
    passed = backward_pass(roots, gradients, order, retain_graph=retain_graph)
    found = {id(x): g for x, g in passed if id(x) in wanted}
    return [found.get(id(x)) for x in ends]


@contextlib.contextmanager
def requiring_grad(leaves: Sequence[Any]) -> Iterator[None]:
    """Inside, these leaves require gradients.

    The variables of a derivative are such leaves: nobody outside can reach them, so what the derivative returns must
    not have a history because of them.
    """
    for x in leaves:
        x.requires_grad = True
    try:
        yield
    finally:
        for x in leaves:
            x.requires_grad = False
