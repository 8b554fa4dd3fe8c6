"""The cache changes what a token costs, and nothing else."""

import doctest

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad, plain
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import GrowingCache, cache

CONTEXT = 140  # the cache grows twice on the way: 64, 128, 140
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}


def text(length: int, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 50, (batch, length))


def logits(model, ids, cache=None) -> np.ndarray:
    with no_grad():
        return model(ids, cache=cache).numpy()


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(cache)
    assert tried and not failed


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
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
    for kind in ("gpt2", "llama"):
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
    assert np.abs(np.concatenate(parts, axis=1) - logits(model, ids)).max() < 1e-10


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
    assert np.abs(logits(model, other[:, 4:], cache) - logits(model, other)[:, 4:]).max() < 1e-10


def test_emptied_it_takes_another_batch_and_another_dtype(make_model):
    cache = GrowingCache(make_model("gpt2").config)
    for dtype, batch in [(np.float64, 1), (np.float32, 3), (np.float64, 2)]:
        model, ids = make_model("gpt2", dtype=dtype), text(5, batch)
        cache.truncate(0)
        assert np.abs(logits(model, ids, cache) - logits(model, ids)).max() < 1e-4
        assert cache.memory.dtype == dtype


def test_repeated_each_row_goes_on_by_itself(model):
    prompt = text(5, batch=2)
    cache = GrowingCache(model.config)
    logits(model, prompt, cache)
    several = cache.repeat(3)
    endings = np.random.default_rng(2).integers(0, 50, (6, 4))
    whole = np.concatenate([prompt.repeat(3, axis=0), endings], axis=1)
    assert np.abs(logits(model, endings, several) - logits(model, whole)[:, 5:]).max() < 1e-10
    assert several.length == 9 and cache.length == 5


def test_a_copy_is_independent(model):
    ids = text(12)
    cache = GrowingCache(model.config)
    logits(model, ids[:, :6], cache)
    copy = cache.copy()
    logits(model, (ids[:, 6:] + 1) % 50, copy)
    assert np.abs(logits(model, ids[:, 6:], cache) - logits(model, ids)[:, 6:]).max() < 1e-10
    assert GrowingCache(model.config).copy().length == 0


def test_a_pass_that_was_interrupted_halfway_has_changed_nothing(model):
    ids = text(9)
    cache = GrowingCache(model.config)
    logits(model, ids[:, :5], cache)
    kv_heads, head_width = model.config.num_kv_heads, model.config.channels_per_head
    rubbish = Tensor(np.full((1, 3, kv_heads, head_width), 9.0))
    for layer in range(model.config.layers - 1):
        cache.extend(layer, rubbish, rubbish)
    assert cache.length == 5
    assert np.abs(logits(model, ids[:, 5:], cache) - logits(model, ids)[:, 5:]).max() < 1e-10


def test_room_is_made_in_doublings_and_no_further_than_the_context(make_model):
    model = make_model("llama", CONTEXT)
    cache, rooms = GrowingCache(model.config), []
    for token in text(CONTEXT)[0]:
        logits(model, np.array([[token]]), cache)
        rooms.append(cache.memory.shape[4])
    assert sorted(set(rooms)) == [64, 128, 140]
    assert cache.memory.shape == (3, 2, 1, 2, 140, 8)  # (layers, keys and values, B, K, room, D)


def test_errors_say_what_to_do(model):
    cache = GrowingCache(model.config)
    with pytest.raises(InputError, match=r"no_grad\(\)"):
        model(text(3), cache=cache)
    logits(model, text(16), cache)
    with pytest.raises(InputError, match="16"):
        logits(model, text(1), cache)
    keys = Tensor(np.zeros((1, 1, model.config.num_kv_heads, model.config.channels_per_head)))
    with pytest.raises(InputError, match="context of 16"):
        cache.extend(0, keys, keys)
    with pytest.raises(InputError, match="length must be 0 to 16"):
        cache.truncate(17)
    with pytest.raises(InputError, match="length must be 0 to 16"):
        cache.truncate(-1)
    with pytest.raises(InputError, match="times must be at least 1"):
        cache.repeat(0)
    cache.truncate(3)
    with pytest.raises(InputError, match="batch of 1, and this is one of 2"):
        logits(model, text(2, batch=2), cache)


def test_on_a_gpu(make_model):
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")
    for kind in ("gpt2", "llama"):
        model, ids = make_model(kind, CONTEXT, np.float64), text(CONTEXT)
        whole = logits(model, ids)
        model.to("cuda")
        cache = GrowingCache(model.config)
        parts = [logits(model, cupy.asarray(ids[:, n : n + 20]), cache) for n in range(0, CONTEXT, 20)]
        assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-9
        assert isinstance(cache.memory, cupy.ndarray)
