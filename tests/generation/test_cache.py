"""The cache changes what a token costs, and nothing else."""

import doctest

import numpy as np
import pytest
from strict_array import strict, unwrap

from tinygrad_llm import Tensor, no_grad, plain
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import GrowingCache, cache

CONTEXT = 140  # the cache grows twice on the way: 64, 128, 140
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
KINDS = ["gpt2", "llama", "gemma3"]


def text(length: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 50, (batch, length))


def logits(model, ids, cache=None) -> np.ndarray:
    with no_grad():
        return model(ids, cache=cache).numpy()


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(cache)
    assert tried and not failed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cached_logits_are_those_without_a_cache_at_every_step(make_model, kind, dtype):
    model, ids = make_model(kind, CONTEXT, dtype), text(CONTEXT)
    cache = GrowingCache(model.config)
    for t in range(CONTEXT):
        cached = logits(model, ids[:, t : t + 1], cache)[:, -1]
        whole = logits(model, ids[:, : t + 1])[:, -1]
        assert cached.dtype == dtype
        assert whole.std() > 0.5  # the comparison means something
        assert np.abs(cached - whole).max() < TOLERANCE[dtype], f"step {t}"
        assert cache.length == t + 1


@pytest.mark.parametrize("chunks", [[140], [1, 139], [63, 1, 1, 75], [7] * 20, [100, 40]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_prompt_may_be_read_in_chunks(make_model, chunks, dtype):
    for kind in KINDS:
        model, ids = make_model(kind, CONTEXT, dtype), text(CONTEXT, batch=2)
        cache = GrowingCache(model.config)
        ends = np.cumsum(chunks)
        parts = [logits(model, ids[:, end - n : end], cache) for n, end in zip(chunks, ends, strict=True)]
        whole = logits(model, ids)
        assert np.abs(np.concatenate(parts, axis=1) - whole).max() < TOLERANCE[dtype]


def test_the_plain_formulas_agree_with_the_cache_too(model):
    ids = text(16)
    with plain():
        cache = GrowingCache(model.config)
        parts = [logits(model, ids[:, t : t + 1], cache) for t in range(16)]
    assert np.abs(np.concatenate(parts, axis=1) - logits(model, ids)).max() < 1e-12


def test_the_past_matters(model):
    """A cache that forgot, or left position 0 empty, would give other logits."""
    ids = text(8)
    first_changed = ids.copy()
    first_changed[0, 0] = (ids[0, 0] + 1) % 50
    cache = GrowingCache(model.config)
    logits(model, first_changed[:, :7], cache)
    assert np.abs(logits(model, ids[:, 7:], cache)[0, -1] - logits(model, ids)[0, -1]).max() > 1e-3


def test_truncated_it_goes_on_from_a_shared_beginning(model):
    ids = text(10)
    cache = GrowingCache(model.config)
    logits(model, ids, cache)
    other = ids.copy()
    other[:, 4:] = (ids[:, 4:] + 7) % 50
    cache.truncate(4)
    assert cache.length == 4
    assert np.abs(logits(model, other[:, 4:], cache) - logits(model, other)[:, 4:]).max() < 1e-12


def test_emptied_it_takes_another_batch_and_another_dtype(make_model):
    cache = GrowingCache(make_model("gpt2").config)
    for dtype, batch in [(np.float64, 1), (np.float32, 3), (np.float64, 2)]:
        model, ids = make_model("gpt2", dtype=dtype), text(5, batch)
        cache.truncate(0)
        assert np.abs(logits(model, ids, cache) - logits(model, ids)).max() < 1e-4
        assert {layer.keys.dtype for layer in cache.layers} == {np.dtype(dtype)}


def test_repeated_each_row_goes_on_by_itself(model):
    prompt = text(5, batch=2)
    cache = GrowingCache(model.config)
    logits(model, prompt, cache)
    several = cache.repeat(3)
    endings = np.random.default_rng(2).integers(0, 50, (6, 4))
    whole = np.concatenate([prompt.repeat(3, axis=0), endings], axis=1)
    assert np.abs(logits(model, endings, several) - logits(model, whole)[:, 5:]).max() < 1e-12
    assert several.length == 9 and cache.length == 5


def test_a_copy_is_independent(model):
    ids = text(12)
    cache = GrowingCache(model.config)
    logits(model, ids[:, :6], cache)
    copy = cache.copy()
    logits(model, (ids[:, 6:] + 1) % 50, copy)
    assert np.abs(logits(model, ids[:, 6:], cache) - logits(model, ids)[:, 6:]).max() < 1e-12
    assert GrowingCache(model.config).copy().length == 0


def test_a_pass_that_was_interrupted_halfway_has_changed_nothing(model):
    ids = text(9)
    cache = GrowingCache(model.config)
    logits(model, ids[:, :5], cache)
    kv_heads, head_dim = model.config.kv_heads, model.config.head_dim
    rubbish = Tensor(np.full((1, 3, kv_heads, head_dim), 9.0))
    for layer in range(model.config.layers - 1):
        cache.extend(layer, rubbish, rubbish)
    assert cache.length == 5
    assert np.abs(logits(model, ids[:, 5:], cache) - logits(model, ids)[:, 5:]).max() < 1e-12


def test_room_is_made_in_doublings_and_no_further_than_the_context(make_model):
    model = make_model("llama", CONTEXT)
    cache, rooms = GrowingCache(model.config), []
    assert cache.nbytes == 0
    for token in text(CONTEXT)[0]:
        logits(model, np.array([[token]]), cache)
        rooms.append(cache.layers[0].room)
    assert sorted(set(rooms)) == [64, 128, 140]
    assert cache.nbytes == 3 * 2 * 2 * 140 * 8 * 8  # layers, keys and values, K, room, D, bytes of a float64
    assert f"nbytes={cache.nbytes:,}" in repr(cache)


# --- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 3, 9])
def test_a_layer_with_a_window_keeps_no_more_than_it_needs(make_model, piece):
    """However long the text: its window, what can be taken back twice, or what was read at once."""
    model, ids = make_model("gemma3", 700, np.float32), text(700)
    cache, window, undo = GrowingCache(model.config, undo=40), 4, 40
    for start in range(0, 700, piece):
        logits(model, ids[:, start : start + piece], cache)
        local, _, everything = cache.layers
        assert local.room <= window - 1 + max(2 * undo, undo + piece)
        assert everything.room >= cache.length
        assert cache.earliest <= max(0, cache.length - undo)
    assert local.first > 500 and everything.first == 0
    assert cache.nbytes == 2 * 16 * 4 * (2 * local.room + everything.room)


def test_what_was_dropped_cannot_be_taken_back_and_all_else_can(make_model):
    model, ids = make_model("gemma3", 300), text(300)
    cache = GrowingCache(model.config, undo=10)
    for t in range(200):
        logits(model, ids[:, t : t + 1], cache)
    earliest = cache.earliest
    assert 150 < earliest <= 190
    with pytest.raises(InputError, match=rf"go back to {earliest}.*truncate\(0\)"):
        cache.truncate(earliest - 1)
    assert cache.length == 200
    other = (ids + 1) % 50
    whole = logits(model, np.concatenate([ids[:, :earliest], other[:, earliest:]], axis=1))
    cache.truncate(earliest)
    parts = [logits(model, other[:, t : t + 1], cache) for t in range(earliest, 300)]
    assert np.abs(np.concatenate(parts, axis=1) - whole[:, earliest:]).max() < 1e-12
    cache.truncate(0)
    assert cache.earliest == 0
    assert np.abs(logits(model, other, cache) - logits(model, other)).max() < 1e-12


# --- rows of different lengths ----------------------------------------------------------------------------------


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The rows with zeros in front, so that they end together, and where each begins."""
    longest = max(map(len, rows))
    starts = np.array([longest - len(row) for row in rows])
    return np.array([[0] * start + row for start, row in zip(starts, rows, strict=True)]), starts


def assert_equal_to_rows_alone(model, rows: list[list[int]], new: np.ndarray) -> None:
    """new: logits (B, n, V) of the last n tokens of each row."""
    for row, of_row in zip(rows, new, strict=True):
        n = min(len(row), len(of_row))
        assert np.abs(of_row[-n:] - logits(model, np.array([row]))[0, -n:]).max() < 1e-12


@pytest.fixture(scope="module")
def models(make_model):
    return {kind: make_model(kind, context=60) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("undo", [1, 2, 6])
def test_whatever_is_done_to_a_cache_each_row_is_as_without_it(models, kind, undo):
    """Read, truncate, repeat, copy and select in any order, from prompts of different lengths."""
    for seed in range(12):
        rng = np.random.default_rng([undo, seed])
        rows = [rng.integers(0, 50, n).tolist() for n in rng.integers(1, 10, rng.integers(1, 4))]
        ids, starts = padded(rows)
        cache = GrowingCache(models[kind].config, starts if starts.any() else None, undo)
        assert_equal_to_rows_alone(models[kind], rows, logits(models[kind], ids, cache))
        while cache.length < 50:
            n = rng.integers(1, 11)
            new = rng.integers(0, 50, (len(rows), n))
            rows = [row + more for row, more in zip(rows, new.tolist(), strict=True)]
            assert_equal_to_rows_alone(models[kind], rows, logits(models[kind], new, cache))
            match rng.integers(5):
                case 0:
                    most = min(min(map(len, rows)) - 1, cache.length - max(1, cache.earliest))
                    back = rng.choice([0, most // 2, most])
                    cache.truncate(cache.length - back)
                    rows = [row[: len(row) - back] for row in rows]
                case 1 if len(rows) < 4:
                    cache, rows = cache.repeat(2), [row for row in rows for _ in range(2)]
                case 2:
                    chosen = rng.integers(0, len(rows), rng.integers(1, 4))
                    cache, rows = cache.select(chosen), [rows[n] for n in chosen]
                    assert cache.length == max(map(len, rows))  # shared padding is gone
                case 3:
                    cache = cache.copy()
            assert cache.batch == len(rows)


def test_rows_are_padded_for_a_model_of_the_usual_kind_of_number(make_model):
    for kind in KINDS:
        model = make_model(kind, 40, np.float32)
        rows = [text(n)[0].tolist() for n in (3, 17, 8)]
        ids, starts = padded(rows)
        cache = GrowingCache(model.config, starts)
        last = logits(model, ids, cache)[:, -1]
        for row, of_row in zip(rows, last, strict=True):
            assert np.abs(of_row - logits(model, np.array([row]))[0, -1]).max() < 1e-5


def test_errors_say_what_to_do(model):
    cache = GrowingCache(model.config)
    with pytest.raises(InputError, match=r"no_grad\(\)"):
        model(text(3), cache=cache)
    logits(model, text(16), cache)
    with pytest.raises(InputError, match="16"):
        logits(model, text(1), cache)
    keys = Tensor(np.zeros((1, 1, model.config.kv_heads, model.config.head_dim)))
    with pytest.raises(InputError, match="context of 16"):
        cache.extend(0, keys, keys)
    with pytest.raises(InputError, match="length must be 0 to 16"):
        cache.truncate(17)
    with pytest.raises(InputError, match="length must be 0 to 16"):
        cache.truncate(-1)
    with pytest.raises(InputError, match="times must be at least 1"):
        cache.repeat(0)
    for rows in ([], [1], [-1], [[0]]):
        with pytest.raises(InputError, match="rows must be some of 0 to 0"):
            cache.select(rows)
    with pytest.raises(InputError, match="undo must be at least 1"):
        GrowingCache(model.config, undo=0)
    cache.truncate(3)
    with pytest.raises(InputError, match="batch of 1, and this is one of 2"):
        logits(model, text(2, batch=2), cache)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_copied_to_the_host(make_model, kind):
    """On arrays that would refuse it, as on a GPU: pieces of padded rows, and what is read after a while."""
    model, (ids, starts) = make_model(kind), padded([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3]])
    found = []
    for move in (lambda x: x, strict):
        for parameter in model.parameters():
            parameter.data = move(parameter.data)
        cache = GrowingCache(model.config, move(starts), undo=1)
        with plain(), no_grad():
            parts = [model(move(ids[:, a:b]), cache=cache) for a, b in ((0, 4), (4, 6), (6, 7))]
        found.append([unwrap(part.data) for part in parts])
    for one, other in zip(*found, strict=True):
        assert np.abs(one - other).max() < 1e-12


def test_on_a_gpu(make_model):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")
    for kind in KINDS:
        model, ids = make_model(kind, CONTEXT, np.float64), text(CONTEXT)
        whole = logits(model, ids)
        model.to("cuda")
        cache = GrowingCache(model.config)
        parts = [logits(model, cupy.asarray(ids[:, n : n + 20]), cache) for n in range(0, CONTEXT, 20)]
        assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-9
        assert isinstance(cache.layers[0].keys, cupy.ndarray)
        rows = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [5, 8]]
        padding, starts = padded(rows)
        cache = GrowingCache(model.config, cupy.asarray(starts))
        logits(model, cupy.asarray(padding), cache)
        model.to("cpu")
        wanted = [logits(model, np.array([[*rows[row], 7]]))[0, -1] for row in (2, 1)]
        model.to("cuda")
        new = logits(model, cupy.asarray([[7], [7]]), cache.select([2, 1]))[:, -1]
        assert np.abs(new - np.array(wanted)).max() < 1e-9
