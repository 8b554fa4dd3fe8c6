"""The formulas of a language model, each as its plain definition.

Read these. Where `@fused(...)` names a fast pair, `kernels` holds a second way to compute the same, which is used
unless `plain()` is on, and which the tests hold equal to the text here.

Legend: B batch, T positions, C channels, H heads, K key-value heads, D channels per head, V vocabulary,
F hidden width of the MLP, S positions that can be looked at (S >= T when earlier ones are cached).
"""

import math

import numpy as np

from tinygrad_llm.autograd import Tensor, fused, ops, raw
from tinygrad_llm.backend import Array, array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import cpu

# Words of the vocabulary that a model is written with; their formulas stand in `autograd.ops`.
gelu, silu, softmax, log_softmax, embedding = ops.gelu, ops.silu, ops.softmax, ops.log_softmax, ops.embedding


@fused(cpu=cpu.linear)
def linear(x, weight, bias=None):
    """y = x Wᵀ + b. x: (..., I), weight: (O, I), bias: (O,) or None -> (..., O)."""
    y = x @ weight.swapaxes(0, 1)  # (..., O)
    return y if bias is None else y + bias


@fused(cpu=cpu.silu_gate)
def silu_gate(gate, up):
    """silu(gate) · up: the gated half of SwiGLU (Shazeer 2020, equation 6). Both (..., F) -> (..., F)."""
    return silu(gate) * up


@fused(cpu=cpu.gelu_gate)
def gelu_gate(gate, up):
    """gelu(gate) · up: the gated half of GeGLU (Shazeer 2020, equation 6). Both (..., F) -> (..., F)."""
    return gelu(gate) * up


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


@fused(cpu=cpu.rotate)
def rotate(x, cos, sin):
    """Turn each pair of channels (i, i + D/2) by its angle, so that q·k depends on how far apart the two are.

    x: (B, T, H, D), cos and sin: (T, D/2), or (B, T, D/2) for rows with positions of their own -> (B, T, H, D).
    The pairs are half a head apart ("half-split"), as in Llama's Hugging Face layout; the paper pairs neighbours
    (2i, 2i + 1), which is the same up to an order of channels.
    """
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]  # (B, T, H, D/2)
    cos, sin = cos[..., None, :], sin[..., None, :]  # (T, 1, D/2)
    return ops.concat([a * cos - b * sin, b * cos + a * sin], axis=-1)


def causal_mask(queries: int, keys: int, window: int | None, starts: Array | None, like: Array) -> Array:
    """Which keys each query may look at: itself and earlier ones, at most `window` of them. Booleans, (T, S).

    The queries are the last T of S positions. starts: (B,), the first position of each row's text; what stands before
    it is padding, which only looks at itself, and nobody else at it: (B, 1, 1, T, S).
    """
    xp = array_module(like)
    query = xp.arange(keys - queries, keys)[:, None]  # (T, 1)
    key = xp.arange(keys)[None, :]  # (1, S)
    visible = key <= query
    if window is not None:
        visible = visible & (key > query - window)
    return visible if starts is None else visible & ((key >= starts[:, None, None, None, None]) | (key == query))


