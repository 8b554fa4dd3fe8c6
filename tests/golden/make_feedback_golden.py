"""Make feedback_golden.json: values and gradients of the formulas of `feedback`, computed by PyTorch in float64.

    pip install torch && python tests/golden/make_feedback_golden.py

Each formula is written here a second time, from the paper, with loops over replies and tokens instead of masks, so that
the two texts have nothing in common but the source. The tests need the JSON file only.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import logsigmoid

N, T, V = 6, 5, 7
LENGTHS = [5, 1, 3, 0, 2, 4]  # ragged, a reply of one token, an empty one
rng = np.random.default_rng(7)


def draw(*shape, scale=1.0, negative=False):
    x = rng.standard_normal(shape) * scale
    return (-np.abs(x) - 0.05 if negative else x).tolist()


INPUTS = {
    "chosen": draw(N, scale=9, negative=True),
    "rejected": draw(N, scale=9, negative=True),
    "reference_chosen": draw(N, scale=9, negative=True),
    "reference_rejected": draw(N, scale=9, negative=True),
    "chosen_lengths": [3, 1, 7, 2, 9, 4],
    "rejected_lengths": [1, 5, 2, 2, 8, 3],
    "ties": [True, False, False, True, False, False],
    "far_chosen": [-800.0, 0.0, -1.0, -900.0, -0.5, -2.0],
    "far_rejected": [0.0, -800.0, -1.0, -100.0, -0.25, -3.0],
    "logp": draw(N, T, negative=True),
    "old_logp": draw(N, T, negative=True),
    "reference_logp": draw(N, T, negative=True),
    "advantages": draw(N, T),
    "values": draw(N, T),
    "returns": draw(N, T),
    "weights": draw(N, T),
    "other_weights": draw(N, T),
    "scores": draw(N),
    "logits": draw(N, V),
    "reference_logits": draw(N, V),
}
CASES: dict[str, tuple] = {}  # name -> (formula, names of the inputs that are differentiated)


def case(name, *wanted):
    return lambda formula: CASES.__setitem__(name, (formula, wanted))


def h(x, far=""):
    return (x[far + "chosen"] - x["reference_chosen"]) - (x[far + "rejected"] - x["reference_rejected"])


@case("dpo", "chosen", "rejected")
def _(x):
    return -logsigmoid(0.3 * h(x)).mean()


@case("dpo, smoothed", "chosen", "rejected")
def _(x):
    return (-0.9 * logsigmoid(0.3 * h(x)) - 0.1 * logsigmoid(-0.3 * h(x))).mean()


@case("dpo, far apart", "far_chosen", "far_rejected")
def _(x):
    return -logsigmoid(1.0 * h(x, "far_")).mean()


@case("ipo", "chosen", "rejected")
def _(x):
    return ((h(x) - 1 / (2 * 0.3)) ** 2).mean()


@case("kto", "chosen")
def _(x):
    losses = []
    for i in range(N):
        r = x["chosen"][i] - x["reference_chosen"][i]
        if INPUTS["ties"][i]:
            losses.append(1.1 * (1 - torch.sigmoid(0.3 * (r - 0.2))))
        else:
            losses.append(0.7 * (1 - torch.sigmoid(0.3 * (0.2 - r))))
    return torch.stack(losses).mean()


@case("orpo", "chosen", "rejected")
def _(x):
    a = x["chosen"] / torch.tensor(INPUTS["chosen_lengths"])
    b = x["rejected"] / torch.tensor(INPUTS["rejected_lengths"])
    odds = torch.exp(a) / (1 - torch.exp(a)), torch.exp(b) / (1 - torch.exp(b))
    return (-a - 0.2 * logsigmoid(torch.log(odds[0] / odds[1]))).mean()


@case("simpo", "chosen", "rejected")
def _(x):
    a = x["chosen"] / torch.tensor(INPUTS["chosen_lengths"])
    b = x["rejected"] / torch.tensor(INPUTS["rejected_lengths"])
    return -logsigmoid(2.0 * a - 2.0 * b - 0.5).mean()


@case("bradley-terry", "chosen", "rejected")
def _(x):
    return -torch.log(torch.exp(x["chosen"] - 0.2) / (torch.exp(x["chosen"] - 0.2) + torch.exp(x["rejected"]))).mean()


@case("bradley-terry, far apart", "far_chosen", "far_rejected")
def _(x):
    return -logsigmoid(x["far_chosen"] - x["far_rejected"]).mean()


@case("davidson", "chosen", "rejected")
def _(x):
    strong, weak = torch.exp(x["chosen"]), torch.exp(x["rejected"])
    z = strong + weak + 0.7 * torch.sqrt(strong * weak)
    p = [0.7 * torch.sqrt(strong[i] * weak[i]) / z[i] if INPUTS["ties"][i] else strong[i] / z[i] for i in range(N)]
    return -torch.log(torch.stack(p)).mean()


@case("rewards with kl", "scores", "logp")
def _(x):
    total = 0.0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            reward = -0.1 * (x["logp"][i, t] - x["reference_logp"][i, t])
            if t == n - 1:
                reward = reward + x["scores"][i]
            total = total + reward * x["weights"][i, t]
    return total


@case("gae", "advantages", "values")
def _(x):
    rewards, total = x["advantages"], 0.0
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            advantage = 0.0
            for s in range(t, n):
                after = x["values"][i, s + 1] if s + 1 < n else 0.0
                advantage = advantage + (0.9 * 0.8) ** (s - t) * (rewards[i, s] + 0.9 * after - x["values"][i, s])
            total = total + advantage * x["weights"][i, t]
            total = total + (advantage + x["values"][i, t]) * x["other_weights"][i, t]
    return total


def counted(x):
    return torch.cat([x[i, :n] for i, n in enumerate(LENGTHS)])


@case("whiten", "advantages")
def _(x):
    flat = counted(x["advantages"])
    return ((flat - flat.mean()) / torch.sqrt(flat.var() + 1e-8) * counted(x["weights"])).sum()


@case("whiten, scale only", "advantages")
def _(x):
    flat = counted(x["advantages"])
    white = (flat - flat.mean()) / torch.sqrt(flat.var() + 1e-8) + flat.mean()
    return (white * counted(x["weights"])).sum()


def surrogate(logp, old, advantage):
    ratio = torch.exp(logp - old)
    return -torch.minimum(ratio * advantage, torch.clamp(ratio, 0.8, 1.2) * advantage)


@case("policy", "logp")
def _(x):
    return surrogate(counted(x["logp"]), counted(x["old_logp"]), counted(x["advantages"])).mean()


@case("value", "values")
def _(x):
    v, old, r = (counted(x[name]) for name in ("values", "old_logp", "returns"))
    near = torch.clamp(v, old - 0.3, old + 0.3)
    return 0.5 * torch.maximum((v - r) ** 2, (near - r) ** 2).mean()


def grpo_rows(x):
    rows = []
    for i, n in enumerate(LENGTHS):
        logp, old, ref = (x[name][i, :n] for name in ("logp", "old_logp", "reference_logp"))
        k3 = torch.exp(ref - logp) - (ref - logp) - 1
        rows.append(surrogate(logp, old, x["scores"][i].detach()) + 0.1 * k3)
    return rows


@case("grpo, token-mean", "logp")
def _(x):
    return torch.cat(grpo_rows(x)).mean()


@case("grpo, sequence-mean", "logp")
def _(x):
    return sum(row.mean() for row in grpo_rows(x) if len(row)) / N


@case("grpo, fixed-length", "logp")
def _(x):
    return torch.cat(grpo_rows(x)).sum() / (N * 8)


@case("group advantages, std", "scores")
def _(x):
    groups = x["scores"].reshape(2, 3)
    a = [(g - g.mean()) / (g.std() + 1e-4) for g in groups]
    return (torch.cat(a) * x["chosen"]).sum()


@case("group advantages, none", "scores")
def _(x):
    return (torch.cat([g - g.mean() for g in x["scores"].reshape(2, 3)]) * x["chosen"]).sum()


@case("group advantages, leave-one-out", "scores")
def _(x):
    s, total = x["scores"], 0.0
    for i in range(N):
        others = [s[j] for j in range(N) if j // 3 == i // 3 and j != i]
        total = total + (s[i] - sum(others) / 2) * x["chosen"][i]
    return total


@case("entropy", "logits")
def _(x):
    return torch.distributions.Categorical(logits=x["logits"]).entropy().sum()


@case("exact kl", "logits", "reference_logits")
def _(x):
    p = torch.distributions.Categorical(logits=x["logits"])
    q = torch.distributions.Categorical(logits=x["reference_logits"])
    return torch.distributions.kl_divergence(p, q).sum()


def main():
    found = {}
    for name, (formula, wanted) in CASES.items():
        x = {key: torch.tensor(value, dtype=torch.float64) for key, value in INPUTS.items()}
        for key in wanted:
            x[key].requires_grad_()
        value = formula(x)
        gradients = torch.autograd.grad(value, [x[key] for key in wanted])
        assert math.isfinite(value.item()) and all(torch.isfinite(g).all() for g in gradients), name
        found[name] = {
            "value": value.item(),
            "gradients": {k: g.tolist() for k, g in zip(wanted, gradients, strict=True)},
        }
    text = json.dumps({"torch": torch.__version__, "lengths": LENGTHS, "inputs": INPUTS, "cases": found}, indent=1)
    Path(__file__).with_name("feedback_golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
