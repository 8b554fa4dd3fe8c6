"""What else could have stood there: against the distributions that the model gives, token by token."""

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    SamplerChain,
    Temperature,
    TopK,
    generate_steps,
    score_tokens,
    step_alternatives,
    text_alternatives,
)
from tinygrad_llm.nn.functional import log_softmax

IDS = np.random.default_rng(0).integers(0, 50, 14)


def distributions(model, ids):
    with no_grad():
        return log_softmax(model(np.array([ids])).numpy()[0].astype(np.float64))


def check(choice, log_p, token, count):
    order = np.argsort(-log_p, kind="stable")
    assert choice.token == token
    assert choice.log_p == pytest.approx(log_p[token], abs=1e-9)
    assert choice.rank == 1 + list(order).index(token)
    expected = [i for i in order if i != token][:count]
    assert [i for i, _ in choice.others] == expected
    assert [x for _, x in choice.others] == pytest.approx(log_p[expected], abs=1e-9)


@pytest.mark.parametrize("count", [1, 5, 60])
def test_they_are_those_of_the_models_distributions(model, count):
    choices = text_alternatives(model, IDS, count)
    assert len(choices) == 13
    for t, log_p in enumerate(distributions(model, IDS[:-1])):
        check(choices[t], log_p, IDS[t + 1], count)
    assert len({choice.rank for choice in choices}) > 5  # the comparison means something


@pytest.mark.parametrize("context", [1, 5, 8])
def test_a_text_longer_than_the_context_is_scored_as_always(make_model, context):
    model = make_model("llama", context)
    assert [choice.log_p for choice in text_alternatives(model, IDS)] == pytest.approx(
        score_tokens(model, IDS), abs=1e-9
    )


@pytest.mark.parametrize("context", [5, 16])
@pytest.mark.parametrize("first", [1, 6, 13])
def test_the_end_of_a_text_alone(make_model, context, first):
    model = make_model("llama", context)
    whole, end = text_alternatives(model, IDS), text_alternatives(model, IDS, first=first)
    assert [one.token for one in end] == [one.token for one in whole[first - 1 :]]
    assert [one.log_p for one in end] == pytest.approx([one.log_p for one in whole[first - 1 :]], abs=1e-9)


def test_a_text_is_read_and_logits_are_computed_in_portions(make_model, monkeypatch):
    model = make_model("gemma3", context=9)
    whole = text_alternatives(model, IDS)
    monkeypatch.setattr("tinygrad_llm.generation.alternatives.LOGITS_BYTES", 4 * 50 * 3)
    monkeypatch.setattr("tinygrad_llm.generation.alternatives.READ", 4)
    for a, b in zip(text_alternatives(model, IDS), whole, strict=True):
        assert a.log_p == pytest.approx(b.log_p, abs=1e-10) and a.rank == b.rank


def test_of_a_text_that_is_being_drawn(model):
    sampler = SamplerChain((Temperature(2.0), TopK(3)))
    drawn = list(generate_steps(model, IDS[:5], 6, sampler, np.random.default_rng(0)))
    for choice, one in zip(step_alternatives(drawn, 4), drawn, strict=True):
        check(choice, one.log_p, one.token, 4)
    for choice in step_alternatives(drawn, 4, sampled=True):
        assert len(choice.others) == 2  # of three that could come
        assert np.exp([choice.log_p, *(x for _, x in choice.others)]).sum() == pytest.approx(1.0)


def test_equals_have_the_same_rank(model):
    for parameter in model.parameters():
        parameter.data[...] = 0.0
    choice = text_alternatives(model, [1, 7], 2)[0]
    assert choice.rank == 1 and [i for i, _ in choice.others] == [0, 1]


def test_nothing_of_it_reaches_the_reader(model):
    from tinygrad_llm.generation.alternatives import text_distributions

    rows = text_distributions(model, IDS)
    next(rows)
    assert (Tensor([1.0], requires_grad=True) * 2.0).requires_grad


def test_errors(model):
    with pytest.raises(InputError, match="first must be 1 to 0 in a text of 1 tokens, it was 1"):
        text_alternatives(model, [1])
    with pytest.raises(InputError, match="first must be 1 to 13 in a text of 14 tokens, it was 14"):
        text_alternatives(model, IDS, first=14)
    with pytest.raises(InputError, match="count must be an integer of at least 1, it was 0"):
        text_alternatives(model, IDS, 0)
    with pytest.raises(InputError, match="count must be an integer of at least 1"):
        step_alternatives([], 0)