@fused(cpu=cpu.attention)
def attention(q, k, v, *, scale=None, window=None, softcap=None, starts=None):
    """softmax(q kᵀ / √D + mask) v: each position collects the values of the earlier positions it finds relevant.

    Causal scaled dot-product attention (Vaswani et al. 2017, equation 1), with H query heads sharing K key-value
    heads in groups of H/K (Ainslie et al. 2023), and optionally a sliding window.

    q: (B, T, H, D), k: (B, S, K, D), v: (B, S, K, Dv) -> (B, T, H, Dv). The queries are the last T of the S positions.
    scale: instead of 1/√D. window: each position sees itself and window - 1 positions before.
    softcap: scores s become softcap · tanh(s / softcap), so none is larger (Gemma 2, section 2). starts: (B,), where
    the text of each row begins, for rows that are padded at the front.
    """
    B, T, H, D = q.shape
    S, K = k.shape[1], k.shape[2]
    scale = 1.0 / math.sqrt(D) if scale is None else scale
    q = ops.transpose(q.reshape(B, T, K, H // K, D), axes=(0, 2, 3, 1, 4))  # (B, K, H/K, T, D)
    k = ops.transpose(k.reshape(B, S, K, 1, D), axes=(0, 2, 3, 4, 1))  # (B, K, 1, D, S)
    v = ops.transpose(v.reshape(B, S, K, 1, v.shape[-1]), axes=(0, 2, 3, 1, 4))  # (B, K, 1, S, Dv)
    scores = soft_cap(q @ k * scale, softcap)  # (B, K, H/K, T, S)
    scores = ops.where(causal_mask(T, S, window, starts, like=raw(q)), scores, -math.inf)
    y = softmax(scores) @ v  # (B, K, H/K, T, Dv)
    return ops.transpose(y, axes=(0, 3, 1, 2, 4)).reshape(B, T, H, v.shape[-1])


def soft_cap(x, cap):
    """cap · tanh(x / cap): nearly x where x is small, never beyond ±cap (Gemma 2, section 2). None leaves x."""
    return x if cap is None else ops.tanh(x * (1.0 / cap)) * cap


@fused(cpu=cpu.token_losses)
def token_losses(logits, targets):
    """-log p(target) of every token, in nats: logsumexp(logits) - logits[target]; 0 where the target is negative.

    logits: (..., V), targets: (...) integers -> (...).
    """
    is_target = targets >= 0
    chosen = ops.take_along_axis(logits, (targets * is_target)[..., None])[..., 0]  # (...)
    return ops.where(is_target, ops.logsumexp(logits, axis=-1) - chosen, 0.0)


@fused(cpu=cpu.projected_loss)
def projected_loss(x, weight, targets):
    """Σ over tokens of -log p(target), with logits x Wᵀ: the last step of the model and its loss in one.

    x: (..., C), weight: (V, C), targets: (...) integers, negative ones do not count -> a single number, in nats.
    """
    return token_losses(linear(x, weight), targets).sum()


def cross_entropy(logits: Tensor, targets: Array, reduction: str = "mean") -> Tensor:
    """Cross-entropy between the model's distribution and the text: the average of -log p(true next token), in nats.

    logits: (..., V), targets: (...) integers; a negative target means "nothing to predict here".
    reduction: "mean" over the targets that count, "sum", or "none" for one loss per token.
    """
    losses = token_losses(logits, targets)
    return losses if reduction == "none" else reduce_losses(losses.sum(), targets, reduction)


def reduce_losses(total: Tensor, targets: Array, reduction: str) -> Tensor:
    """The summed loss as it is ("sum"), or divided by the number of targets that count ("mean")."""
    if reduction == "sum":
        return total
    if reduction == "mean":
        count = array_module(targets).maximum((targets >= 0).sum(), 1)  # stays on the device
        return total / count.astype(total.dtype)
    raise InputError(f"reduction must be 'mean' or 'sum', it was {reduction!r}.")


@fused(cpu=cpu.drop)
def drop(x, draws, *, rate):
    """x / (1 - rate) where the draw is at least rate · 65,536, else 0. x: (...), draws: (...), 0 to 65,535 -> (...).

    Dividing here, while training, keeps the mean, so that nothing is to be done to the weights afterwards.
    """
    keep = draws >= round(rate * 65_536)
    return x * (keep.astype(x.dtype) * (1.0 / (1.0 - rate)))


def dropout(x: Tensor, rate: float, rng: np.random.Generator | None) -> Tensor:
    """Each value becomes 0 with probability `rate`, else is divided by 1 - rate (Srivastava et al. 2014, section 4).

    Without a generator (evaluation, generation) nothing happens. Draws on the host: both backends drop the same. The
    probability is `rate` to the nearest 1/65,536.
    """
    if rng is None or rate == 0.0:
        return x
    return drop(x, array_module(raw(x)).asarray(draws(x.shape, rng)), rate=rate)


def draws(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Whole numbers from 0 to 65,535, all as likely: four out of each draw of 64 bits, since drawing takes the time."""
    count = math.prod(shape)
    return rng.integers(0, 2**64, -(-count // 4), np.uint64).view(np.uint16)[:count].reshape(shape)
