"""The formulas of a language model, each as its plain definition.

Where `@fused(...)` names a fast pair, `kernels` holds a second way to compute the same, which is used unless `plain()`
is on, and which the tests hold equal to the text here.

Legend: B batch, T positions, C channels, H heads, K key-value heads, D channels per head, V vocabulary,
F hidden width of the MLP, S positions that are looked at (S >= T when earlier ones are cached).

Builds on: `autograd`. Used by: `layers`, `attention`, `mlp`, `transformer`.
Left out: soft caps and rows that are padded at the front, which are in `attention_variants`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.autograd import Tensor, fused, ops, raw
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import cpu
from tinygrad_llm.nn.attention_checks import check_attention
from tinygrad_llm.nn.losses import mse_loss, nll_loss  # noqa: F401  (offered here, with the other formulas)
from tinygrad_llm.nn.token_ids import as_classes
from tinygrad_llm.other_names import of_module

# What a model is written with and `autograd.ops` defines.
embedding, softmax, log_softmax, sigmoid = ops.embedding, ops.softmax, ops.log_softmax, ops.sigmoid
relu, gelu, gelu_tanh, silu = ops.relu, ops.gelu, ops.gelu_tanh, ops.silu

# --- layers ---------------------------------------------------------------------------------------------------------


@fused(cpu=cpu.linear)
def linear(x, weight, bias=None):
    """y = x Wᵀ + b. x: (..., I), weight: (O, I), bias: (O,) or None -> (..., O)."""
    y = x @ weight.swapaxes(0, 1)  # (..., O)
    return y if bias is None else y + bias


@fused(cpu=cpu.layer_norm)
def layer_norm(x, weight, bias=None, *, eps=1e-5):
    """y = (x - mean) / √(var + eps) · weight + bias over the last axis (Ba et al. 2016, equation 4).

    x: (..., C), weight: (C,), bias: (C,) or None -> (..., C). The variance divides by C, not by C - 1.
    """
    centred = x - ops.mean(x, axis=-1, keepdims=True)  # (..., C)
    variance = ops.mean(centred * centred, axis=-1, keepdims=True)  # (..., 1)
    y = centred / ops.sqrt(variance + eps) * weight
    return y if bias is None else y + bias


@fused(cpu=cpu.rms_norm)
def rms_norm(x, weight, *, eps=1e-5):
    """y = x / √(mean(x²) + eps) · weight over the last axis (Zhang & Sennrich 2019, equation 4). x: (..., C)."""
    return x / ops.sqrt(ops.mean(x * x, axis=-1, keepdims=True) + eps) * weight


# --- activations ----------------------------------------------------------------------------------------------------


def relu_squared(x: Any) -> Any:
    """relu(x)² (So et al. 2021, "Primer", section 3). Any shape."""
    y = relu(x)
    return y * y


@fused(cpu=cpu.swiglu)
def swiglu(gate, up):
    """silu(gate) · up: the gated half of SwiGLU (Shazeer 2020, equation 6). Both (..., F) -> (..., F)."""
    return silu(gate) * up


@fused(cpu=cpu.geglu_tanh)
def geglu_tanh(gate, up):
    """gelu_tanh(gate) · up: the gated half of GeGLU (Shazeer 2020, equation 6). Both (..., F) -> (..., F)."""
    return gelu_tanh(gate) * up


# --- attention ------------------------------------------------------------------------------------------------------


def attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    causal: bool = True,
    window: int | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
    return_weights: bool = False,
) -> Any:
    """softmax(q kᵀ / √D + mask) v: each position averages the values, weighted by how well its query fits each key.

    Scaled dot-product attention (Vaswani et al. 2017, equation 1), with H query heads sharing K key-value heads in
    groups of H/K (Ainslie et al. 2023).

    q: (B, T, H, D), k: (B, S, K, D), v: (B, S, K, Dv) -> (B, T, H, Dv). With return_weights a pair, the second being
    the weights after dropout, (B, H, T, S).
    mask: what broadcasts to (B, H, T, S): booleans, True where a query may look at a key; or numbers that are added to
    the scores. causal: each position sees itself and earlier ones, the queries being the last T of the S positions.
    window: of those, itself and window - 1 before. scale: instead of 1/√D. dropout: of the weights, drawn with rng.

    Raises InputError for arguments that do not fit each other, and for a query that sees no key.
    """
    T, S = check_attention(q, k, v, causal, window)
    if causal and mask is None and not return_weights and (rng is None or dropout == 0.0):
        return causal_attention(q, k, v, window=window, scale=scale)
    scores = attention_scores(q, k, scale)  # (B, H, T, S)
    if causal:
        scores = masked(scores, causal_mask(T, S, window, like=raw(q)))
    if mask is not None:
        scores = masked(scores, mask)
    if bool((raw(scores).max(axis=-1) == -math.inf).any()):
        raise InputError("attention: mask hides every key from some query. Let each position see itself, for instance.")
    weights = apply_dropout(softmax(scores), dropout, rng)  # (B, H, T, S)
    y = weighted_sum(weights, v)  # (B, T, H, Dv)
    return (y, weights) if return_weights else y


@fused(cpu=cpu.causal_attention)
def causal_attention(q, k, v, *, window=None, scale=None):
    """`attention` with the causal mask alone: what a transformer computes.

    q: (B, T, H, D), k: (B, S, K, D), v: (B, S, K, Dv) -> (B, T, H, Dv).
    """
    scores = attention_scores(q, k, scale)  # (B, H, T, S)
    mask = causal_mask(q.shape[1], k.shape[1], window, like=raw(q))  # (T, S)
    return weighted_sum(softmax(masked(scores, mask)), v)  # (B, T, H, Dv)


def attention_scores(q: Any, k: Any, scale: float | None = None) -> Any:
    """q kᵀ · scale, by default 1/√D: how well each query fits each key. -> (B, H, T, S)."""
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    q, k = ops.swapaxes(q * scale, 1, 2), ops.transpose(for_query_heads(k, q.shape[2]), (0, 2, 3, 1))
    return q @ k  # (B, H, T, D) @ (B, H, D, S)


def masked(scores: Any, mask: Any) -> Any:
    """Scores that are -∞ where a boolean mask is False; a mask of numbers is added. (B, H, T, S) -> (B, H, T, S)."""
    return ops.where(mask, scores, -math.inf) if raw(mask).dtype == bool else scores + mask


def weighted_sum(weights: Any, v: Any) -> Any:
    """Σ over the keys of weight · value. weights: (B, H, T, S), v: (B, S, K, Dv) -> (B, T, H, Dv)."""
    v = ops.swapaxes(for_query_heads(v, weights.shape[1]), 1, 2)  # (B, H, S, Dv)
    return ops.swapaxes(weights @ v, 1, 2)


def for_query_heads(x: Any, heads: int) -> Any:
    """Every key-value head H/K times, once for each query head of its group. (B, S, K, D) -> (B, S, H, D)."""
    B, S, K, D = x.shape
    if heads == K:
        return x
    return ops.broadcast_to(x[:, :, :, None], shape=(B, S, K, heads // K, D)).reshape(B, S, heads, D)


def causal_mask(queries: int, keys: int, window: int | None = None, *, like: Array = None) -> Array:
    """True where a query may look: at itself and earlier positions, at most `window` of them. (T, S) booleans.

    The queries are the last T of the S positions. like: an array on the device where the mask is wanted.
    """
    xp = np if like is None else array_module(like)
    query = xp.arange(keys - queries, keys)[:, None]  # (T, 1)
    key = xp.arange(keys)[None, :]  # (1, S)
    return key <= query if window is None else (key <= query) & (key > query - window)


@fused(cpu=cpu.apply_rotary)
def apply_rotary(x, cos, sin):
    """Turn each pair of channels (i, i + D/2) by its angle, so that q·k depends on the distance of the two positions.

    x: (B, T, H, D), cos and sin: (T, D/2), or (B, T, D/2) for rows with positions of their own -> (B, T, H, D).
    The pairs are half a head apart ("half-split"), as in Llama's Hugging Face layout; the paper (Su et al. 2021,
    equation 34) pairs neighbours (2i, 2i + 1), which is the same up to an order of channels.
    """
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]  # (B, T, H, D/2)
    cos, sin = cos[..., None, :], sin[..., None, :]  # (T, 1, D/2)
    return ops.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


# --- losses ---------------------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, targets: Any, reduction: str = "mean") -> Tensor:
    """Cross-entropy between the model's distribution and the text: the average of -log p(true next token), in nats.

    logits: (..., V), targets: (...) integers, in an array, a Tensor or lists; a negative one does not count.
    reduction: "mean" over the targets that count, "sum", or "none" for one loss per token.
    """
    targets = as_classes(targets, logits)
    losses = token_losses(logits, targets)
    return losses if reduction == "none" else reduce_losses(losses.sum(), targets, reduction)


@fused(cpu=cpu.token_losses)
def token_losses(logits, targets):
    """-log p(target) of every token, in nats: logsumexp(logits) - logits[target]; 0 where the target is negative.

    logits: (..., V), targets: (...) integers -> (...).
    """
    is_target = targets >= 0
    chosen = ops.take_along_axis(logits, (targets * is_target)[..., None])[..., 0]  # (...)
    return ops.where(is_target, ops.logsumexp(logits, axis=-1) - chosen, 0.0)


@fused(cpu=cpu.linear_cross_entropy)
def linear_cross_entropy(x, weight, targets):
    """Σ over tokens of -log p(target), with logits x Wᵀ: the last step of the model and its loss in one.

    x: (..., C), weight: (V, C), targets: (...) integers, negative ones do not count -> a single number, in nats.
    """
    return token_losses(linear(x, weight), targets).sum()


def reduce_losses(total: Tensor, targets: Array, reduction: str) -> Tensor:
    """The summed loss as it is ("sum"), or divided by the number of targets that count ("mean")."""
    if reduction == "sum":
        return total
    if reduction == "mean":
        count = array_module(targets).maximum((targets >= 0).sum(), 1)  # stays on the device
        return total / count.astype(total.dtype)
    raise InputError(f"reduction must be 'mean', 'sum' or 'none', it was {reduction!r}.")


# --- dropout --------------------------------------------------------------------------------------------------------


def dropout(x: Tensor, p: float, rng: np.random.Generator | None) -> Tensor:
    """Each value becomes 0 with probability p, else is divided by 1 - p (Srivastava et al. 2014, section 4).

    Without a generator (evaluation, generation) nothing happens. Draws on the host: both backends drop the same. The
    probability is p to the nearest 1/65,536.
    """
    if rng is None or p == 0.0:
        return x
    count = math.prod(x.shape)  # four draws of 16 bits from each of 64, because drawing takes the time
    draws = rng.integers(0, 2**64, -(-count // 4), np.uint64).view(np.uint16)[:count].reshape(x.shape)
    return dropped(x, array_module(raw(x)).asarray(draws), p=p)


apply_dropout = dropout  # for `attention`, which has an argument of that name


@fused(cpu=cpu.dropped)
def dropped(x, draws, *, p):
    """x / (1 - p) where the draw is at least p · 65,536, else 0. x: (...), draws: (...), 0 to 65,535 -> (...).

    Dividing here, while training, keeps the mean, so that nothing is to be done to the weights afterwards.
    """
    keep = draws >= round(p * 65_536)
    return x * (keep.astype(x.dtype) * (1.0 / (1.0 - p)))


__getattr__ = of_module("nn.functional")
__all__ = [
    *("linear", "embedding", "dropout", "layer_norm", "rms_norm"),
    *("relu", "relu_squared", "gelu", "gelu_tanh", "silu", "sigmoid", "softmax", "log_softmax", "swiglu", "geglu_tanh"),
    *("attention", "causal_attention", "attention_scores", "causal_mask", "masked", "weighted_sum", "apply_rotary"),
    *("cross_entropy", "linear_cross_entropy", "token_losses", "nll_loss", "mse_loss", "reduce_losses"),
]


def __dir__() -> list[str]:
    return __all__
