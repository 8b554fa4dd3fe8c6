"""Causal attention, a block of queries at a time: keys after the last of them are never looked at.

The scores of one block, for as many heads as fit the cache, are all that is ever held; the backward pass computes them
again (Dao et al. 2022, "FlashAttention", section 3.1, with whole rows of keys instead of tiles).
"""

import math

import numpy as np

from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import BLOCK_BYTES, SMALL_BYTES, share_out, workers

QUERY_BLOCK = 64  # queries handled together: keys after the last of them are never looked at


def query_blocks(length, past, window, dtype):
    """(queries, keys, mask) of each block of queries.

    queries, keys: slices of the positions. mask: (keys, queries) of 0 where a query may look, -inf where not; without a
    window only for the last keys, those among the queries themselves, since all earlier ones are visible.
    """
    for first in range(0, length, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, length)
        query = past + np.arange(first, last)[None, :]
        start = 0 if window is None else max(0, past + first - window + 1)
        key = np.arange(past + first if window is None else start, past + last)[:, None]
        hidden = key > query if window is None else (key > query) | (key <= query - window)
        mask = np.where(hidden, -np.inf, 0.0).astype(dtype) if hidden.any() else None
        yield slice(first, last), slice(start, past + last), mask


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
    fitting = max(1, min(BLOCK_BYTES // max(1, bytes_per_head), parts * batch * kv_heads // workers.cores))
    heads, examples = min(fitting, kv_heads), max(1, fitting // kv_heads)
    return [
        (slice(b, b + examples), slice(h, h + heads))
        for b in range(0, batch, examples)
        for h in range(0, kv_heads, heads)
    ]


def hide(scores, mask):
    """In place: -inf for the keys that a query may not look at. The mask covers the last keys of the block."""
    if mask is not None:
        scores[..., -mask.shape[0] :, :] += mask


def hide_padding(scores, starts, keys, queries):
    """In place: -inf for what stands before each row's text, except that padding looks at itself.

    scores: (b, h, H/K, s, t). starts: (b,). keys, queries: the positions of s and of t, as slices.
    """
    key = np.arange(keys.start, keys.stop)[:, None]  # (s, 1)
    padding = (key < starts[:, None, None]) & (key != np.arange(queries.start, queries.stop))  # (b, s, t)
    np.copyto(scores, -np.inf, where=padding[:, None, None])


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


def attention_forward(q, k, v, *, scale=None, window=None, softcap=None, starts=None):
    """Scores are kept as (keys, queries): sums and maxima over keys then run along memory, many queries at a time."""
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    batch, keys, kv_heads = k.shape[:3]
    out = np.empty((*q.shape[:3], v.shape[3]), q.dtype)
    q5, k5, v5, out5 = (by_head(x, kv_heads) for x in (q, k, v, out))  # (B, K, H/K, T, D), (B, K, 1, S, D), …
    log_sums = np.empty((*q5.shape[:3], 1, q5.shape[3]), q.dtype)  # of each query's exp(scores): for the backward
    past = keys - q.shape[1]
    plan = list(query_blocks(q.shape[1], past, window, q.dtype))
    bytes_per_head = q5.shape[2] * min(q.shape[1], QUERY_BLOCK) * keys * q.itemsize
    work = [(*piece, *block) for piece in pieces(batch, kv_heads, bytes_per_head, len(plan)) for block in plan]
    work = work[::2] + work[1::2]  # late blocks have more keys: so both halves have as many of them

    def stretch(first, last):
        for b, h, rows, columns, mask in work[first:last]:
            scores = k5[b, h, :, columns] @ transposed(q5[b, h, :, rows] * scale)  # (b, h, H/K, s, t)
            cap_softly(scores, softcap)
            ordinary = is_ordinary(scores)
            hide(scores, mask)
            if starts is not None:
                hide_padding(scores, starts[b], columns, slice(past + rows.start, past + rows.stop))
            shift = exponentials(scores, ordinary)
            total = np.ones((1, scores.shape[-2]), scores.dtype) @ scores  # (b, h, H/K, 1, t): the sum over keys
            np.divide(transposed(scores) @ v5[b, h, :, columns], transposed(total), out=out5[b, h, :, rows])
            np.add(np.log(total, out=total), shift, out=log_sums[b, h, :, :, rows])

    share_out(stretch, len(work), parallel=worth_threads(q, keys), one_blas_thread_each=True)
    return out, (out, log_sums)


def attention_value(q, k, v, *, scale=None, window=None, softcap=None, starts=None):
    """Without a gradient to come; a single query, as in writing token by token, is spared what blocks cost."""
    if q.shape[1] > 1:
        return attention_forward(q, k, v, scale=scale, window=window, softcap=softcap, starts=starts)[0]
    batch, keys, kv_heads, width = k.shape
    if window is not None and keys > window:
        first = keys - window  # of the keys that the query looks at
        starts = None if starts is None else starts - first
        k, v = k[:, first:], v[:, first:]
    scale = 1.0 / math.sqrt(width) if scale is None else scale
    k5, v5 = k.swapaxes(1, 2)[:, :, None], v.swapaxes(1, 2)[:, :, None]  # (B, K, 1, s, D)
    scores = np.matvec(k5, (q * scale).reshape(batch, kv_heads, -1, width))  # (B, K, H/K, s)
    cap_softly(scores, softcap)
    if starts is not None:
        np.copyto(scores, -np.inf, where=np.arange(scores.shape[-1]) < starts[:, None, None, None])
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    y = np.vecmat(scores, v5)  # (B, K, H/K, D)
    y /= scores.sum(axis=-1, keepdims=True)
    return y.reshape(batch, 1, q.shape[2], v.shape[3])


def attention_backward(g, saved, q, k, v, *, scale=None, window=None, softcap=None, starts=None):
    out, log_sums = saved
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    batch, keys, kv_heads = k.shape[:3]
    dq, dk, dv = np.empty(q.shape, q.dtype), np.zeros(k.shape, k.dtype), np.zeros(v.shape, v.dtype)
    q5, k5, v5, out5, g5, dq5, dk5, dv5 = (by_head(x, kv_heads) for x in (q, k, v, out, g, dq, dk, dv))
    past = keys - q.shape[1]
    plan = list(query_blocks(q.shape[1], past, window, q.dtype))
    work = pieces(batch, kv_heads, bytes_per_head=2 * q5.shape[2] * min(q.shape[1], QUERY_BLOCK) * keys * q.itemsize)

    def stretch(first, last):
        for b, h in work[first:last]:
            scaled = q5[b, h] * scale  # (b, h, H/K, T, D)
            for rows, columns, mask in plan:
                here, there = (b, h, slice(None), rows), (b, h, slice(None), columns)
                weights = k5[there] @ transposed(scaled[:, :, :, rows])  # (b, h, H/K, s, t)
                cap_softly(weights, softcap)
                slope = None if softcap is None else 1.0 - np.square(weights * (1.0 / softcap))  # of the cap
                hide(weights, mask)
                if starts is not None:
                    hide_padding(weights, starts[b], columns, slice(past + rows.start, past + rows.stop))
                weights -= log_sums[b, h, :, :, rows]
                np.exp(weights, out=weights)  # the attention weights again
                dv5[there] += over_group(weights @ g5[here])
                d_scores = v5[there] @ transposed(g5[here])  # (b, h, H/K, s, t)
                d_scores -= np.vecdot(g5[here], out5[here])[..., None, :]
                d_scores *= weights
                if slope is not None:
                    d_scores *= slope
                dk5[there] += over_group(d_scores @ scaled[:, :, :, rows])
                np.matmul(transposed(d_scores), k5[there], out=dq5[here])
            dq5[b, h] *= scale

    share_out(stretch, len(work), parallel=worth_threads(q, keys), one_blas_thread_each=True)
    return dq, dk, dv


def over_group(terms):
    """The sum over the query heads that share a key-value head, (b, h, 1, s, D)."""
    return terms if terms.shape[2] == 1 else terms.sum(axis=2, keepdims=True)


def worth_threads(q, keys):
    """Whether there are enough scores to share among threads: each costs much more than its four bytes' reading."""
    return q.shape[0] * q.shape[1] * q.shape[2] * keys * q.itemsize >= SMALL_BYTES // 8


attention = FastPair(attention_forward, attention_backward, attention_value)
