"""The fast pairs for NumPy: the same results as the definitions in `nn.functional`, in few passes over memory.

What makes them fast, in every one: rows in blocks that stay in the cache, operations in place, both cores
(`threads`), and nothing saved for the backward that is cheap to compute again. What each computes is written in its
definition; here stands only how.
"""

import math

import numpy as np

from tinygrad_llm.kernels.pair import NOWHERE, FastPair
from tinygrad_llm.kernels.segments import add_rows_to
from tinygrad_llm.kernels.threads import BLOCK_BYTES, SMALL_BYTES, blocks, over_rows, share_out, workers

GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


def as_rows(x):
    """x as (rows, C), without copying where possible; a single number is one row of one."""
    x = np.ascontiguousarray(x)
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def column_sums(parts):
    """The sum of the partial results that the blocks left in a dictionary keyed by their first row."""
    return sum(parts[start] for start in sorted(parts))


# --- linear ---------------------------------------------------------------------------------------------------


def linear_forward(x, weight, bias=None):
    rows = as_rows(x)  # (N, I)
    # A single vector as matrix · vector: OpenBLAS's product of matrices would copy the weights first, to reuse them.
    y = weight.dot(rows[0])[None] if len(rows) == 1 else rows @ weight.T  # (N, O)
    if bias is not None:
        over_rows(lambda a, b: np.add(y[a:b], bias, out=y[a:b]), len(y), y.strides[0])
    return y.reshape(*x.shape[:-1], weight.shape[0]), None


def linear_backward(g, saved, x, weight, bias=None, *, places=(None, None, None)):
    g_rows, rows = as_rows(g), as_rows(x)  # (N, O), (N, I)
    dx = None if places[0] is NOWHERE else (g_rows @ weight).reshape(x.shape)
    d_bias = None if bias is None else column_sum(g_rows)
    return dx, product_in_place(g_rows.T, rows, places[1]), d_bias


def product_in_place(x, y, place):
    """x @ y, computed where the gradient is collected, if nothing is there yet; None if nobody asks for it."""
    if place is NOWHERE:
        return None
    fits = place is not None and place.is_empty and place.array.dtype == x.dtype == y.dtype
    return np.matmul(x, y, out=place.array) if fits else x @ y


linear = FastPair(linear_forward, linear_backward, adds_in_place=True)


def lora_linear_forward(x, weight, A, B, bias=None, *, scale):
    """What is kept for the backward pass is only what comes between A and B, (N, r)."""
    rows = as_rows(x)  # (N, I)
    y, _ = linear_forward(rows, weight, bias)  # (N, O)
    inner = rows @ A.T  # (N, r)
    inner *= scale
    add_product(inner, B.T, y)
    return y.reshape(*x.shape[:-1], weight.shape[0]), inner


def lora_linear_backward(g, inner, x, weight, A, B, bias=None, *, scale, places=(None, None, None, None)):
    g_rows, rows = as_rows(g), as_rows(x)  # (N, O), (N, I)
    g_inner = g_rows @ B  # (N, r)
    g_inner *= scale
    dx = None
    if places[0] is not NOWHERE:
        dx = g_rows @ weight
        add_product(g_inner, A, dx)
        dx = dx.reshape(x.shape)
    products = [(g_rows, rows), (g_inner, rows), (g_rows, inner)]  # of the weight, A and B
    gradients = [product_in_place(a.T, b, place) for (a, b), place in zip(products, places[1:], strict=False)]
    return dx, *gradients, None if bias is None else column_sum(g_rows)


def add_product(x, y, out):
    """out += x @ y, a block of rows at a time: the product stays in the cache."""
    step = blocks(len(out), out.strides[0])
    for start in range(0, len(out), step):
        here = slice(start, start + step)
        out[here] += x[here] @ y


lora_linear = FastPair(lora_linear_forward, lora_linear_backward, adds_in_place=True)


# --- embedding ------------------------------------------------------------------------------------------------


def embedding_forward(weight, ids):
    return weight[ids], None


def embedding_backward(g, saved, weight, ids, *, places=(None, None)):
    """One row is added per token, in their order, so the sum repeats to the last bit."""
    if places[0] is None:
        out = np.zeros(weight.shape, g.dtype)
    else:
        out = places[0].array
        if places[0].is_empty:
            out[...] = 0.0
    add_rows_to(out, g.reshape(-1, weight.shape[1]), np.asarray(ids).reshape(-1) % len(weight))
    return out, None


