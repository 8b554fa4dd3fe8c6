"""The model shapes that are timed, and what a step of each costs in floating-point operations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Sizes by the names of TransformerConfig; batch: windows per step."""

    layers: int
    heads: int
    width: int
    context: int
    batch: int
    vocab_size: int
    kv_heads: int | None = None
    kind: str = "gpt2"

    def config(self) -> dict:
        sizes = ("layers", "heads", "width", "context", "vocab_size", "kv_heads")
        return {name: getattr(self, name) for name in sizes}

    @property
    def tokens(self) -> int:
        return self.batch * self.context


SHAPES = {
    "tiny": Shape(layers=4, heads=4, width=128, context=64, batch=12, vocab_size=65),
    "small": Shape(layers=6, heads=6, width=384, context=256, batch=8, vocab_size=65),
    "medium": Shape(layers=6, heads=8, width=512, context=256, batch=8, vocab_size=4096),
    "gpt2-124m": Shape(layers=12, heads=12, width=768, context=256, batch=2, vocab_size=50257),
    "llama": Shape(layers=8, heads=8, kv_heads=2, width=512, context=512, batch=4, vocab_size=8192, kind="llama"),
}
