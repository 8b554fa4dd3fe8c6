"""The stages that look at the text: by hand, and against loops that say the definition in so many words."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_llm import Transformer, TransformerConfig, no_grad
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    FrequencyPenalty,
    GrowingCache,
    NoRepeatNgrams,
    PresencePenalty,
    RepetitionPenalty,
    SamplerChain,
    Temperature,
    TopK,
    generate_steps,
    penalties,
)
from tinygrad_llm.generation.logits_processors import sampling_distribution
from tinygrad_llm.nn.functional import log_softmax

V = 6
P = np.array([0.32, 0.32, 0.16, 0.08, 0.08, 0.04])


def after(stage, probabilities, text) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.exp(sampling_distribution(stage, np.log(probabilities), text))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(penalties, extraglobs={"np": np, "math": math})
    assert tried >= 4 and not failed


@pytest.mark.parametrize(
    ("stage", "text", "weights"),
    [
        (FrequencyPenalty(math.log(2)), [0, 0, 0, 2, 5], [0.04, 0.32, 0.08, 0.08, 0.08, 0.02]),
        (FrequencyPenalty(math.log(2), last=3), [0, 0, 0, 2, 5], [0.16, 0.32, 0.08, 0.08, 0.08, 0.02]),
        (FrequencyPenalty(-math.log(2)), [5, 5], [0.32, 0.32, 0.16, 0.08, 0.08, 0.16]),
        (PresencePenalty(math.log(2)), [0, 0, 0, 2, 5], [0.16, 0.32, 0.08, 0.08, 0.08, 0.02]),
        (PresencePenalty(math.log(2), last=1), [0, 0, 0, 2, 5], [0.32, 0.32, 0.16, 0.08, 0.08, 0.02]),
        (PresencePenalty(math.log(2), last=99), [2], [0.32, 0.32, 0.08, 0.08, 0.08, 0.04]),
        (NoRepeatNgrams(1), [4, 1], [0.32, 0, 0.16, 0.08, 0, 0.04]),
        (NoRepeatNgrams(2), [3, 0, 3, 1, 3], [0, 0, 0.16, 0.08, 0.08, 0.04]),
        (NoRepeatNgrams(2), [3, 3, 3], [0.32, 0.32, 0.16, 0, 0.08, 0.04]),
        (NoRepeatNgrams(3), [1, 2, 5, 0, 1, 2], [0.32, 0.32, 0.16, 0.08, 0.08, 0]),
        (NoRepeatNgrams(3), [1, 2, 5, 0, 2, 1], P),
        (NoRepeatNgrams(3), [1, 2], P),
        (NoRepeatNgrams(5), [1, 1, 1, 1], P),
    ],
    ids=repr,
)
def test_values_worked_out_by_hand(stage, text, weights):
    weights = np.asarray(weights)
    assert after(stage, P, text) == pytest.approx(weights / weights.sum(), abs=1e-12)


def test_a_repetition_penalty_works_on_the_raw_logits():
    """Positive ones are divided, negative ones multiplied, whatever their mean is; as Transformers and llama.cpp do."""
    logits = np.array([4.0, 2.0, 0.0, -1.0, -3.0])
    assert RepetitionPenalty(2.0)(logits, [0, 3, 3, 0, 2]).tolist() == [2.0, 2.0, 0.0, -2.0, -3.0]
    assert RepetitionPenalty(2.0, last=2)(logits, [0, 3, 3]).tolist() == [4.0, 2.0, 0.0, -2.0, -3.0]
    assert RepetitionPenalty(0.5)(logits, [1, 4]).tolist() == [4.0, 4.0, 0.0, -1.0, -1.5]
    assert RepetitionPenalty(1.0)(logits, [0, 3]).tolist() == logits.tolist()
    shifted = RepetitionPenalty(2.0)(logits + 10, [0, 3]).tolist()
    assert shifted == [7.0, 12.0, 10.0, 4.5, 7.0]


def test_a_model_is_penalised_on_its_raw_logits():
    """Not on log-probabilities, of which none is positive."""
    model = Transformer(TransformerConfig.gpt2(vocab_size=V, context=8, layers=1, heads=1, width=4), seed=0)
    model.embedding.weight.data *= 40.0
    prompt = [1, 2, 5]
    cache = GrowingCache(model.config)
    (step,) = generate_steps(model, prompt, 1, RepetitionPenalty(3.0), np.random.default_rng(0), cache=cache)
    with no_grad():
        logits = model(np.array([prompt])).numpy()[0, -1].astype(np.float64)
    assert (logits[prompt] > 0).any() and (logits[prompt] < 0).any()
    expected = [x / 3 if x > 0 else x * 3 for x in logits[prompt]]
    logits_after = logits.copy()
    logits_after[prompt] = expected
    assert step.log_p == pytest.approx(log_softmax(logits), abs=1e-5)
    assert step.sampled_log_p == pytest.approx(log_softmax(logits_after), abs=1e-5)


# Any distributions, some tokens removed by an earlier stage, and any text.
logits = st.lists(st.floats(-20, 20), min_size=V, max_size=V)
distributions = st.tuples(logits, st.sets(st.integers(1, V - 1), max_size=4)).map(
    lambda drawn: log_softmax(np.where(np.isin(np.arange(V), list(drawn[1])), -np.inf, np.array(drawn[0])))
)
texts = st.lists(st.integers(0, V - 1), max_size=12)
lasts = st.one_of(st.none(), st.integers(1, 14))
amounts = st.floats(-3, 3)


def by_definition(stage, log_p: list[float], text: list[int]) -> list[float]:
    """The logits that the definition gives, token by token."""
    lately = text if getattr(stage, "last", None) is None else text[-stage.last :]
    match stage:
        case FrequencyPenalty(penalty):
            return [log_p[i] - penalty * lately.count(i) for i in range(V)]
        case PresencePenalty(penalty):
            return [log_p[i] - penalty * (i in lately) for i in range(V)]
        case RepetitionPenalty(penalty):
            return [(x / penalty if x > 0 else x * penalty) if i in lately else x for i, x in enumerate(log_p)]
        case NoRepeatNgrams(n):
            rows = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
            enough = len(text) >= n - 1
            ends = [enough and (*text[len(text) - n + 1 :], i) in rows for i in range(V)]
            return [-math.inf if ends[i] else log_p[i] for i in range(V)]


stages = st.one_of(
    st.builds(FrequencyPenalty, amounts, lasts),
    st.builds(PresencePenalty, amounts, lasts),
    st.builds(RepetitionPenalty, st.floats(0.2, 4), lasts),
    st.builds(NoRepeatNgrams, st.integers(1, 4)),
)


@given(distributions, texts, stages)
def test_drawn_texts_against_the_definition(log_p, text, stage):
    before = log_p.copy()
    expected = np.array(by_definition(stage, log_p.tolist(), text))
    assume(expected.max() > -np.inf)
    got = sampling_distribution(stage, log_p, text)
    assert np.exp(got) == pytest.approx(np.exp(log_softmax(expected)), abs=1e-9)
    assert abs(np.exp(got).sum() - 1.0) < 1e-12
    assert (got[log_p == -np.inf] == -np.inf).all()
    assert (log_p == before).all()


@given(distributions, stages)
def test_without_a_text_nothing_changes(log_p, stage):
    assert np.exp(stage(log_p)) == pytest.approx(np.exp(log_p), abs=1e-12)


def test_the_order_in_a_chain_is_the_order_of_work():
    """Penalised first, another token is the likeliest; penalised last, there is no other one any more."""
    penalty = RepetitionPenalty(3.0)
    first, last = SamplerChain((penalty, TopK(1))), SamplerChain((TopK(1), penalty))
    p = [0.5, 0.3, 0.1, 0.1]
    assert after(first, p, [0]) == pytest.approx([0, 1, 0, 0])
    assert after(last, p, [0]) == pytest.approx([1, 0, 0, 0])


def test_a_model_that_turns_in_circles_gets_out_of_them():
    """After token i this model is all but sure of token (i + 1) mod 3, of six: 0 1 2 0 1 2 …"""

    def write(stage, length=12):
        text = [0]
        for _ in range(length):
            p = np.full(V, 0.002)
            p[(text[-1] + 1) % 3] = 0.99
            text.append(int(SamplerChain((stage, Temperature(0.0)))(np.log(p), text).argmax()))
        return text

    assert set(write(SamplerChain())) == {0, 1, 2}
    assert set(write(FrequencyPenalty(3.0))) == {0, 1, 2, 3, 4, 5}
    trigrams = list(zip(*[write(NoRepeatNgrams(3))[i:] for i in range(3)], strict=False))
    assert len(trigrams) == len(set(trigrams))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RepetitionPenalty(0.0), "repetition_penalty must be a number above 0, it was 0.0"),
        (lambda: RepetitionPenalty(math.inf), "repetition_penalty"),
        (lambda: RepetitionPenalty(1.1, last=0), "repetition_penalty: last must be an integer of at least 1"),
        (lambda: FrequencyPenalty(math.nan), "frequency_penalty must be a number, it was nan"),
        (lambda: FrequencyPenalty(1, last=2.5), "frequency_penalty: last"),
        (lambda: PresencePenalty("1"), "presence_penalty must be a number, it was '1'"),
        (lambda: NoRepeatNgrams(0), "no_repeat_ngrams must be an integer of at least 1, it was 0"),
        (lambda: after(NoRepeatNgrams(1), P, range(V)), "leaves no token"),
    ],
)
def test_what_cannot_be_is_an_error(make, message):
    with pytest.raises(InputError, match=message):
        make()
