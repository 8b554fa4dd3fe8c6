"""The stages against values worked out by hand, their laws, and the dice."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import Chain, MinP, Temperature, TopK, TopP, draw, samplers, usual_chain
from tinygrad_llm.nn.functional import log_softmax

P = np.array([0.1, 0.4, 0.05, 0.3, 0.15])


def after(stage, probabilities) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.exp(stage(np.log(probabilities)))


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(samplers, extraglobs={"np": np})
    assert tried >= 5 and not failed


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
        (MinP(0.7), [0, 4 / 7, 0, 3 / 7, 0]),  # at least 0.28
        (MinP(0.3), [0, 8 / 17, 0, 6 / 17, 3 / 17]),  # at least 0.12
        (MinP(0.0), P),
        (MinP(1.0), [0, 1, 0, 0, 0]),
    ],
    ids=repr,
)
def test_values_worked_out_by_hand(stage, expected):
    assert after(stage, P) == pytest.approx(np.asarray(expected), abs=1e-12)
    # In a batch, every row by itself.
    rows = np.log([P, P[::-1]])
    assert np.exp(stage(rows)) == pytest.approx(np.array([expected, np.asarray(expected)[::-1]]), abs=1e-12)


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
    for stage in (Temperature(0.7), TopK(4), TopP(1.0), MinP(0.0), TopK(5)):
        assert (after(stage, p)[[1, 4]] == 0).all()
        assert (after(stage, p)[[0, 2, 3]] > 0).all()


@pytest.mark.parametrize("temperature", [1e-300, 1e-5, 1e5, 1e300])
def test_extreme_temperatures_give_distributions(temperature):
    p = after(Temperature(temperature), P)
    assert p.sum() == pytest.approx(1.0)
    assert p == pytest.approx([0, 1, 0, 0, 0] if temperature < 1 else np.full(5, 0.2), abs=1e-4)


def test_the_order_in_a_chain_is_the_order_of_work():
    """Sharpened first, 0.4 alone has 0.56 of everything; unsharpened it has not."""
    first = after(Chain((Temperature(0.5), TopP(0.55))), P)
    last = after(Chain((TopP(0.55), Temperature(0.5))), P)
    assert first == pytest.approx([0, 1, 0, 0, 0])
    assert last == pytest.approx([0, 16 / 25, 0, 9 / 25, 0])
    assert after(Chain(), P) == pytest.approx(P)
    assert after(Chain((Chain((TopK(2),)), Temperature(0.5))), P) == pytest.approx(last)


def test_the_usual_chain():
    assert usual_chain() == Chain((Temperature(1.0),))
    everything = usual_chain(0.7, top_k=40, top_p=0.9, min_p=0.05)
    assert everything == Chain((Temperature(0.7), TopK(40), TopP(0.9), MinP(0.05)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Temperature(-0.1), "temperature must be a number of at least 0, it was -0.1"),
        (lambda: Temperature(float("nan")), "temperature"),
        (lambda: Temperature(float("inf")), "temperature"),
        (lambda: TopK(0), "top_k must be a whole number of at least 1, it was 0"),
        (lambda: TopK(2.5), "top_k"),
        (lambda: TopP(0.0), "top_p must be above 0 and at most 1, it was 0.0"),
        (lambda: TopP(1.1), "top_p"),
        (lambda: TopP(float("nan")), "top_p"),
        (lambda: MinP(-0.1), "min_p must be at least 0 and at most 1, it was -0.1"),
        (lambda: MinP(1.5), "min_p"),
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
top_ks, top_ps, min_ps = (
    st.integers(1, 32).map(TopK),
    st.floats(1e-6, 1).map(TopP),
    st.floats(0, 1).map(MinP),
)
stages = st.one_of(temperatures, st.just(Temperature(0.0)), top_ks, top_ps, min_ps)
chains = st.lists(stages, max_size=5).map(lambda members: Chain(tuple(members)))


@given(distributions, chains)
def test_probabilities_sum_to_one_after_any_chain(log_p, chain):
    p = np.exp(chain(log_p))
    assert p.shape == log_p.shape
    assert abs(p.sum() - 1.0) < 1e-12


@given(distributions, chains)
def test_no_stage_turns_an_order_around_and_the_best_token_stays(log_p, chain):
    before, after = log_p, chain(log_p)
    assert after[before.argmax()] == after.max()
    order = np.lexsort((-np.arange(len(before)), before))  # among equals the lowest id is last, as the best of them
    assert (np.diff(np.exp(after)[order]) >= -1e-12).all()


@given(distributions, top_ks)
def test_top_k_keeps_k(log_p, stage):
    p = np.exp(stage(log_p))
    assert (p > 0).sum() == min(stage.k, len(log_p))


@given(distributions, top_ps)
def test_top_p_keeps_the_smallest_set_with_p(log_p, stage):
    kept = np.exp(stage(log_p)) > 0
    p = np.exp(log_p)
    together, smallest = p[kept].sum(), p[kept].min()
    assert together >= stage.p - 1e-12
    assert kept.sum() == 1 or together - smallest < stage.p + 1e-12
    assert p[~kept].max(initial=0.0) <= smallest


@given(distributions, min_ps)
def test_min_p_keeps_what_is_probable_enough(log_p, stage):
    kept = np.exp(stage(log_p)) > 0
    p = np.exp(log_p) / np.exp(log_p.max())
    assert (p[kept] >= stage.p - 1e-12).all() and (p[~kept] < stage.p + 1e-12).all()


@given(distributions, st.one_of(top_ks, top_ps, min_ps))
def test_what_stays_keeps_its_proportions(log_p, stage):
    after = stage(log_p)
    kept = np.exp(after) > 0
    assert np.ptp((after - log_p)[kept]) < 1e-9


@given(st.lists(st.lists(st.floats(-20, 20), min_size=7, max_size=7), min_size=1, max_size=4), chains)
def test_rows_of_a_batch_do_not_touch_each_other(rows, chain):
    log_p = log_softmax(np.array(rows))
    together = np.exp(chain(log_p))
    assert together == pytest.approx(np.array([np.exp(chain(row)) for row in log_p]), abs=1e-12)


@given(distributions, chains)
def test_a_stage_leaves_its_input_alone(log_p, chain):
    before = log_p.copy()
    chain(log_p)
    assert (log_p == before).all()


# --- the dice ---------------------------------------------------------------------------------------------------


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
    drawn = draw(np.tile(log_p, (n, 1)), np.random.default_rng(5))
    counts = np.bincount(drawn, minlength=len(p))
    assert counts[4] == 0
    possible = p > 0
    chi_square = ((counts - n * p)[possible] ** 2 / (n * p)[possible]).sum()
    assert chi_square < 24.3


def test_the_test_above_notices_other_dice():
    """Counts of a slightly wrong distribution exceed the bound by far."""
    p, n = np.full(8, 1 / 8), 40_000
    wrong = np.array([0.135, 0.115, *[1 / 8] * 6])
    counts = np.bincount(draw(np.tile(np.log(wrong), (n, 1)), np.random.default_rng(5)), minlength=8)
    assert ((counts - n * p) ** 2 / (n * p)).sum() > 40


@pytest.mark.parametrize("number", [0.0, np.nextafter(1.0, 0.0)])
@given(distributions, st.data())
def test_a_token_of_probability_zero_is_never_drawn(number, log_p, data):
    out = data.draw(st.lists(st.booleans(), min_size=len(log_p), max_size=len(log_p)))
    out[data.draw(st.integers(0, len(log_p) - 1))] = False
    log_p = log_softmax(np.where(out, -np.inf, log_p))
    assert np.exp(log_p[draw(log_p, Loaded(number))]) > 0


def test_each_token_has_its_interval():
    log_p = np.log([0.25, 0.5, 0.25])
    drawn = [int(draw(log_p, Loaded(number))) for number in (0.0, 0.2, 0.3, 0.7, 0.8, 0.999)]
    assert drawn == [0, 0, 1, 1, 2, 2]


def test_one_number_is_taken_for_each_row():
    rows = np.log([[0.5, 0.5], [0.1, 0.9], [0.7, 0.3]])
    together = draw(rows, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    assert together.tolist() == [int(draw(row, rng)) for row in rows]
    assert draw(rows[0], rng).shape == ()
