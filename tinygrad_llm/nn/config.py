"""The shape of a transformer: one frozen dataclass for GPT-2, Llama, Qwen, Mistral, Gemma and what lies between.

Nothing in here is learned; two models with the same config have the same parameters up to their values.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.positions import RotaryScaling


@dataclass(frozen=True)
class TransformerConfig:
    """What the numbers mean, with the letter that the code uses for them.

    vocab_size V: tokens in the vocabulary. context: the longest text, in tokens, that it can look at.
    layers: how often attention and MLP are repeated. heads H: attention heads per layer. width C: channels per token.
    kv_heads K: key-value heads; None means one per query head. head_width D: channels per head; None means C / H.
    hidden F: width of the MLP; None means 4 C for GELU, and 8/3 C (rounded up to a multiple of 32) for SwiGLU, which
    has three matrices where GELU has two, so that both have about the same number of parameters.
    """

    vocab_size: int
    context: int
    layers: int
    heads: int
    width: int
    kv_heads: int | None = None
    head_width: int | None = None
    hidden: int | None = None
    positions: Literal["learned", "rotary"] = "learned"
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    mlp: Literal["gelu", "swiglu", "geglu"] = "gelu"
    bias: bool = True
    tied: bool = True
    norm_eps: float = 1e-5
    rotary_base: float = 10_000.0
    dropout: float = 0.0
    qkv_bias: bool | None = None
    qk_norm: bool = False
    post_norms: bool = False
    norm_weight_plus_one: bool = False
    embedding_scale: float | None = None
    attention_scale: float | None = None
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    window: int | None = None
    full_attention_every: int | None = None
    local_rotary_base: float | None = None
    rotary_scaling: RotaryScaling | None = None

    def __post_init__(self) -> None:
        for name in SIZES:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name} must be a whole number of at least 1, it was {value!r}.")
        if self.head_width is None and self.width % self.heads:
            raise InputError(
                f"heads must divide the width: width {self.width} cannot be cut into {self.heads} heads. "
                f"Take for instance width {self.heads * -(-self.width // self.heads)}, or other heads."
            )
        if self.heads % self.num_kv_heads:
            raise InputError(f"kv_heads must divide heads: {self.heads} query heads cannot share {self.kv_heads}.")
        if self.positions == "rotary" and self.channels_per_head % 2:
            raise InputError(f"rotary positions turn pairs of channels: head width {self.channels_per_head} is odd.")
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout must be at least 0 and below 1, it was {self.dropout}.")
        for name in ("embedding_scale", "attention_scale", "attention_softcap", "logit_softcap", "local_rotary_base"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise InputError(f"{name} must be a number above 0, or None; it was {value!r}.")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {allowed}, it was {getattr(self, name)!r}.")

    @property
    def num_kv_heads(self) -> int:
        """K: how many key-value heads there are."""
        return self.kv_heads or self.heads

    @property
    def channels_per_head(self) -> int:
        """D: channels per head."""
        return self.head_width or self.width // self.heads

    @property
    def mlp_width(self) -> int:
        """F: width of the hidden layer of the MLP."""
        if self.hidden is not None:
            return self.hidden
        return 4 * self.width if self.mlp == "gelu" else 32 * -(-8 * self.width // (3 * 32))

    def window_of(self, layer: int) -> int | None:
        """How many positions this layer looks at, itself included; None: everything before it."""
        every = self.full_attention_every
        return None if every is not None and (layer + 1) % every == 0 else self.window

    @classmethod
    def gpt2(cls, **sizes: Any) -> Self:
        """GPT-2's kind (Radford et al. 2019): learned positions, LayerNorm, GELU, biases, tied embeddings."""
        return cls(**sizes)

    @classmethod
    def llama(cls, **sizes: Any) -> Self:
        """Llama's kind (Touvron et al. 2023): rotary positions, RMSNorm, SwiGLU, no biases; embeddings tied here."""
        llama: dict[str, Any] = {"positions": "rotary", "norm": "rms_norm", "mlp": "swiglu", "bias": False}
        return cls(**(llama | sizes))

    def with_(self, **changes: Any) -> Self:
        """The same config with some values changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The config that `to_dict` gave. Raises InputError naming what is missing or unknown."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(values.keys() - known)
        if unknown:
            raise InputError(f"config: unknown entries {unknown}; it was written by another version of this program.")
        scaling = values.get("rotary_scaling")
        try:
            return cls(**values | {"rotary_scaling": None if scaling is None else RotaryScaling(**scaling)})
        except TypeError as error:
            raise InputError(f"config: {error}; the file is incomplete or was written by another version.") from error


SIZES = (
    *("vocab_size", "context", "layers", "heads", "width", "kv_heads", "head_width", "hidden"),
    *("window", "full_attention_every"),
)
CHOICES = {
    "positions": ("learned", "rotary"),
    "norm": ("layer_norm", "rms_norm"),
    "mlp": ("gelu", "swiglu", "geglu"),
}
