"""Speculative decoding changes how fast a text is written, and not what is written: the distribution stays the same."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Transformer, TransformerConfig
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import GrowingCache, SamplerChain, Temperature, TopK, generate_tokens, speculative
from tinygrad_llm.generation.constraints import Constraint, Vocabulary, regular_expression
from tinygrad_llm.generation.generate import next_log_probabilities, next_logits
from tinygrad_llm.generation.logits_processors import sampling_distribution
from tinygrad_llm.generation.penalties import FrequencyPenalty, NoRepeatNgrams
from tinygrad_llm.generation.speculative import (
    DraftModel,
    PromptLookup,
    Proposal,
    acceptance_probability,
    logits_after_each,
    replacement,
    settle,
    speculative_steps,
)
from tinygrad_llm.nn.functional import log_softmax

PROMPT = [3, 1, 4, 1, 5]


# --- every outcome of every random decision ---------------------------------------------------------------------


class EveryOutcome:
    """Decisions whose throws are decided beforehand: `path` says which of the possible outcomes each one has."""

    def __init__(self, path: tuple[int, ...]) -> None:
        self.path, self.probability = path, 1.0
        self.possible: list[int] = []  # how many outcomes each throw had

    def throw(self, p: np.ndarray) -> int:
        outcomes = np.flatnonzero(p > 0.0)
        turn = len(self.possible)
        self.possible.append(len(outcomes))
        outcome = outcomes[self.path[turn] if turn < len(self.path) else 0]
        self.probability *= p[outcome]
        return int(outcome)

    def token(self, log_p: np.ndarray) -> int:
        return self.throw(np.exp(log_p))

    def accept(self, probability: float) -> bool:
        return self.throw(np.array([1.0 - probability, probability])) == 1


def distribution(run) -> dict:
    """The exact probability of every result of `run(decisions)`, which runs once for each way they can turn out."""
    found: dict = {}
    waiting = [()]
    while waiting:
        path = waiting.pop()
        decisions = EveryOutcome(path)
        result = run(decisions)
        found[result] = found.get(result, 0.0) + decisions.probability
        for turn in range(len(path), len(decisions.possible)):
            decided = (*path, *[0] * (turn - len(path)))
            waiting.extend((*decided, other) for other in range(1, decisions.possible[turn]))
    return found


def test_every_outcome_is_counted():
    p = np.log([0.5, 0.25, 0.25])
    assert distribution(
        lambda decisions: (decisions.token(p), decisions.accept(0.1) and decisions.accept(0.5))
    ) == pytest.approx(
        {(x, yes): px * (0.05 if yes else 0.95) for x, px in enumerate([0.5, 0.25, 0.25]) for yes in (True, False)}
    )


def equal(one: dict, other: dict) -> None:
    """The same distribution, within 1e-12."""
    assert sum(one.values()) == pytest.approx(1.0, abs=1e-12)
    for result in one.keys() | other.keys():
        assert abs(one.get(result, 0.0) - other.get(result, 0.0)) < 1e-12, result


# --- one proposal, one round ------------------------------------------------------------------------------------

logits = st.lists(st.one_of(st.floats(-30.0, 30.0), st.just(-np.inf)), min_size=4, max_size=4)
some_distribution = logits.filter(lambda row: max(row) > -np.inf).map(lambda row: log_softmax(np.array(row)))


@given(some_distribution, some_distribution)
def test_a_token_comes_out_with_its_probability_whatever_the_draft_says(log_p, log_q):
    """Σ over proposals of q · (accepted, or replaced) = p, the sum in the papers' appendix, as it is."""
    for log_proposed in (log_q, log_p, None):
        out = np.zeros(4)
        drawn_from = [1.0, 0.0, 0.0, 0.0] if log_proposed is None else np.exp(log_proposed)
        for token, probability in enumerate(drawn_from):
            if probability > 0.0:
                proposal = Proposal(token, log_proposed)
                accepted = acceptance_probability(log_p, proposal)
                out[token] += probability * accepted
                if accepted < 1.0:
                    out += probability * (1.0 - accepted) * np.exp(replacement(log_p, proposal))
        assert np.abs(out - np.exp(log_p)).max() < 1e-12


