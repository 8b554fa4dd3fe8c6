"""Five sizes of model and batch that speed is measured at, from a toy to GPT-2.

Builds on: `nn.config`. Used by: `tinygrad-llm profile`, and the benchmarks beside the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinygrad_llm.nn.config import TransformerConfig


@dataclass(frozen=True)
class Shape:
    """A model by the names of `TransformerConfig`, and how many windows make a batch."""

    layers: int
    heads: int
    width: int
    context: int
    batch: int
    vocab_size: int
    kv_heads: int | None = None
    model: Literal["gpt2", "llama"] = "gpt2"

    @property
    def config(self) -> TransformerConfig:
        kind = {"gpt2": TransformerConfig.gpt2, "llama": TransformerConfig.llama}[self.model]
        return kind(
            vocab_size=self.vocab_size,
            context=self.context,
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            kv_heads=self.kv_heads,
        )

    @property
    def tokens(self) -> int:
        """Of one step."""
        return self.batch * self.context


SHAPES = {
    "tiny": Shape(layers=4, heads=4, width=128, context=64, batch=12, vocab_size=65),
    "small": Shape(layers=6, heads=6, width=384, context=256, batch=8, vocab_size=65),
    "medium": Shape(layers=6, heads=8, width=512, context=256, batch=8, vocab_size=4096),
    "gpt2-124m": Shape(layers=12, heads=12, width=768, context=256, batch=2, vocab_size=50257),
    "llama": Shape(layers=8, heads=8, kv_heads=2, width=512, context=512, batch=4, vocab_size=8192, model="llama"),
}
