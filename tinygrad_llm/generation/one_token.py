"""One more token per text: the forward pass of the transformer on bare arrays.

    embedding -> layers × [ x + attention(norm(x)), x + mlp(norm(x)) ] -> norm

Writing a token reads every weight once, and between the products stand some twenty short ops per layer on one vector or
a few. As tensors and modules those cost half as much time as the weights. So here are the same formulas in the same
order on arrays, and products of one input become one product where their weights lie side by side in memory, as they do
when they were loaded: query, key and value; gate and up.

The definition is `nn.transformer`, and tests hold the two equal. It runs inside `plain()`, where a hook or a watcher
looks on, and for models with adapters.

Comes before: `nn.transformer`, `cache`. Comes after: `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.autograd.modes import mode
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention import Attention
from tinygrad_llm.nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_llm.nn.mlp import GatedMLP, GeluMLP
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.positions import row_positions
from tinygrad_llm.nn.transformer import Block, Transformer

KNOWN = {Attention, Block, Embedding, GatedMLP, GeluMLP, LayerNorm, Linear, RMSNorm}  # whose formulas stand here


def one_token_hidden(model: Transformer, ids: Array, cache: GrowingCache) -> Array | None:
    """What `model.hidden(ids, cache=cache)` is for ids (B, 1): (B, 1, C). None where only the model itself will do."""
    if not mode.fast or mode.watchers or cache.length >= model.config.context:
        return None
    parts = parts_of.get(model)
    if parts is None or not parts.are_still_there():
        parts = parts_of[model] = Parts(model)
    if parts.layers is None or parts.have_hooks():
        return None
    return hidden(model, parts.layers, ids, cache)


def hidden(model: Transformer, layers: Sequence[Layer], ids: Array, cache: GrowingCache) -> Array:
    """The vectors after the last layer and its norm. (B, 1) -> (B, 1, C)."""
    config, past, starts = model.config, cache.length, cache.starts
    x = model.embedding(ids).data  # (B, 1, C)
    if config.embedding_scale is not None:
        x = x * config.embedding_scale
    if model.position is not None:
        places = slice(past, past + 1) if starts is None else row_positions(past, 1, starts)
        x = x + model.position.weight.data[places]
    everywhere, local = (
        None if table is None else table(past, 1, starts, like=x) for table in (model.rotary, model.local_rotary)
    )
    for layer in layers:
        window = layer.block.attention.window
        x = layer(x, everywhere if local is None or window is None else local, cache)
    return normed(x, model.final_norm)


class Layer:
    """A block, with its products of one input taken together."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.attention, block.mlp
        self.block = block
        self.query_key_value = Product(attention.query, attention.key, attention.value)
        self.up = Product(mlp.gate, mlp.up) if isinstance(mlp, GatedMLP) else Product(mlp.up)

    def __call__(self, x: Array, rotation: tuple[Array, Array] | None, cache: GrowingCache) -> Array:
        """(B, 1, C) -> (B, 1, C)."""
        block = self.block
        y = self.attend(normed(x, block.attention_norm), rotation, cache)
        x = x + (y if block.attention_post_norm is None else normed(y, block.attention_post_norm))
        y = self.think(normed(x, block.mlp_norm))
        return x + (y if block.mlp_post_norm is None else normed(y, block.mlp_post_norm))

    def attend(self, x: Array, rotation: tuple[Array, Array] | None, cache: GrowingCache) -> Array:
        """`Attention.forward`."""
        attention = self.block.attention
        B, H, K = len(x), attention.heads, attention.kv_heads
        y = self.query_key_value(x).reshape(B, 1, H + 2 * K, -1)  # (B, 1, H + 2K, D)
        q, k, v = y[:, :, :H], y[:, :, H : H + K], y[:, :, H + K :]
        if attention.query_norm is not None and attention.key_norm is not None:
            q, k = normed(q, attention.query_norm), normed(k, attention.key_norm)
            if rotation is not None:
                q, k = F.rotate(q, *rotation), F.rotate(k, *rotation)
        elif rotation is not None:
            turned = F.rotate(y[:, :, : H + K], *rotation)
            q, k = turned[:, :, :H], turned[:, :, H:]
        keys, values, starts = cache.extend(attention.layer, Tensor(k), Tensor(v))  # (B, S, K, D)
        y = F.attention(
            q, keys.data, values.data,
            scale=attention.scale, window=attention.window, softcap=attention.softcap, starts=starts,
        )  # fmt: skip
        return product(y.reshape(B, 1, -1), attention.output)

    def think(self, x: Array) -> Array:
        """`GatedMLP.forward`, `GeluMLP.forward`."""
        mlp, y = self.block.mlp, self.up(x)  # (B, 1, 2F) or (B, 1, F)
        if isinstance(mlp, GatedMLP):
            half = y.shape[-1] // 2
            return product(mlp.gating(y[..., :half], y[..., half:]), mlp.down)
        return product(F.gelu(y), mlp.down)