def table(seed: int, tokens: int = 3):
    """Any distribution after any text, as a model without a network."""

    def log_p(text) -> np.ndarray:
        return log_softmax(2.0 * np.random.default_rng([seed, len(text), *text]).standard_normal(tokens))

    return log_p


def draft_of_table(log_q, sampler, text, count, decisions) -> list[Proposal]:
    proposals, written = [], list(text)
    for _ in range(count):
        drawn_from = sampling_distribution(sampler, log_q(written), written)
        proposals.append(Proposal(decisions.token(drawn_from), drawn_from))
        written.append(proposals[-1].token)
    return proposals


SAMPLERS = {
    "as the model says": SamplerChain(),
    "greedy": Temperature(0.0),
    "top-k": SamplerChain((Temperature(0.7), TopK(2))),
    "looks at the text": SamplerChain((FrequencyPenalty(0.9), NoRepeatNgrams(2), Temperature(1.3))),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_round_gives_texts_with_the_distribution_of_the_model(name, count):
    """Every outcome of every decision: after each possible beginning the next token has distribution p."""
    sampler, text = SAMPLERS[name], [0, 2, 1]
    for seed in range(3):
        log_p, log_q = table(seed), table(100 + seed)

        def one_round(decisions, log_p=log_p, log_q=log_q):
            proposals = draft_of_table(log_q, sampler, text, count, decisions)
            beginnings = [[*text, *(one.token for one in proposals[:n])] for n in range(count + 1)]
            rows = np.array([log_p(beginning) for beginning in beginnings])
            return tuple(drawn.token for drawn in settle(proposals, rows, sampler, text, decisions))

        rounds = distribution(one_round)
        for length in range(count + 1):
            for beginning in {tokens[:length] for tokens in rounds if len(tokens) > length}:
                going_on = {
                    tokens: probability
                    for tokens, probability in rounds.items()
                    if len(tokens) > length and tokens[:length] == beginning
                }
                p = np.exp(sampling_distribution(sampler, log_p([*text, *beginning]), [*text, *beginning]))
                together = sum(going_on.values())
                for token in range(3):
                    share = sum(some for tokens, some in going_on.items() if tokens[length] == token) / together
                    assert abs(share - p[token]) < 1e-12


# --- whole texts ------------------------------------------------------------------------------------------------

TINY = {"vocab_size": 3, "layers": 1, "heads": 1, "width": 4}


def tiny(seed: int, context: int = 16) -> Transformer:
    model = Transformer(TransformerConfig.gpt2(context=context, **TINY), seed=seed)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) * (1.0 if parameter.ndim > 1 else 0.3)
    return model


