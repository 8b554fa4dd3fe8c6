"""Beam search, best of n and the tree, against all continuations that there are: on a vocabulary of five they fit."""

import functools
import itertools
import math

import numpy as np
import pytest

from tinygrad_llm import Transformer, TransformerConfig, no_grad
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    Continuation,
    NoRepeatNgrams,
    SamplerChain,
    Temperature,
    TopK,
    beam_search,
    best_of_n,
    continuation_tree,
    generate_tokens,
    text_alternatives,
    tree,
)
from tinygrad_llm.generation.logits_processors import sampling_distribution
from tinygrad_llm.nn.functional import log_softmax
from tinygrad_llm.text import Tokenizer

V, PROMPT, LENGTH, STOP = 5, [3, 1, 4], 4, 2
SIZES = {"vocab_size": V, "context": 8, "layers": 2, "heads": 2, "width": 8}
MODELS = {}
for kind, config in [
    ("gpt2", TransformerConfig.gpt2(**SIZES)),
    ("llama", TransformerConfig.llama(tied=False, **SIZES)),
    ("mistral", TransformerConfig.llama(window=3, kv_heads=1, **SIZES)),
]:
    MODELS[kind] = Transformer(config)
    for parameter in MODELS[kind].parameters():
        noise = np.random.default_rng(5).standard_normal(parameter.shape)
        parameter.data = 4.0 * parameter.data.astype(np.float64) + 0.3 * noise


@pytest.fixture(params=list(MODELS))
def model(request) -> Transformer:
    return MODELS[request.param]


def distributions(model, texts: np.ndarray) -> np.ndarray:
    """log p of what may come at each place after the prompt, without a cache: (N, T) -> (N, T, V)."""
    with no_grad():
        logits = model(np.concatenate([np.tile(PROMPT, (len(texts), 1)), texts], axis=1)).numpy().astype(np.float64)
    return log_softmax(logits[:, len(PROMPT) - 1 : -1])


@functools.cache
def all_distributions(model) -> dict[tuple[int, ...], np.ndarray]:
    """Those of all texts of full length."""
    texts = list(itertools.product(range(V), repeat=LENGTH))
    return dict(zip(texts, distributions(model, np.array(texts)), strict=True))


def steps(model, tokens, sampler=None) -> list[float]:
    """log p of each token after the prompt."""
    if len(tokens) <= LENGTH:
        log_p = all_distributions(model)[(*tokens, *[0] * (LENGTH - len(tokens)))][: len(tokens)]
    else:
        log_p = distributions(model, np.array([tokens]))[0]
    if sampler is not None:
        log_p = [sampling_distribution(sampler, row, PROMPT + list(tokens[:t])) for t, row in enumerate(log_p)]
    return [float(row[token]) for row, token in zip(log_p, tokens, strict=True)]


def continuation(model, tokens, ended=False, sampler=None) -> Continuation:
    return Continuation(
        tuple(tokens[:-1] if ended else tokens), tuple(steps(model, tokens)), tuple(steps(model, tokens, sampler))
    )


@functools.cache
def everything(model, stop=True, sampler=None, length=LENGTH) -> list[Continuation]:
    """All continuations: those that a stop token ends, and those that have full length."""
    result = []
    for n in range(1, length + 1):
        for tokens in itertools.product(range(V), repeat=n):
            ended = stop and tokens[-1] == STOP
            if (ended or n == length) and not (stop and STOP in tokens[:-1]):
                result.append(continuation(model, tokens, ended, sampler))
    return result


def wu(one: Continuation, penalty: float) -> float:
    """The score of Wu et al. 2016."""
    return one.sampled_log_p / ((5 + one.length) ** penalty / (5 + 1) ** penalty)


def same(found: list[Continuation], expected: list[Continuation]) -> bool:
    assert [(one.tokens, one.ended) for one in found] == [(one.tokens, one.ended) for one in expected]
    for a, b in zip(found, expected, strict=True):
        assert a.log_p_of_each == pytest.approx(b.log_p_of_each, abs=1e-10)
        assert a.sampled_log_p_of_each == pytest.approx(b.sampled_log_p_of_each, abs=1e-10)
    return True


