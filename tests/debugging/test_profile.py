"""Where the time goes: every moment belongs to one op, and what an op costs is what its formula asks for."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_llm as tg
from tinygrad_llm.debugging.costs import NOTHING, Cost, visible_pairs
from tinygrad_llm.debugging.profile import Profile
from tinygrad_llm.kernels.peaks import Peaks
from tinygrad_llm.nn import functional as F

PEAKS = Peaks(cores=1, operations=100.0, read=20.0, copy=10.0)


def ones(*shape):
    return tg.Tensor(np.ones(shape, np.float32), requires_grad=True)


def only(profile, name):
    """The costs of an op that was called once in each direction: (forward, backward)."""
    return tuple(next(iter(part[name].costs)) for part in (profile.forward, profile.backward))


def test_the_time_up_to_an_op_is_its_own_and_that_of_the_profile_is_nobodys():
    ticks = iter([100, 107, 200, 211, 300, 313, 400, 417, 500, 519, 600])
    x = ones(3)
    with Profile(clock=lambda: next(ticks)) as profile:
        y = (x * 2.0).sum()
        profile.mark("a break")
        y.backward()
    assert profile.forward["multiply"].seconds == 7
    assert profile.forward["sum"].seconds == 11
    assert profile.outside["a break"].seconds == 13
    assert profile.backward["sum"].seconds == 17
    assert profile.backward["multiply"].seconds == 19
    assert profile.names == ["sum", "multiply", "a break"]
    assert profile.total().seconds == 7 + 11 + 13 + 17 + 19
    assert profile.total("sum").calls == 2


def test_the_parts_of_a_training_step_sum_to_the_whole():
    """By a clock that goes on by 1 whenever it is read: the profile reads it once per part, and once after it."""
    model = tg.Transformer(tg.TransformerConfig.gpt2(vocab_size=50, context=16, layers=2, heads=2, width=16))
    ids = np.random.default_rng(0).integers(0, 50, (2, 16))
    ticks = itertools.count()
    with Profile(clock=lambda: float(next(ticks))) as profile:
        model.loss(ids, ids).backward()
    whole = next(ticks) - 1
    assert 2 * profile.total().seconds == whole  # every second interval is the work of the profile itself
    assert sum(profile.total(name).seconds for name in profile.names) == profile.total().seconds
    assert profile.total().seconds == profile.total().calls


@given(st.integers(1, 12), st.integers(0, 12), st.none() | st.integers(1, 20))
def test_visible_pairs_are_those_of_the_mask(queries, past, window):
    mask = F.causal_mask(queries, queries + past, window)
    assert visible_pairs(queries, queries + past, window) == mask.sum()


def test_products_count_one_multiplication_and_one_addition_per_term():
    x, weight, bias = ones(2, 3, 5), ones(7, 5), ones(7)
    with Profile() as profile:
        F.linear(x, weight, bias).sum().backward()
    forward, backward = only(profile, "linear")
    assert forward == Cost(2 * 6 * 5 * 7, 4 * (30 + 35 + 7 + 42))
    assert backward == Cost(2 * (2 * 6 * 5 * 7), 4 * (42 + (30 + 35 + 7) + (30 + 35 + 7)))
    with Profile() as profile:
        (x @ ones(5, 4)).sum().backward()
    assert [cost.operations for cost in only(profile, "matmul")] == [2 * 6 * 5 * 4, 2 * (2 * 6 * 5 * 4)]
    with Profile() as profile:
        F.linear(x.detach(), weight).sum().backward()
    assert only(profile, "linear")[1].operations == 2 * 6 * 5 * 7  # nobody wants the gradient of x
    q, k = ones(2, 6, 4, 8), ones(2, 6, 2, 8)
    with Profile() as profile:
        F.attention(q, k, k, window=3).sum().backward()
    pairs = 2 * 4 * (1 + 2 + 3 + 3 + 3 + 3)  # (example, head) times pairs of positions
    assert [cost.operations for cost in only(profile, "causal_attention")] == [2 * 2 * 8 * pairs, 4 * 2 * 8 * pairs]


def test_bytes_are_read_once_and_written_once_and_views_move_none():
    x, y = ones(4, 10), ones(4, 10)
    with Profile() as profile:
        (x * y).reshape(40).sum().backward()
    assert only(profile, "multiply") == (Cost(0, 3 * 160), Cost(0, 160 + 2 * 160 + 2 * 160))
    assert only(profile, "reshape") == (NOTHING, NOTHING)
    table, ids = ones(1000, 10), np.array([3, 5])
    with Profile() as profile:
        (F.embedding(table, ids) + table[ids]).sum().backward()
    # Two rows are read and written; the gradient of the table is written whole.
    for name in ("embedding", "getitem"):
        assert only(profile, name) == (Cost(0, ids.nbytes + 2 * 80), Cost(0, 80 + 40_000))


def test_the_least_time_is_that_of_what_takes_longer_call_by_call():
    with Profile(clock=lambda: 0.0) as profile:
        profile.mark("work", Cost(1000, 20))  # 10 s of computing, 1 s of memory at the better of the two rates
        profile.mark("work", Cost(100, 200))  # 1 s and 10 s
    assert profile.total("work").least_seconds(PEAKS) == 20.0
    assert profile.to_dict(PEAKS, rounds=2)["together"] == {
        "calls": 1.0,
        "seconds": 0.0,
        "operations": 550.0,
        "moved_bytes": 110.0,
        "least_seconds": 10.0,
    }
