"""The stages against values worked out by hand, against slow plain versions of themselves, their laws, and sampling."""

import doctest
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    LogitBias,
    MinP,
    SamplerChain,
    Temperature,
    TopK,
    TopP,
    Typical,
    logits_processors,
    sample,
)
from tinygrad_llm.generation.logits_processors import normalized, sampling_distribution
from tinygrad_llm.nn.functional import log_softmax

P = np.array([0.1, 0.4, 0.05, 0.3, 0.15])


def after(stage, probabilities) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.exp(normalized(stage(np.log(probabilities))))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(logits_processors, extraglobs={"np": np, "math": math})
    assert tried >= 7 and not failed


# --- by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Temperature(1.0), P),
        (Temperature(0.5), np.array([0.01, 0.16, 0.0025, 0.09, 0.0225]) / 0.285),  # squares
        (Temperature(2.0), np.sqrt(P) / np.sqrt(P).sum()),
        (Temperature(0.0), [0, 1, 0, 0, 0]),
        (TopK(1), [0, 1, 0, 0, 0]),
        (TopK(2), [0, 4 / 7, 0, 3 / 7, 0]),
        (TopK(3), [0, 8 / 17, 0, 6 / 17, 3 / 17]),
        (TopK(5), P),
        (TopK(99), P),
        (TopP(0.3), [0, 1, 0, 0, 0]),  # 0.4 is enough
        (TopP(0.5), [0, 4 / 7, 0, 3 / 7, 0]),  # 0.4 is not
        (TopP(0.8), [0, 8 / 17, 0, 6 / 17, 3 / 17]),
        (TopP(0.9), np.array([0.1, 0.4, 0, 0.3, 0.15]) / 0.95),
        (TopP(1.0), P),
        (TopP(1e-30), [0, 1, 0, 0, 0]),
        (TopP(0), [0, 1, 0, 0, 0]),  # as in llama.cpp and Transformers
        (TopK(0), P),
        (TopK(-1), P),
        (Typical(0), [0, 0, 0, 1, 0]),
        (MinP(0.7), [0, 4 / 7, 0, 3 / 7, 0]),  # at least 0.28
        (MinP(0.3), [0, 8 / 17, 0, 6 / 17, 3 / 17]),  # at least 0.12
        (MinP(0.0), P),
        (MinP(1.0), [0, 1, 0, 0, 0]),
        # The entropy is 1.39 nats, the surprises 2.30, 0.92, 3.00, 1.20, 1.90: id 3 is nearest, then 1, 4, 0, 2.
        (Typical(0.2), [0, 0, 0, 1, 0]),
        (Typical(0.6), [0, 4 / 7, 0, 3 / 7, 0]),
        (Typical(0.8), [0, 8 / 17, 0, 6 / 17, 3 / 17]),
        (Typical(1.0), P),
        (LogitBias({}), P),
        (LogitBias({0: math.log(4), 3: -math.inf}), np.array([0.4, 0.4, 0.05, 0, 0.15])),
        (LogitBias({1: 1000.0}), [0, 1, 0, 0, 0]),
    ],
    ids=repr,
)
def test_values_worked_out_by_hand(stage, expected):
    assert after(stage, P) == pytest.approx(np.asarray(expected), abs=1e-12)


def test_among_equals_the_lowest_ids_stay():
    equal = np.full(6, 1 / 6)
    assert after(Temperature(0.0), equal) == pytest.approx([1, 0, 0, 0, 0, 0])
    assert after(TopK(2), equal) == pytest.approx([1 / 2, 1 / 2, 0, 0, 0, 0])
    assert after(TopP(0.49), equal) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    assert after(MinP(1.0), equal) == pytest.approx(equal)
    assert after(TopK(2), [0.2, 0.3, 0.2, 0.3]) == pytest.approx([0, 0.5, 0, 0.5])
    assert after(TopK(3), [0.2, 0.3, 0.2, 0.3]) == pytest.approx([0.25, 0.375, 0, 0.375])


