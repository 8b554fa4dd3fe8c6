"""Rotary positions."""

import numpy as np

from tinygrad_llm.kernels.cpu import shapes
from tinygrad_llm.kernels.pair import FastPair
from tinygrad_llm.kernels.threads import SMALL_BYTES, parallel_for


def apply_rotary_forward(x, cos, sin):
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

    parallel_for(stretch, len(x), parallel=x.nbytes >= SMALL_BYTES)
    return y, None


def apply_rotary_value(x, cos, sin):
    """Without a gradient to come. Few vectors, as in writing token by token, need no blocks."""
    if x.nbytes >= SMALL_BYTES:
        return apply_rotary_forward(x, cos, sin)[0]
    half = x.shape[-1] // 2
    cos, sin = cos[..., None, :], sin[..., None, :]
    exchanged = np.concatenate([x[..., half:], x[..., :half]], axis=-1)
    y = x * np.concatenate([cos, cos], axis=-1)
    y += exchanged * np.concatenate([-sin, sin], axis=-1)
    return y


def halves_exchanged(x):
    """[b, a] for x = [a, b] along the last axis."""
    return x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)[..., ::-1, :].reshape(x.shape)


def apply_rotary_backward(g, saved, x, cos, sin):
    """A rotation is undone by the opposite rotation."""
    return apply_rotary_forward(g, cos, -sin)[0], None, None


apply_rotary = FastPair(apply_rotary_forward, apply_rotary_backward, apply_rotary_value, accepts=shapes.rotary)