def plain_distribution(model: Transformer, prompt, length: int, sampler, stop_tokens=()) -> dict:
    """The probability of every text as the loop without a draft defines it: the product of those of its tokens."""
    found: dict = {}

    def go_on(text, first, probability):
        written = tuple(text[len(prompt) :])
        if len(written) == length:
            found[written] = found.get(written, 0.0) + probability
            return
        if len(text) - first > model.config.context:
            first = len(text) - max(1, model.config.context // 2)
        p = np.exp(sampling_distribution(sampler, next_logits(model, text[first:], GrowingCache(model.config)), text))
        for token in np.flatnonzero(p > 0.0).tolist():
            if token in stop_tokens:
                found[written] = found.get(written, 0.0) + probability * p[token]
            else:
                go_on([*text, token], first, probability * p[token])

    go_on(list(prompt), 0, 1.0)
    return found


AB = Vocabulary([b"a", b"b", None])


@pytest.mark.parametrize(
    ("name", "draft", "context", "stop_tokens"),
    [
        ("as the model says", "model", 16, ()),
        ("as the model says", "lookup", 16, (2,)),
        ("looks at the text", "model", 16, (2,)),
        ("looks at the text", "lookup", 4, ()),
        ("top-k", "model", 4, ()),  # the view moves on the way, and the draft sees even less
        ("greedy", "model", 16, ()),
        ("constraint", "model", 16, (2,)),
        ("constraint", "lookup", 16, (2,)),
    ],
)
def test_whole_texts_have_the_distribution_of_plain_sampling(name, draft, context, stop_tokens):
    """A real model with its cache, a real draft with its own: every outcome of all decisions, summed up."""
    model, length = tiny(1, context), 3
    prompt = [0, 1, 2, 0]
    constraint = Constraint(regular_expression("(ab|b?a)b?"), AB, stop_tokens=(2,))
    sampler = constraint.processor(after=4, max_tokens=length) if name == "constraint" else SAMPLERS[name]
    guess = PromptLookup(count=2, shortest=1) if draft == "lookup" else DraftModel(tiny(2, min(context, 8)), count=2)

    def write(decisions):
        cache = GrowingCache(model.config)
        drawn = speculative._steps(model, guess, list(prompt), length, sampler, decisions, cache, stop_tokens)
        return tuple(one.token for one in drawn)

    equal(distribution(write), plain_distribution(model, prompt, length, sampler, stop_tokens))
    assert guess.acceptance.proposed > 0


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("context", [5, 16, 64])
def test_greedy_texts_are_the_same_token_for_token(make_model, kind, context):
    model = make_model(kind, context)
    drafts = [DraftModel(make_model(kind, 16, seed=1), 3), DraftModel(model, 5), PromptLookup(4), PromptLookup(1, 1, 1)]
    expected = list(generate_tokens(model, PROMPT, 25, Temperature(0.0), np.random.default_rng(0)))
    for draft in drafts:
        for _ in range(2):  # a draft may be used again
            drawn = speculative_steps(model, draft, PROMPT, 25, Temperature(0.0), np.random.default_rng(0))
            assert [one.token for one in drawn] == expected
        assert draft.acceptance.tokens == 50


def test_a_draft_that_is_the_model_itself_is_always_right(make_model):
    model = make_model("llama", 64)
    draft = DraftModel(make_model("llama", 64), count=4)
    sampler = SamplerChain((FrequencyPenalty(0.3), Temperature(0.9), TopK(30)))
    list(speculative_steps(model, draft, PROMPT, 50, sampler, np.random.default_rng(0)))
    assert draft.acceptance.rate == 1.0
    assert draft.acceptance.passes == 10 and draft.acceptance.tokens_per_pass == 5.0
    assert str(draft.acceptance) == (
        "50 tokens in 10 passes of the model, 5.00 per pass; 40 of 40 proposals accepted (100%)"
    )


def test_the_distributions_are_those_of_the_loop_without_a_draft(make_model):
    model, sampler = make_model("gpt2", 64), SamplerChain((FrequencyPenalty(0.5), Temperature(0.8)))
    draft = DraftModel(make_model("gpt2", 64, seed=1), count=3)
    text = list(PROMPT)
    for drawn in speculative_steps(model, draft, PROMPT, 20, sampler, np.random.default_rng(1)):
        log_p = next_log_probabilities(model, text, GrowingCache(model.config))
        assert np.abs(drawn.log_p - log_p).max() < 1e-10
        assert np.abs(drawn.sampled_log_p - sampling_distribution(sampler, log_p, text)).max() < 1e-10
        text.append(drawn.token)
    assert 0 < draft.acceptance.accepted < draft.acceptance.proposed  # both kinds of rounds were seen


@pytest.mark.parametrize("taken", range(1, 12))
def test_whoever_stops_anywhere_leaves_a_cache_that_is_right(make_model, taken):
    model, cache = make_model("llama", 64), None
    cache = GrowingCache(model.config)
    draft = DraftModel(make_model("llama", 64), count=4)
    drawn = speculative_steps(model, draft, PROMPT, 30, Temperature(0.9), np.random.default_rng(2), cache=cache)
    text = [*PROMPT, *(one.token for one in itertools.islice(drawn, taken))]
    drawn.close()
    assert cache.length <= len(text) - 1
    continued = next_log_probabilities(model, text[cache.length :], cache)
    assert np.abs(continued - next_log_probabilities(model, text, GrowingCache(model.config))).max() < 1e-10


def test_a_stop_token_ends_the_text_wherever_it_is_drawn(make_model):
    model = make_model("llama", 64)
    expected = list(generate_tokens(model, PROMPT, 30, Temperature(0.0), np.random.default_rng(0)))
    for stop in set(expected):
        for draft in (DraftModel(make_model("llama", 64), 4), PromptLookup(4)):
            cache = GrowingCache(model.config)
            drawn = speculative_steps(
                model, draft, PROMPT, 30, Temperature(0.0), np.random.default_rng(0), cache=cache, stop_tokens=(stop,)
            )
            tokens = [one.token for one in drawn]
            assert tokens == expected[: expected.index(stop)]
            assert cache.length < len(PROMPT) + max(1, len(tokens))


def test_a_cache_may_remember_the_beginning_of_the_prompt(make_model):
    model = make_model("gpt2", 64)
    expected = list(generate_tokens(model, PROMPT, 12, Temperature(0.0), np.random.default_rng(0)))
    for known in range(1, 5):
        cache = GrowingCache(model.config)
        next_log_probabilities(model, PROMPT[:known], cache)
        drawn = speculative_steps(
            model, PromptLookup(), PROMPT, 12, Temperature(0.0), np.random.default_rng(0), cache=cache
        )
        assert [one.token for one in drawn] == expected


def test_a_guess_may_come_to_where_nothing_can_follow():
    """Each token may stand once, and there are three of them: after two guesses the draft has no more to say."""
    model, draft = tiny(1), DraftModel(tiny(1), count=5)
    sampler = SamplerChain((NoRepeatNgrams(1), Temperature(0.7)))
    drawn = speculative_steps(model, draft, [0], 9, sampler, np.random.default_rng(0))
    assert sorted(one.token for one in itertools.islice(drawn, 2)) == [1, 2]
    with pytest.raises(InputError, match="the sampler leaves no token"):  # as without a draft
        next(drawn)


def test_a_window_forgets_nothing_that_is_needed_again():
    """Caches that drop all but the window and eight positions, many times over."""
    config = TransformerConfig.llama(
        vocab_size=50, context=120, layers=2, heads=2, width=16, window=4, full_attention_every=2
    )
    model, other = Transformer(config, seed=3), Transformer(config, seed=4)
    for network in (model, other):
        for parameter in network.parameters():
            parameter.data = parameter.data.astype(np.float64) * (6.0 if parameter.ndim > 1 else 1.0)
    expected = list(generate_tokens(model, PROMPT, 110, Temperature(0.0), np.random.default_rng(0)))
    guessing = DraftModel(other, 3)
    guessing._cache = GrowingCache(config, undo=8)
    for draft in (guessing, PromptLookup(7)):
        cache = GrowingCache(config, undo=8)
        drawn = speculative_steps(model, draft, PROMPT, 110, Temperature(0.0), np.random.default_rng(0), cache=cache)
        assert [one.token for one in drawn] == expected
        assert cache.earliest > 50


# --- prompt look-up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ([1, 2, 3, 9, 1, 2, 3], {}, [9, 1, 2, 3]),
        ([1, 2, 3, 9, 5, 2, 3, 8, 1, 2, 3], {}, [9, 5, 2, 3]),  # three tokens back rather than the two that are nearer
        ([1, 2, 3, 9, 5, 2, 3, 8, 1, 2, 3], {"longest": 2}, [8, 1, 2, 3]),  # the last of several places
        ([7, 1, 7, 2, 7], {"longest": 1, "shortest": 1}, [2, 7, 2, 7]),  # past the end it copies what it has written
        ([4, 4], {"shortest": 1}, [4, 4, 4, 4]),
        ([4, 4, 4], {}, [4, 4, 4, 4]),
        ([1, 2, 3], {}, []),
        ([1, 5, 1], {}, []),
        ([1], {}, []),
    ],
)
def test_prompt_lookup_finds_the_last_place_that_looks_like_the_end(text, options, expected):
    proposals = PromptLookup(count=4, **options).propose(text, 4, SamplerChain(), None, ())
    assert [one.token for one in proposals] == expected
    assert all(one.log_q is None for one in proposals)


