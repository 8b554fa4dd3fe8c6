"""The key-value cache: what makes the next token cost one token's work instead of the whole text's.

A position's keys and values depend on what stands before it, never on what comes after it. So when a text grows by
one token, those of all earlier positions stay as they are: they are kept, and only the new token runs through the
model. With the cache the logits are the same numbers as without it, up to rounding.

Some models have layers that look back no further than a window (all of Mistral's, five of six in Gemma 3). What has
left the window of a layer is never looked at again, so it is dropped: however long the text, such a layer needs memory
for its window only.

Builds on: `nn.attention`, which says what it uses of a cache (`KeyValueCache`). Used by: `generate`, the loop.
Left out: gradients. A cache is for generation, and its results have no history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention import Attention
from tinygrad_llm.nn.attention_variants import capped_attention
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.rotary import RotaryEmbedding

MORE_ROOM = 64  # positions that room is made for beyond the present ones, at least; room is doubled when it is used up
UNDO = 256  # positions beyond its window that a layer keeps, so that `truncate` can go back as far


class GrowingCache:
    """Remembers the keys and values of every position that can still be looked at; a `KeyValueCache`.

    config: of the model. padding: (B,) integers, where the model lives: for rows that are padded at the front, so that
    all of them end together, how many of the first positions are padding; None when no row is padded.
    undo: how far `truncate` can go back from the longest text so far, at least, where layers with a window drop things.

    length: positions remembered. They are 0 … length - 1, and the next forward pass continues at position `length`.

    It lives where the model lives (NumPy or CuPy) and has the model's dtype and batch size B: all of this is taken
    from the first keys that arrive. Memory: 2 · B · K · D numbers per layer and position, `nbytes` in all. A layer with
    a window of W makes room for W - 1 + 2 · undo positions, or for its window and the longest piece that was read at
    once.

    >>> import numpy as np
    >>> from tinygrad_llm import Transformer, TransformerConfig, no_grad
    >>> model = Transformer(TransformerConfig.gpt2(vocab_size=5, context=8, layers=2, heads=2, width=4))
    >>> cache = GrowingCache(model.config)
    >>> with no_grad():
    ...     logits = [model(np.array([[token]]), cache=cache) for token in (3, 1, 4)]
    >>> cache
    GrowingCache(length=3, context=8, nbytes=512)
    """

    def __init__(self, config: TransformerConfig, padding: Array | None = None, undo: int = UNDO) -> None:
        if undo < 1:
            raise InputError(f"undo must be at least 1, it was {undo}.")
        self.config, self.padding, self.undo = config, padding, undo
        self.length = 0
        self._angles: tuple[Any, dict[RotaryEmbedding, tuple[Array, Array]]] = (None, {})
        self.layers = [LayerMemory(config.window_of(layer)) for layer in range(config.layers)]

    def __repr__(self) -> str:
        return f"GrowingCache(length={self.length}, context={self.config.context}, nbytes={self.nbytes:,})"

    @property
    def batch(self) -> int:
        """B: the rows that are remembered; before the first forward pass as many as `padding` has, or 1."""
        keys = self.layers[0].keys
        if keys is not None:
            return keys.shape[0]
        return 1 if self.padding is None else len(self.padding)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that are taken, room for later positions included."""
        return sum(part.nbytes for layer in self.layers for part in (layer.keys, layer.values) if part is not None)

    @property
    def earliest(self) -> int:
        """The shortest length that `truncate` can go back to, other than 0.

        At a length of L a layer with a window of W looks at the positions from L - W + 1 on; they must still be there.
        """
        return max((layer.first + layer.window - 1 for layer in self.layers if layer.window and layer.first), default=0)

    def places(self, new: int) -> slice | Array:
        """The positions of the next `new` tokens: a slice, or (B, T) integers, counted from each row's first token."""
        if self.padding is None:
            return slice(self.length, self.length + new)
        places = self.length + array_module(self.padding).arange(new) - self.padding[:, None]  # (B, T)
        return places * (places > 0)  # 0 for the padding itself

    def angles(self, rotary: RotaryEmbedding, new: int, like: Array) -> tuple[Array, Array]:
        """cos and sin for the next `new` tokens, (T, D/2) or (B, T, D/2) each."""
        if self.padding is None:
            return rotary(self.length + new, self.places(new), like)
        if self._angles[0] != (self.length, new):  # rows differ: look them up once for all layers
            self._angles = ((self.length, new), {})
        known = self._angles[1]
        if rotary not in known:
            known[rotary] = rotary(self.length + new, self.places(new), like)
        return known[rotary]

    def attention(self, layer: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Remember new keys and values, and attend from q to them and to all earlier ones that the layer looks at.

        q: (B, T, H, D); k, v: (B, T, K, D) -> (B, T, H, D).
        """
        k, v, padding = self.extend(layer.layer, k, v)  # (B, S, K, D)
        if padding is None and layer.softcap is None:
            return F.causal_attention(q, k, v, window=layer.window, scale=layer.scale)
        return capped_attention(q, k, v, softcap=layer.softcap, padding=padding, window=layer.window, scale=layer.scale)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Array | None]:
        """Remember new keys and values, give back all that the new positions may look at, and where rows start in it.

        k, v: (B, T, K, D) -> (B, S, K, D) each, the last T of them the new ones; and `padding` counted from the first
        of the S, (B,) or None. S is length + T, or min(length, W - 1) + T in a layer with a window of W.

        `length` moves on when the last layer has come by: until then all layers of one forward pass write to the same
        positions, and a pass that was interrupted halfway has changed nothing.

        Raises InputError when the context is full, when the batch is another one than before, and for tensors that
        want gradients.
        """
        if k.requires_grad or v.requires_grad:
            raise InputError("cache.extend: the keys want gradients, which a cache drops; use it inside no_grad().")
        old, end = self.length, self.length + k.shape[1]
        memory = self._with_room(layer, end, k.data)
        keys, values, first, window = memory.keys, memory.values, memory.first, memory.window  # (B, K, room, D)
        keys[:, :, old - first : end - first] = k.data.swapaxes(1, 2)
        values[:, :, old - first : end - first] = v.data.swapaxes(1, 2)
        if layer == len(self.layers) - 1:
            self.length = end
        seen = 0 if window is None else max(0, old - window + 1)  # the first position that a new one may look at
        padding = self.padding
        if padding is not None and seen:
            padding = array_module(padding).maximum(padding - seen, 0)  # (B,)
        looked_at = slice(seen - first, end - first)
        return Tensor(keys[:, :, looked_at].swapaxes(1, 2)), Tensor(values[:, :, looked_at].swapaxes(1, 2)), padding

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on: back to a shared beginning, or to nothing with 0.

        Raises InputError for a length that is not remembered, and for one above 0 but below `earliest`.
        """
        if not 0 <= length <= self.length:
            raise InputError(f"truncate: length must be 0 to {self.length}, which is remembered; it was {length}.")
        if 0 < length < self.earliest:
            raise InputError(
                f"truncate: after {length} positions some layers would look at what has left their window and was "
                f"dropped; they can go back to {self.earliest}. Begin anew with truncate(0), or make the cache with a "
                f"larger undo than {self.undo}."
            )
        self.length = length
        if length == 0:
            self.padding = None
            for memory in self.layers:
                memory.first = 0

    def repeat(self, times: int) -> GrowingCache:
        """A new cache with every row of the batch `times` times in a row: (B, …) -> (B · times, …).

        For several continuations of one prompt: it is read once, and each continues in its own row.
        """
        if times < 1:
            raise InputError(f"repeat: times must be at least 1, it was {times}.")
        return self._of_rows(np.arange(self.batch).repeat(times), without_padding=False)

    def copy(self) -> GrowingCache:
        """A new cache that remembers the same."""
        return self.repeat(1)

    def select(self, rows: Sequence[int] | np.ndarray) -> GrowingCache:
        """A new cache with these rows of the batch, in this order; a row may come several times.

        Padding that all of them share is left out, and `length` becomes smaller by it: what only the removed rows
        needed costs the others nothing any more.
        """
        index = np.asarray(rows, np.int64)  # (rows,)
        if index.ndim != 1 or index.size == 0 or index.min() < 0 or index.max() >= self.batch:
            raise InputError(f"select: rows must be some of 0 to {self.batch - 1}, they were {index.tolist()}.")
        return self._of_rows(index, without_padding=True)

    def _of_rows(self, rows: np.ndarray, without_padding: bool) -> GrowingCache:
        """The cache of these rows, without the first positions if they are padding in all of them."""
        padding, skip = self.padding, 0
        if padding is not None:
            padding = padding[array_module(padding).asarray(rows)]  # (rows,)
            skip = int(padding.min()) if without_padding else 0
            padding = padding - skip if int(padding.max()) > skip else None
        other = GrowingCache(self.config, padding, self.undo)
        other.length = self.length - skip
        other.layers = [layer.of_rows(rows, skip, self.length) for layer in self.layers]
        return other

    def _with_room(self, layer: int, end: int, like: Array) -> LayerMemory:
        """The memory of a layer, moved if need be to where there is room up to position `end`.

        like: new keys, (B, T, K, D).
        """
        memory = self.layers[layer]
        if memory.keys is not None and memory.keys.shape[0] != like.shape[0] and self.length:
            raise InputError(
                f"cache.extend: the cache remembers a batch of {memory.keys.shape[0]}, and this is one of "
                f"{like.shape[0]}."
            )
        if not memory.fits(end, like):
            if end > self.config.context:
                raise InputError(f"cache.extend: {end} positions do not fit in a context of {self.config.context}.")
            # Put in place in one go, and with all that the present length needs: a pass may be interrupted anywhere.
            memory = self.layers[layer] = memory.grown(self.length, end, like, self.config.context, self.undo)
        return memory


@dataclass(slots=True)
class LayerMemory:
    """The keys and values of one layer, those of the positions from `first` on."""

    window: int | None  # how many positions the layer looks at, itself included; None: everything before it
    first: int = 0
    # The positions of a head lie together, because attention goes head by head: with the heads of a position together
    # it is up to twice as slow on long texts.
    keys: Array = None  # (B, K, room, D); None before the first forward pass
    values: Array = None  # (B, K, room, D)

    @property
    def room(self) -> int:
        """How many positions fit."""
        return 0 if self.keys is None else self.keys.shape[2]

    def fits(self, end: int, like: Array) -> bool:
        """Whether there is room up to position `end` for keys like these, (B, T, K, D)."""
        keys = self.keys
        return (
            keys is not None
            and end - self.first <= keys.shape[2]
            and keys.shape[0] == like.shape[0]
            and keys.dtype == like.dtype
        )

    def grown(self, length: int, end: int, like: Array, context: int, undo: int) -> LayerMemory:
        """The same positions of the first `length`, as far as they are needed, with room up to `end` and beyond."""
        B, T, K, D = like.shape
        kept, worth = length - self.first, context  # positions to keep; room that is worth having in advance
        if self.window is not None:
            worth = min(worth, self.window - 1 + 2 * undo)
            if kept + T > worth:
                kept = min(kept, self.window - 1 + undo)
        room = max(kept + T, min(max(2 * self.room, kept + T + MORE_ROOM - 1), worth))
        keys, values = (array_module(like).empty((B, K, room, D), like.dtype) for _ in range(2))
        if kept:
            held = slice(length - kept - self.first, length - self.first)
            keys[:, :, :kept], values[:, :, :kept] = self.keys[:, :, held], self.values[:, :, held]
        return LayerMemory(self.window, length - kept, keys, values)

    def of_rows(self, rows: np.ndarray, skip: int, length: int) -> LayerMemory:
        """These rows, without the first `skip` of `length` positions, and with as much room."""
        if self.keys is None:
            return LayerMemory(self.window)
        held = slice(max(0, skip - self.first), length - self.first)
        parts = []
        for part in (self.keys, self.values):
            other = array_module(part).empty((len(rows), *part.shape[1:]), part.dtype)  # (rows, K, room, D)
            for new, old in enumerate(rows.tolist()):
                other[new, :, : held.stop - held.start] = part[old, :, held]
            parts.append(other)
        return LayerMemory(self.window, max(0, self.first - skip), *parts)
