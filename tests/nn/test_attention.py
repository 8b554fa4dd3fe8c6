"""Attention with masks of every kind, against the sum written out, and the module by hand."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.attention_variants import capped_attention, padding_mask, soft_cap

RNG = np.random.default_rng(0)
B, T, S, H, K, D, DV = 2, 4, 6, 4, 2, 3, 5


def draw(*shape):
    return RNG.standard_normal(shape)


Q, KEYS, V = draw(B, T, H, D), draw(B, S, K, D), draw(B, S, K, DV)


def by_hand(q, k, v, visible=None, added=0.0, scale=None):
    """Attention position by position: Σ e^score · value / Σ e^score over the visible keys."""
    out, weights = np.zeros((B, T, H, v.shape[-1])), np.zeros((B, H, T, S))
    visible = np.broadcast_to(True if visible is None else visible, (B, H, T, S))
    added = np.broadcast_to(added, (B, H, T, S))
    for b, h, t in np.ndindex(B, H, T):
        scores = np.array([q[b, t, h] @ k[b, s, h // (H // K)] for s in range(S)])
        scores = scores * (1.0 / math.sqrt(D) if scale is None else scale) + added[b, h, t]
        e = np.where(visible[b, h, t], np.exp(scores), 0.0)
        weights[b, h, t] = e / e.sum()
        out[b, t, h] = weights[b, h, t] @ v[b, :, h // (H // K)]
    return out, weights


CAUSAL = np.arange(S)[None, :] <= np.arange(S - T, S)[:, None]
BOOLEAN = RNG.random((B, 1, T, S)) < 0.6
BOOLEAN[..., 0] = True
ADDED = draw(H, T, S)
CASES = {
    "causal": (dict(), dict(visible=CAUSAL)),
    "window": (dict(window=2), dict(visible=CAUSAL & (np.arange(S)[None, :] > np.arange(S - T, S)[:, None] - 2))),
    "scale": (dict(scale=0.3), dict(visible=CAUSAL, scale=0.3)),
    "everything": (dict(causal=False), dict()),
    "booleans": (dict(mask=BOOLEAN, causal=False), dict(visible=BOOLEAN)),
    "booleans and causal": (dict(mask=BOOLEAN), dict(visible=BOOLEAN & CAUSAL)),
    "numbers": (dict(mask=ADDED, causal=False), dict(added=ADDED)),
    "numbers and causal": (dict(mask=ADDED), dict(added=ADDED, visible=CAUSAL)),
    "-inf": (dict(mask=np.where(BOOLEAN, 0.0, -np.inf), causal=False), dict(visible=BOOLEAN)),
}


@pytest.mark.parametrize("plainly", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_every_mask_is_the_sum_written_out(name, plainly):
    options, wanted = CASES[name]
    expected, weights = by_hand(Q, KEYS, V, **wanted)
    if plainly:
        with tg.plain():
            y = F.attention(tg.Tensor(Q), tg.Tensor(KEYS), tg.Tensor(V), **options)
    else:
        y = F.attention(tg.Tensor(Q), tg.Tensor(KEYS), tg.Tensor(V), **options)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-13)
    again, found = F.attention(tg.Tensor(Q), tg.Tensor(KEYS), tg.Tensor(V), return_weights=True, **options)
    np.testing.assert_allclose(found.numpy(), weights, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(again.numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_every_mask(name):
    options, _ = CASES[name]
    mask = options.get("mask")
    arrays = [Q, KEYS, V]
    if mask is not None and mask.dtype == float and np.isfinite(mask).all():
        options = {key: value for key, value in options.items() if key != "mask"}
        tg.gradcheck(lambda q, k, v, m: F.attention(q, k, v, m, **options), [*arrays, mask])
    else:
        tg.gradcheck(lambda q, k, v: F.attention(q, k, v, **options), arrays)


def test_fast_and_plain_agree_with_values_of_another_width():
    tensors = [tg.Tensor(x, requires_grad=True) for x in (Q, KEYS, V)]
    y = F.attention(*tensors)
    (y * y).sum().backward()
    fast = [y.numpy(), *(x.grad.numpy() for x in tensors)]
    for x in tensors:
        x.zero_grad()
    with tg.plain():
        y = F.attention(*tensors)
        (y * y).sum().backward()
    for a, b in zip(fast, [y.numpy(), *(x.grad.numpy() for x in tensors)], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    with tg.no_grad():  # one query, as in generation
        one = F.attention(tg.Tensor(Q[:, -1:]), tg.Tensor(KEYS), tg.Tensor(V))
    np.testing.assert_allclose(one.numpy(), fast[0][:, -1:], rtol=1e-10, atol=1e-12)


def test_dropout_falls_on_the_weights():
    q, k, v = (tg.Tensor(draw(1, 50, 1, 4)) for _ in range(3))
    y, weights = F.attention(q, k, v, dropout=0.5, rng=np.random.default_rng(1), return_weights=True)
    _, kept = F.attention(q, k, v, return_weights=True)
    dropped = weights.numpy() == 0.0
    assert 0.4 < dropped[kept.numpy() > 0].mean() < 0.6
    np.testing.assert_allclose(weights.numpy()[~dropped], 2.0 * kept.numpy()[~dropped])
    np.testing.assert_allclose(y.numpy()[0, :, 0], weights.numpy()[0, 0] @ v.numpy()[0, :, 0])
    np.testing.assert_array_equal(F.attention(q, k, v, dropout=0.5).numpy(), F.attention(q, k, v).numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(q=draw(B, T, D)), "must be \\(batch, positions, heads, channels\\)"),
        (dict(q=draw(B, T, 3, D)), "K dividing H"),
        (dict(k=draw(B, S, K, 2)), "do not fit"),
        (dict(k=draw(B, 5, K, D)), "do not fit"),
        (dict(v=draw(B, S, 1, D)), "do not fit"),
        (dict(q=draw(B, S + 1, H, D)), "7 queries"),
        (dict(window=0), "window must be at least 1"),
        (dict(window=2, causal=False), "window must be at least 1, with causal=True"),
        (dict(mask=np.zeros((T, S), bool)), "hides every key"),
        (dict(mask=np.full((T, S), -np.inf), causal=False), "hides every key"),
    ],
)
@pytest.mark.parametrize("plainly", [False, True])
def test_arguments_that_do_not_fit_are_refused_alike(change, message, plainly):
    arguments = dict(q=Q, k=KEYS, v=V) | change
    arguments |= {name: tg.Tensor(arguments[name]) for name in "qkv"}
    with pytest.raises(tg.InputError, match=message):
        if plainly:
            with tg.plain():
                F.attention(**arguments)
        else:
            F.attention(**arguments)


def test_a_soft_cap_and_padding_by_hand():
    q, k, v = draw(B, S, H, D) * 3, draw(B, S, H, D), draw(B, S, H, D)
    padding = np.array([0, 2])
    y = capped_attention(tg.Tensor(q), tg.Tensor(k), tg.Tensor(v), softcap=2.0, padding=padding).numpy()
    for b, h, t in np.ndindex(B, H, S):
        scores = 2.0 * np.tanh(np.array([q[b, t, h] @ k[b, s, h] for s in range(S)]) / math.sqrt(D) / 2.0)
        visible = [s <= t and (s >= padding[b] or s == t) for s in range(S)]
        e = np.where(visible, np.exp(scores), 0.0)
        np.testing.assert_allclose(y[b, t, h], e / e.sum() @ v[b, :, h], rtol=1e-10)
    assert soft_cap(3.0, None) == 3.0
    assert padding_mask(1, 3, padding).tolist() == [[[[True, True, True]]], [[[False, False, True]]]]


def test_the_module_by_hand():
    attention = tg.nn.Attention(width=12, heads=4, kv_heads=2, seed=0)
    assert attention.key.weight.shape == (6, 12)
    x = tg.Tensor(draw(2, 5, 12).astype(np.float32))
    y = attention(x).numpy()
    shuffled = attention(x[:, [1, 0, 2, 3, 4]]).numpy()
    np.testing.assert_allclose(y[:, 4], shuffled[:, 4], rtol=1e-5, atol=1e-6)  # it does not know where a token stands
    rotary = tg.nn.Attention(width=12, heads=3, rotary=tg.nn.RotaryEmbedding(4), seed=0)
    apart = rotary(x[:, [1, 0, 2, 3, 4]]).numpy()[:, 4] - rotary(x).numpy()[:, 4]
    assert np.abs(apart).max() > 1e-3
    with pytest.raises(tg.InputError, match="heads must divide the width"):
        tg.nn.Attention(width=10, heads=4)