def test_tokens_that_are_out_stay_out():
    p = np.array([0.5, 0.0, 0.25, 0.25, 0.0])
    every = (Temperature(0.7), TopK(4), TopK(5), TopP(1.0), TopP(0.99999), MinP(0.0), MinP(1e-9), Typical(0.99999))
    for stage in (*every, LogitBias({1: 50.0, 2: 1.0})):
        assert (after(stage, p)[[1, 4]] == 0).all()
        assert (after(stage, p)[[0, 2, 3]] > 0).all()


def test_forbidding_nearly_everything_leaves_the_rest_exact():
    """1 - 0.9999999999999 has only a few digits left; what remains must not be divided by that."""
    p = np.array([1e-13, 0.9999999999999, 3e-13, 0.0])
    assert after(LogitBias({1: -math.inf}), p) == pytest.approx([0.25, 0, 0.75, 0], rel=1e-9)
    assert after(LogitBias({1: -60.0}), p).sum() == pytest.approx(1.0, abs=1e-12)
    assert after(LogitBias({0: 5000.0}), p) == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize("temperature", [1e-300, 1e-5, 1e5, 1e300])
def test_extreme_temperatures_give_distributions(temperature):
    p = after(Temperature(temperature), P)
    assert p.sum() == pytest.approx(1.0)
    assert p == pytest.approx([0, 1, 0, 0, 0] if temperature < 1 else np.full(5, 0.2), abs=1e-4)


def test_the_order_in_a_chain_is_the_order_of_work():
    """Sharpened first, 0.4 alone has 0.56 of everything; unsharpened it has not."""
    first = after(SamplerChain((Temperature(0.5), TopP(0.55))), P)
    last = after(SamplerChain((TopP(0.55), Temperature(0.5))), P)
    assert first == pytest.approx([0, 1, 0, 0, 0])
    assert last == pytest.approx([0, 16 / 25, 0, 9 / 25, 0])
    assert after(SamplerChain(), P) == pytest.approx(P)
    assert after(SamplerChain((SamplerChain((TopK(2),)), Temperature(0.5))), P) == pytest.approx(last)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Temperature(-0.1), "temperature must be a number of at least 0, it was -0.1"),
        (lambda: Temperature(float("nan")), "temperature"),
        (lambda: Temperature(float("inf")), "temperature"),
        (lambda: TopK(2.5), "top_k must be an integer, it was 2.5; 0 keeps all tokens"),
        (lambda: TopP(-0.1), "top_p must be 0 to 1, it was -0.1"),
        (lambda: TopP(1.1), "top_p"),
        (lambda: TopP(float("nan")), "top_p"),
        (lambda: MinP(-0.1), "min_p must be 0 to 1, it was -0.1"),
        (lambda: MinP(1.5), "min_p"),
        (lambda: Typical(-1), "typical must be 0 to 1, it was -1"),
        (lambda: Typical("0.5"), "typical"),
        (lambda: Temperature(True), "temperature"),
        (lambda: LogitBias({-1: 1.0}), "tokens are integers of at least 0, and one was -1"),
        (lambda: LogitBias({1.5: 1.0}), "integers"),
        (lambda: LogitBias({1: math.inf}), "bias of token 1 must be a number or -inf, it was inf"),
        (lambda: LogitBias({1: math.nan}), "bias of token 1"),
        (lambda: LogitBias({9: 1.0})(np.log(P)), "there is no token 9; the last one is 4"),
        (lambda: after(LogitBias(dict.fromkeys(range(5), -math.inf)), P), "leaves no token"),
        (lambda: after(SamplerChain((TopK(1), LogitBias({1: -math.inf}))), P), "stages that forbid tokens first"),
        (lambda: sampling_distribution(lambda x, text: x * np.nan, P), "returned NaN or infinity"),
        (lambda: sampling_distribution(lambda x, text: x + np.inf, P), "returned NaN or infinity"),
        (lambda: sampling_distribution(lambda x, text: x[:2], P), r"of the shape it gets, \(5,\); this one returned"),
    ],
)
def test_a_stage_that_cannot_be_is_an_error_where_it_is_made(make, message):
    with pytest.raises(InputError, match=message):
        make()


# --- laws -------------------------------------------------------------------------------------------------------

