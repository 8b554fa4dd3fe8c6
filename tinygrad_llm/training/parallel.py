"""Data parallelism over the cores: each takes a share of the batch, and all add to the same gradients.

The loss is a sum over examples, so its gradient is too. Each core runs the whole forward and backward pass of its
share, with matrix products on that one thread; they meet only where a gradient is added. On small models this is
faster than sharing out every single op, because nothing waits for a thread to wake up.

Floating-point sums depend on their order, so contributions are added in the order of the shares: on the same number of
cores, a run repeats bit for bit.

Comes before: `autograd.engine`. Comes after: `trainer`. The same scheme over several machines would replace the lock by
an all-reduce of the flat gradient buffer.
"""

import threading
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.engine import accumulate, pull_back
from tinygrad_llm.backend import Array
from tinygrad_llm.kernels.threads import workers
from tinygrad_llm.nn.transformer import Transformer

MANY_TOKENS, FEW_PARAMETERS = 1024, 4_000_000  # see `share_count`


class GradientSum:
    """Adds the gradients of several shares to the leaves, one at a time, in the order of the shares."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.added: dict[int, int] = defaultdict(int)  # id(leaf) -> how many shares have been added
        self.failed = False

    def add(self, share: int, leaf: Tensor, g: Any) -> None:
        """Add g to the gradient of `leaf` once it is this share's turn."""
        with self.condition:
            self.condition.wait_for(lambda: self.failed or self._may_add(share, leaf))
            accumulate(leaf, g)
            self.added[id(leaf)] += 1
            self.condition.notify_all()

    def _may_add(self, share: int, leaf: Tensor) -> bool:
        """In the order of the shares; but the second may begin an empty sum, since a + b = b + a."""
        return self.added[id(leaf)] >= share or (share == 1 and leaf.grad is None)

    def fail(self) -> None:
        """Let nobody wait for a share that will not come."""
        with self.condition:
            self.failed = True
            self.condition.notify_all()


def add_gradients(model: Transformer, inputs: Array, targets: Array, rng: np.random.Generator | None = None) -> float:
    """Add d(summed loss)/d(parameters) to the gradients; return the summed loss, in nats.

    inputs, targets: (B, T) integers, negative targets do not count. rng: draws dropout.
    """
    shares = share_count(model, inputs)
    if shares == 1:
        loss = model.loss(inputs, targets, reduction="sum", rng=rng)
        loss.backward()
        return loss.item()
    rngs = children(rng, shares) if rng is not None and model.config.dropout > 0.0 else [None] * shares
    gradients, losses = GradientSum(), [0.0] * shares

    def run(share: int) -> None:
        here = slice(len(inputs) * share // shares, len(inputs) * (share + 1) // shares)
        try:
            loss = model.loss(inputs[here], targets[here], reduction="sum", rng=rngs[share])
            losses[share] = loss.item()
            for leaf, g in pull_back([loss], [None]):
                gradients.add(share, leaf, g)
        except BaseException:
            gradients.fail()
            raise

    with workers.one_blas_thread_each():
        workers.run([partial(run, share) for share in range(shares)])
    return sum(losses)


def children(rng: np.random.Generator, count: int) -> list[np.random.Generator]:
    """Generators for the shares, seeded by draws from `rng`, so that its state alone is enough to repeat them."""
    return [np.random.Generator(np.random.PCG64(seed)) for seed in rng.integers(0, 2**63, size=count).tolist()]


def share_count(model: Transformer, inputs: Array) -> int:
    """One share per core on the CPU, if each gets an example; 1 where a large model meets a small batch.

    Every share makes gradients of all parameters, which then have to be added up. That work grows with the parameters
    alone, what is shared grows with parameters times tokens: below about a thousand tokens it does not pay, unless
    the parameters fit in the cache.
    """
    if model.embedding.weight.device != "cpu" or not workers.are_free:
        return 1
    pays = inputs.size >= MANY_TOKENS or model.parameter_count() <= FEW_PARAMETERS
    return min(workers.cores, len(inputs)) if pays else 1
