"""The key-value cache: what makes the next token cost one token's work instead of the whole text's.

A position's keys and values depend on what stands before it, never on what comes after it. So when a text grows by
one token, those of all earlier positions stay as they are: they are kept, and only the new token runs through the
model. With the cache the logits are the same numbers as without it, up to rounding.

Comes before: `nn.attention`, which says what it asks of a cache (`KeyValueCache`). Comes after: `generate`, the loop.
Left out on purpose: gradients. A cache is for writing, and what it gives back has no history.
"""

from __future__ import annotations

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.config import TransformerConfig

FIRST_ROOM = 64  # positions that room is made for at the beginning; doubled whenever it is used up


class GrowingCache:
    """Remembers the keys and values of every position, for a model of this config; a `KeyValueCache`.

    length: positions remembered. They are 0 … length - 1, and the next forward pass continues at position `length`.

    It lives where the model lives (NumPy or CuPy) and has the model's dtype and batch size B: all of this is taken
    from the first keys that arrive. Memory: 2 · layers · B · K · D numbers per position.

    >>> import numpy as np
    >>> from tinygrad_llm import Transformer, TransformerConfig, no_grad
    >>> model = Transformer(TransformerConfig.gpt2(vocab_size=5, context=8, layers=2, heads=2, width=4))
    >>> cache = GrowingCache(model.config)
    >>> with no_grad():
    ...     logits = [model(np.array([[token]]), cache=cache) for token in (3, 1, 4)]
    >>> cache
    GrowingCache(length=3, context=8)
    """

    def __init__(self, config: TransformerConfig) -> None:
        self.layers, self.context = config.layers, config.context
        self.length = 0
        # One block for everything. The positions of a head lie together, because attention goes head by head: with
        # the heads of a position together it is up to twice as slow on long texts.
        self.memory: Array | None = None  # (layers, 2, B, K, room, D); of the 2, keys come first

    def __repr__(self) -> str:
        return f"GrowingCache(length={self.length}, context={self.context})"

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Remember new keys and values, give back all of them: k, v (B, T, K, D) -> (B, length + T, K, D).

        `length` moves on when the last layer has come by: until then all layers of one forward pass write to the same
        positions, and a pass that was interrupted halfway has changed nothing.

        Raises InputError when the context is full, when the batch is another one than before, and for tensors that
        want gradients.
        """
        if k.requires_grad or v.requires_grad:
            raise InputError("cache.extend: the keys want gradients, which a cache drops; use it inside no_grad().")
        new = slice(self.length, self.length + k.shape[1])
        memory = self._with_room(new.stop, k.data)
        keys, values = memory[layer]  # (B, K, room, D) each
        keys[:, :, new], values[:, :, new] = k.data.swapaxes(1, 2), v.data.swapaxes(1, 2)
        if layer == self.layers - 1:
            self.length = new.stop
        return Tensor(keys[:, :, : new.stop].swapaxes(1, 2)), Tensor(values[:, :, : new.stop].swapaxes(1, 2))

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on: back to a shared beginning, or to nothing with 0."""
        if not 0 <= length <= self.length:
            raise InputError(f"truncate: length must be 0 to {self.length}, which is remembered; it was {length}.")
        self.length = length

    def repeat(self, times: int) -> GrowingCache:
        """A new cache with every row of the batch `times` times in a row: (B, …) -> (B · times, …).

        For several continuations of one prompt: it is read once, and each continues in its own row.
        """
        if times < 1:
            raise InputError(f"repeat: times must be at least 1, it was {times}.")
        other = object.__new__(GrowingCache)
        other.layers, other.context, other.length = self.layers, self.context, self.length
        other.memory = None if self.memory is None else self.memory.repeat(times, axis=2)
        return other

    def copy(self) -> GrowingCache:
        """A new cache that remembers the same."""
        return self.repeat(1)

    def _with_room(self, positions: int, like: Array) -> Array:
        """The memory, grown if need be, with room for this many positions of keys like these (B, T, K, D)."""
        memory = self.memory
        B, _, K, D = like.shape
        if memory is None or (self.length == 0 and (memory.shape[2] != B or memory.dtype != like.dtype)):
            memory = array_module(like).empty((self.layers, 2, B, K, 0, D), like.dtype)
        elif memory.shape[2] != B:
            raise InputError(f"cache.extend: the cache remembers a batch of {memory.shape[2]}, and this is one of {B}.")
        room = memory.shape[4]
        if positions > room:
            if positions > self.context:
                raise InputError(f"cache.extend: {positions} positions do not fit in a context of {self.context}.")
            room = min(max(2 * room, positions, FIRST_ROOM), self.context)
            grown = array_module(like).empty((*memory.shape[:4], room, D), like.dtype)
            grown[..., : self.length, :] = memory[..., : self.length, :]
            memory = grown
        self.memory = memory
        return memory
