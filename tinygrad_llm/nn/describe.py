"""What every part of a model is and costs: numbers, arithmetic, memory. Counted from the shapes, nothing is computed.

Arithmetic is counted as the field does it (Kaplan et al. 2020, section 2.1): a weight of a matrix product costs one
multiplication and one addition per token; attention costs 4 H D per layer for every position that is looked at, half
of it for q·k and half for the weighted sum of the values. Norms, activations, biases and look-ups go over the numbers
once and are left out: they are below one percent of the operations.

Comes before: `transformer`. Comes after: `pictures.description`, which shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.attention import Attention
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Embedding, Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.transformer import Block, Transformer, norm

FLOAT32, BFLOAT16 = 4, 2  # bytes of a number


@dataclass(frozen=True)
class Row:
    """One part: a parameter under its name, the attention of a layer ("blocks.0.attention"), or a tied head.

    shape: of the parameter; () for attention. parameters: how many numbers it has of its own. learned: whether they
    want gradients. tied_to: the parameter that it shares its numbers with, if it does.
    operations: floating-point operations per token. per_position: such for each position that the token looks at, of
    which there are at most `window`; None: no limit. cache_bytes: what it remembers of each position.
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
        """Bytes to remember of a text of this length."""
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
    """The parts of a model that need not fit into memory: layers are made, empty, one at a time, when they are asked
    for. To be looked at once."""

    def __init__(self, config: TransformerConfig) -> None:
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.width, None)
        self.position = Embedding(config.context, config.width, None) if config.positions == "learned" else None
        self.blocks = (Block(config, layer, None) for layer in range(config.layers))
        self.final_norm = norm(config)
        self.head = None if config.tied else Linear(config.width, config.vocab_size, None, bias=False)


def rows_of(network: Transformer | Outline) -> Iterator[Row]:
    """A row for every part, in the order in which data meets them."""
    table = network.embedding.weight
    yield from rows_of_parameters("embedding", network.embedding, multiplies=False)
    if network.position is not None:
        yield from rows_of_parameters("position", network.position, multiplies=False)
    for i, block in enumerate(network.blocks):
        for name, part in block.named_members():
            if isinstance(part, Module):
                yield from rows_of_parameters(f"blocks.{i}.{name}", part)
            if isinstance(part, Attention):
                yield row_of_attention(f"blocks.{i}.{name}", part, network.config, table.dtype.itemsize)
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


def row_of_attention(name: str, attention: Attention, config: TransformerConfig, itemsize: int) -> Row:
    """What happens between queries, keys and values, which has no parameters. itemsize: bytes of a cached number."""
    D = config.channels_per_head
    return Row(
        name,
        per_position=4 * config.heads * D,
        window=attention.window,
        cache_bytes=2 * config.num_kv_heads * D * itemsize,
    )
