"""Several texts at once: for each of them the same as alone."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.generation import (
    GrowingCache,
    SamplerChain,
    Temperature,
    TopK,
    generate_batch,
    generate_batch_steps,
    generate_steps,
    generate_tokens,
    next_log_probabilities,
)
from tinygrad_llm.generation import generate as generate_module

KINDS = ["gpt2", "llama", "gemma3"]
CHAIN = SamplerChain((Temperature(0.9), TopK(20)))
GREEDY = Temperature(0.0)
PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [5], [3, 5, 8, 9, 7], [3, 5, 8, 9, 7]]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(row) for row in range(count)]


def alone(model, prompts, max_tokens, samplers, **options) -> list[list[int]]:
    return [
        list(generate_tokens(model, prompt, max_tokens, sampler, rng, **options))
        for prompt, sampler, rng in zip(prompts, samplers, generators(len(prompts)), strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sampler", [GREEDY, CHAIN])
def test_tokens_and_distributions_are_those_of_each_prompt_alone(make_model, kind, dtype, sampler):
    """Also when the texts are longer than the context (16), at different moments."""
    model = make_model(kind, dtype=dtype)
    written = [[] for _ in PROMPTS]
    for row, drawn in generate_batch_steps(model, PROMPTS, 40, [sampler] * 4, generators(4)):
        written[row].append(drawn)
    for prompt, rng, of_row in zip(PROMPTS, generators(4), written, strict=True):
        expected = list(generate_steps(model, prompt, 40, sampler, rng))
        assert [one.token for one in of_row] == [one.token for one in expected]
        for one, other in zip(of_row, expected, strict=True):
            assert np.abs(one.log_p - other.log_p).max() < TOLERANCE[dtype]
            if sampler is CHAIN:
                assert np.abs(np.exp(one.sampled_log_p) - np.exp(other.sampled_log_p)).max() < TOLERANCE[dtype]


def test_each_prompt_has_its_own_sampler_and_its_own_end(model):
    samplers = [CHAIN, GREEDY, Temperature(1.5), CHAIN]
    whole = alone(model, PROMPTS, 30, samplers)
    stops = {whole[0][5], whole[2][12]}
    expected = alone(model, PROMPTS, 30, samplers, stop_tokens=stops)
    assert len(set(map(len, expected))) > 1
    assert generate_batch(model, PROMPTS, 30, samplers, generators(4), stop_tokens=stops) == expected


def test_a_text_that_has_ended_costs_nothing_any_more(model, monkeypatch):
    """The rows of what is read become fewer, and the padding that only the longest text caused is gone."""
    shapes = []
    read = generate_module.next_logits

    def watched(model, ids, cache):
        log_p = read(model, ids, cache)
        shapes.append((len(ids), cache.length))
        return log_p

    monkeypatch.setattr("tinygrad_llm.generation.batch.next_logits", watched)
    ends = {0: 2, 1: 4, 2: 3}  # tokens after which each text ends
    given = [0, 0, 0]

    def finished(row):
        given[row] += 1
        return given[row] == ends[row]

    rows = [
        row for row, _ in generate_batch_steps(model, PROMPTS[:3], 9, [CHAIN] * 3, generators(3), finished=finished)
    ]
    assert rows == [0, 1, 2, 0, 1, 2, 1, 2, 1]  # in turns, in the order of the prompts
    assert shapes == [(3, 8), (3, 9), (2, 7), (1, 4)]


def test_equal_prompts_are_read_once(model, monkeypatch):
    lengths = []
    read = generate_module.next_logits
    monkeypatch.setattr(
        "tinygrad_llm.generation.batch.next_logits",
        lambda model, ids, cache: lengths.append(np.shape(ids)) or read(model, ids, cache),
    )
    tokens = generate_batch(model, [PROMPTS[0]] * 5, 3, [CHAIN] * 5, generators(5))
    assert lengths == [(1, 8), (5, 1), (5, 1)]
    assert tokens == alone(model, [PROMPTS[0]] * 5, 3, [CHAIN] * 5)


def test_long_prompts_are_read_in_pieces(make_model, monkeypatch):
    model = make_model("gemma3", context=64)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 50, length) for length in (50, 31, 44)]
    monkeypatch.setattr(generate_module, "PREFILL", 20)
    assert generate_batch(model, prompts, 10, [CHAIN] * 3, generators(3)) == alone(model, prompts, 10, [CHAIN] * 3)


def test_rows_of_the_next_log_probabilities(model):
    rows = np.random.default_rng(0).integers(0, 50, (3, 6))
    log_p = next_log_probabilities(model, rows, GrowingCache(model.config))
    assert log_p.shape == (3, 50)
    for row, of_row in zip(rows, log_p, strict=True):
        assert of_row == pytest.approx(next_log_probabilities(model, row, GrowingCache(model.config)), abs=1e-12)


def test_no_prompts_and_no_tokens(model):
    assert generate_batch(model, [], 5, [], []) == []
    assert generate_batch(model, PROMPTS, 0, [CHAIN] * 4, generators(4)) == [[]] * 4


def test_errors_come_before_anything_is_read(model):
    with pytest.raises(InputError, match="17 tokens long"):
        generate_batch_steps(model, [[1], [1] * 17], 5, [CHAIN] * 2, generators(2))
    with pytest.raises(InputError, match="2 prompts, 1 samplers and 3 generators"):
        generate_batch_steps(model, [[1], [2]], 5, [CHAIN], generators(3))
    with pytest.raises(InputError, match="max_tokens must be an integer of at least 0"):
        generate_batch_steps(model, [[1]], -1, [CHAIN], generators(1))


@pytest.mark.download
@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma-3-270m"])
@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": 0.8, "top_p": 0.95, "seed": 3}])
def test_real_models_write_the_same_together_and_alone(name, options):
    try:
        model = tg.load(name)
    except MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    prompts = ["The capital of France is", "Once upon a time, in a small village near the sea, there", "def f(n):\n"]
    for row, written in enumerate(model.generate_batch(prompts, 12, **options)):
        alone = model.generate(prompts[row], 12, **options | {"seed": options.get("seed", 0) + row})
        assert written == alone
        assert written.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-4)
