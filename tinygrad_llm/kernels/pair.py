"""What a fast pair is: the second, quick way to compute a fused op and its gradient.

`forward(*arrays, **options) -> (value, saved)` computes the op and keeps what its backward will need.
`backward(g, saved, *arrays, **options) -> one gradient per input`, None where an input has none.
`value(*arrays, **options) -> value` computes the op when no gradient is wanted: `forward` without what it saves,
unless something quicker is given.

Each pair stands for a plain definition in `nn.functional` and is tested equal to it, value and gradient.
"""

from collections.abc import Callable
from typing import Any

from tinygrad_llm.backend import Array


class FastPair:
    def __init__(
        self,
        forward: Callable[..., tuple[Array, Any]],
        backward: Callable[..., tuple[Array | None, ...]],
        value: Callable[..., Array] | None = None,
    ) -> None:
        self.forward, self.backward = forward, backward
        self.value = value or (lambda *arrays, **options: forward(*arrays, **options)[0])
