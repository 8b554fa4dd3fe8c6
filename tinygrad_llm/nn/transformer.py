"""The transformer: tokens in, logits of every possible next token out.

    ids (B, T) -> vectors (B, T, C) -> layers × [ x + attention(norm(x)), x + mlp(norm(x)) ] -> norm -> logits (B, T, V)

In "Attention Is All You Need" the norm stands after each sum. Here it stands before each part, as in GPT-2 and Llama,
because deep stacks then train without a special warm-up (Xiong et al. 2020).

Builds on: `attention`, `mlp`. Used by: `training`, `generation`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn import init
from tinygrad_llm.nn.attention_variants import soft_cap
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.from_config import attention, matrix_init, mlp, norm, rotary_embedding, table_init
from tinygrad_llm.nn.layers import Embedding, Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.one_array import move_into_one_array
from tinygrad_llm.nn.rotary import RotaryEmbedding
from tinygrad_llm.nn.saved_model import read_model, write_model
from tinygrad_llm.nn.token_ids import as_ids, as_targets

if TYPE_CHECKING:
    from tinygrad_llm.nn.cache_protocol import KeyValueCache


class Block(Module):
    """One layer: attention between the positions, then an MLP for each by itself. (B, T, C) -> (B, T, C).

    layer: its number, from 0. rotary: the angles of its positions; None: made here, where the config says rotary.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer: int = 0,
        *,
        rotary: RotaryEmbedding | None = None,
        seed: init.Seed = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.attention_norm = norm(config)
        self.attention = attention(config, layer, rotary, rng)
        self.attention_post_norm = norm(config) if config.post_norms else None
        self.mlp_norm = norm(config)
        self.mlp = mlp(config, rng)
        self.mlp_post_norm = norm(config) if config.post_norms else None
        self.dropout = config.dropout

    def forward(self, x: Tensor, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None) -> Tensor:
        y = self.attention(self.attention_norm(x), cache, rng)  # (B, T, C)
        x = x + (y if self.attention_post_norm is None else self.attention_post_norm(y))
        y = F.dropout(self.mlp(self.mlp_norm(x)), self.dropout, rng)  # (B, T, C)
        return x + (y if self.mlp_post_norm is None else self.mlp_post_norm(y))


class Transformer(Module):
    """A decoder-only transformer.

    config: its sizes. seed: of the initial values, see `TransformerConfig`: matrices as `init` says, biases 0, weights
    of norms 1 (Radford et al. 2019).
    """

    def __init__(self, config: TransformerConfig, seed: init.Seed = 0) -> None:
        rng = np.random.default_rng(seed)
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.width, init=table_init(config), seed=rng)
        self.position = None
        if config.positions == "learned":
            self.position = Embedding(config.context, config.width, init=table_init(config), seed=rng)
        rotaries: dict[int | None, RotaryEmbedding | None] = {}  # layers with the same window share one
        self.blocks = []
        for layer in range(config.layers):
            rotary = rotaries.setdefault(config.window_of(layer), rotary_embedding(config, layer))
            self.blocks.append(Block(config, layer, rotary=rotary, seed=rng))
        self.final_norm = norm(config)
        self.head = None
        if not config.tied:
            self.head = Linear(config.width, config.vocab_size, bias=False, init=matrix_init(config), seed=rng)

    @classmethod
    def empty(cls, config: TransformerConfig) -> Self:
        """A model whose parameters have arbitrary values, for values that are loaded next."""
        with init.replaced_by(init.empty):
            model = cls(config)
        move_into_one_array(model)
        return model

    def forward(
        self, ids: Any, *, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None
    ) -> Tensor:
        """ids: (B, T) integers below V -> logits (B, T, V): for each position, one number per possible next token.

        ids: an array, a Tensor or lists; one text (T,) counts as (1, T). cache: keys and values of earlier positions,
        which `ids` continue. rng: draws dropout; None means no dropout.

        Raises InputError for ids that the model does not have, and for texts longer than its context.
        """
        return self.logits(self.hidden(ids, cache=cache, rng=rng))

    def hidden(self, ids: Any, *, cache: KeyValueCache | None = None, rng: np.random.Generator | None = None) -> Tensor:
        """The vectors after the last layer and its norm, from which the logits are computed. (B, T) -> (B, T, C)."""
        ids = as_ids(ids, self.config.vocab_size, self.embedding.weight.device)
        past, T = 0 if cache is None else cache.length, ids.shape[1]
        if past + T > self.config.context:
            raise InputError(
                f"the text is {past + T} tokens long, the model can look at {self.config.context}; shorten it."
            )
        x = self.embedding(ids)  # (B, T, C)
        if self.config.embedding_scale is not None:
            x = x * self.config.embedding_scale
        if self.position is not None:
            places = slice(0, T) if cache is None else cache.places(T)
            x = x + self.position.weight[places]  # (B, T, C) + (T, C)
        x = F.dropout(x, self.config.dropout, rng)
        for block in self.blocks:
            x = block(x, cache, rng)  # (B, T, C)
        return self.final_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """What the vectors after the last layer say about the next token. (..., C) -> (..., V)."""
        return soft_cap(F.linear(hidden, self.unembedding), self.config.logit_softcap)

    def loss(
        self, ids: Any, targets: Any = None, *, reduction: str = "mean", rng: np.random.Generator | None = None
    ) -> Tensor:
        """Cross-entropy of `targets` (B, T) after `ids` (B, T), in nats; negative targets do not count.

        targets: None: each token of `ids` is the target of those before it. ids: as in `forward`.
        reduction: "mean" over the targets that count, or "sum". rng: draws dropout; None means no dropout.

        The same number as `F.cross_entropy(model(ids), targets)`, without holding the logits twice.
        """
        V, device = self.config.vocab_size, self.embedding.weight.device
        ids = as_ids(ids, V, device)
        ids, targets = (ids[:, :-1], ids[:, 1:]) if targets is None else (ids, as_targets(targets, ids, V, device))
        hidden = self.hidden(ids, rng=rng)  # (B, T, C)
        if self.config.logit_softcap is not None:
            return F.cross_entropy(self.logits(hidden), targets, reduction)
        return F.reduce_losses(F.linear_cross_entropy(hidden, self.unembedding, targets), targets, reduction)

    @property
    def unembedding(self) -> Tensor:
        """The matrix (V, C) that turns a vector into logits: the embedding itself when tied (Press & Wolf 2017)."""
        return self.embedding.weight if self.head is None else self.head.weight

    def save(self, path: str | Path) -> None:
        """Write config and parameters to one safetensors file. See `nn.saved_model`."""
        write_model(path, self.config, self.state_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The model in a file that `save` wrote. See `nn.saved_model`."""
        config, state = read_model(path)
        return cls.empty(config).load_state_dict(state)