def test_all_continuations_together_have_probability_one(model):
    """So the lists that the others are compared with are complete."""
    assert math.fsum(math.exp(one.log_p) for one in everything(model)) == pytest.approx(1.0, abs=1e-10)
    assert math.fsum(math.exp(one.log_p) for one in everything(model, stop=False)) == pytest.approx(1.0, abs=1e-10)


# --- beam search ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("stop", [True, False])
def test_a_beam_that_leaves_nothing_out_finds_the_best_of_all(model, stop, penalty):
    every = sorted(everything(model, stop), key=lambda one: -wu(one, penalty))
    found = beam_search(model, PROMPT, len(every), LENGTH, length_penalty=penalty, stop_tokens=(STOP,) if stop else ())
    assert same(found, every)


@pytest.mark.parametrize("stop_tokens", [(), (STOP,)])
def test_one_beam_is_greedy(model, stop_tokens):
    greedy = tuple(
        generate_tokens(model, PROMPT, 5, Temperature(0.0), np.random.default_rng(0), stop_tokens=stop_tokens)
    )
    (found,) = beam_search(model, PROMPT, 1, 5, stop_tokens=stop_tokens)
    assert found.tokens == greedy
    assert same([found], [continuation(model, [*greedy, *[STOP] * found.ended], found.ended)])


def slow_beam_search(model, beams, penalty):
    """Sutskever et al. 2014, section 3.2, with every list sorted whole and every text read from its beginning."""
    alive, ended = [()], []
    for _ in range(LENGTH):
        longer = sorted(((*tokens, i) for tokens in alive for i in range(V)), key=lambda x: -sum(steps(model, x)))
        alive = []
        for tokens in longer:
            if tokens[-1] == STOP:
                ended.append(continuation(model, tokens, True))
            else:
                alive.append(tokens)
            if len(alive) == beams:
                break
    found = ended + [continuation(model, tokens) for tokens in alive]
    return sorted(found, key=lambda one: -wu(one, penalty))[:beams]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("beams", [2, 3, 7])
def test_a_narrow_beam_is_the_plain_algorithm(model, beams, penalty):
    found = beam_search(model, PROMPT, beams, LENGTH, length_penalty=penalty, stop_tokens=(STOP,))
    assert same(found, slow_beam_search(model, beams, penalty))


def test_a_wider_beam_finds_what_greedy_misses():
    """If it did not in any of the models, the tests above would show little."""
    better = 0
    for model in MODELS.values():
        (greedy,) = beam_search(model, PROMPT, 1, LENGTH)
        best = beam_search(model, PROMPT, 20, LENGTH)[0]
        assert best.log_p >= greedy.log_p - 1e-9
        better += best.log_p > greedy.log_p + 0.1
    assert better


def test_a_length_penalty_prefers_longer_texts(model):
    lengths = [
        beam_search(model, PROMPT, 200, LENGTH, length_penalty=penalty, stop_tokens=(STOP,))[0].length
        for penalty in (0.0, 1.0, 3.0, 10.0)
    ]
    assert lengths == sorted(lengths) and lengths[-1] == LENGTH


def test_a_sampler_changes_what_is_searched(model):
    sampler = NoRepeatNgrams(1)
    every = sorted(everything(model, sampler=sampler, length=2), key=lambda one: -one.sampled_log_p)
    possible = [one for one in every if one.sampled_log_p > -np.inf]
    found = beam_search(model, PROMPT, 99, 2, sampler=sampler, stop_tokens=(STOP,))
    assert same(found, possible)
    assert len(possible) < len(every)


def test_nothing_is_asked_for(model):
    assert beam_search(model, PROMPT, 3, 0) == [Continuation()]
    assert best_of_n(model, PROMPT, 2, 0, SamplerChain(), generators(2)) == [Continuation()] * 2
    assert Continuation().log_p == Continuation().mean_log_p == 0.0


# --- best of n --------------------------------------------------------------------------------------------------


def generators(count: int, seed: int = 7) -> list[np.random.Generator]:
    return [np.random.default_rng(seed + i) for i in range(count)]