class Product:
    """Linear layers of the same input, their outputs one after the other: (B, 1, I) -> (B, 1, all O together)."""

    def __init__(self, *layers: Linear) -> None:
        self.layers = layers
        has_bias = any(layer.bias is not None for layer in layers)
        self.weight = None if has_bias else side_by_side([layer.weight.data for layer in layers])

    def __call__(self, x: Array) -> Array:
        if self.weight is not None:
            return F.linear(x, self.weight)
        parts = [product(x, layer) for layer in self.layers]
        return parts[0] if len(parts) == 1 else array_module(x).concatenate(parts, axis=-1)


def product(x: Array, layer: Linear) -> Array:
    """`Linear.forward`."""
    return F.linear(x, layer.weight.data, None if layer.bias is None else layer.bias.data)


def normed(x: Array, norm: LayerNorm | RMSNorm) -> Array:
    """`LayerNorm.forward`, `RMSNorm.forward`."""
    weight = norm.weight.data
    if isinstance(norm, LayerNorm):
        return F.layer_norm(x, weight, None if norm.bias is None else norm.bias.data, eps=norm.eps)
    return F.rms_norm(x, weight + 1.0 if norm.plus_one else weight, eps=norm.eps)


def side_by_side(matrices: Sequence[Array]) -> np.ndarray | None:
    """One matrix with the rows of all, in the same memory, if they lie there one after the other; else None."""
    first = matrices[0]
    for one, next_one in pairwise(matrices):
        is_alike = isinstance(one, np.ndarray) and one.flags.c_contiguous and next_one.flags.c_contiguous
        if not is_alike or one.dtype != next_one.dtype or one.shape[1] != next_one.shape[1]:
            return None
        if one.base is None or one.base is not next_one.base or one.ctypes.data + one.nbytes != next_one.ctypes.data:
            return None
    rows = sum(len(matrix) for matrix in matrices)
    return np.lib.stride_tricks.as_strided(first, (rows, first.shape[1])) if len(matrices) > 1 else first


class Parts:
    """What a model is made of, and its layers as they can be run here: None if a part is of a kind not known here.

    It holds the parts and not the model, which may go when nobody needs it any more.
    """

    def __init__(self, model: Transformer) -> None:
        self.places: list[tuple[Any, Any, Any]] = []  # (dictionary or list, key, what stands there)
        self.arrays: list[tuple[Tensor, Array]] = []
        self.modules: list[Module] = []
        self._remember(model)
        self.layers = [Layer(block) for block in model.blocks] if {*map(type, self.modules)} <= KNOWN else None

    def _remember(self, module: Module) -> None:
        attributes = vars(module)
        for name, value in attributes.items():
            inside = [(value, i, member) for i, member in enumerate(value)] if isinstance(value, list) else []
            for holder, key, part in [(attributes, name, value), *inside]:
                if isinstance(part, Tensor):
                    self.arrays.append((part, part.data))
                elif isinstance(part, Module):
                    self.modules.append(part)
                    self._remember(part)
                else:
                    continue
                self.places.append((holder, key, part))

    def are_still_there(self) -> bool:
        """Whether every part stands where it stood, and has the array that it had."""
        return all(holder[key] is part for holder, key, part in self.places) and all(
            tensor.data is array for tensor, array in self.arrays
        )

    def have_hooks(self) -> bool:
        """Whether somebody looks on."""
        return any(module.hooks for module in self.modules)


parts_of: WeakKeyDictionary[Transformer, Parts] = WeakKeyDictionary()
