"""Every formula of `feedback`: values by hand, gradients to second order, and inputs at the edge."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback import dpo, grpo, ipo, kl, kto, orpo, ppo, reward_model, simpo
from tinygrad_llm.feedback.best_of_n import best_of_n, kl_bound

RNG = np.random.default_rng(0)
N, T, V = 6, 5, 7
MASK = np.arange(T) < np.array([[5], [1], [3], [0], [2], [4]])  # ragged, a reply of one token, an empty one


def draw(*shape, scale=1.0):
    return RNG.standard_normal(shape) * scale


def sum_of_products(xs, ys):
    return sum((x * y).sum() for x, y in zip(xs, ys, strict=True))


LOGP, OLD, REF = -np.abs(draw(N, T)), -np.abs(draw(N, T)), -np.abs(draw(N, T))
ADVANTAGES, VALUES, RETURNS = draw(N, T), draw(N, T), draw(N, T)
CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED = (-np.abs(draw(N, scale=5)) - 0.1 for _ in range(4))
LENGTHS = np.array([1.0, 2, 3, 4, 5, 6])
TIES = np.array([True, False, False, True, False, False])

FORMULAS = {
    "dpo": (lambda c, r: dpo.dpo_loss(c, r, REF_CHOSEN, REF_REJECTED, beta=0.3), [CHOSEN, REJECTED]),
    "dpo smoothed": (
        lambda c, r: dpo.dpo_loss(c, r, REF_CHOSEN, REF_REJECTED, beta=0.3, label_smoothing=0.1),
        [CHOSEN, REJECTED],
    ),
    "ipo": (lambda c, r: ipo.ipo_loss(c, r, REF_CHOSEN, REF_REJECTED, beta=0.3), [CHOSEN, REJECTED]),
    "kto": (lambda c: kto.kto_loss(c, REF_CHOSEN, TIES, beta=0.3, kl=0.2, undesirable_weight=1.5), [CHOSEN]),
    "orpo": (lambda c, r: orpo.orpo_loss(c, r, LENGTHS, LENGTHS[::-1].copy(), beta=0.2), [CHOSEN, REJECTED]),
    "simpo": (
        lambda c, r: simpo.simpo_loss(c, r, LENGTHS, LENGTHS[::-1].copy(), beta=2.0, gamma=0.5),
        [CHOSEN, REJECTED],
    ),
    "bradley-terry": (lambda c, r: reward_model.preference_loss(c, r, margin=0.2), [CHOSEN, REJECTED]),
    "davidson": (
        lambda c, r, nu: reward_model.preference_loss(c, r, ties=TIES, tie_strength=nu),
        [CHOSEN, REJECTED, np.array(0.7)],
    ),
    "centring": (reward_model.centring_loss, [CHOSEN, REJECTED]),
    "rewards with kl": (
        lambda s, p: (ppo.rewards_with_kl(s, p, REF, MASK, kl_coef=0.1) * VALUES).sum(),
        [CHOSEN, LOGP],
    ),
    "gae": (
        lambda r, v: sum(
            (x * w).sum() for x, w in zip(ppo.gae(r, v, MASK, gamma=0.9, lam=0.8), (OLD, REF), strict=True)
        ),
        [ADVANTAGES, VALUES],
    ),
    "whiten": (lambda x: (ppo.whiten(x, MASK) * REF).sum(), [ADVANTAGES]),
    "whiten, scale only": (lambda x: (ppo.whiten(x, MASK, shift_mean=False) * REF).sum(), [ADVANTAGES]),
    "policy": (lambda p: ppo.policy_loss(p, OLD, ADVANTAGES, MASK, clip=0.2), [LOGP]),
    "value": (lambda v: ppo.value_loss(v, OLD, RETURNS, MASK, clip=0.3), [VALUES]),
    "entropy": (lambda z: ppo.entropy(z).sum(), [draw(N, V)]),
    "exact kl": (lambda p, q: kl.exact_kl(p, q).sum(), [draw(N, V), draw(N, V)]),
    "k1": (lambda p: kl.k1(p, REF).sum(), [LOGP]),
    "k2": (lambda p: kl.k2(p, REF).sum(), [LOGP]),
    "k3": (lambda p: kl.k3(p, REF).sum(), [LOGP]),
    "advantages, std": (lambda r: (grpo.group_advantages(r, 3) * REF_CHOSEN).sum(), [CHOSEN]),
    "advantages, rloo": (
        lambda r: (grpo.group_advantages(r, 2, normalise="leave-one-out") * REF_CHOSEN).sum(),
        [CHOSEN],
    ),
    **{
        f"grpo, {how}": (
            lambda p, how=how: grpo.grpo_loss(
                p, OLD, CHOSEN, MASK, clip=0.2, reference_logp=REF, kl_coef=0.1, normalise=how
            ),
            [LOGP],
        )
        for how in ("token-mean", "sequence-mean", "fixed-length")
    },
}


@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_are_right_to_second_order(name):
    formula, inputs = FORMULAS[name]
    tg.gradcheck(formula, inputs)


def test_the_first_step_of_dpo_has_a_loss_of_log_2_and_a_slope_of_half_beta():
    chosen, rejected = (tg.Tensor(x, requires_grad=True) for x in (CHOSEN, REJECTED))
    loss = dpo.dpo_loss(chosen, rejected, CHOSEN, REJECTED, beta=0.3)
    loss.backward()
    assert abs(loss.item() - math.log(2.0)) < 1e-12
    np.testing.assert_allclose(chosen.grad.numpy(), -0.15 / N)
    np.testing.assert_allclose(rejected.grad.numpy(), 0.15 / N)


def test_the_first_ratio_of_ppo_is_one():
    assert ppo.policy_loss(LOGP, LOGP, ADVANTAGES, MASK, clip=0.2) == pytest.approx(-ADVANTAGES[MASK].mean(), abs=1e-12)
    assert ppo.clip_fraction(LOGP, LOGP, ADVANTAGES, MASK, clip=0.2) == 0.0


def test_gae_is_the_sum_of_discounted_surprises():
    """The definition of the paper, written as a double loop over the tokens that count."""
    gamma, lam = 0.9, 0.8
    advantages, returns = ppo.gae(ADVANTAGES, VALUES, MASK, gamma=gamma, lam=lam)
    for row in range(N):
        n = int(MASK[row].sum())
        for t in range(n):
            surprises = [
                ADVANTAGES[row, s] + gamma * (VALUES[row, s + 1] if s + 1 < n else 0.0) - VALUES[row, s]
                for s in range(t, n)
            ]
            expected = sum((gamma * lam) ** k * d for k, d in enumerate(surprises))
            assert advantages[row, t] == pytest.approx(expected)
            assert returns[row, t] == pytest.approx(expected + VALUES[row, t])
        assert not advantages[row, n:].any() and not returns[row, n:].any()


def test_gae_passes_over_a_hole_in_the_reply():
    mask = np.array([[True, False, True]])
    rewards, values = np.array([[1.0, 99.0, 2.0]]), np.array([[0.5, 99.0, 0.25]])
    with_hole = [x[mask] for x in ppo.gae(rewards, values, mask, gamma=0.9, lam=0.8)]
    without = ppo.gae(rewards[:, ::2], values[:, ::2], mask[:, ::2], gamma=0.9, lam=0.8)
    np.testing.assert_allclose(with_hole, [x[0] for x in without])


def test_the_score_comes_at_the_last_token_and_the_charge_at_each():
    rewards = ppo.rewards_with_kl(CHOSEN, LOGP, REF, MASK, kl_coef=0.1)
    for row in range(N):
        n = int(MASK[row].sum())
        expected = np.where(MASK[row], -0.1 * (LOGP[row] - REF[row]), 0.0)
        if n:
            expected[n - 1] += CHOSEN[row]
        np.testing.assert_allclose(rewards[row], expected)


def test_whitened_numbers_have_mean_0_and_variance_1():
    white = ppo.whiten(ADVANTAGES, MASK)
    assert white[MASK].mean() == pytest.approx(0.0, abs=1e-12)
    assert white[MASK].var(ddof=1) == pytest.approx(1.0)
    assert not white[~MASK].any()
    only_scaled = ppo.whiten(ADVANTAGES, MASK, shift_mean=False)
    assert only_scaled[MASK].mean() == pytest.approx(ADVANTAGES[MASK].mean())


def test_group_advantages_by_hand():
    rewards = np.array([1.0, 2.0, 6.0, 5.0, 5.0, 5.0])
    np.testing.assert_allclose(grpo.group_advantages(rewards, 3, normalise="none"), [-2, -1, 3, 0, 0, 0])
    np.testing.assert_allclose(grpo.group_advantages(rewards, 3, normalise="leave-one-out"), [-3, -1.5, 4.5, 0, 0, 0])
    scale = math.sqrt(7.0) + 1e-4
    np.testing.assert_allclose(grpo.group_advantages(rewards, 3), [-2 / scale, -1 / scale, 3 / scale, 0, 0, 0])


def test_the_averages_of_grpo_differ_by_what_a_token_of_a_long_reply_counts():
    """One reply of four tokens and one of one, all with a loss of -A = -1 per token, and of -2 for the long one."""
    mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], bool)
    zeros, advantages = np.zeros((2, 4)), np.array([2.0, 1.0])
    loss = {
        how: float(grpo.grpo_loss(zeros, zeros, advantages, mask, clip=0.2, normalise=how, length=10))
        for how in ("token-mean", "sequence-mean", "fixed-length")
    }
    assert loss == pytest.approx({"token-mean": -9 / 5, "sequence-mean": -3 / 2, "fixed-length": -9 / 20})


def test_davidson_is_bradley_and_terry_when_ties_are_nearly_impossible_and_probabilities_sum_to_one():
    no_tie, tie = np.zeros(N, bool), np.ones(N, bool)
    plain = reward_model.preference_loss(CHOSEN, REJECTED)
    assert reward_model.preference_loss(CHOSEN, REJECTED, ties=no_tie, tie_strength=1e-300) == pytest.approx(plain)
    chosen, rejected = CHOSEN[:1], REJECTED[:1]
    total = sum(
        math.exp(-float(reward_model.preference_loss(a, b, ties=t[:1], tie_strength=0.7)))
        for a, b, t in ((chosen, rejected, no_tie), (rejected, chosen, no_tie), (chosen, rejected, tie))
    )
    assert total == pytest.approx(1.0)


def test_estimators_of_the_kl_agree_with_its_exact_value_on_average():
    logits, reference = draw(V), draw(V)
    log_p, log_q = (tg.ops.log_softmax(x) for x in (logits, reference))
    p, exact = np.exp(log_p), float(kl.exact_kl(logits, reference))
    assert exact == pytest.approx(float((p * (log_p - log_q)).sum()))
    assert float((p * kl.k1(log_p, log_q)).sum()) == pytest.approx(exact)
    assert float((p * kl.k3(log_p, log_q)).sum()) == pytest.approx(exact)
    assert (kl.k3(log_p, log_q) >= 0).all()


def test_impossible_tokens_add_nothing_to_kl_and_entropy():
    logits, reference = np.array([0.0, 0.0, -np.inf]), np.array([0.0, 0.0, 0.0])
    assert float(kl.exact_kl(logits, reference)) == pytest.approx(math.log(1.5))
    assert float(kl.exact_kl(reference, logits)) == math.inf
    assert float(ppo.entropy(logits)) == pytest.approx(math.log(2.0))


def test_far_apart_log_probabilities_give_finite_losses_and_gradients():
    far, zero = np.array([800.0, -800.0, 0.0]), np.zeros(3)
    for loss in (
        lambda x: dpo.dpo_loss(x, zero, zero, zero, beta=1.0),
        lambda x: ipo.ipo_loss(x, zero, zero, zero, beta=1.0),
        lambda x: kto.kto_loss(x, zero, [True, False, True], beta=1.0),
        lambda x: simpo.simpo_loss(x, zero, [1, 1, 1], [1, 1, 1], beta=1.0, gamma=0.0),
        lambda x: reward_model.preference_loss(x, zero),
        lambda x: reward_model.preference_loss(x, zero, ties=[True, False, False]),
        lambda x: ppo.policy_loss(x[None], zero[None], np.ones((1, 3)), np.ones((1, 3)), clip=0.2),
        lambda x: grpo.grpo_loss(x[None], zero[None], np.ones(1), np.ones((1, 3)), clip=0.2),
        lambda x: ppo.entropy(x),
        lambda x: kl.exact_kl(x, zero),
    ):
        x = tg.Tensor(far, requires_grad=True)
        y = loss(x)
        y.backward()
        assert math.isfinite(y.item()) and np.isfinite(x.grad.numpy()).all()


def test_what_stands_under_the_mask_does_not_matter():
    """NaN and infinities in padding reach neither a value nor a gradient."""
    for name, formula in {
        "policy": lambda x: ppo.policy_loss(x, OLD, ADVANTAGES, MASK, clip=0.2),
        "value": lambda x: ppo.value_loss(x, OLD, RETURNS, MASK, clip=0.2),
        "grpo": lambda x: grpo.grpo_loss(x, OLD, CHOSEN, MASK, clip=0.2, reference_logp=REF, kl_coef=0.1),
        "gae": lambda x: ppo.gae(x, VALUES, MASK, gamma=1.0, lam=0.9)[0].sum(),
        "whiten": lambda x: (ppo.whiten(x, MASK) * REF).sum(),
        "rewards": lambda x: ppo.rewards_with_kl(CHOSEN, x, REF, MASK, kl_coef=0.1).sum(),
    }.items():
        answers = []
        for filling in (0.0, np.nan, np.inf):
            x = tg.Tensor(np.where(MASK, LOGP, filling), requires_grad=True)
            y = formula(x)
            y.backward()
            answers.append((y.item(), x.grad.numpy().tobytes()))
        assert answers[0] == answers[1] == answers[2], name


def test_rows_without_tokens_add_nothing():
    nothing = np.zeros((2, 3), bool)
    x = np.full((2, 3), np.nan)
    assert ppo.policy_loss(x, x, x, nothing, clip=0.2) == 0.0
    assert ppo.value_loss(x, x, x, nothing, clip=0.2) == 0.0
    assert grpo.grpo_loss(x, x, np.ones(2), nothing, clip=0.2, normalise="sequence-mean") == 0.0
    assert not ppo.whiten(x, nothing).any()


def test_arrays_lists_and_tensors_give_the_same_numbers():
    as_array = dpo.dpo_loss(CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED, beta=0.1)
    assert isinstance(as_array, np.generic | np.ndarray)
    lists = [x.tolist() for x in (CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED)]
    assert dpo.dpo_loss(*lists, beta=0.1) == as_array
    tensors = [tg.Tensor(x) for x in (CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED)]
    assert dpo.dpo_loss(*tensors, beta=0.1).item() == as_array


def test_float32_stays_float32():
    c, r, rc, rr, p, o, f, a, v = (
        tg.Tensor(x.astype(np.float32))
        for x in (CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED, LOGP, OLD, REF, ADVANTAGES, VALUES)
    )
    for result in (
        dpo.dpo_loss(c, r, rc, rr, beta=0.1, label_smoothing=0.1),
        ipo.ipo_loss(c, r, rc, rr, beta=0.1),
        kto.kto_loss(c, rc, TIES, beta=0.1, kl=np.float64(0.5)),
        orpo.orpo_loss(c, r, [1] * N, LENGTHS, beta=0.1),
        simpo.simpo_loss(c, r, [1] * N, LENGTHS, beta=1.0, gamma=0.1),
        reward_model.preference_loss(c, r, ties=TIES),
        ppo.rewards_with_kl(c, p, f, MASK, kl_coef=0.1),
        *ppo.gae(a, v, MASK, gamma=0.9, lam=0.9),
        ppo.whiten(a, MASK),
        ppo.policy_loss(p, o, a, MASK, clip=0.2),
        ppo.value_loss(v, o, a, MASK, clip=0.2),
        ppo.entropy(a),
        kl.exact_kl(a, v),
        kl.k3(p, f),
        *(grpo.group_advantages(c, 3, normalise=how) for how in ("std", "none", "leave-one-out")),
        *(
            grpo.grpo_loss(p, o, c, MASK, clip=0.2, reference_logp=f, kl_coef=0.1, normalise=how)
            for how in ("token-mean", "sequence-mean", "fixed-length")
        ),
    ):
        assert result.dtype == np.float32


def test_the_adaptive_coefficient_follows_the_kl():
    coefficient = ppo.AdaptiveKL(0.1, target=6.0, horizon=100)
    assert coefficient.update(12.0, replies=50) == pytest.approx(0.1 * 1.1)  # the error is cut off at 0.2
    assert coefficient.update(6.0, replies=50) == pytest.approx(0.11)
    assert coefficient.update(5.4, replies=100) == pytest.approx(0.11 * 0.9)


def test_best_of_n_and_its_bound():
    assert best_of_n(["a", "bb", "cc"], lambda replies: [len(x) for x in replies]) == ("bb", 2.0)
    assert kl_bound(1) == 0.0
    # Four replies that are equally probable and never tie: the exact value over them stays below the bound.
    p_best = np.array([(k / 4) ** 16 - ((k - 1) / 4) ** 16 for k in range(1, 5)])
    exact = float((p_best * np.log(p_best / 0.25)).sum())
    assert exact < kl_bound(16)
    # With very many it is nearly reached.
    k = np.arange(1, 200_001) / 200_000
    p_best = k**16 - (k - 1 / 200_000) ** 16
    assert float((p_best * np.log(p_best * 200_000)).sum()) == pytest.approx(kl_bound(16), abs=1e-3)


def test_accuracy_calibration_and_correlation_with_length():
    assert reward_model.accuracy([1.0, 2.0, 3.0, 0.0], [0.0, 2.0, 4.0, -1.0]) == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    rng = np.random.default_rng(1)
    difference = rng.normal(0, 2, 40_000)
    won = rng.random(40_000) < 1 / (1 + np.exp(-difference))
    signed = np.where(won, difference, -difference)
    honest = reward_model.calibration(signed, np.zeros_like(signed))
    overconfident = reward_model.calibration(3 * signed, np.zeros_like(signed))
    assert honest.error < 0.01 < 0.1 < overconfident.error
    assert honest.count.sum() == 2 * 40_000
    lengths = rng.integers(1, 50, 200)
    assert reward_model.length_correlation(lengths * 0.1, lengths) == pytest.approx(1.0)
    assert abs(reward_model.length_correlation(rng.normal(size=200), lengths)) < 0.2
    assert reward_model.length_correlation([1.0, 1.0], [3, 5]) == 0.0


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: dpo.dpo_loss(CHOSEN, REJECTED[:3], CHOSEN, CHOSEN, beta=0.1), "rejected has the shape"),
        (lambda: dpo.dpo_loss(CHOSEN, REJECTED, CHOSEN, CHOSEN, beta=0.0), "beta must be a number above 0"),
        (lambda: dpo.dpo_loss(CHOSEN, REJECTED, CHOSEN, CHOSEN, beta=1.0, label_smoothing=0.5), "label_smoothing"),
        (lambda: dpo.dpo_loss(CHOSEN, REJECTED, CHOSEN, CHOSEN, beta=1.0, reduction="max"), "reduction must be"),
        (lambda: dpo.dpo_loss([], [], [], [], beta=1.0), "the batch is empty"),
        (lambda: simpo.simpo_loss(CHOSEN, REJECTED, LENGTHS * 0, LENGTHS, beta=1.0, gamma=0.1), "without tokens"),
        (lambda: simpo.simpo_loss(CHOSEN, REJECTED, LENGTHS, LENGTHS, beta=1.0, gamma=-1), "gamma must be"),
        (lambda: orpo.orpo_loss(CHOSEN, REJECTED, [1, 2], LENGTHS, beta=1.0), "chosen_lengths has the shape"),
        (lambda: ppo.policy_loss(LOGP, OLD, ADVANTAGES, MASK[:, 1:], clip=0.2), "mask has the shape"),
        (lambda: ppo.policy_loss(LOGP, OLD, ADVANTAGES, MASK, clip=0), "clip must be a number above 0"),
        (lambda: ppo.gae(LOGP, OLD, MASK, gamma=1.1, lam=0.9), "gamma must lie between 0 and 1"),
        (lambda: ppo.rewards_with_kl(CHOSEN[:2], LOGP, REF, MASK, kl_coef=0.1), "one number per row"),
        (lambda: grpo.group_advantages(CHOSEN, 1), "at least 2"),
        (lambda: grpo.group_advantages(CHOSEN, 4), "groups of 4"),
        (lambda: grpo.group_advantages(CHOSEN, 2, normalise="mean"), "normalise must be one of"),
        (lambda: grpo.grpo_loss(LOGP, OLD, CHOSEN, MASK, clip=0.2, kl_coef=0.1), "reference_logp is missing"),
        (lambda: grpo.grpo_loss(LOGP, OLD, CHOSEN[:2], MASK, clip=0.2), "advantages has the shape"),
        (lambda: kl_bound(0), "n must be a whole number"),
        (lambda: best_of_n([], len), "no replies"),
        (lambda: best_of_n(["a"], lambda replies: [math.nan]), "finite numbers"),
        (lambda: reward_model.preference_loss(CHOSEN, REJECTED, ties=TIES, tie_strength=0.0), "tie_strength"),
        (lambda: reward_model.accuracy([], []), "no pairs"),
        (lambda: ppo.AdaptiveKL(0.0, 6.0), "value must be a number above 0"),
    ],
)
def test_what_cannot_be_is_refused(call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
