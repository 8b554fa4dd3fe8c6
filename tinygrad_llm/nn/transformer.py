"""The transformer: tokens in, the log-odds of every possible next token out. In the order in which data meets it.

    ids (B, T) -> vectors (B, T, C) -> layers × [ x + attention(norm(x)), x + mlp(norm(x)) ] -> norm -> logits (B, T, V)

Comes before: `attention`, `mlp`. Comes after: `training`, which turns its dials, and `generation`, which lets it write.

Departure from GPT-2's paper: none; from "Attention Is All You Need": the norm stands before each part instead of after
the sum ("pre-norm"), as in GPT-2 and Llama, because deep stacks then train without a special warm-up
(Xiong et al. 2020).
"""

from __future__ import annotations

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.backend import Array
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention import Attention, KeyValueCache
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Embedding, LayerNorm, Linear, RMSNorm
from tinygrad_llm.nn.mlp import GeluMLP, SwigluMLP
from tinygrad_llm.nn.module import Module


class Block(Module):
    """One layer: the vectors talk (attention), then each thinks by itself (MLP). (B, T, C) -> (B, T, C)."""

    def __init__(self, config: TransformerConfig, layer: int, rng: np.random.Generator) -> None:
        self.attention_norm = norm(config)
        self.attention = Attention(config, layer, rng)
        self.mlp_norm = norm(config)
        self.mlp = GeluMLP(config, rng) if config.mlp == "gelu" else SwigluMLP(config, rng)
        self.dropout = config.dropout

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Array, Array] | None,
        cache: KeyValueCache | None = None,
        rng: np.random.Generator | None = None,
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rotation, cache, rng)  # (B, T, C)
        return x + F.dropout(self.mlp(self.mlp_norm(x)), self.dropout, rng)  # (B, T, C)


class Transformer(Module):
    """A decoder-only transformer.

    config: its shape. seed: of the initial values: normal with standard deviation 0.02, the matrices that write into
    the residual stream scaled down by √(2 · layers), biases 0, norm weights 1 (Radford et al. 2019).
    """

    def __init__(self, config: TransformerConfig, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.width, rng)
        self.position = Embedding(config.context, config.width, rng) if config.positions == "learned" else None
        self.blocks = [Block(config, layer, rng) for layer in range(config.layers)]
        self.final_norm = norm(config)
        self.head = None if config.tied else Linear(config.width, config.vocab_size, rng, bias=False)
        self.cos: Array | None = None  # constants: they move with the model, and are not learned
        self.sin: Array | None = None
        if config.positions == "rotary":
            self.cos, self.sin = self.rotary_table()

    def forward(
        self, ids: Array, *, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None
    ) -> Tensor:
        """ids: (B, T) integers below V -> logits (B, T, V): for each position, one number per possible next token.

        cache: keys and values of earlier positions; `ids` continue them. rng: draws dropout; None means no dropout.
        """
        return F.linear(self.hidden(ids, cache=cache, rng=rng), self.unembedding)

    def hidden(
        self, ids: Array, *, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None
    ) -> Tensor:
        """The vectors after the last layer and its norm, from which the logits are read. (B, T) -> (B, T, C)."""
        past = 0 if cache is None else cache.length
        positions = slice(past, past + ids.shape[1])
        if positions.stop > self.config.context:
            raise InputError(
                f"the text is {positions.stop} tokens long, the model can look at {self.config.context}; shorten it."
            )
        x = self.embedding(ids)  # (B, T, C)
        if self.position is not None:
            x = x + self.position.weight[positions]  # (B, T, C) + (T, C)
        rotation = None if self.cos is None or self.sin is None else (self.cos[positions], self.sin[positions])
        x = F.dropout(x, self.config.dropout, rng)
        for block in self.blocks:
            x = block(x, rotation, cache, rng)
        return self.final_norm(x)

    def loss(
        self, ids: Array, targets: Array, *, reduction: str = "mean", rng: np.random.Generator | None = None
    ) -> Tensor:
        """Cross-entropy of `targets` (B, T) after `ids` (B, T), in nats; negative targets do not count.

        The same number as `cross_entropy(self(ids), targets)`, without holding the logits twice.
        reduction: "mean" over the targets that count, or "sum".
        """
        total = F.projected_loss(self.hidden(ids, rng=rng), self.unembedding, targets)
        return F.reduce_losses(total, targets, reduction)

    @property
    def unembedding(self) -> Tensor:
        """The matrix (V, C) that turns a vector into logits: the embedding itself when tied (Press & Wolf 2017)."""
        return self.embedding.weight if self.head is None else self.head.weight

    def rotary_table(self) -> tuple[np.ndarray, np.ndarray]:
        """cos and sin for every position of the context, (context, D/2), float32."""
        config = self.config
        cos, sin = F.rotary_angles(np.arange(config.context), config.channels_per_head, config.rotary_base)
        return cos.astype(np.float32), sin.astype(np.float32)


def norm(config: TransformerConfig) -> LayerNorm | RMSNorm:
    """The norm that the config asks for."""
    if config.norm == "layer_norm":
        return LayerNorm(config.width, config.norm_eps, bias=config.bias)
    return RMSNorm(config.width, config.norm_eps)
