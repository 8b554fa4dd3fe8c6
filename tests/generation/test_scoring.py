"""How probable a text is, window by window."""

import numpy as np
import pytest

from tinygrad_llm import no_grad
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import score_tokens, scoring
from tinygrad_llm.nn.functional import log_softmax


def log_p_of_last(model, ids) -> float:
    """log p(ids[-1] | ids[:-1]), by itself."""
    with no_grad():
        return log_softmax(model(np.array([ids[:-1]])).numpy()[0, -1])[ids[-1]]


def text(length):
    return np.random.default_rng(7).integers(0, 50, length)


@pytest.mark.parametrize("length", [2, 5, 17])
def test_a_text_that_fits_is_seen_whole(model, length):
    ids = text(length)
    expected = [log_p_of_last(model, ids[: t + 1]) for t in range(1, length)]
    assert score_tokens(model, ids) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("length", [18, 24, 25, 26, 60])
@pytest.mark.parametrize("windows_at_once", [1, 2, 100])
def test_in_a_longer_text_each_token_is_seen_in_the_first_window_that_holds_it(
    model, length, windows_at_once, monkeypatch
):
    monkeypatch.setattr(scoring, "READ", 16 * windows_at_once)
    ids = text(length)
    starts = [*range(0, length - 1 - 16, 8), length - 1 - 16]
    expected = []
    for target in range(1, length):
        start = next(start for start in starts if start < target <= start + 16)
        assert target - start >= min(target, 8)  # at least half a context is in view, or all there is
        expected.append(log_p_of_last(model, ids[start : target + 1]))
    assert score_tokens(model, ids) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("read", [1, 3, 7])
def test_a_long_text_is_read_in_pieces_and_its_logits_are_made_few_at_a_time(make_model, read, monkeypatch):
    model, ids = make_model("gemma3", context=40), text(30)
    whole = score_tokens(model, ids)
    most = []
    logits = model.logits
    monkeypatch.setattr(scoring, "READ", read)
    monkeypatch.setattr(scoring, "LOGITS_BYTES", 4 * 50 * 2)
    monkeypatch.setattr(model, "logits", lambda hidden: most.append(hidden.shape[1]) or logits(hidden))
    assert score_tokens(model, ids) == pytest.approx(whole, abs=1e-12)
    assert max(most) == min(read, 2)


def test_a_context_of_one(make_model):
    model, ids = make_model("gpt2", context=1), text(6)
    expected = [log_p_of_last(model, ids[t - 1 : t + 1]) for t in range(1, 6)]
    assert score_tokens(model, ids) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("ids", [[], [3]])
def test_the_first_token_cannot_be_scored(model, ids):
    with pytest.raises(InputError, match="at least 2"):
        score_tokens(model, np.array(ids, int))
