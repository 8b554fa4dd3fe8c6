"""The loop: what it draws, when it stops, and what it does when the context is full."""

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    GrowingCache,
    SamplerChain,
    Temperature,
    TopK,
    generate_steps,
    generate_tokens,
    next_log_probabilities,
    sample,
)
from tinygrad_llm.generation import generate as generate_module
from tinygrad_llm.generation.logits_processors import sampling_distribution
from tinygrad_llm.nn.functional import log_softmax

CHAIN = SamplerChain((Temperature(0.9), TopK(20)))
PROMPT = [3, 1, 4, 1, 5]


def without_cache(model, ids, max_tokens, seed):
    """The same loop as plainly as it can be said: all that is seen is read again for every token."""
    rng, seen, tokens = np.random.default_rng(seed), list(ids), []
    context = model.config.context
    for _ in range(max_tokens):
        if len(seen) > context:
            seen = seen[len(seen) - max(1, context // 2) :]
        with no_grad():
            logits = model(np.array([seen])).numpy()[0, -1]
        token = int(sample(sampling_distribution(CHAIN, logits), rng))
        seen.append(token)
        tokens.append(token)
    return tokens


def generate(model, ids=PROMPT, max_tokens=8, seed=0, sampler=CHAIN, **options):
    return list(generate_tokens(model, ids, max_tokens, sampler, np.random.default_rng(seed), **options))


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others(model):
    assert generate(model, seed=1) == generate(model, seed=1)
    assert len({tuple(generate(model, seed=seed)) for seed in range(5)}) > 1


def test_with_and_without_cache_the_same_is_drawn(model):
    assert generate(model, max_tokens=11, seed=2) == without_cache(model, PROMPT, 11, seed=2)


@pytest.mark.parametrize("context", [1, 2, 7, 16])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_past_the_context_it_goes_on_with_the_last_half(make_model, kind, context):
    model = make_model(kind, context)
    ids = PROMPT[:context]
    assert generate(model, ids, 3 * context + 2, seed=3) == without_cache(model, ids, 3 * context + 2, seed=3)


def test_a_full_context_is_used_to_its_last_place(make_model):
    """With a prompt as long as the context, the first token is drawn with all of it in view."""
    model = make_model("gpt2", context=5)
    with no_grad():
        logits = model(np.array([PROMPT])).numpy()[0, -1]
    assert generate(model, PROMPT, 1, sampler=Temperature(0.0)) == [logits.argmax()]


def test_greedy_takes_the_best_and_among_equals_the_lowest_id(model):
    for parameter in model.parameters():
        parameter.data[...] = 0.0
    assert generate(model, max_tokens=4, sampler=Temperature(0.0)) == [0, 0, 0, 0]


def test_a_stop_token_ends_the_text_and_is_not_given_out(model):
    tokens = generate(model, max_tokens=10, seed=4)
    stop = tokens[6]
    assert generate(model, max_tokens=10, seed=4, stop_tokens=(stop,)) == tokens[: tokens.index(stop)]


def test_tokens_come_one_by_one_and_outside_of_no_grad(model):
    tokens = generate_tokens(model, PROMPT, 5, CHAIN, np.random.default_rng(0))
    cache_free = generate(model, max_tokens=5)
    assert next(tokens) == cache_free[0]
    weight = Tensor([1.0], requires_grad=True)
    assert (weight * 2.0).requires_grad  # what the reader of the tokens computes is recorded
    assert list(tokens) == cache_free[1:]


def test_a_shared_prompt_is_read_once(model):
    prompt = GrowingCache(model.config)
    next_log_probabilities(model, PROMPT[:-1], prompt)
    for seed in range(3):
        cache = prompt.copy()
        assert generate(model, seed=seed, cache=cache) == generate(model, seed=seed)
        assert cache.length == len(PROMPT) + 7  # all but the token drawn last
    assert prompt.length == 4


def test_a_long_prompt_is_read_in_pieces(make_model, monkeypatch):
    model = make_model("llama", context=40)
    ids = np.random.default_rng(0).integers(0, 50, 33)
    whole = next_log_probabilities(model, ids, GrowingCache(model.config))
    monkeypatch.setattr(generate_module, "PREFILL", 10)
    cache = GrowingCache(model.config)
    assert np.abs(next_log_probabilities(model, ids, cache) - whole).max() < 1e-10
    assert cache.length == 33


def test_log_probabilities_are_those_of_the_model_and_sum_to_one(model):
    log_p = next_log_probabilities(model, PROMPT, GrowingCache(model.config))
    with no_grad():
        expected = log_softmax(model(np.array([PROMPT])).numpy()[0, -1])
    assert log_p.dtype == np.float64 and log_p.shape == (50,)
    assert log_p == pytest.approx(expected, abs=1e-10)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-12)


def test_the_distributions_before_and_after_the_sampler_are_kept_apart(model):
    drawn = list(generate_steps(model, PROMPT, 6, CHAIN, np.random.default_rng(0)))
    assert [one.token for one in drawn] == generate(model, max_tokens=6)
    text = list(PROMPT)
    for one in drawn:
        assert one.log_p == pytest.approx(next_log_probabilities(model, text, GrowingCache(model.config)), abs=1e-10)
        assert one.sampled_log_p == pytest.approx(sampling_distribution(CHAIN, one.log_p), abs=1e-10)
        assert one.sampled_log_p[one.token] > -np.inf
        text.append(one.token)


def test_the_sampler_is_shown_the_whole_text_even_past_the_context(model):
    shown = []

    def sampler(log_p, text=()):
        shown.append(list(text))
        return log_p

    tokens = generate(model, max_tokens=20, sampler=sampler)
    assert shown == [PROMPT + tokens[:n] for n in range(20)]


def test_no_tokens_are_asked_for(model):
    assert generate(model, max_tokens=0) == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "at least one"),
        ([[1, 2]], "row of whole numbers"),
        ([0.5], "whole numbers"),
        ([1, 50], "0 to 49"),
        ([-1], "0 to 49"),
        (range(17), "17 tokens long, and the model can look at 16"),
    ],
)
def test_a_prompt_that_cannot_be_read(model, ids, message):
    with pytest.raises(InputError, match=message):
        generate_tokens(model, np.array(ids), 5, CHAIN, np.random.default_rng(0))


def test_other_errors(model):
    with pytest.raises(InputError, match="max_tokens must be an integer of at least 0, it was -1"):
        generate_tokens(model, PROMPT, -1, CHAIN, np.random.default_rng(0))
    cache = GrowingCache(model.config)
    next_log_probabilities(model, PROMPT, cache)
    with pytest.raises(InputError, match=r"cache\.truncate"):
        generate_tokens(model, PROMPT, 1, CHAIN, np.random.default_rng(0), cache=cache)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_that_has_diverged(model, bad):
    model.final_norm.weight.data[0] = bad
    with pytest.raises(InputError, match="diverged"), np.errstate(invalid="ignore"):
        generate(model)