embedding = FastPair(embedding_forward, embedding_backward, adds_in_place=True)


# --- activations ----------------------------------------------------------------------------------------------


def gelu_forward(x):
    rows = as_rows(x)
    y = np.empty_like(rows)
    over_rows(lambda a, b: gelu_block(rows[a:b], out=y[a:b]), len(rows), 2 * rows.strides[0])
    y = y.reshape(x.shape)
    return y, y


def gelu_block(x, out):
    """out = ½ x (1 + tanh u) = x / (1 + e^(-2u)), u = √(2/π) (x + 0.044715 x³): an exponential costs half a tanh."""
    np.multiply(x, x, out=out)
    out *= -2.0 * GELU_SLOPE * GELU_CUBIC
    out -= 2.0 * GELU_SLOPE
    out *= x
    with np.errstate(over="ignore"):  # e^(-2u) may be infinite, and gelu(x) then is 0
        np.exp(out, out=out)
    out += 1.0
    np.divide(x, out, out=out)


def gelu_slope_block(x, y, out):
    """out = d gelu / dx = ½ (1 + t) + ½ x (1 - t²) · √(2/π) (1 + 3 · 0.044715 x²).

    t = tanh u is read back from y = gelu(x), because a division costs a tenth of a tanh: ½ (1 + t) = y / x =: h, and
    so ½ (1 - t²) = 2 h (1 - h). At x = 0, h is ½.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0
        h = y / x
    h[x == 0.0] = 0.5
    np.multiply(x, x, out=out)
    out *= 6.0 * GELU_SLOPE * GELU_CUBIC
    out += 2.0 * GELU_SLOPE
    out *= x
    out *= h
    out *= 1.0 - h
    out += h


def gelu_backward(g, y, x):
    rows, y_rows, g_rows = as_rows(x), as_rows(y), as_rows(g)
    dx = np.empty_like(rows)

    def block(a, b):
        gelu_slope_block(rows[a:b], y_rows[a:b], out=dx[a:b])
        dx[a:b] *= g_rows[a:b]

    over_rows(block, len(rows), 4 * rows.strides[0])
    return (dx.reshape(x.shape),)


gelu = FastPair(gelu_forward, gelu_backward)


def logistic(x, out):
    """out = 1 / (1 + e^-x)."""
    np.negative(x, out=out)
    with np.errstate(over="ignore"):  # e^-x may be infinite, and the result then is 0
        np.exp(out, out=out)
    out += 1.0
    np.reciprocal(out, out=out)


def silu_gate_forward(gate, up):
    gates, ups = as_rows(gate), as_rows(up)
    y = np.empty_like(gates)

    def block(a, b):
        logistic(gates[a:b], out=y[a:b])
        y[a:b] *= gates[a:b]
        y[a:b] *= ups[a:b]

    over_rows(block, len(gates), 3 * gates.strides[0])
    return y.reshape(gate.shape), None


def silu_gate_backward(g, saved, gate, up):
    gates, ups, g_rows = as_rows(gate), as_rows(up), as_rows(g)
    d_gate, d_up = np.empty_like(gates), np.empty_like(ups)

    def block(a, b):
        x, dx, du = gates[a:b], d_gate[a:b], d_up[a:b]
        s = np.empty_like(x)
        logistic(x, out=s)
        np.multiply(x, s, out=du)  # silu(x)
        np.subtract(1.0, s, out=dx)  # silu'(x) = s + silu(x) (1 - s)
        dx *= du
        dx += s
        dx *= ups[a:b]
        dx *= g_rows[a:b]
        du *= g_rows[a:b]

    over_rows(block, len(gates), 6 * gates.strides[0])
    return d_gate.reshape(gate.shape), d_up.reshape(up.shape)


silu_gate = FastPair(silu_gate_forward, silu_gate_backward)


def gelu_gate_forward(gate, up):
    gates, ups = as_rows(gate), as_rows(up)
    y = np.empty_like(gates)

    def block(a, b):
        gelu_block(gates[a:b], out=y[a:b])
        y[a:b] *= ups[a:b]

    over_rows(block, len(gates), 3 * gates.strides[0])
    return y.reshape(gate.shape), None


def gelu_gate_backward(g, saved, gate, up):
    gates, ups, g_rows = as_rows(gate), as_rows(up), as_rows(g)
    d_gate, d_up = np.empty_like(gates), np.empty_like(ups)

    def block(a, b):
        x, dx, du = gates[a:b], d_gate[a:b], d_up[a:b]
        gelu_block(x, out=du)
        gelu_slope_block(x, du, out=dx)
        dx *= ups[a:b]
        dx *= g_rows[a:b]
        du *= g_rows[a:b]

    over_rows(block, len(gates), 6 * gates.strides[0])
    return d_gate.reshape(gate.shape), d_up.reshape(up.shape)


gelu_gate = FastPair(gelu_gate_forward, gelu_gate_backward)


# --- softmax --------------------------------------------------------------------------------------------------


def softmax_rows(x):
    """Each row of x becomes its softmax, in place."""
    x -= x.max(axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=-1, keepdims=True)


def softmax_forward(x):
    y = np.array(x, order="C")
    rows = y.reshape(-1, y.shape[-1])
    over_rows(lambda a, b: softmax_rows(rows[a:b]), len(rows), rows.strides[0])
    return y, y


def softmax_backward(g, y, x):
    rows, g_rows = as_rows(y), as_rows(g)
    dx = np.empty_like(rows)

    def block(a, b):
        yb, db = rows[a:b], dx[a:b]
        np.multiply(g_rows[a:b], yb, out=db)
        db -= yb * db.sum(axis=-1, keepdims=True)

    over_rows(block, len(rows), 4 * rows.strides[0])
    return (dx.reshape(x.shape),)


softmax = FastPair(softmax_forward, softmax_backward)


# --- norms ----------------------------------------------------------------------------------------------------


def layer_norm_forward(x, weight, bias=None, *, eps=1e-5):
    rows = as_rows(x)
    y = np.empty_like(rows)
    mean = np.empty((len(rows), 1), rows.dtype)
    scale = np.empty_like(mean)  # 1 / √(var + eps)

    def block(a, b):
        xb, yb = rows[a:b], y[a:b]
        mean[a:b] = row_means(xb)
        np.subtract(xb, mean[a:b], out=yb)
        scale[a:b, 0] = inverse_root_mean_square(yb, eps)
        yb *= scale[a:b]
        yb *= weight
        if bias is not None:
            yb += bias

    over_rows(block, len(rows), 3 * rows.strides[0])
    return y.reshape(x.shape), (mean, scale)


def row_means(rows):
    """The mean of each row, (n, 1). As a product with a vector: several times faster than NumPy's own short sums."""
    return (rows @ np.full(rows.shape[-1], 1.0 / rows.shape[-1], rows.dtype))[:, None]


