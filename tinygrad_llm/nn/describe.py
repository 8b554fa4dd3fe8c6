"""The one description of a model: every part with its shape, arithmetic and memory. Counted; nothing is computed.

Arithmetic is counted as the field does it (Kaplan et al. 2020, section 2.1): a weight of a matrix product costs one
multiplication and one addition per token; attention costs 4 H D per layer for every position that is looked at, half
of it for q·k and half for the weighted sum of the values. Norms, activations, biases and look-ups go over the numbers
once and are left out: they are below one percent of the operations.

Builds on: `transformer`, whose constructors say what parts there are and of which shape. Used by:
`pictures.description`, which shows it; `training.plan`; `hub.architectures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import init
from tinygrad_llm.nn.attention import Attention
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.transformer import Block, Transformer

Made = TypeVar("Made")

FLOAT32, BFLOAT16 = 4, 2  # bytes of a number


@dataclass(frozen=True)
class Row:
    """One part: a parameter under its name, the attention of a layer ("blocks.0.attention"), or a tied head.

    shape: of the parameter; () for attention. parameters: how many numbers it has of its own. learned: whether they
    want gradients. tied_to: the parameter that it shares its numbers with, if it does.
    operations: floating-point operations per token. per_position: such for each position that the token looks at, of
    which there are at most `window`; None: no limit. cache_bytes: memory in a key-value cache, per position.
    """

    name: str
    shape: tuple[int, ...] = ()
    parameters: int = 0
    learned: bool = False
    tied_to: str | None = None
    operations: int = 0
    per_position: int = 0
    window: int | None = None
    cache_bytes: int = 0

    def operations_at(self, position: int) -> int:
        """Floating-point operations for the token at this position, counted from 1: it looks at so many positions."""
        return self.operations + self.per_position * self.within_window(position)

    def cache_at(self, length: int) -> int:
        """Bytes in a key-value cache after a text of this length."""
        return self.cache_bytes * self.within_window(length)

    def within_window(self, positions: int) -> int:
        return positions if self.window is None else min(positions, self.window)

    @property
    def float32_bytes(self) -> int:
        return FLOAT32 * self.parameters

    @property
    def bfloat16_bytes(self) -> int:
        return BFLOAT16 * self.parameters


@dataclass(frozen=True)
class Totals:
    """Of all rows. operations: for a token at `position`. cache_bytes: per token as long as no window is full.
    full_cache_bytes: for a text as long as the context, where each layer remembers its window."""

    parameters: int
    learned: int
    position: int
    operations: int
    cache_bytes: int
    context: int
    full_cache_bytes: int
    float32_bytes: int
    bfloat16_bytes: int


def totals_of(rows: list[Row], context: int, position: int) -> Totals:
    """Raises InputError for a position that is not in the context."""
    if type(position) is not int or not 1 <= position <= context:
        raise InputError(f"position must be a whole number from 1 to {context}, the context; it was {position!r}.")
    return Totals(
        parameters=sum(row.parameters for row in rows),
        learned=sum(row.parameters for row in rows if row.learned),
        position=position,
        operations=sum(row.operations_at(position) for row in rows),
        cache_bytes=sum(row.cache_bytes for row in rows),
        context=context,
        full_cache_bytes=sum(row.cache_at(context) for row in rows),
        float32_bytes=sum(row.float32_bytes for row in rows),
        bfloat16_bytes=sum(row.bfloat16_bytes for row in rows),
    )


class Outline:
    """The parts of a model without memory for their values; layers are made one at a time. To be iterated over once."""

    def __init__(self, config: TransformerConfig) -> None:
        self.config = config
        rest = outline(config)
        self.embedding, self.position, self.final_norm, self.head = (
            rest.embedding, rest.position, rest.final_norm, rest.head,
        )  # fmt: skip
        self.blocks = (without_values(Block, config, layer) for layer in range(config.layers))


def without_values(make: Callable[..., Made], *arguments: Any) -> Made:
    """make(*arguments), with parameters that have shapes and take no memory."""
    with init.replaced_by(init.shape_only):
        return make(*arguments)


def outline(config: TransformerConfig) -> Transformer:
    """A model of this config with one layer, whose parameters have shapes and take no memory."""
    return without_values(Transformer, config.with_(layers=1))


@lru_cache(maxsize=64)
def shapes_of_one_layer(config: TransformerConfig) -> Mapping[str, tuple[int, ...]]:
    """The shapes of all parameters by name, of the layers only those of the first: all layers have the same."""
    return {name: parameter.shape for name, parameter in outline(config).named_parameters()}


def num_parameters(config: TransformerConfig) -> int:
    """How many numbers the parameters of `Transformer(config)` hold."""
    sizes = {name: math.prod(shape) for name, shape in shapes_of_one_layer(config).items()}
    return sum(size * (config.layers if name.startswith("blocks.") else 1) for name, size in sizes.items())


def hidden_matrices(config: TransformerConfig) -> list[tuple[int, int]]:
    """The shapes of all matrices between the embedding and the head."""
    shapes = shapes_of_one_layer(config).items()
    return [
        (shape[0], shape[1]) for name, shape in shapes if name.startswith("blocks.") and len(shape) == 2
    ] * config.layers


def forward_operations(config: TransformerConfig, seen: int) -> int:
    """Floating-point operations per token of a forward pass in which each token looks at `seen` positions.

    2 N + 4 · layers · H · D · seen, N the numbers in the matrices that vectors are multiplied with, the unembedding
    among them. As usual, windows are not taken into account.
    """
    rows = list(rows_of(Outline(config.with_(layers=1))))
    in_layer = [row for row in rows if row.name.startswith("blocks.")]
    once = sum(row.operations for row in rows) - sum(row.operations for row in in_layer)
    return once + config.layers * sum(row.operations + row.per_position * seen for row in in_layer)


def kept_numbers(config: TransformerConfig, kept_keys: int) -> int:
    """How many numbers a forward pass keeps for the backward pass, per token.

    Per layer: the inputs of each norm and each matrix, queries, keys and values (twice where they are turned by rotary
    positions, before and after), and attention's exponentials for `kept_keys` keys per query and head. Behind the
    layers: the logits, which become their own gradient.
    """
    C, F, H = config.width, config.hidden, config.heads
    queries, keys = H * config.head_dim, config.kv_heads * config.head_dim
    per_layer = 6 * C + 2 * queries + 2 * keys  # norms, outputs, sums; q, attention's result, k, v
    per_layer += H * (2 + kept_keys)  # attention's totals, shifts and exponentials
    per_layer += (3 if config.gated else 2) * F
    per_layer += queries + keys if config.positions == "rotary" else 0
    per_layer += queries + keys if config.qk_norm else 0
    per_layer += 2 * C if config.post_norms else 0
    outside = (3 if config.positions == "learned" else 2) * C + config.vocab_size
    if config.dropout:
        per_layer += 3 * C  # twice a result and its draws, which are half as large
        outside += 3 * C // 2
    return config.layers * per_layer + outside


def rows_of(network: Transformer | Outline) -> Iterator[Row]:
    """A row for every part, in the order in which data passes through them."""
    table = network.embedding.weight
    yield from rows_of_parameters("embedding", network.embedding, multiplies=False)
    if network.position is not None:
        yield from rows_of_parameters("position", network.position, multiplies=False)
    for i, block in enumerate(network.blocks):
        for name, part in block.named_children():
            yield from rows_of_parameters(f"blocks.{i}.{name}", part)
            if isinstance(part, Attention):
                yield row_of_attention(f"blocks.{i}.{name}", part, table.dtype.itemsize)
    yield from rows_of_parameters("final_norm", network.final_norm)
    if network.head is None:
        yield Row("head.weight", table.shape, tied_to="embedding.weight", operations=2 * table.size)
    else:
        yield from rows_of_parameters("head", network.head)


def rows_of_parameters(place: str, module: Module, multiplies: bool = True) -> Iterator[Row]:
    """Every parameter of a module. multiplies: whether its matrices are multiplied with the vectors, or looked up."""
    for name, parameter in module.named_parameters():
        operations = 2 * parameter.size if multiplies and parameter.ndim == 2 else 0
        yield Row(
            f"{place}.{name}",
            parameter.shape,
            parameters=parameter.size,
            learned=parameter.requires_grad,
            operations=operations,
        )


def row_of_attention(name: str, attention: Attention, itemsize: int) -> Row:
    """What happens between queries, keys and values, which has no parameters. itemsize: bytes of a cached number."""
    D = attention.head_dim
    return Row(
        name,
        per_position=4 * attention.heads * D,
        window=attention.window,
        cache_bytes=2 * attention.kv_heads * D * itemsize,
    )
