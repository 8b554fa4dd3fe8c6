"""Causal attention, a block of queries at a time: keys after the last of them are never looked at.

The scores of one block, for as many heads as fit the cache, are all that is held of a long text; the backward pass
computes them again (Dao et al. 2022, "FlashAttention", section 3.1, with whole rows of keys instead of tiles). Of a
short one they are kept.
"""

import math
from functools import lru_cache

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import BLOCK_BYTES, SMALL_BYTES, parallel_for, thread_pool

QUERY_BLOCK = 64  # queries handled together: keys after the last of them are never looked at
KEPT_WIDTHS = 4  # exponentials that each head may keep per query, in units of D: see `worth_keeping`


def query_blocks(length, past, window, dtype):
    """(queries, keys, mask) of each block of queries.

    queries, keys: slices of the positions. mask: (keys, queries) of 0 where a query may look, -inf where not; without a
    window only for the last keys, those among the queries themselves, since all earlier ones are visible.
    """
    for first in range(0, length, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, length)
        if window is None:
            yield slice(first, last), slice(0, past + last), future(last - first, dtype)
        else:
            start = max(0, past + first - window + 1)
            key, query = np.arange(start, past + last)[:, None], past + np.arange(first, last)[None, :]
            mask = np.where((key > query) | (key <= query - window), -np.inf, 0.0).astype(dtype)
            yield slice(first, last), slice(start, past + last), mask


@lru_cache(maxsize=16)  # nearly every call asks for the same one
def future(length, dtype):
    """(keys, queries) of 0, and -inf for the keys after the query; None where there are none."""
    if length == 1:
        return None
    mask = np.where(np.arange(length)[:, None] > np.arange(length), -np.inf, 0.0).astype(dtype)
    mask.flags.writeable = False
    return mask