# Whole numbers among the logits make ties. What differs, differs by more than rounding.
logits = st.lists(st.one_of(st.integers(-3, 3), st.floats(-30, 30).map(lambda x: round(x, 6))), min_size=1, max_size=30)
distributions = logits.map(lambda x: log_softmax(np.array(x, np.float64)))
temperatures = st.floats(0.05, 20).map(Temperature)
top_ks, top_ps, min_ps, typicals = (
    st.integers(1, 32).map(TopK),
    st.floats(1e-6, 1).map(TopP),
    st.floats(0, 1).map(MinP),
    st.floats(1e-6, 1).map(Typical),
)
monotone = st.one_of(temperatures, st.just(Temperature(0.0)), top_ks, top_ps, min_ps)  # they keep the order of tokens
biases = st.dictionaries(st.just(0), st.floats(-5, 5)).map(LogitBias)
stages = st.one_of(monotone, typicals, biases)
chains = st.lists(stages, max_size=5).map(lambda members: SamplerChain(tuple(members)))


@given(distributions, chains)
def test_probabilities_sum_to_one_after_any_chain(log_p, chain):
    p = np.exp(sampling_distribution(chain, log_p))
    assert p.shape == log_p.shape
    assert abs(p.sum() - 1.0) < 1e-12


@given(distributions, st.lists(monotone, max_size=5))
def test_no_stage_turns_an_order_around_and_the_best_token_stays(log_p, members):
    before, after = log_p, SamplerChain(tuple(members))(log_p)
    assert after[before.argmax()] == after.max()
    order = np.lexsort((-np.arange(len(before)), before))  # among equals the lowest id is last, as the best of them
    assert (np.diff(np.exp(after)[order]) >= -1e-12).all()


def sorted_by(preference: list[float]) -> list[int]:
    """Ids, the most preferred first, lowest ids first among equals."""
    return sorted(range(len(preference)), key=lambda i: (-preference[i], i))


def until_mass(order: list[int], p: list[float], mass: float) -> set[int]:
    kept, together = set(), 0.0
    for i in order:
        if kept and together >= mass:
            break
        kept.add(i)
        together += p[i]
    return kept


def kept_by_definition(stage, log_p: np.ndarray) -> set[int]:
    """Which tokens stay, as plainly as it can be said: sort all of them and count."""
    p, log_p = np.exp(log_p).tolist(), log_p.tolist()
    match stage:
        case TopK(k):
            return set(sorted_by(log_p)[:k])
        case TopP(mass):
            return until_mass(sorted_by(log_p), p, mass)
        case MinP(share):
            return {i for i in range(len(p)) if log_p[i] - max(log_p) >= (math.log(share) if share else -math.inf)}
        case Typical(mass):
            return until_mass(sorted_by([-x for x in strangeness(log_p)]), p, mass)


def strangeness(log_p: list[float]) -> list[float]:
    """How far the surprise of each token is from the mean surprise."""
    entropy = -math.fsum(math.exp(x) * x for x in log_p if x > -math.inf)
    return [abs(-x - entropy) for x in log_p]


@given(distributions, st.data(), st.one_of(top_ks, top_ps, min_ps, typicals))
def test_what_stays_is_what_the_definition_says(log_p, data, stage):
    out = data.draw(st.lists(st.booleans(), min_size=len(log_p), max_size=len(log_p)))
    out[data.draw(st.integers(0, len(log_p) - 1))] = False
    log_p = log_softmax(np.where(out, -np.inf, log_p))  # an earlier stage has removed some
    # Tokens that are equally strange but for rounding have no order that all ways of adding up agree on.
    different = sorted({round(x, 14) for x in strangeness(log_p.tolist()) if x < math.inf})
    assume(not isinstance(stage, Typical) or all(b - a > 1e-10 for a, b in pairwise(different)))
    kept = set(np.flatnonzero(stage(log_p) > -np.inf).tolist())
    assert kept == {i for i in kept_by_definition(stage, log_p) if log_p[i] > -np.inf}