@pytest.mark.parametrize("by", ["mean", "sum"])
def test_each_is_what_its_generator_draws_and_the_best_comes_first(model, by):
    sampler, count = SamplerChain((TopK(4), Temperature(1.3))), 9
    found = best_of_n(model, PROMPT, count, LENGTH, sampler, generators(count), by=by, stop_tokens=(STOP,))
    one_by_one = []
    for rng in generators(count):
        tokens = list(generate_tokens(model, PROMPT, LENGTH, sampler, rng, stop_tokens=(STOP,)))
        ended = len(tokens) < LENGTH
        one_by_one.append(continuation(model, [*tokens, *[STOP] * ended], ended, sampler))
    one_by_one.sort(key=lambda one: -one.log_p / (one.length if by == "mean" else 1))
    assert same(found, one_by_one)
    assert len({one.length for one in found}) > 1  # some ended before others


def test_more_of_them_do_not_change_the_earlier_ones(model):
    few, many = (best_of_n(model, PROMPT, n, LENGTH, Temperature(1.5), generators(n)) for n in (2, 6))
    assert {one.tokens for one in few} <= {one.tokens for one in many}


def test_they_may_be_finished_by_other_things_than_a_stop_token(model):
    def finished(tokens):
        return tokens[-1] == 1

    for one in beam_search(model, PROMPT, 20, LENGTH, finished=finished):
        assert 1 not in one.tokens[:-1] and (len(one.tokens) == LENGTH or one.tokens[-1] == 1) and not one.ended
    whole = best_of_n(model, PROMPT, 9, LENGTH, Temperature(1.5), generators(9))
    cut = best_of_n(model, PROMPT, 9, LENGTH, Temperature(1.5), generators(9), finished=finished)
    expected = {one.tokens[: one.tokens.index(1) + 1] if 1 in one.tokens else one.tokens for one in whole}
    assert {one.tokens for one in cut} == expected


def test_as_texts_after_a_prompt():
    tokenizer = Tokenizer.train("", 256)
    one = Continuation(tuple(b"not to be"), (-1.0,) * 10, (-0.5,) * 10)
    written = one.to_text("or ", tokenizer)
    assert (written.prompt, written, written.ending) == ("or ", "not to be", "stop token")
    assert written.log_probabilities.tolist() == [-1.0] * 9 and written.sampled_log_probabilities.sum() == -4.5
    stopped = one.to_text("or ", tokenizer, stop="to")
    assert (stopped, stopped.ending) == ("not ", "stop string")
    assert Continuation((65,), (-1.0,), (-1.0,)).to_text("", tokenizer).ending == "max tokens"


# --- the tree ---------------------------------------------------------------------------------------------------


def leaves_and_others(root) -> float:
    """The probability of everything that the tree says, shown or summed up."""
    total = 0.0
    for _, node in root.walk():
        if node.children:
            total += math.exp(node.path_log_p) * node.others_p
        else:
            total += math.exp(node.path_log_p)
    return total


@pytest.mark.parametrize("together", [8, 2])
def test_with_nothing_left_out_the_tree_is_all_there_is(model, together, monkeypatch):
    monkeypatch.setattr(tree, "TOGETHER", together)
    root = continuation_tree(model, PROMPT, LENGTH, V, mass=1.0, least=1e-300, stop_tokens=(STOP,))
    leaves = {(path, node.ended): node for path, node in root.walk() if not node.children}
    every = {(one.tokens + (STOP,) * one.ended, one.ended): one for one in everything(model)}
    assert leaves.keys() == every.keys()
    for key, node in leaves.items():
        assert node.path_log_p == pytest.approx(every[key].log_p, abs=1e-10)
    assert leaves_and_others(root) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("branches", [1, 3])