def by_head(x, kv_heads):
    """(B, T, H, D) seen as (B, K, H/K, T, D), without copying."""
    batch, length, heads, width = x.shape
    return x.reshape(batch, length, kv_heads, heads // kv_heads, width).transpose(0, 2, 3, 1, 4)


def transposed(x):
    """The last two axes exchanged, without copying."""
    return x.swapaxes(-1, -2)


def pieces(batch, kv_heads, bytes_per_head, parts=1):
    """(examples, key-value heads) of each piece of work, as slices: as many as fit the cache.

    At least one piece per core, or fewer if each is done in several `parts`.
    """
    fitting = max(1, min(BLOCK_BYTES // max(1, bytes_per_head), parts * batch * kv_heads // thread_pool.cores))
    heads, examples = min(fitting, kv_heads), max(1, fitting // kv_heads)
    return [
        (slice(b, b + examples), slice(h, h + heads))
        for b in range(0, batch, examples)
        for h in range(0, kv_heads, heads)
    ]


def hide(scores, mask, ordinary):
    """In place: -inf for the keys that a query may not look at. The mask covers the last keys of the block.

    Adding is quicker than writing, but ∞ - ∞ is nan, so it is for `ordinary` scores only.
    """
    if mask is None:
        return
    if ordinary:
        scores[..., -mask.shape[0] :, :] += mask
    else:
        np.copyto(scores[..., -mask.shape[0] :, :], -np.inf, where=mask < 0.0)


def hide_padding(scores, padding, keys, queries):
    """In place: -inf for what stands before each row's text, except that padding looks at itself.

    scores: (b, h, H/K, s, t). padding: (b,). keys, queries: the positions of s and of t, as slices.
    """
    key = np.arange(keys.start, keys.stop)[:, None]  # (s, 1)
    hidden = (key < padding[:, None, None]) & (key != np.arange(queries.start, queries.stop))  # (b, s, t)
    np.copyto(scores, -np.inf, where=hidden[:, None, None])


def is_ordinary(scores):
    """Whether all of e^score can be computed as it is: e^60 neither overflows nor, as e^-60, vanishes in float32."""
    return scores.max() < 60.0 and scores.min() > -60.0


def exponentials(scores, ordinary):
    """In place: e^(score - shift), 0 where hidden; returns the shift, which cancels in the softmax.

    Scores of ordinary size need no shift. Only when some are larger is each query's largest score subtracted.
    """
    shift = 0.0 if ordinary else scores.max(axis=-2, keepdims=True)  # (b, h, H/K, 1, t)
    if not ordinary:
        scores -= shift
    np.exp(scores, out=scores)
    return shift


def cap_softly(scores, softcap):
    """In place: softcap · tanh(score / softcap); nothing without a cap."""
    if softcap is not None:
        scores *= 1.0 / softcap
        np.tanh(scores, out=scores)
        scores *= softcap


def attention_forward(q, k, v, *, scale=None, window=None, softcap=None, padding=None):
    keep = worth_keeping(k.shape[1], q.shape[-1], softcap)
    return attend_in_blocks(q, k, v, keep, scale, window, softcap, padding)


def attend_in_blocks(q, k, v, keep, scale, window, softcap, padding):
    """Attention and what its backward pass needs. keep: whether the exponentials are kept for it.

    Scores are held as (keys, queries): sums and maxima over keys then run along memory, many queries at a time.
    """
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    batch, keys, kv_heads = k.shape[:3]
    out = np.empty((*q.shape[:3], v.shape[3]), q.dtype)
    q5, k5, v5, out5 = (by_head(x, kv_heads) for x in (q, k, v, out))  # (B, K, H/K, T, D), (B, K, 1, S, D), …
    totals = np.empty((*q5.shape[:3], 1, q5.shape[3]), q.dtype)  # of each query's e^(score - shift)
    shifts = np.empty_like(totals)
    past = keys - q.shape[1]
    plan = list(query_blocks(q.shape[1], past, window, q.dtype))
    kept = room_for_weights(q5, plan) if keep else [None] * len(plan)
    bytes_per_head = q5.shape[2] * min(q.shape[1], QUERY_BLOCK) * keys * q.itemsize
    work = [
        (*piece, *block, room)
        for piece in pieces(batch, kv_heads, bytes_per_head, len(plan))
        for block, room in zip(plan, kept, strict=True)
    ]
    work = work[::2] + work[1::2]  # late blocks have more keys: so both halves have as many of them

    def stretch(first, last):
        for b, h, rows, columns, mask, room in work[first:last]:
            here = None if room is None else room[b, h]
            scores = np.matmul(k5[b, h, :, columns], transposed(q5[b, h, :, rows] * scale), out=here)
            cap_softly(scores, softcap)  # (b, h, H/K, s, t)
            ordinary = is_ordinary(scores)
            hide(scores, mask, ordinary)
            if padding is not None:
                hide_padding(scores, padding[b], columns, slice(past + rows.start, past + rows.stop))
            shifts[b, h, :, :, rows] = exponentials(scores, ordinary)
            total = np.ones((1, scores.shape[-2]), scores.dtype) @ scores  # (b, h, H/K, 1, t): the sum over keys
            np.divide(transposed(scores) @ v5[b, h, :, columns], transposed(total), out=out5[b, h, :, rows])
            totals[b, h, :, :, rows] = total

    parallel_for(stretch, len(work), parallel=worth_threads(q, keys), one_blas_thread_each=True)
    return out, (out, totals, shifts, kept)


def worth_keeping(keys, width, softcap):
    """Whether the exponentials are kept for the backward pass, which then need not compute them again.

    For each query they are as many as there are keys: a long text cannot afford that. Up to 4 D per head are no more
    than what the hidden layer of an MLP keeps. With a soft cap the scores would be needed too, for its slope.
    """
    return keys <= KEPT_WIDTHS * width and softcap is None


def room_for_weights(q5, plan):
    """An empty array for the exponentials of each block of queries, (B, K, H/K, s, t)."""
    return [
        np.empty((*q5.shape[:3], columns.stop - columns.start, rows.stop - rows.start), q5.dtype)
        for rows, columns, _ in plan
    ]


def attention_value(q, k, v, *, scale=None, window=None, softcap=None, padding=None):
    """Without a gradient to come; a single query, as in writing token by token, is spared what blocks cost."""
    if q.shape[1] > 1:
        return attend_in_blocks(q, k, v, False, scale, window, softcap, padding)[0]
    batch, keys, kv_heads, width = k.shape
    if window is not None and keys > window:
        first = keys - window  # of the keys that the query looks at
        padding = None if padding is None else padding - first
        k, v = k[:, first:], v[:, first:]
    scale = 1.0 / math.sqrt(width) if scale is None else scale
    k5, v5 = k.swapaxes(1, 2)[:, :, None], v.swapaxes(1, 2)[:, :, None]  # (B, K, 1, s, D)
    scores = np.matvec(k5, (q * scale).reshape(batch, kv_heads, -1, width))  # (B, K, H/K, s)
    cap_softly(scores, softcap)
    if padding is not None:
        np.copyto(scores, -np.inf, where=np.arange(scores.shape[-1]) < padding[:, None, None, None])
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    y = np.vecmat(scores, v5)  # (B, K, H/K, D)
    y /= scores.sum(axis=-1, keepdims=True)
    return y.reshape(batch, 1, q.shape[2], v.shape[3])


def attention_backward(g, saved, q, k, v, *, scale=None, window=None, softcap=None, padding=None):
    """With e = e^(score - shift) and Σ, its total over the keys, the attention weights are e / Σ.

    So dv = (e / Σ)ᵀ g = eᵀ (g / Σ), and likewise for the scores: it is g that is divided, which has fewer numbers.
    """
    out, totals, shifts, kept = saved
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    batch, keys, kv_heads = k.shape[:3]
    dq, dk, dv = np.empty(q.shape, q.dtype), np.zeros(k.shape, k.dtype), np.zeros(v.shape, v.dtype)
    q5, k5, v5, out5, g5, dq5, dk5, dv5 = (by_head(x, kv_heads) for x in (q, k, v, out, g, dq, dk, dv))
    past = keys - q.shape[1]
    plan = query_blocks(q.shape[1], past, window, q.dtype)
    blocks = [*zip(plan, kept, strict=True)][::-1]  # the last queries see all keys: they write dk and dv, others add
    work = pieces(batch, kv_heads, bytes_per_head=2 * q5.shape[2] * min(q.shape[1], QUERY_BLOCK) * keys * q.itemsize)

    def stretch(first, last):
        for b, h in work[first:last]:
            scaled = q5[b, h] * scale  # (b, h, H/K, T, D)
            shares = g5[b, h] / transposed(totals[b, h])  # (b, h, H/K, T, D)
            for (rows, columns, mask), room in blocks:
                here, there = (b, h, slice(None), rows), (b, h, slice(None), columns)
                is_first = rows.stop == q.shape[1] and columns.start == 0
                slope = None
                if room is not None:
                    weights = room[b, h]  # (b, h, H/K, s, t)
                else:
                    weights = k5[there] @ transposed(scaled[:, :, :, rows])  # (b, h, H/K, s, t)
                    cap_softly(weights, softcap)
                    slope = None if softcap is None else 1.0 - np.square(weights * (1.0 / softcap))  # of the cap
                    shift = shifts[b, h, :, :, rows]
                    ordinary = not shift.any()
                    hide(weights, mask, ordinary)
                    if padding is not None:
                        hide_padding(weights, padding[b], columns, slice(past + rows.start, past + rows.stop))
                    if not ordinary:
                        weights -= shift
                    np.exp(weights, out=weights)
                share = shares[:, :, :, rows]
                collect(weights, share, dv5[there], is_first)
                d_scores = v5[there] @ transposed(share)  # (b, h, H/K, s, t)
                d_scores -= np.vecdot(share, out5[here])[..., None, :]
                d_scores *= weights
                if slope is not None:
                    d_scores *= slope
                collect(d_scores, scaled[:, :, :, rows], dk5[there], is_first)
                np.matmul(transposed(d_scores), k5[there], out=dq5[here])
            dq5[b, h] *= scale

    parallel_for(stretch, len(work), parallel=worth_threads(q, keys), one_blas_thread_each=True)
    return dq, dk, dv


def collect(x, y, out, is_first):
    """out += x @ y, summed over the query heads that share a key-value head. is_first: there is nothing in it yet.

    x: (b, h, H/K, s, t), y: (b, h, H/K, t, D), out: (b, h, 1, s, D).
    """
    if is_first and x.shape[2] == 1:
        np.matmul(x, y, out=out)
    else:
        out += (x @ y).sum(axis=2, keepdims=True) if x.shape[2] > 1 else x @ y


def worth_threads(q, keys):
    """Whether there are enough scores to share among threads: each costs much more than its four bytes' reading."""
    return q.shape[0] * q.shape[1] * q.shape[2] * keys * q.itemsize >= SMALL_BYTES // 8


causal_attention = FastPair(attention_forward, attention_backward, attention_value, accepts=shapes.causal_attention)
