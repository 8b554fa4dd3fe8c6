"""The transformer: tokens in, the log-odds of every possible next token out. In the order in which data meets it.

    ids (B, T) -> vectors (B, T, C) -> layers × [ x + attention(norm(x)), x + mlp(norm(x)) ] -> norm -> logits (B, T, V)

Comes before: `attention`, `mlp`. Comes after: `training`, which turns its dials, and `generation`, which lets it write.

Departure from GPT-2's paper: none; from "Attention Is All You Need": the norm stands before each part instead of after
the sum ("pre-norm"), as in GPT-2 and Llama, because deep stacks then train without a special warm-up
(Xiong et al. 2020).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention import Attention, KeyValueCache
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_llm.nn.mlp import mlp
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.one_array import move_into_one_array
from tinygrad_llm.nn.positions import RotaryTable, row_positions
from tinygrad_llm.nn.saved_model import read_model, write_model


class Block(Module):
    """One layer: the vectors talk (attention), then each thinks by itself (MLP). (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, layer: int, rng: np.random.Generator | None) -> None:
        self.attention_norm = norm(config)
        self.attention = Attention(config, layer, rng)
        self.attention_post_norm = norm(config) if config.post_norms else None
        self.mlp_norm = norm(config)
        self.mlp = mlp(config, rng)
        self.mlp_post_norm = norm(config) if config.post_norms else None
        self.dropout = config.dropout

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Array, Array] | None,
        cache: KeyValueCache | None = None,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        y = self.attention(self.attention_norm(x), rotation, cache, rng)  # (B, T, C)
        x = x + (y if self.attention_post_norm is None else self.attention_post_norm(y))
        y = F.dropout(self.mlp(self.mlp_norm(x)), self.dropout, rng)  # (B, T, C)
        return x + (y if self.mlp_post_norm is None else self.mlp_post_norm(y))


class Transformer(Module):
    """A decoder-only transformer.

    config: its shape. seed: of the initial values: normal with standard deviation 0.02, the matrices that write into
    the residual stream scaled down by √(2 · layers), biases 0, norm weights 1 (Radford et al. 2019). None leaves all
    parameters empty, for values that are loaded next.
    """

    def __init__(self, config: TransformerConfig, seed: int | None = 0) -> None:
        rng = None if seed is None else np.random.default_rng(seed)
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.width, rng)
        self.position = Embedding(config.context, config.width, rng) if config.positions == "learned" else None
        self.blocks = [Block(config, layer, rng) for layer in range(config.layers)]
        self.final_norm = norm(config)
        self.head = None if config.tied else Linear(config.width, config.vocab_size, rng, bias=False)
        self.rotary, self.local_rotary = rotary_tables(config)
        if rng is None:
            move_into_one_array(self)

    def forward(
        self, ids: Array, *, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None
    ) -> Tensor:
        """ids: (B, T) integers below V -> logits (B, T, V): for each position, one number per possible next token.

        cache: keys and values of earlier positions; `ids` continue them. rng: draws dropout; None means no dropout.
        """
        return self.logits(self.hidden(ids, cache=cache, rng=rng))

    def hidden(
        self, ids: Array, *, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None
    ) -> Tensor:
        """The vectors after the last layer and its norm, from which the logits are read. (B, T) -> (B, T, C)."""
        past, T = 0 if cache is None else cache.length, ids.shape[1]
        if past + T > self.config.context:
            raise InputError(
                f"the text is {past + T} tokens long, the model can look at {self.config.context}; shorten it."
            )
        starts = None if cache is None else cache.starts
        x = self.embedding(ids)  # (B, T, C)
        if self.config.embedding_scale is not None:
            x = x * self.config.embedding_scale
        if self.position is not None:
            places = slice(past, past + T) if starts is None else row_positions(past, T, starts)
            x = x + self.position.weight[places]  # (B, T, C) + (T, C)
        x = F.dropout(x, self.config.dropout, rng)
        everywhere, local = (
            None if table is None else table(past, T, starts, like=x.data) for table in (self.rotary, self.local_rotary)
        )
        for block in self.blocks:
            rotation = everywhere if local is None or block.attention.window is None else local
            x = block(x, rotation, cache, rng)
        return self.final_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """What the vectors after the last layer say about the next token. (..., C) -> (..., V)."""
        return F.soft_cap(F.linear(hidden, self.unembedding), self.config.logit_softcap)

    def loss(
        self, ids: Array, targets: Array, *, reduction: str = "mean", rng: np.random.Generator | None = None
    ) -> Tensor:
        """Cross-entropy of `targets` (B, T) after `ids` (B, T), in nats; negative targets do not count.

        The same number as `cross_entropy(self(ids), targets)`, without holding the logits twice.
        reduction: "mean" over the targets that count, or "sum".
        """
        hidden = self.hidden(ids, rng=rng)  # (B, T, C)
        if self.config.logit_softcap is not None:
            return F.cross_entropy(self.logits(hidden), targets, reduction)
        return F.reduce_losses(F.projected_loss(hidden, self.unembedding, targets), targets, reduction)

    def save(self, path: str | Path) -> None:
        """Write config and parameters to one safetensors file. See `nn.saved_model`."""
        write_model(path, self.config, self.state_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model in a file that `save` wrote. See `nn.saved_model`."""
        config, state = read_model(path)
        return cls(config, seed=None).load_state_dict(state)

    @property
    def unembedding(self) -> Tensor:
        """The matrix (V, C) that turns a vector into logits: the embedding itself when tied (Press & Wolf 2017)."""
        return self.embedding.weight if self.head is None else self.head.weight


def norm(config: TransformerConfig) -> LayerNorm | RMSNorm:
    """The norm that the config asks for."""
    if config.norm == "layer_norm":
        return LayerNorm(config.width, config.norm_eps, bias=config.bias)
    return RMSNorm(config.width, config.norm_eps, plus_one=config.norm_weight_plus_one)


def rotary_tables(config: TransformerConfig) -> tuple[RotaryTable | None, RotaryTable | None]:
    """The angles of the layers that look at everything, and those of layers with a window where they differ."""
    if config.positions != "rotary":
        return None, None
    everywhere = RotaryTable(config.channels_per_head, config.rotary_base, config.rotary_scaling)
    if config.local_rotary_base is None:
        return everywhere, None
    return everywhere, RotaryTable(config.channels_per_head, config.local_rotary_base)
