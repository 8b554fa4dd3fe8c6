"""What a fast pair is: the second, quick way to compute a fused op and its gradient.

`forward(*arrays, **options) -> (value, saved)` computes the op and keeps what its backward will need.
`backward(g, saved, *arrays, **options) -> one gradient per input`, None where an input has none.
`value(*arrays, **options) -> value` computes the op when no gradient is wanted: `forward` without what it saves,
unless something quicker is given.

A pair that `adds_in_place` also gets `places`, one per input: where the gradient of a parameter shall end up (`Place`),
None where it is just handed on, or NOWHERE when nobody asks for it, as for a parameter that is frozen. It may write or
add the gradient to its place itself, which saves memory and a pass over it, and then answers with that array; what goes
NOWHERE need not be computed, and the answer may be None.

Each pair stands for a plain definition in `nn.functional` and is tested equal to it, value and gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_llm.backend import Array


class Place(NamedTuple):
    """Where a gradient is collected. array: of the parameter's shape. is_empty: no gradient is in it yet."""

    array: Array
    is_empty: bool


NOWHERE = object()


class FastPair:
    def __init__(
        self,
        forward: Callable[..., tuple[Array, Any]],
        backward: Callable[..., tuple[Array | None, ...]],
        value: Callable[..., Array] | None = None,
        adds_in_place: bool = False,
    ) -> None:
        self.forward, self.backward, self.adds_in_place = forward, backward, adds_in_place
        self.value = value or (lambda *arrays, **options: forward(*arrays, **options)[0])
