"""Batches: every target once per epoch, resumed equals uninterrupted, validation is fixed and counted in
bytes."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.batches import Batches, bits_per_byte, check_token_ids, validation_windows


@st.composite
def streams(draw):
    """Numbers of tokens, batch, context and seed that make at least one window."""
    context = draw(st.integers(1, 9))
    tokens = draw(st.integers(context + 1, 120))
    return np.arange(tokens), draw(st.integers(1, 7)), context, draw(st.integers(0, 2**40))


def windows_of_epoch(tokens, context, seed, epoch):
    """One window at a time: all of the asked epoch, (inputs, targets) each (windows, T)."""
    batches = Batches(tokens, 1, context, seed)
    batches.restore({**batches.state(), "epoch": epoch})
    inputs, targets = [], []
    while batches.state()["epoch"] == epoch and batches.epochs < epoch + 1:
        x, y = batches.next()
        inputs.append(x[0])
        targets.append(y[0])
    return np.array(inputs), np.array(targets)


@given(streams(), st.integers(0, 3))
def test_an_epoch_holds_a_contiguous_cut_of_targets_exactly_once(stream, epoch):
    tokens, _, context, seed = stream
    _, targets = windows_of_epoch(tokens, context, seed, epoch)
    seen = np.sort(targets.ravel())  # ids are positions here
    assert np.array_equal(seen, np.arange(seen[0], seen[0] + seen.size))
    before, after = seen[0] - 1, len(tokens) - 1 - seen[-1]
    assert 0 <= before < context
    assert 0 <= after < context


@given(streams())
def test_a_begin_token_takes_the_place_of_the_first_input_only(stream):
    tokens, batch, context, seed = stream
    plain, begun = Batches(tokens, batch, context, seed), Batches(tokens, batch, context, seed, begin_token=777)
    pairs = [(plain.next(), begun.next()) for _ in range(5)]
    windows = [
        validation_windows(tokens, context, 3, np.ones(len(tokens), int), begin_token=token) for token in (None, 777)
    ]
    pairs.append(tuple((part.inputs, part.targets) for part in windows))
    for (inputs, targets), (begun_inputs, begun_targets) in pairs:
        assert (begun_inputs[:, 0] == 777).all()
        assert np.array_equal(begun_inputs[:, 1:], inputs[:, 1:]) and np.array_equal(begun_targets, targets)
    assert tokens.max() < 777  # the text itself is as it was


@given(streams())
def test_targets_follow_inputs_and_stay_inside_the_text(stream):
    tokens, batch, context, seed = stream
    batches = Batches(tokens, batch, context, seed)
    for _ in range(5):
        inputs, targets = batches.next()
        assert inputs.shape == targets.shape == (batch, context)
        assert inputs.dtype == targets.dtype == np.int32
        assert inputs.flags.c_contiguous and targets.flags.c_contiguous
        assert np.array_equal(targets, inputs + 1)
        assert np.array_equal(inputs - inputs[:, :1], np.broadcast_to(np.arange(context), inputs.shape))
        assert inputs.min() >= 0 and targets.max() < len(tokens)


@given(streams(), st.integers(0, 60))
def test_resumed_equals_uninterrupted_at_any_position(stream, steps):
    tokens, batch, context, seed = stream
    uninterrupted = Batches(tokens, batch, context, seed)
    for _ in range(steps):
        uninterrupted.next()
    saved = json.loads(json.dumps(uninterrupted.state()))
    resumed = Batches(tokens, batch, context, seed)
    resumed.restore(saved)
    assert resumed.state() == uninterrupted.state()
    for _ in range(4):
        for a, b in zip(resumed.next(), uninterrupted.next(), strict=True):
            assert np.array_equal(a, b)


@given(streams())
def test_the_batch_size_changes_neither_windows_nor_order(stream):
    tokens, batch, context, seed = stream
    one, many = Batches(tokens, 1, context, seed), Batches(tokens, batch, context, seed)
    singles = np.concatenate([one.next()[0] for _ in range(3 * batch)])
    assert np.array_equal(singles, np.concatenate([many.next()[0] for _ in range(3)]))


def test_epochs_differ_in_offset_and_order_and_cover_the_whole_text_together():
    tokens = np.arange(1000)
    starts, orders, seen = set(), set(), set()
    for epoch in range(30):
        inputs, targets = windows_of_epoch(tokens, 16, 7, epoch)
        starts.add(int(inputs.min()))
        orders.add(tuple(inputs[:, 0]))
        seen.update(targets.ravel().tolist())
    assert len(starts) > 8
    assert len(orders) == 30
    assert seen == set(range(1, 1000))


def test_the_seed_decides_and_the_order_is_fixed_for_all_time():
    tokens = np.arange(100)
    first, other = (Batches(tokens, 4, 8, seed).next()[0][:, 0].tolist() for seed in (0, 1))
    assert first == [87, 23, 15, 7]
    assert first != other


def test_epochs_counts_the_readings():
    batches = Batches(np.arange(9), 1, 4, 0)
    batches.restore({**batches.state(), "epoch": 3})
    assert batches.epochs == 3
    batches.next()
    assert 3 < batches.epochs <= 4


def test_a_memory_mapped_stream_of_small_integers_works(tmp_path):
    np.arange(50, dtype=np.uint16).tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", dtype=np.uint16, mode="r")
    for a, b in zip(Batches(mapped, 3, 5, 0).next(), Batches(np.arange(50), 3, 5, 0).next(), strict=True):
        assert np.array_equal(a, b) and a.dtype == np.int32


def test_a_text_of_one_window_gives_that_window():
    inputs, targets = Batches(np.array([5, 6, 7]), 2, 2, 3).next()
    assert inputs.tolist() == [[5, 6], [5, 6]]
    assert targets.tolist() == [[6, 7], [6, 7]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 2}, "seed 2 .* have 1"),
        ({"context": 4}, "context 4 .* have 5"),
        ({"tokens": 99}, "tokens 99 .* have 50"),
        ({"position": 11}, "no position 11"),
        ({"position": -1}, "no position -1"),
        ({"epoch": -1}, "epoch -1"),
        ({"epoch": 1.5}, "damaged"),
        ({"epoch": True}, "damaged"),
        ({"extra": 1}, "damaged"),
    ],
)
def test_a_state_of_another_run_is_refused_and_changes_nothing(changed, message):
    batches = Batches(np.arange(50), 2, 5, 1)
    batches.next()
    before = batches.state()
    with pytest.raises(InputError, match=message):
        batches.restore({**before, **changed})
    assert batches.state() == before


@pytest.mark.parametrize("state", [None, {}, {"epoch": 0}, [0, 0]])
def test_a_damaged_state_is_refused(state):
    with pytest.raises(InputError, match="damaged"):
        Batches(np.arange(50), 2, 5, 1).restore(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(50), 1, 50, 0), "has 50 tokens, and a context of 50 needs at least 51.*at most 49"),
        ((np.arange(1), 1, 1, 0), "has 1 tokens.*give more text"),
        ((np.arange(0), 1, 1, 0), "has 0 tokens.*give more text"),
        ((np.arange(50), 0, 5, 0), "batch is 0"),
        ((np.arange(50), 1, 0, 0), "context is 0"),
        ((np.arange(50), 1, 5, -1), "seed is -1"),
        ((np.arange(50.0), 1, 5, 0), "float64"),
        ((np.zeros((5, 5), int), 1, 2, 0), r"\(5, 5\)"),
        (([1, 2, 3], 1, 2, 0), "list"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Batches(*arguments)


@given(st.integers(2, 200), st.integers(1, 20))
def test_validation_of_the_whole_text_covers_every_target_and_few_twice(tokens, context):
    assume(tokens > context)
    whole = validation_windows(np.arange(tokens), context, None, np.ones(tokens, int))
    counts = np.bincount(whole.targets.ravel(), minlength=tokens)
    assert counts[0] == 0
    assert (counts[1:] >= 1).all()
    assert counts.sum() - (tokens - 1) < context
    assert whole.target_bytes == whole.targets.size
    assert np.array_equal(whole.targets, whole.inputs + 1)


@given(st.integers(2, 200), st.integers(1, 20), st.integers(1, 300))
def test_fewer_validation_windows_do_not_overlap_and_span_the_text(tokens, context, count):
    assume(tokens > context)
    windows = validation_windows(np.arange(tokens), context, count, np.ones(tokens, int))
    starts = windows.inputs[:, 0]
    assert len(starts) == min(count, math.ceil((tokens - 1) / context))
    assert starts[0] == 0
    if len(starts) > 1:
        assert windows.targets[-1, -1] == tokens - 1
        assert np.ptp(np.diff(starts)) <= 1
    if count <= (tokens - 1) // context:
        assert (np.diff(starts) >= context).all()


def test_validation_bytes_are_those_of_the_targets_only():
    # ids: a=0 (1 byte), é=1 (2 bytes), a special token=2 (no text)
    tokens = np.array([1, 0, 0, 1, 2, 0])
    windows = validation_windows(tokens, 5, None, np.array([1, 2, 0], dtype=np.uint8))
    assert windows.targets.tolist() == [[0, 0, 1, 2, 0]]
    assert windows.target_bytes == 5


def test_validation_bytes_do_not_overflow_a_small_type():
    windows = validation_windows(np.zeros(1001, dtype=np.uint16), 100, None, np.array([255], dtype=np.uint8))
    assert windows.target_bytes == 255_000


@pytest.mark.parametrize(
    ("tokens", "context", "count", "message"),
    [
        (10, 10, None, "needs at least 11"),
        (10, 5, 0, "count is 0"),
        (12, 5, None, "token id 10 at index .*0 to 9"),
    ],
)
def test_wrong_validation_arguments_are_named(tokens, context, count, message):
    with pytest.raises(InputError, match=message):
        validation_windows(np.arange(tokens), context, count, np.ones(10, int))


def test_a_uniform_guess_over_bytes_costs_eight_bits():
    targets = 1000
    assert bits_per_byte(targets * math.log(256), targets) == pytest.approx(8, rel=1e-12)
    assert bits_per_byte(targets * math.log(256), 2 * targets) == pytest.approx(4, rel=1e-12)
    with pytest.raises(InputError, match="total_bytes is 0"):
        bits_per_byte(1.0, 0)


def test_token_ids_out_of_range_are_named_with_their_place():
    check_token_ids(np.array([[0, 9], [3, 4]]), 10)
    check_token_ids(np.array([], dtype=np.int32), 10)
    with pytest.raises(InputError, match=r"token id 10 at index \(1, 0\) is not in the vocabulary \(0 to 9\)"):
        check_token_ids(np.array([[0, 9], [10, -4]], dtype=np.int32), 10)
    with pytest.raises(InputError, match=r"token id -1 at index \(0,\)"):
        check_token_ids(np.array([-1]), 10)
    with pytest.raises(InputError, match="float64"):
        check_token_ids(np.array([1.0]), 10)