def column_sum(rows):
    """The sum over rows, (C,), as a product with a vector of ones."""
    return np.ones(len(rows), rows.dtype) @ rows


def inverse_root_mean_square(rows, eps):
    """1 / √(mean(row²) + eps) of each row."""
    return 1.0 / np.sqrt(np.vecdot(rows, rows) / rows.shape[-1] + eps)


def layer_norm_backward(g, saved, x, weight, bias=None, *, eps=1e-5):
    mean, scale = saved
    rows, g_rows = as_rows(x), as_rows(g)
    dx = np.empty_like(rows)
    d_weight, d_bias = {}, {}

    def block(a, b):
        gb, db = g_rows[a:b], dx[a:b]
        normed = rows[a:b] - mean[a:b]
        normed *= scale[a:b]
        np.multiply(gb, normed, out=db)
        d_weight[a] = column_sum(db)
        d_bias[a] = column_sum(gb)
        np.multiply(gb, weight, out=db)
        normed *= np.vecdot(db, normed)[:, None] / db.shape[-1]
        db -= row_means(db)
        db -= normed
        db *= scale[a:b]

    over_rows(block, len(rows), 4 * rows.strides[0])
    return dx.reshape(x.shape), column_sums(d_weight), None if bias is None else column_sums(d_bias)


layer_norm = FastPair(layer_norm_forward, layer_norm_backward)


def rms_norm_forward(x, weight, *, eps=1e-5):
    rows = as_rows(x)
    y = np.empty_like(rows)
    scale = np.empty((len(rows), 1), rows.dtype)

    def block(a, b):
        scale[a:b, 0] = inverse_root_mean_square(rows[a:b], eps)
        np.multiply(rows[a:b], scale[a:b], out=y[a:b])
        y[a:b] *= weight

    over_rows(block, len(rows), 2 * rows.strides[0])
    return y.reshape(x.shape), scale


