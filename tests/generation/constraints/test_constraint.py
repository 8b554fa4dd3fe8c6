"""The stage: what is drawn matches, always, and nothing that could match is forbidden."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_shapes import EVERY_BYTE, patterns, vocabularies, write

from tinygrad_llm import Transformer, TransformerConfig
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import SamplerChain, Temperature, TopK, generate_tokens
from tinygrad_llm.generation.constraints import Constraint, Vocabulary, constraint, regular_expression
from tinygrad_llm.generation.logits_processors import normalized
from tinygrad_llm.nn.functional import log_softmax
from tinygrad_llm.text.tokenizer import Tokenizer


@given(patterns, vocabularies, st.integers(0, 10**6))
def test_what_is_drawn_matches(pattern, vocabulary, seed):
    text = write(Constraint(regular_expression(pattern), vocabulary, stop_tokens=(0,)), seed)
    assert text is None or re.fullmatch(pattern, text, re.ASCII)


@given(patterns, vocabularies, st.integers(0, 10**6), st.integers(0, 5))
def test_it_comes_to_an_end_in_time(pattern, vocabulary, seed, more):
    matching = Constraint(regular_expression(pattern), vocabulary, stop_tokens=(0,))
    shortest = int(matching.tokens_to_finish(matching.automaton.start))
    assert re.fullmatch(pattern, write(matching, seed, max_tokens=shortest + more), re.ASCII)
    if shortest:
        with pytest.raises(InputError, match=f"max_tokens is {shortest - 1}, and (the shortest|every) text"):
            matching.processor(0, shortest - 1)


# A vocabulary in which not every text can be written, and patterns together with all texts that match them.
few_tokens = st.lists(st.text("abc", min_size=1, max_size=3).map(str.encode), min_size=1, max_size=6, unique=True)
one_text = st.text("abc", min_size=1, max_size=3).map(lambda text: (text, {text}))


def with_all_their_texts(inner):
    def together(pairs):
        (one, texts), (other, more) = pairs
        return one + other, {text + ending for text in texts for ending in more}

    def either(pairs):
        return f"({'|'.join(one for one, _ in pairs)})", set().union(*(texts for _, texts in pairs))

    def at_most_twice(pair):
        one, texts = pair
        return f"({one}){{0,2}}", {"", *texts, *(text + ending for text in texts for ending in texts)}

    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(st.tuples(inner, inner).map(together), several.map(either), inner.map(at_most_twice))


few_texts = st.recursive(one_text, with_all_their_texts, max_leaves=4).filter(
    lambda pair: sum(map(len, pair[1])) < 200  # so that all ways to cut them into tokens can be tried
)


@given(few_texts, few_tokens)
def test_just_those_tokens_are_allowed_after_which_the_text_can_be_finished(pattern_and_texts, tokens):
    """Against all matching texts, cut into tokens in all ways. No byte needs to be a token by itself."""
    pattern, matching = pattern_and_texts

    def cuts(text: bytes) -> list[tuple[int, ...]]:
        if not text:
            return [()]
        return [(i, *cut) for i, one in enumerate(tokens) if text.startswith(one) for cut in cuts(text[len(one) :])]

    finished = {cut for text in matching for cut in cuts(text.encode())}
    if not finished:
        with pytest.raises(InputError, match="no text matches that can be written in the tokens"):
            Constraint(regular_expression(pattern), Vocabulary([*tokens, None]), stop_tokens=(len(tokens),))
        return
    it = Constraint(regular_expression(pattern), Vocabulary([*tokens, None]), stop_tokens=(len(tokens),))
    for way in {cut[:n] for cut in finished for n in range(len(cut) + 1)}:
        state = it.state(way)
        assert it.automaton.accepts(state) == (way in finished)
        for left in (math.inf, 0, 1, 2):
            endings = [cut[len(way) :] for cut in finished if cut[: len(way)] == way and len(cut) - len(way) <= left]
            allowed = set(it.allowed(state, left).tolist())
            if left == math.inf:
                assert allowed == {ending[0] for ending in endings if ending}
            else:  # it need not know every way that is short enough, but the one that it has found
                assert allowed <= {ending[0] for ending in endings if ending}
                assert allowed or it.automaton.accepts(state) or it.tokens_to_finish(state) > left


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train("the cat, the hat 2024-05-06 été 😀 " * 3, 275)


@pytest.mark.parametrize("pattern", [r"\d{4}-\d\d-\d\d", "(the|été|😀)( hat)?", "[^a-z]{3}", "x*"])
def test_a_model_writes_what_matches(tokenizer, pattern):
    config = TransformerConfig.llama(vocab_size=275, context=16, layers=1, heads=2, width=8)
    end = tokenizer.end_of_text
    it = Constraint(regular_expression(pattern), Vocabulary.of(tokenizer), stop_tokens=(end,))
    prompt = tokenizer.encode("the cat 1")
    for seed in range(4):
        stages = SamplerChain((it.processor(len(prompt), max_tokens=25), Temperature(1.5), TopK(5)))
        rng = np.random.default_rng(seed)
        # A context of 16 is soon full; the stage goes on from the whole text all the same.
        ids = list(generate_tokens(Transformer(config, seed), prompt, 25, stages, rng, stop_tokens=(end,)))
        assert re.fullmatch(pattern, tokenizer.decode(ids, errors="strict"), re.ASCII)


def log_p(tokens: int) -> np.ndarray:
    return log_softmax(np.linspace(0.0, 1.0, tokens))


def test_allowed_tokens_keep_their_proportions():
    it = Constraint(regular_expression("ab?|c"), Vocabulary([None, b"a", b"b", b"c", b"ab", b"d"]), stop_tokens=(0,))
    processor = it.processor(after=1)
    p = np.exp(log_p(6))
    expected = np.where([False, True, False, True, True, False], p, 0.0)
    assert np.exp(normalized(processor(log_p(6), [5]))) == pytest.approx(expected / expected.sum())
    expected = np.where([True, False, True, False, False, False], p, 0.0)
    assert np.exp(normalized(processor(log_p(6), [5, 1]))) == pytest.approx(expected / expected.sum())
    assert np.exp(normalized(processor(log_p(6), [5, 3]))) == pytest.approx([1, 0, 0, 0, 0, 0])


def test_near_the_end_longer_tokens_are_counted_as_one():
    """Byte by byte the text takes 7 tokens; in the words of the vocabulary it takes 2."""
    tokens = [None, b"yes", b" sir", *[bytes([byte]) for byte in b"yes ir!"]]
    it = Constraint(regular_expression("yes sir|y+!"), Vocabulary(tokens), stop_tokens=(0,))
    assert it.tokens_to_finish(it.automaton.start) == 2
    long = Constraint(regular_expression("yes sir"), Vocabulary(tokens), stop_tokens=(0,))
    assert long.allowed(long.automaton.start, 2).tolist() == [1]
    with pytest.raises(InputError, match="max_tokens is 1, and every text that matches takes 2 tokens or more"):
        long.processor(0, max_tokens=1)


def test_forgetting_changes_nothing(monkeypatch):
    it = Constraint(regular_expression("[ab]{0,30}c"), Vocabulary([None, b"a", b"b", b"c", b"aa"]), stop_tokens=(0,))
    before = [write(it, seed) for seed in range(5)]
    monkeypatch.setattr(constraint, "KEPT_STATES", 5)
    monkeypatch.setattr(constraint, "KEPT_TOKENS", 5)
    assert [write(it, seed) for seed in range(5)] == before
    assert len(it.automaton) < 15


def test_errors():
    it = Constraint(regular_expression("ab"), Vocabulary([None, b"a", b"b"]), stop_tokens=(0,))
    with pytest.raises(InputError, match="token 2 cannot stand where it stands"):
        it.processor(after=1)(log_p(3), [0, 2])
    with pytest.raises(InputError, match="token 0 cannot stand"):
        it.processor(after=0)(log_p(3), [1, 0])
    with pytest.raises(InputError, match="put the constraint first"):
        SamplerChain((TopK(1), it.processor(after=0)))(log_p(3), [])
    with pytest.raises(InputError, match="no text matches that can be written"):
        Constraint(regular_expression("ab"), Vocabulary([None, b"a", b"bb"]), stop_tokens=(0,))
    with pytest.raises(InputError, match="stop_tokens is empty"):
        Constraint(regular_expression("ab"), Vocabulary([b"a", b"b"]), stop_tokens=())


def test_an_end_that_is_out_of_reach_is_not_looked_for():
    """Only the empty text can be finished within max_tokens: the way of a million tokens is never followed."""
    it = Constraint(regular_expression("(([A-Z][a-z]+){1000000}){0,3}"), Vocabulary([None, *EVERY_BYTE]), (0,))
    processor = it.processor(after=0, max_tokens=60)
    assert np.flatnonzero(processor(np.zeros(257), []) > -np.inf).tolist() == [0]
    assert len(it.automaton) < 1000
    some_bytes = Vocabulary([None, *(bytes([byte]) for byte in b"ABCxyz"), b"Ab"])
    it = Constraint(regular_expression("([A-Z][a-z]+){100000}"), some_bytes, (0,))
    assert it.tokens_to_finish(it.automaton.start, 50) == math.inf
    with pytest.raises(InputError, match=r"max_tokens is 5, and (every text|the shortest text that was found)"):
        it.processor(after=0, max_tokens=5)
    assert len(it.automaton) < 1000
