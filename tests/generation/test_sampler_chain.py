"""Chains by name: in the usual order, in the order of a text, and written out again."""

import doctest
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    FrequencyPenalty,
    LogitBias,
    MinP,
    NoRepeatNgrams,
    PresencePenalty,
    RepetitionPenalty,
    SamplerChain,
    SamplingConfig,
    Temperature,
    TopK,
    TopP,
    Typical,
    format_sampler_chain,
    parse_sampler_chain,
    sampler_chain,
    sampling_config,
)
from tinygrad_llm.text import Tokenizer

tokenizer = Tokenizer.train("in the hat the cat on the mat sat", 262)


def test_the_examples_in_the_docstrings():
    for module, most in ((sampler_chain, 2), (sampling_config, 1)):
        failed, tried = doctest.testmod(module)
        assert tried >= most and not failed


def test_the_options_make_the_usual_chain():
    assert SamplingConfig().chain() == SamplerChain((Temperature(0.8),))
    assert SamplingConfig().chain(temperature=1.0) == SamplerChain((Temperature(1.0),))
    options = {"top_k": 40, "top_p": 0.9, "min_p": 0.05, "typical": 0.95, "repetition_penalty": 1.1}
    before = (RepetitionPenalty(1.1), Temperature(0.7), TopK(40), Typical(0.95), TopP(0.9), MinP(0.05))
    assert SamplingConfig(temperature=0.7, **options).chain() == SamplerChain(before)
    all_of_them = SamplingConfig(**dict.fromkeys(sampler_chain.PROCESSORS, 1) | {"logit_bias": {}}).chain()
    assert [type(stage) for stage in all_of_them.processors] == list(sampler_chain.PROCESSORS.values())
    names = [one.name for one in fields(SamplingConfig)]
    assert names == [*sampler_chain.PROCESSORS, "sampler"]
    assert SamplingConfig(sampler="top_k=3").chain() == SamplerChain((TopK(3),))
    assert SamplingConfig(sampler=TopK(3)).chain() == TopK(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topk": 3}, "there is no option 'topk'. Write top_k."),
        ({"max_new_tokens": 3}, "there is no option 'max_new_tokens'. Write max_tokens."),
        ({"do_sample": False}, "there is no option 'do_sample'. Write temperature=0"),
        ({"no_repeat_ngram_size": 3}, "Write no_repeat_ngrams."),
        ({"mirostat": 3}, "The sampling options are: logit_bias, repetition_penalty"),
        ({"sampler": "top_k=3", "top_p": 1}, "sampler is the whole sampler chain, and top_p stands beside it"),
        ({"sampler": 3}, "sampler must be a logits processor, a function of (logits, text), or a chain in text form"),
        ({"temperature": -1}, "temperature must be a number of at least 0, it was -1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        SamplingConfig.of(**options).chain()


def test_a_text_is_read_in_its_order():
    assert parse_sampler_chain("min_p=0.1, temperature=1.5") == SamplerChain((MinP(0.1), Temperature(1.5)))
    assert parse_sampler_chain("temperature=1.5,min_p=.1") == SamplerChain((Temperature(1.5), MinP(0.1)))
    assert parse_sampler_chain("temperature=2, top_k=5, temperature=0.5").processors[2] == Temperature(0.5)
    assert parse_sampler_chain("repetition_penalty=(1.1, 64)") == SamplerChain((RepetitionPenalty(1.1, last=64),))
    assert parse_sampler_chain("") == SamplerChain()


def test_the_order_makes_a_difference():
    log_p = np.log([0.6, 0.25, 0.1, 0.05])
    cold, hot = parse_sampler_chain("min_p=0.3, temperature=3"), parse_sampler_chain("temperature=3, min_p=0.3")
    assert (cold(log_p) > -np.inf).sum() == 2
    assert (hot(log_p) > -np.inf).sum() == 4


def test_a_bias_names_tokens_by_text_or_by_id():
    (the,) = tokenizer.encode(" the")
    assert parse_sampler_chain("logit_bias={' the': -2, 65: -inf}", tokenizer) == SamplerChain(
        (LogitBias({the: -2, 65: -np.inf}),)
    )
    assert parse_sampler_chain("logit_bias={65: -inf}") == SamplerChain((LogitBias({65: -np.inf}),))


numbers = st.floats(0.01, 1)
lasts = st.one_of(st.none(), st.integers(1, 99))
stages = st.one_of(
    st.builds(Temperature, st.floats(0, 1e300)),
    st.builds(TopK, st.integers(1, 10**6)),
    *(st.builds(kind, numbers) for kind in (TopP, MinP, Typical)),
    *(st.builds(kind, numbers, lasts) for kind in (RepetitionPenalty, FrequencyPenalty, PresencePenalty)),
    st.builds(NoRepeatNgrams, st.integers(1, 9)),
    st.builds(LogitBias, st.dictionaries(st.integers(0, 99), st.one_of(st.just(-np.inf), st.floats(-99, 99)))),
)


@given(st.lists(stages, max_size=6).map(lambda members: SamplerChain(tuple(members))))
def test_written_out_and_read_again_a_chain_is_the_same(chain):
    assert parse_sampler_chain(format_sampler_chain(chain)) == chain


def test_a_stage_of_your_own_has_a_name():
    def nothing_rude(log_p, text=()):
        return log_p

    assert format_sampler_chain(SamplerChain((nothing_rude, TopK(3)))) == "nothing_rude, top_k=3"


@pytest.mark.parametrize(
    "text",
    ["1", "temperature", "temperature=hot", "temperature=", "a=1)(b=2", ") + f(", "temperature=1 #", "**{1: 2}x",
     "logit_bias={[]: 1}", "temperature=__import__('os')", "top_k=" + 300 * "(", "=1", "top_k=3; top_p=1"],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_shows_how(text):
    with pytest.raises(InputError, match="sampler must be written like 'min_p=0.1, temperature=1.5'"):
        parse_sampler_chain(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("topk=3", "there is no stage 'topk'. There are: logit_bias, "),
        ("**{'top_k': 3}", "there is no stage '\\*\\*'"),
        ("temperature='hot'", "temperature must be a number of at least 0, it was 'hot'"),
        ("temperature=-1", "temperature must be"),
        ("top_k=(1, 2)", r"top_k takes 1 number, and was given \(1, 2\)"),
        ("repetition_penalty=()", "repetition_penalty takes 2 numbers"),
        ("top_k=2.0", "top_k must be an integer"),
        ("logit_bias=3", "logit_bias must be written like"),
        ("logit_bias={'the': 1}", "without a tokenizer tokens are given by their ids, not as 'the'"),
        ("logit_bias={1: 'a'}", "bias of token 1"),
    ],
)
def test_values_that_cannot_be(text, message):
    with pytest.raises(InputError, match=message):
        parse_sampler_chain(text)


def test_a_bias_may_be_a_dict_or_its_text():
    expected = parse_sampler_chain("logit_bias={' the': -2, 65: -inf}, temperature=1.0", tokenizer)
    for bias in ({" the": -2, 65: -np.inf}, " {' the': -2, 65: -inf}"):
        assert SamplingConfig(logit_bias=bias, temperature=1.0).chain(tokenizer) == expected
    for text in ("{1: 2", "{1: x}", "3", "{}, top_k=3", "{" * 500):
        with pytest.raises(InputError, match="logit_bias must be written like"):
            SamplingConfig(logit_bias=text).chain()


def test_a_word_of_several_tokens_cannot_be_biased():
    with pytest.raises(InputError, match="'dog' is not one token but 3"):
        parse_sampler_chain("logit_bias={'dog': 1}", tokenizer)