def rms_norm_value(x, weight, *, eps=1e-5):
    """Without a gradient to come. Few vectors, as in writing token by token, need no blocks."""
    if x.nbytes >= SMALL_BYTES:
        return rms_norm_forward(x, weight, eps=eps)[0]
    size = np.vecdot(x, x)[..., None]  # (..., 1)
    size *= 1.0 / x.shape[-1]
    size += eps
    y = x / np.sqrt(size, out=size)
    y *= weight
    return y


def rms_norm_backward(g, scale, x, weight, *, eps=1e-5):
    rows, g_rows = as_rows(x), as_rows(g)
    dx = np.empty_like(rows)
    d_weight = {}

    def block(a, b):
        gb, db = g_rows[a:b], dx[a:b]
        normed = rows[a:b] * scale[a:b]
        np.multiply(gb, normed, out=db)
        d_weight[a] = column_sum(db)
        np.multiply(gb, weight, out=db)
        normed *= np.vecdot(db, normed)[:, None] / db.shape[-1]
        db -= normed
        db *= scale[a:b]

    over_rows(block, len(rows), 4 * rows.strides[0])
    return dx.reshape(x.shape), column_sums(d_weight)


rms_norm = FastPair(rms_norm_forward, rms_norm_backward, rms_norm_value)


# --- rotary positions -----------------------------------------------------------------------------------------


def rotate_forward(x, cos, sin):
    """x: (B, T, H, D); cos, sin: (T, D/2) or (B, T, D/2).

    With x = [a, b], the result [a cos - b sin, b cos + a sin] is x · [cos, cos] + [b, a] · [-sin, sin]: NumPy is three
    times faster on whole rows than on halves of rows.
    """
    cos, sin = np.concatenate([cos, cos], axis=-1), np.concatenate([-sin, sin], axis=-1)  # (T, D) or (B, T, D)
    y = np.empty(x.shape, np.result_type(x, cos))

    def stretch(first, last):
        here = slice(first, last)
        c, s = (angles[..., None, :] if angles.ndim == 2 else angles[here, :, None] for angles in (cos, sin))
        np.multiply(x[here], c, out=y[here])
        y[here] += halves_exchanged(x[here]) * s

    share_out(stretch, len(x), parallel=x.nbytes >= SMALL_BYTES)
    return y, None


def halves_exchanged(x):
    """[b, a] for x = [a, b] along the last axis."""
    return x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)[..., ::-1, :].reshape(x.shape)


def rotate_backward(g, saved, x, cos, sin):
    """A rotation is undone by the opposite rotation."""
    return rotate_forward(g, cos, -sin)[0], None, None


rotate = FastPair(rotate_forward, rotate_backward)


# --- attention ------------------------------------------------------------------------------------------------

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
    first = 0 if window is None else max(0, keys - window)  # of the keys that the query looks at
    k4, v4 = k[:, first:].swapaxes(1, 2), v[:, first:].swapaxes(1, 2)  # (B, K, s, D)
    scores = np.matvec(k4[:, :, None], q.reshape(batch, kv_heads, -1, width))  # (B, K, H/K, s)
    scores *= 1.0 / math.sqrt(width) if scale is None else scale
    cap_softly(scores, softcap)
    if starts is not None:
        np.copyto(scores, -np.inf, where=np.arange(first, keys) < starts[:, None, None, None])
    softmax_rows(scores)
    return np.vecmat(scores, v4[:, :, None]).reshape(batch, 1, q.shape[2], v.shape[3])


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


# --- cross-entropy --------------------------------------------------------------------------------------------


def cross_entropy_forward(logits, targets):
    rows, wanted = as_rows(logits), targets.reshape(-1)
    losses = np.empty(len(rows), rows.dtype)
    log_sums = np.empty((len(rows), 1), rows.dtype)

    def block(a, b):
        largest = rows[a:b].max(axis=-1, keepdims=True)
        total = np.exp(rows[a:b] - largest).sum(axis=-1, keepdims=True)
        np.add(np.log(total, out=total), largest, out=log_sums[a:b])
        here = wanted[a:b]
        losses[a:b] = np.where(here >= 0, log_sums[a:b, 0] - rows[np.arange(a, b), here], 0)

    over_rows(block, len(rows), 2 * rows.strides[0])
    return losses.reshape(targets.shape), log_sums