@pytest.mark.parametrize("sharpness", [0.0, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("stage", [TopP(0.5), TopP(0.9999), Typical(0.1), Typical(0.99), TopK(1500)], ids=repr)
def test_many_tokens_are_looked_at_in_portions(stage, sharpness):
    """With a flat distribution more than the first portion is needed, and then more than the second."""
    x = np.random.default_rng(0).standard_normal(4000).round(3)  # with ties
    log_p = log_softmax(sharpness * x)
    assert set(np.flatnonzero(stage(log_p) > -np.inf).tolist()) == kept_by_definition(stage, log_p)


@given(distributions, st.one_of(top_ks, top_ps, min_ps, typicals))
def test_what_stays_keeps_its_proportions(log_p, stage):
    after = stage(log_p)
    kept = np.exp(after) > 0
    assert np.ptp((after - log_p)[kept]) < 1e-9


@given(st.lists(st.lists(st.floats(-20, 20), min_size=7, max_size=7), min_size=1, max_size=4), chains)
def test_rows_of_a_batch_do_not_touch_each_other(rows, chain):
    log_p = log_softmax(np.array(rows))
    together = np.exp(chain(log_p))
    assert together == pytest.approx(np.array([np.exp(chain(row)) for row in log_p]), rel=1e-12)


@given(distributions, chains)
def test_a_stage_leaves_its_input_alone(log_p, chain):
    before = log_p.copy()
    chain(log_p)
    assert (log_p == before).all()


# --- sampling ---------------------------------------------------------------------------------------------------


class Loaded:
    """A generator that always draws this number."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self, shape):
        return np.full(shape, self.number)


def test_frequencies_are_the_probabilities():
    """Pearson's chi-square: with 8 tokens it stays below 24.3 in 999 of 1,000 seeds (7 degrees of freedom)."""
    p = np.array([0.3, 0.02, 0.25, 0.08, 0.0, 0.15, 0.1, 0.06, 0.04])
    n = 40_000
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    drawn = sample(np.tile(log_p, (n, 1)), np.random.default_rng(5))
    counts = np.bincount(drawn, minlength=len(p))
    assert counts[4] == 0
    possible = p > 0
    chi_square = ((counts - n * p)[possible] ** 2 / (n * p)[possible]).sum()
    assert chi_square < 24.3


def test_the_test_above_notices_other_dice():
    """Counts of a slightly wrong distribution exceed the bound by far."""
    p, n = np.full(8, 1 / 8), 40_000
    wrong = np.array([0.135, 0.115, *[1 / 8] * 6])
    counts = np.bincount(sample(np.tile(np.log(wrong), (n, 1)), np.random.default_rng(5)), minlength=8)
    assert ((counts - n * p) ** 2 / (n * p)).sum() > 40


@pytest.mark.parametrize("number", [0.0, np.nextafter(1.0, 0.0)])
@given(distributions, st.data())
def test_a_token_of_probability_zero_is_never_drawn(number, log_p, data):
    out = data.draw(st.lists(st.booleans(), min_size=len(log_p), max_size=len(log_p)))
    out[data.draw(st.integers(0, len(log_p) - 1))] = False
    log_p = log_softmax(np.where(out, -np.inf, log_p))
    assert np.exp(log_p[sample(log_p, Loaded(number))]) > 0


@given(distributions, st.integers(0, 2**32))
def test_removed_tokens_make_no_difference_to_what_is_drawn(log_p, seed):
    padded = np.full(5 * len(log_p), -np.inf)
    padded[2::5] = log_p
    drawn = sample(padded, np.random.default_rng(seed))
    assert drawn == 5 * sample(log_p, np.random.default_rng(seed)) + 2
    assert drawn == sample(padded[None], np.random.default_rng(seed))[0]


def test_each_token_has_its_interval():
    log_p = np.log([0.25, 0.5, 0.25])
    drawn = [int(sample(log_p, Loaded(number))) for number in (0.0, 0.2, 0.3, 0.7, 0.8, 0.999)]
    assert drawn == [0, 0, 1, 1, 2, 2]


def test_one_number_is_taken_for_each_row():
    rows = np.log([[0.5, 0.5], [0.1, 0.9], [0.7, 0.3]])
    together = sample(rows, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    assert together.tolist() == [int(sample(row, rng)) for row in rows]
    assert sample(rows[0], rng).shape == ()
