"""Ops that are made of other ops.

Most of the vocabulary is primitive: a forward and its rule. An op that is a short sentence in other ops needs no
rule of its own, and its derivatives of every order come with the parts. What it needs is a name for its mistakes:
"stack(...): concat(...): ..." tells the reader both what was called and where it failed.

Builds on: `primitive`. Used by: every file of `ops` that has a composite op.
"""

import functools
from collections.abc import Callable
from typing import Any

from tinygrad_llm.autograd.arguments import arrange, input_names
from tinygrad_llm.autograd.op_errors import explain
from tinygrad_llm.autograd.tensor import raw


def composite(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: this function of arrays or Tensors is an op made of others; errors inside it carry its name."""

    _, most_inputs = input_names(function)

    @functools.wraps(function)
    def op(*inputs: Any, **options: Any) -> Any:
        if len(inputs) > most_inputs:
            inputs, options = arrange(function, op.__name__, inputs, options)
        try:
            return function(*inputs, **options)
        except (ValueError, IndexError, TypeError) as error:
            explain(error, op.__name__, tuple(map(raw, inputs)), options)

    op.__name__ = function.__name__.rstrip("_")
    return op