def cross_entropy_backward(g, log_sums, logits, targets):
    rows, wanted, g_rows = as_rows(logits), targets.reshape(-1), g.reshape(-1)
    d_logits = np.empty_like(rows)

    def block(a, b):
        db = d_logits[a:b]
        np.subtract(rows[a:b], log_sums[a:b], out=db)
        softmax_minus_one_hot(db, wanted[a:b], g_rows[a:b])

    over_rows(block, len(rows), 2 * rows.strides[0])
    return d_logits.reshape(logits.shape), None


def softmax_minus_one_hot(log_probabilities, targets, g):
    """In place: (probabilities - one_hot(target)) · g for each row, 0 where the target is negative."""
    np.exp(log_probabilities, out=log_probabilities)
    log_probabilities[np.arange(len(targets)), targets] -= 1.0
    log_probabilities *= np.where(targets >= 0, g, 0)[:, None]


token_losses = FastPair(cross_entropy_forward, cross_entropy_backward)


LOGITS_BYTES = 32_000_000  # when only the loss is wanted, logits are made for this much at a time


def projected_loss_forward(x, weight, targets):
    """The logits are made once and turned, in place, into their own gradient: softmax - one_hot."""
    rows, wanted = as_rows(x), targets.reshape(-1)
    logits = rows @ weight.T  # (N, V)
    losses = np.empty(len(rows), rows.dtype)

    def block(a, b):
        losses[a:b] = losses_and_gradients(logits[a:b], wanted[a:b])

    over_rows(block, len(rows), logits.strides[0])
    return losses.sum(), logits


def projected_loss_value(x, weight, targets):
    rows, wanted = as_rows(x), targets.reshape(-1)
    losses = np.empty(len(rows), rows.dtype)
    step = max(1, LOGITS_BYTES // (weight.shape[0] * rows.itemsize))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        losses[here] = losses_and_gradients(rows[here] @ weight.T, wanted[here])
    return losses.sum()


def losses_and_gradients(logits, targets):
    """-log p(target) of each row, 0 where the target is negative; the logits become softmax - one_hot(target)."""
    places, counts = (np.arange(len(targets)), targets), (targets >= 0).astype(logits.dtype)
    logits -= logits.max(axis=-1, keepdims=True)
    chosen = logits[places]
    np.exp(logits, out=logits)
    total = logits @ np.ones(logits.shape[-1], logits.dtype)
    logits *= (counts / total)[:, None]
    logits[places] -= counts
    return (np.log(total) - chosen) * counts


def projected_loss_backward(g, d_logits, x, weight, targets, *, places=(None, None, None)):
    rows = as_rows(x)
    dx = d_logits @ weight
    dx *= g
    return dx.reshape(x.shape), product_in_place(d_logits.T, rows * g, places[1]), None


projected_loss = FastPair(projected_loss_forward, projected_loss_backward, projected_loss_value, adds_in_place=True)


# --- training: one pass over the flat buffers -------------------------------------------------------------------


def sum_of_squares(x):
    """Σ x² of a flat array, in float64 across blocks."""
    step = 1 << 18
    return math.fsum(float(np.dot(x[i : i + step], x[i : i + step])) for i in range(0, x.size, step))


ADAMW_BLOCK = 200_000  # numbers that a thread works on at a time: ten short operations each, so blocks must be large


def adamw_step(parameters, gradients, first, second, *, rate, beta1, beta2, eps, decay, step, gradient_scale):
    """One AdamW step on flat arrays, in place; the formula stands in `training.optimizers`.

    With b = √(1 - β₂^step) for undoing the start of v, m̂ / (√v̂ + ε) is m b / (√v + ε b) / (1 - β₁^step): all factors
    become one.
    """
    root = math.sqrt(1.0 - beta2**step)
    size = rate * root / (1.0 - beta1**step)

    def stretch(start, end):
        scratch = np.empty(min(ADAMW_BLOCK, end - start), parameters.dtype)
        for a in range(start, end, ADAMW_BLOCK):
            b = min(a + ADAMW_BLOCK, end)
            p, m, v, g = parameters[a:b], first[a:b], second[a:b], scratch[: b - a]
            np.multiply(gradients[a:b], (1.0 - beta1) * gradient_scale, out=g)
            m *= beta1
            m += g
            g *= g
            g *= (1.0 - beta2) / (1.0 - beta1) ** 2
            v *= beta2
            v += g
            np.sqrt(v, out=g)
            g += eps * root
            np.divide(m, g, out=g)
            g *= size
            p *= 1.0 - rate * decay
            p -= g

    share_out(stretch, parameters.size, parallel=4 * parameters.nbytes >= SMALL_BYTES)