@pytest.mark.parametrize("mass", [0.3, 0.9])
@pytest.mark.parametrize("least", [0.2, 0.01])
def test_cut_anywhere_the_probabilities_are_exact_and_sum_to_one(model, branches, mass, least):
    root = continuation_tree(model, PROMPT, LENGTH, branches, mass=mass, least=least, stop_tokens=(STOP,))
    assert leaves_and_others(root) == pytest.approx(1.0, abs=1e-10)
    for path, node in root.walk():
        if path:
            alone = steps(model, path)
            assert node.log_p == pytest.approx(alone[-1], abs=1e-10)
            assert node.path_log_p == pytest.approx(sum(alone), abs=1e-10)
            assert math.exp(node.path_log_p) >= least
        p = [math.exp(child.log_p) for child in node.children]
        assert p == sorted(p, reverse=True)
        assert len(p) <= branches and math.fsum(p[:-1]) < mass  # none more than needed
        next_p = [math.exp(steps(model, [*path, i])[-1]) for i in range(V)] if len(path) < LENGTH else []
        if not node.ended and len(p) < branches and math.fsum(p) < mass and next_p:
            left_out = sorted(next_p, reverse=True)[len(p)]
            assert math.exp(node.path_log_p) * left_out < least * (1 + 1e-9)
        if p:
            assert math.fsum(p) + node.others_p == pytest.approx(1.0, abs=1e-12)
            assert node.others == V - len(p)


def test_a_sampler_prunes_the_tree(model):
    root = continuation_tree(model, PROMPT, 3, V, mass=1.0, least=1e-300, sampler=TopK(2))
    assert all(len(node.children) in (0, 2) and node.others == 0 for _, node in root.walk())
    assert leaves_and_others(root) == pytest.approx(1.0, abs=1e-10)


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: beam_search(model, PROMPT, 0, 3), "beams must be an integer of at least 1, it was 0"),
        (lambda model: beam_search(model, PROMPT, 2, -1), "max_tokens must be an integer of at least 0, it was -1"),
        (lambda model: beam_search(model, PROMPT, 2, 7), "3 tokens and then 7 .* which is 8; at most 6 fit"),
        (lambda model: beam_search(model, [9], 2, 3), "ids must be 0 to 4"),
        (lambda model: beam_search(model, PROMPT, 2, 3, length_penalty=-1), "length_penalty must be a number of at"),
        (
            lambda model: best_of_n(model, PROMPT, 0, 3, SamplerChain(), []),
            "count must be an integer of at least 1, it was 0",
        ),
        (lambda model: best_of_n(model, PROMPT, 3, 3, SamplerChain(), generators(2)), "count was 3, with 2 generators"),
        (
            lambda model: best_of_n(model, PROMPT, 2, 3, SamplerChain(), generators(2), by="best"),
            "by must be 'mean' or 'sum'",
        ),
        (lambda model: best_of_n(model, PROMPT, 2, 7, SamplerChain(), generators(2)), "at most 6 fit"),
        (lambda model: continuation_tree(model, PROMPT, 0), "depth must be an integer of at least 1, it was 0"),
        (lambda model: continuation_tree(model, PROMPT, 2, least=0.0), "must be above 0 and at most 1, it was"),
        (lambda model: continuation_tree(model, PROMPT, 7), "depth: 3 tokens and then 7 .* at most 6 fit"),
    ],
)
def test_what_cannot_be_is_an_error(call, message):
    with pytest.raises(InputError, match=message):
        call(MODELS["gpt2"])


def test_on_a_gpu():
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")

    def everything_found():
        return [
            beam_search(model, PROMPT, 3, LENGTH, stop_tokens=(STOP,)),
            best_of_n(model, PROMPT, 5, LENGTH, Temperature(1.5), generators(5), stop_tokens=(STOP,)),
            [path for path, _ in continuation_tree(model, PROMPT, stop_tokens=(STOP,)).walk()],
            [one.rank for one in text_alternatives(model, [*PROMPT, 0, 2, 1])],
        ]

    for model in MODELS.values():
        on_the_host = everything_found()
        model.to("cuda")
        on_the_gpu = everything_found()
        model.to("cpu")
        for found, expected in zip(on_the_gpu[:2], on_the_host[:2], strict=True):
            assert same(found, expected)
        assert on_the_gpu[2:] == on_the_host[2:]


def test_the_context_is_used_to_its_last_place(model):
    assert len(beam_search(model, PROMPT, 2, 6)[0].tokens) == 6
