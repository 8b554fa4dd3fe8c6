"""The formulas against PyTorch's: values and gradients to 1e-6. See golden/make_feedback_golden.py."""

import json
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.feedback import dpo, grpo, ipo, kl, kto, orpo, ppo, reward_model, simpo

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "feedback_golden.json").read_text())
INPUTS = {name: np.array(value) for name, value in GOLDEN["inputs"].items()}
MASK = np.arange(5) < np.array(GOLDEN["lengths"])[:, None]
C, R = "chosen", "rejected"


def pair(x, far=""):
    return x[far + C], x[far + R], x["reference_chosen"], x["reference_rejected"]


def with_lengths(x):
    return x[C], x[R], x["chosen_lengths"], x["rejected_lengths"]


def grpo_loss(x, how):
    return grpo.grpo_loss(
        x["logp"], x["old_logp"], x["scores"], MASK,
        clip=0.2, reference_logp=x["reference_logp"], kl_coef=0.1, normalise=how, length=8,
    )  # fmt: skip


def gae(x):
    advantages, returns = ppo.gae(x["advantages"], x["values"], MASK, gamma=0.9, lam=0.8)
    return (advantages * x["weights"]).sum() + (returns * x["other_weights"] * MASK).sum()


OURS = {
    "dpo": lambda x: dpo.dpo_loss(*pair(x), beta=0.3),
    "dpo, smoothed": lambda x: dpo.dpo_loss(*pair(x), beta=0.3, label_smoothing=0.1),
    "dpo, far apart": lambda x: dpo.dpo_loss(*pair(x, "far_"), beta=1.0),
    "ipo": lambda x: ipo.ipo_loss(*pair(x), beta=0.3),
    "kto": lambda x: kto.kto_loss(
        x[C], x["reference_chosen"], INPUTS["ties"], beta=0.3, kl=0.2, desirable_weight=1.1, undesirable_weight=0.7
    ),
    "orpo": lambda x: orpo.orpo_loss(*with_lengths(x), beta=0.2),
    "simpo": lambda x: simpo.simpo_loss(*with_lengths(x), beta=2.0, gamma=0.5),
    "bradley-terry": lambda x: reward_model.preference_loss(x[C], x[R], margin=0.2),
    "bradley-terry, far apart": lambda x: reward_model.preference_loss(x["far_chosen"], x["far_rejected"]),
    "davidson": lambda x: reward_model.preference_loss(x[C], x[R], ties=INPUTS["ties"], tie_strength=0.7),
    "rewards with kl": lambda x: (
        ppo.rewards_with_kl(x["scores"], x["logp"], x["reference_logp"], MASK, kl_coef=0.1) * x["weights"]
    ).sum(),
    "gae": gae,
    "whiten": lambda x: (ppo.whiten(x["advantages"], MASK) * x["weights"]).sum(),
    "whiten, scale only": lambda x: (ppo.whiten(x["advantages"], MASK, shift_mean=False) * x["weights"]).sum(),
    "policy": lambda x: ppo.policy_loss(x["logp"], x["old_logp"], x["advantages"], MASK, clip=0.2),
    "value": lambda x: ppo.value_loss(x["values"], x["old_logp"], x["returns"], MASK, clip=0.3),
    **{f"grpo, {how}": lambda x, how=how: grpo_loss(x, how) for how in ("token-mean", "sequence-mean", "fixed-length")},
    **{
        f"group advantages, {how}": lambda x, how=how: (
            grpo.group_advantages(x["scores"], 3, normalise=how) * x[C]
        ).sum()
        for how in ("std", "none", "leave-one-out")
    },
    "entropy": lambda x: ppo.entropy(x["logits"]).sum(),
    "exact kl": lambda x: kl.exact_kl(x["logits"], x["reference_logits"]).sum(),
}


def test_every_golden_formula_is_tested():
    assert OURS.keys() == GOLDEN["cases"].keys()


@pytest.mark.parametrize("name", OURS)
def test_value_and_gradients_are_those_of_pytorch(name):
    golden = GOLDEN["cases"][name]
    x = {key: tg.Tensor(value, requires_grad=key in golden["gradients"]) for key, value in INPUTS.items()}
    y = OURS[name](x)
    y.backward()
    assert y.item() == pytest.approx(golden["value"], rel=1e-9, abs=1e-9)
    for key, gradient in golden["gradients"].items():
        np.testing.assert_allclose(x[key].grad.numpy(), gradient, rtol=1e-9, atol=1e-9)