def test_nothing_is_proposed_after_a_stop_token():
    assert [one.token for one in PromptLookup().propose([1, 2, 6, 3, 1, 2], 9, SamplerChain(), None, (6,))] == [6]


def test_repetitions_are_written_several_tokens_at_a_time(make_model):
    """What a prompt says again and again, and the model as well, needs fewer passes than tokens."""
    model = make_model("llama", 64)
    for parameter in model.parameters():
        parameter.data[...] = 0.0  # greedily it writes 0 for ever
    draft = PromptLookup(count=7)
    drawn = speculative_steps(model, draft, PROMPT, 35, Temperature(0.0), np.random.default_rng(0))
    assert [one.token for one in drawn] == [0] * 35
    assert draft.acceptance.passes == 7 and draft.acceptance.tokens_per_pass == 5.0


# --- reading several tokens at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 3, 33])
def test_each_place_is_read_as_if_it_were_the_last(make_model, monkeypatch, last):
    monkeypatch.setattr(speculative, "PREFILL", 10)
    model = make_model("llama", 40)
    ids = np.random.default_rng(0).integers(0, 50, 33).tolist()
    cache = GrowingCache(model.config)
    rows = logits_after_each(model, ids, cache, last)
    assert rows.shape == (last, 50) and rows.dtype == np.float64 and cache.length == 33
    for n in range(last):
        alone = next_logits(model, ids[: 33 - last + 1 + n], GrowingCache(model.config))
        assert np.abs(rows[n] - alone).max() < 1e-10


