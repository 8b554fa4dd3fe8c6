"""What attention uses of a key-value cache; `generation.cache` has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.nn.rotary import RotaryEmbedding

if TYPE_CHECKING:
    from tinygrad_llm.nn.attention import Attention


class KeyValueCache(Protocol):
    """What attention uses of a cache of earlier positions."""

    length: int  # positions remembered so far, before the new ones

    def places(self, new: int) -> Any:
        """The positions of the next `new` tokens: a slice, or (B, T) integers where rows differ."""

    def angles(self, rotary: RotaryEmbedding, new: int, like: Any) -> tuple[Any, Any]:
        """cos and sin for the next `new` tokens."""

    def attention(self, layer: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Remember new keys and values, (B, T, K, D), and let q (B, T, H, D) attend to old and new: (B, T, H, D)."""
