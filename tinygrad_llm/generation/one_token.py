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
    if not mode.fast or mode.observers or cache.length >= model.config.context:
        return None
    parts = parts_of.get(model)
    if parts is None or not parts.are_still_there():
        parts = parts_of[model] = Parts(model)
    if parts.layers is None or parts.have_hooks():
        return None
    return hidden(model, parts.layers, parts.formulas, ids, cache)


def hidden(model: Transformer, layers: Sequence[Layer], run: Formulas, ids: Array, cache: GrowingCache) -> Array:
    """The vectors after the last layer and its norm. (B, 1) -> (B, 1, C)."""
    config, past, starts = model.config, cache.length, cache.starts
    x = model.embedding(ids).data  # (B, 1, C)
    if config.embedding_scale is not None:
        x = x * config.embedding_scale
    if model.position is not None:
        places = slice(past, past + 1) if starts is None else row_positions(past, 1, starts)
        x = x + model.position.weight.data[places]
    everywhere, local = (
        None if table is None else whole_heads(*table(past, 1, starts, like=x))
        for table in (model.rotary, model.local_rotary)
    )
    for layer in layers:
        window = layer.block.attention.window
        x = layer(x, everywhere if local is None or window is None else local, cache)
    return run.norm(x, model.final_norm)


class Formulas:
    """Those of `nn.functional` for bare arrays of one kind: whether a fast pair computes each is asked once, here."""

    def __init__(self, like: Array) -> None:
        self.linear, self.attention, self.gelu = (op.on_arrays(like) for op in (F.linear, F.attention, F.gelu))
        self.layer_norm, self.rms_norm = F.layer_norm.on_arrays(like), F.rms_norm.on_arrays(like)
        self.silu_gate, self.gelu_gate = F.silu_gate.on_arrays(like), F.gelu_gate.on_arrays(like)

    def product(self, x: Array, layer: Linear) -> Array:
        """`Linear.forward`."""
        return self.linear(x, layer.weight.data, None if layer.bias is None else layer.bias.data)

    def norm(self, x: Array, norm: LayerNorm | RMSNorm) -> Array:
        """`LayerNorm.forward`, `RMSNorm.forward`."""
        weight = norm.weight.data
        if isinstance(norm, LayerNorm):
            return self.layer_norm(x, weight, None if norm.bias is None else norm.bias.data, eps=norm.eps)
        return self.rms_norm(x, weight + 1.0 if norm.plus_one else weight, eps=norm.eps)


class Layer:
    """A block, with its products of one input taken together."""

    def __init__(self, block: Block, run: Formulas) -> None:
        attention, mlp = block.attention, block.mlp
        self.block, self.run = block, run
        self.query_key_value = Product(run, attention.query, attention.key, attention.value)
        self.up = Product(run, mlp.gate, mlp.up) if isinstance(mlp, GatedMLP) else Product(run, mlp.up)
        self.gating = run.gelu_gate if getattr(mlp, "gating", None) is F.gelu_gate else run.silu_gate

    def __call__(self, x: Array, rotation: tuple[Array, Array] | None, cache: GrowingCache) -> Array:
        """(B, 1, C) -> (B, 1, C)."""
        block, norm = self.block, self.run.norm
        y = self.attend(norm(x, block.attention_norm), rotation, cache)
        x = x + (y if block.attention_post_norm is None else norm(y, block.attention_post_norm))
        y = self.think(norm(x, block.mlp_norm))
        return x + (y if block.mlp_post_norm is None else norm(y, block.mlp_post_norm))

    def attend(self, x: Array, rotation: tuple[Array, Array] | None, cache: GrowingCache) -> Array:
        """`Attention.forward`."""
        attention, run = self.block.attention, self.run
        B, H, K = len(x), attention.heads, attention.kv_heads
        y = self.query_key_value(x).reshape(B, 1, H + 2 * K, -1)  # (B, 1, H + 2K, D)
        q, k, v = y[:, :, :H], y[:, :, H : H + K], y[:, :, H + K :]
        if attention.query_norm is not None and attention.key_norm is not None:
            q, k = run.norm(q, attention.query_norm), run.norm(k, attention.key_norm)
            if rotation is not None:
                q, k = rotated(q, *rotation), rotated(k, *rotation)
        elif rotation is not None:
            turned = rotated(y[:, :, : H + K], *rotation)
            q, k = turned[:, :, :H], turned[:, :, H:]
        keys, values, starts = cache.extend(attention.layer, Tensor(k), Tensor(v))  # (B, S, K, D)
        y = run.attention(
            q, keys.data, values.data,
            scale=attention.scale, window=attention.window, softcap=attention.softcap, starts=starts,
        )  # fmt: skip
        return run.product(y.reshape(B, 1, -1), attention.output)

    def think(self, x: Array) -> Array:
        """`GatedMLP.forward`, `GeluMLP.forward`."""
        mlp, y = self.block.mlp, self.up(x)  # (B, 1, 2F) or (B, 1, F)
        if isinstance(mlp, GatedMLP):
            half = y.shape[-1] // 2
            return self.run.product(self.gating(y[..., :half], y[..., half:]), mlp.down)
        return self.run.product(self.run.gelu(y), mlp.down)


def whole_heads(cos: Array, sin: Array) -> tuple[Array, Array]:
    """[cos, cos] and [-sin, sin]: the angles of one position for `rotated`. (1, D/2) or (B, 1, D/2) -> (…, 1, D)."""
    xp = array_module(cos)
    return xp.concatenate([cos, cos], axis=-1)[..., None, :], xp.concatenate([-sin, sin], axis=-1)[..., None, :]


def rotated(x: Array, cos: Array, sin: Array) -> Array:
    """`F.rotate` in two products: of x = [a, b], the result [a cos - b sin, b cos + a sin]. (B, 1, H, D)."""
    exchanged = x.reshape(*x.shape[:-1], 2, -1)[..., ::-1, :].reshape(x.shape)  # [b, a]
    y = x * cos
    y += exchanged * sin
    return y


class Product:
    """Linear layers of the same input, their outputs one after the other: (B, 1, I) -> (B, 1, all O together)."""

    def __init__(self, run: Formulas, *layers: Linear) -> None:
        self.run, self.layers = run, layers
        has_bias = any(layer.bias is not None for layer in layers)
        self.weight = None if has_bias else side_by_side([layer.weight.data for layer in layers])

    def __call__(self, x: Array) -> Array:
        if self.weight is not None:
            return self.run.linear(x, self.weight)
        parts = [self.run.product(x, layer) for layer in self.layers]
        return parts[0] if len(parts) == 1 else array_module(x).concatenate(parts, axis=-1)


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
        self.formulas = Formulas(model.embedding.weight.data)
        is_known = {*map(type, self.modules)} <= KNOWN
        self.layers = [Layer(block, self.formulas) for block in model.blocks] if is_known else None

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
