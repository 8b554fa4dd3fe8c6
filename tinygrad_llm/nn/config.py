"""The config of a transformer: one frozen dataclass for GPT-2, Llama, Qwen, Mistral, Gemma and what lies between.

Nothing in it is learned; two models with the same config have the same parameters up to their values.

Used by: `transformer` and its parts, `describe`, `hub` (which translates the configs of other programs).
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

from tinygrad_llm.drawing.terminal import call_text
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.field_checks import check_fields
from tinygrad_llm.nn.rotary import RotaryScaling

USUAL: Any = None  # what stands in the constructor for "the usual value", which __post_init__ puts in its place


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes and choices that make up a model, with the letter of the code and, in brackets, Hugging Face's name.

    vocab_size V (vocab_size): tokens in the vocabulary. context (max_position_embeddings): the longest text, in tokens.
    layers (num_hidden_layers): blocks of attention and MLP. heads H (num_attention_heads): attention heads per layer.
    width C (hidden_size): channels per token. kv_heads K (num_key_value_heads): key-value heads; usually H.
    head_dim D (head_dim): channels per head; usually C / H. hidden F (intermediate_size): width inside the MLP; usually
    4 C, and 8/3 C (rounded up to a multiple of 32) where it is gated, since that MLP has three matrices instead of two.

    positions: "learned" vectors, or "rotary". rotary_base (rope_theta). rotary_scaling (rope_scaling): see `rotary`.
    norm: "layer_norm" or "rms_norm". norm_eps (rms_norm_eps, layer_norm_epsilon).
    activation (hidden_act): of the MLP, "gelu" (exact), "gelu_tanh" (gelu_new, gelu_pytorch_tanh), "relu",
    "relu_squared" or "silu". gated: whether it gates a second matrix, as in SwiGLU (silu) and GeGLU (gelu).
    bias (attention_bias, mlp_bias): of the linear layers and LayerNorms. qkv_bias: of query, key and value; usually as
    bias. tied (tie_word_embeddings): embedding and head are one matrix. dropout (resid_pdrop, embd_pdrop).
    init: of the matrices, "normal" with standard deviation init_std (initializer_range), "xavier_normal",
    "kaiming_normal" or "orthogonal"; those that write into the residual stream are divided by √(2 · layers).

    For Qwen 3 and Gemma: qk_norm: RMSNorms of queries and keys. post_norms: norms behind attention and MLP too.
    norm_weight_plus_one: norms multiply by 1 + weight. embedding_scale: factor of the token vectors.
    attention_scale (query_pre_attn_scalar, as 1/√ of it): instead of 1/√D. attention_softcap, logit_softcap
    (attn_logit_softcapping, final_logit_softcapping). window (sliding_window): positions that attention sees, itself
    included; full_attention_every (sliding_window_pattern): each such layer sees all; local_rotary_base
    (rope_local_base_freq): of the layers with a window.

    Raises InputError for a value that a field cannot have, and for sizes that do not fit each other.
    """

    vocab_size: int
    context: int
    layers: int
    heads: int
    width: int
    kv_heads: int = USUAL
    head_dim: int = USUAL
    hidden: int = USUAL
    positions: Literal["learned", "rotary"] = "learned"
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    activation: Literal["gelu", "gelu_tanh", "relu", "relu_squared", "silu"] = "gelu_tanh"
    gated: bool = False
    bias: bool = True
    tied: bool = True
    norm_eps: float = 1e-5
    rotary_base: float = 10_000.0
    dropout: float = 0.0
    qkv_bias: bool = USUAL
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
    init: Literal["normal", "xavier_normal", "kaiming_normal", "orthogonal"] = "normal"
    init_std: float = 0.02
    following: ClassVar[tuple[str, ...]] = ()  # on each config: the fields that were not given

    def __post_init__(self) -> None:
        check_fields(self)
        following = {name: value for name, value in self.usual().items() if getattr(self, name) is None}
        for name, value in following.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "following", tuple(following))
        if self.head_dim < 1:
            raise InputError(f"heads must be at most the width, {self.width}; it was {self.heads}.")
        if self.heads % self.kv_heads:
            raise InputError(f"kv_heads must divide heads: {self.heads} query heads cannot share {self.kv_heads}.")
        if self.positions == "rotary" and self.head_dim % 2:
            raise InputError(f"rotary positions turn pairs of channels: head_dim {self.head_dim} is odd.")

    def __repr__(self) -> str:
        return call_text(self, leave_out=self.following)

    def usual(self) -> dict[str, Any]:
        """The values that some fields have where they are not given."""
        if self.width % self.heads and self.head_dim is None:
            raise InputError(
                f"heads must divide the width: width {self.width} cannot be cut into {self.heads} heads. "
                f"Take for instance width {self.heads * -(-self.width // self.heads)}, or other heads."
            )
        return {
            "kv_heads": self.heads,
            "head_dim": self.width // self.heads,
            "hidden": 32 * -(-8 * self.width // (3 * 32)) if self.gated else 4 * self.width,
            "qkv_bias": self.bias,
        }

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
        llama: dict[str, Any] = {
            "positions": "rotary",
            "norm": "rms_norm",
            "activation": "silu",
            "gated": True,
            "bias": False,
        }
        return cls(**llama | sizes)

    def with_(self, **changes: Any) -> Self:
        """The same config with some fields changed; fields that were not given follow the others again."""
        values: dict[str, Any] = dict.fromkeys(self.following)
        return replace(self, **values | changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The config that `to_dict` gave. Raises InputError naming what is missing, unknown or of another type."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(values.keys() - known)
        missing = sorted(field.name for field in fields(cls) if field.default is MISSING and field.name not in values)
        if unknown:
            raise InputError(f"config: unknown entries {unknown}; it was written by another version of this program.")
        if missing:
            raise InputError(f"config: {missing} are missing; the file is incomplete.")
        scaling = values.get("rotary_scaling")
        if isinstance(scaling, dict):
            try:
                values = values | {"rotary_scaling": RotaryScaling(**scaling)}
            except TypeError as error:
                raise InputError(f"config: rotary_scaling {scaling!r} has other entries than wanted.") from error
        return cls(**values)
