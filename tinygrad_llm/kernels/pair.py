"""What a fast pair is: the second, quick way to compute a fused op and its gradient.

`forward(*arrays, **options) -> (value, saved)` computes the op and keeps what its backward will need.
`backward(g, saved, *arrays, **options) -> one gradient per input`, None where an input has none.
`value(*arrays, **options) -> value` computes the op when no gradient is wanted: `forward` without what it saves,
unless something quicker is given.

The backward of a pair that `takes_wanted` also gets `wanted`, of each input whether its gradient is used (that of a
frozen parameter is not), and may answer None for the others instead of computing them.

`accepts(*arrays, **options) -> bool` says whether the pair is written for these shapes and dtypes; where it is not, the
definition runs.

Each pair stands for a plain definition, in `autograd.ops` or `nn.functional`, and is tested equal to it, value and
gradient.
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
        takes_wanted: bool = False,
        accepts: Callable[..., bool] = lambda *arrays, **options: True,
    ) -> None:
        self.forward, self.backward, self.takes_wanted, self.accepts = forward, backward, takes_wanted, accepts
        self.value = value or (lambda *arrays, **options: forward(*arrays, **options)[0])
