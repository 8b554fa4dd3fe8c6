"""The parts that a config asks for: which norm, which attention, which initial values.

Builds on: `config`, `attention`, `mlp`. Used by: `transformer`.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm.nn import init
from tinygrad_llm.nn.attention import Attention
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import LayerNorm, RMSNorm
from tinygrad_llm.nn.mlp import MLP
from tinygrad_llm.nn.rotary import RotaryEmbedding


def attention(
    config: TransformerConfig, layer: int, rotary: RotaryEmbedding | None, rng: np.random.Generator
) -> Attention:
    return Attention(
        config.width,
        config.heads,
        config.kv_heads,
        config.head_dim,
        bias=config.bias,
        qkv_bias=config.qkv_bias,
        rotary=rotary or rotary_embedding(config, layer),
        window=config.window_of(layer),
        scale=config.attention_scale,
        softcap=config.attention_softcap,
        qk_norm=(lambda D: rms_norm(config, D)) if config.qk_norm else None,
        dropout=config.dropout,
        layer=layer,
        init=matrix_init(config),
        output_init=residual_init(config),
        seed=rng,
    )


def mlp(config: TransformerConfig, rng: np.random.Generator) -> MLP:
    return MLP(
        config.width,
        config.hidden,
        config.activation,
        config.gated,
        bias=config.bias,
        init=matrix_init(config),
        output_init=residual_init(config),
        seed=rng,
    )


def norm(config: TransformerConfig) -> LayerNorm | RMSNorm:
    if config.norm == "layer_norm":
        return LayerNorm(config.width, config.norm_eps, bias=config.bias)
    return rms_norm(config, config.width)


def rms_norm(config: TransformerConfig, width: int) -> RMSNorm:
    return RMSNorm(width, config.norm_eps, plus_one=config.norm_weight_plus_one)


def rotary_embedding(config: TransformerConfig, layer: int) -> RotaryEmbedding | None:
    if config.positions != "rotary":
        return None
    if config.window_of(layer) is not None and config.local_rotary_base is not None:
        return RotaryEmbedding(config.head_dim, config.local_rotary_base)
    return RotaryEmbedding(config.head_dim, config.rotary_base, config.rotary_scaling)


def table_init(config: TransformerConfig) -> init.Initializer:
    """Of embeddings and learned positions."""
    return init.normal(config.init_std)


def matrix_init(config: TransformerConfig) -> init.Initializer:
    """Of the matrices that read the residual stream, and of the head."""
    return init.normal(config.init_std) if config.init == "normal" else init.BY_NAME[config.init]


def residual_init(config: TransformerConfig) -> init.Initializer:
    """Of the matrices that write into the residual stream: divided by √(2 · layers).

    There are 2 · layers of them, so their sum keeps the scale of one (Radford et al. 2019, section 2.3).
    """
    if config.init == "normal":
        return init.normal(config.init_std / math.sqrt(2 * config.layers))
    return init.scaled(init.BY_NAME[config.init], 1.0 / math.sqrt(2 * config.layers))
