"""Softmax and its logarithm; cross-entropy, alone and together with the projection to logits before it."""

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.cpu.rows import as_rows
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import over_rows


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


softmax = FastPair(softmax_forward, softmax_backward, accepts=shapes.rows)


def finite_max(rows):
    """The largest number of each row, (n, 1); 0 where that is infinite, since ∞ - ∞ would spoil the others."""
    largest = rows.max(axis=-1, keepdims=True)
    largest[np.isinf(largest)] = 0.0
    return largest


def log_sums_of_exponentials(rows):
    """log Σ e^x of each row, (n, 1); ∞ and -∞ where they are right."""
    with np.errstate(over="ignore", divide="ignore"):
        total = np.exp(rows).sum(axis=-1, keepdims=True, dtype=np.result_type(rows, np.float32))  # float16: to 65,504
        return np.log(total, out=total)


def log_softmax_forward(x):
    y = np.array(x, order="C")
    rows = y.reshape(-1, y.shape[-1])

    def block(a, b):
        yb = rows[a:b]
        yb -= finite_max(yb)
        yb -= log_sums_of_exponentials(yb)

    over_rows(block, len(rows), 2 * rows.strides[0])
    return y, y


def log_softmax_backward(g, y, x):
    rows, g_rows = as_rows(y), as_rows(g)
    dx = np.empty_like(rows)

    def block(a, b):
        db = dx[a:b]
        np.exp(rows[a:b], out=db)
        db *= -g_rows[a:b].sum(axis=-1, keepdims=True)
        db += g_rows[a:b]

    over_rows(block, len(rows), 3 * rows.strides[0])
    return (dx.reshape(x.shape),)


log_softmax = FastPair(log_softmax_forward, log_softmax_backward, accepts=shapes.rows)


def cross_entropy_forward(logits, targets):
    rows, wanted = as_rows(logits), targets.reshape(-1)
    losses = np.empty(len(rows), rows.dtype)
    log_sums = np.empty((len(rows), 1), rows.dtype)

    def block(a, b):
        largest = finite_max(rows[a:b])
        np.add(log_sums_of_exponentials(rows[a:b] - largest), largest, out=log_sums[a:b])
        is_target, here = wanted[a:b] >= 0, np.maximum(wanted[a:b], 0)
        with np.errstate(invalid="ignore"):  # ∞ - ∞
            losses[a:b] = np.where(is_target, log_sums[a:b, 0] - rows[np.arange(a, b), here], 0)

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
    log_probabilities[np.arange(len(targets)), np.maximum(targets, 0)] -= 1.0
    log_probabilities *= np.where(targets >= 0, g, 0)[:, None]


token_losses = FastPair(cross_entropy_forward, cross_entropy_backward, accepts=shapes.token_losses)


LOGITS_BYTES = 32_000_000  # when only the loss is wanted, logits are made for this much at a time


def linear_cross_entropy_forward(x, weight, targets):
    """The logits are made once and turned, in place, into their own gradient: softmax - one_hot."""
    rows, wanted = as_rows(x), targets.reshape(-1)
    logits = rows @ weight.T  # (N, V)
    losses = np.empty(len(rows), rows.dtype)

    def block(a, b):
        losses[a:b] = losses_and_gradients(logits[a:b], wanted[a:b])

    over_rows(block, len(rows), logits.strides[0])
    return losses.sum(), logits


def linear_cross_entropy_value(x, weight, targets):
    rows, wanted = as_rows(x), targets.reshape(-1)
    losses = np.empty(len(rows), rows.dtype)
    step = max(1, LOGITS_BYTES // (weight.shape[0] * rows.itemsize))
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        losses[here] = losses_and_gradients(rows[here] @ weight.T, wanted[here])
    return losses.sum()


def losses_and_gradients(logits, targets):
    """-log p(target) of each row, 0 where the target is negative; the logits become softmax - one_hot(target)."""
    is_target = targets >= 0
    chosen_places = np.arange(len(targets)), np.where(is_target, targets, 0)
    logits -= finite_max(logits)
    chosen = logits[chosen_places]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # infinite logits
        np.exp(logits, out=logits)
        total = logits @ np.ones(logits.shape[-1], logits.dtype)
        logits *= (is_target / np.where(total == 0.0, 1.0, total)).astype(logits.dtype)[:, None]
        logits[chosen_places] -= is_target
        return np.where(is_target, np.log(total) - chosen, 0.0).astype(logits.dtype)


def linear_cross_entropy_backward(g, d_logits, x, weight, targets, *, wanted=(True, True, False)):
    dx = None
    if wanted[0]:
        dx = d_logits @ weight
        dx *= g
        dx = dx.reshape(x.shape)
    return dx, d_logits.T @ (as_rows(x) * g) if wanted[1] else None, None


linear_cross_entropy = FastPair(
    linear_cross_entropy_forward,
    linear_cross_entropy_backward,
    linear_cross_entropy_value,
    takes_wanted=True,
    accepts=shapes.linear_cross_entropy,
)