def test_errors(make_model):
    model, rng = make_model("gpt2"), np.random.default_rng(0)
    with pytest.raises(InputError, match="draft: it knows 3 tokens and the model 50"):
        speculative_steps(model, DraftModel(tiny(0)), PROMPT, 3, SamplerChain(), rng)
    with pytest.raises(InputError, match="count must be an integer from 1 to 255, it was 0"):
        PromptLookup(count=0)
    with pytest.raises(InputError, match="count must be an integer"):
        DraftModel(model, count=256)
    with pytest.raises(InputError, match="shortest must be 1 to longest; they were 4 and 3"):
        PromptLookup(shortest=4)
    with pytest.raises(InputError, match="max_tokens must be an integer of at least 0"):
        speculative_steps(model, PromptLookup(), PROMPT, -1, SamplerChain(), rng)
    with pytest.raises(InputError, match="17 tokens long"):
        speculative_steps(model, PromptLookup(), [0] * 17, 3, SamplerChain(), rng)
    cache = GrowingCache(model.config)
    next_log_probabilities(model, PROMPT, cache)
    with pytest.raises(InputError, match=r"cache\.truncate"):
        speculative_steps(model, PromptLookup(), PROMPT, 3, SamplerChain(), rng, cache=cache)
    model.final_norm.weight.data[0] = np.nan
    with pytest.raises(InputError, match="diverged"):
        list(speculative_steps(model, PromptLookup(), PROMPT, 3, SamplerChain(), rng))
