"""What an optimizer may be given, what its settings may be, and what it says when they cannot be."""

import math

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, ops
from tinygrad_llm.backend import array_module
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.lora import lora
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.optim import SGD, AdamW, Muon, Optimizer, clip_grad_norm_, parameter_groups


def leaf(*values):
    return Tensor(np.array(values or [1.0, 2.0], np.float32), requires_grad=True)


def with_gradient(*values):
    x = leaf(*values)
    x.grad = Tensor(np.ones_like(x.data))
    return x


def step_of(optimizer, parameters):
    """Where one step along gradients of ones leads."""
    for parameter in parameters:
        parameter.grad = Tensor(np.ones_like(parameter.data))
    optimizer.step()
    return [parameter.data.copy() for parameter in parameters]


def test_every_way_to_give_the_same_parameters_is_the_same_optimizer(config):
    ways = [
        lambda model: model,
        lambda model: model.parameters(),
        lambda model: list(model.parameters()),
        lambda model: model.named_parameters(),
        lambda model: [{"params": model.parameters()}],
        lambda model: [{"params": model}],
        lambda model: (parameter for parameter in [*model.parameters(), *model.parameters()]),
    ]
    results = []
    for way in ways:
        model = Transformer(config)
        results.append(step_of(AdamW(way(model), lr=0.1), list(model.parameters())))
    for result in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], result, strict=True))


def test_settings_of_a_group_come_before_the_defaults_and_may_change_at_any_time():
    a, b = leaf(1.0), leaf(1.0)
    optimizer = SGD([{"params": [a], "lr": 0.5}, {"params": b}], lr=0.1)
    assert optimizer.lr == 0.5 and [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]
    assert [x.item() for x in step_of(optimizer, [a, b])] == pytest.approx([0.5, 0.9])
    for group in optimizer.param_groups:
        group["lr"] *= 2
    assert [x.item() for x in step_of(optimizer, [a, b])] == pytest.approx([-0.5, 0.7])
    optimizer.lr = 0.1
    assert [x.item() for x in step_of(optimizer, [a, b])] == pytest.approx([-0.6, 0.6])


def test_a_parameter_without_a_gradient_stays_as_it_is():
    x, y = leaf(1.0), leaf(1.0)
    optimizer = AdamW([x, y], lr=0.1, weight_decay=0.5)
    x.grad = Tensor(np.ones(1, np.float32))
    assert optimizer.step() == 1.0
    assert y.item() == 1.0 and x.item() < 1.0
    assert optimizer.state_dict()["steps"].tolist() == [1, 0]
    optimizer.zero_grad()
    before = x.item()
    assert optimizer.step() == 0.0 and x.item() == before


def test_frozen_parameters_are_left_out(config):
    model = lora(Transformer(config), rank=2)
    learned = sum(parameter.size for parameter in model.parameters() if parameter.requires_grad)
    assert AdamW(model.parameters()).flat.values.size == learned < model.num_parameters()


def test_data_that_was_assigned_is_learned_further():
    x = leaf(1.0)
    optimizer = SGD([x], lr=0.5)
    x.data = np.array([3.0], np.float32)
    assert step_of(optimizer, [x])[0].tolist() == [2.5]


def test_two_optimizers_of_one_parameter_take_turns():
    x = leaf(1.0)
    one, other = SGD([x], lr=0.5), SGD([x], lr=0.25)
    assert [step_of(optimizer, [x])[0].item() for optimizer in (one, other, one)] == [0.5, 0.25, -0.25]


def test_parameters_of_two_models_may_have_one_name(config):
    one, other = Transformer(config, seed=1), Transformer(config, seed=2)
    optimizer = AdamW([{"params": one.named_parameters()}, {"params": other.named_parameters()}])
    assert optimizer.flat.values.size == 2 * one.num_parameters()
    assert "first/embedding.weight#2" in optimizer.state_dict()


def test_an_optimizer_prints_in_a_few_lines():
    text = repr(AdamW([{"params": [leaf(), leaf(1.0)]}, {"params": leaf(), "weight_decay": 0.0}], lr=0.002))
    assert text.splitlines() == [
        "AdamW: 0 steps",
        "  2 parameters, 3 numbers: lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01",
        "  1 parameter, 2 numbers: lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0",
    ]


def test_the_learning_rate_is_part_of_the_state():
    x = leaf()
    optimizer = AdamW([x], lr=0.1)
    optimizer.lr = 0.05
    resumed = AdamW([leaf()], lr=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.lr == 0.05


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (lambda: leaf(), r"one Tensor.*AdamW\(\[x\]\)"),
        (lambda: {"w": leaf()}, r"one dict.*params\.items\(\)"),
        (lambda: [], "there are no parameters"),
        (lambda: iter(()), "generator such as model.parameters.. can be read only once"),
        (lambda: [Tensor(np.ones(2))], "none of the parameters requires a gradient"),
        (lambda: [leaf() * 2.0], "parameters.0. is the result of multiply, and only leaves"),
        (lambda: [np.ones(3)], "parameters.0. is not a Tensor but a ndarray"),
        (lambda: [("w", 3.0)], "w is not a Tensor but a float"),
        (lambda: 3, "it was 3"),
        (lambda: "weights", "it was 'weights'"),
        (lambda: [{"params": [leaf()], "rate": 1.0}], r"unknown settings \['rate'\] in a group"),
        (lambda: [{"params": []}], "there are no parameters"),
        (lambda: [{"lr": 1.0}], "there are no parameters"),
        (lambda: [leaf(), Tensor(np.ones(2, np.float64), requires_grad=True)], "one dtype.*float32.*float64"),
    ],
)
def test_what_is_not_a_list_of_parameters_is_refused(params, message):
    with pytest.raises(InputError, match=message):
        AdamW(params())


def test_a_parameter_in_two_groups_is_refused():
    x = leaf()
    with pytest.raises(InputError, match="in two groups"):
        AdamW([{"params": [x]}, {"params": [leaf(), x]}])


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (make, settings)
        for make in (AdamW, Muon, SGD)
        for settings in (
            {"lr": math.nan},
            {"lr": -1e-3},
            {"lr": math.inf},
            {"lr": "fast"},
            {"lr": True},
            {"weight_decay": -0.1},
            {"weight_decay": math.nan},
        )
    ]
    + [
        (make, settings)
        for make in (AdamW, Muon)
        for settings in (
            {"betas": (1.0, 0.9)},
            {"betas": (0.9, 1.0)},
            {"betas": (-0.1, 0.9)},
            {"betas": (0.9, math.nan)},
            {"betas": 0.9},
            {"betas": (0.9,)},
            {"eps": 0.0},
            {"eps": -1e-8},
        )
    ]
    + [(make, {"momentum": value}) for make in (Muon, SGD) for value in (1.0, -0.1, math.nan)],
)
def test_a_setting_that_cannot_be_is_named(make, settings):
    (name,) = settings
    matrix = Tensor(np.ones((2, 2), np.float32), requires_grad=True)
    with pytest.raises(InputError, match=f"{make.__name__}: {name} must be"):
        make([matrix], **settings)
    optimizer = make([matrix])
    optimizer.param_groups[0].update(settings)
    with pytest.raises(InputError, match=f"{make.__name__}: {name} must be"):
        optimizer.step()


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(InputError, match="nesterov=True needs a momentum above 0"):
        SGD([leaf()], nesterov=True)


def test_muon_takes_matrices_and_says_what_to_do_with_the_rest(config):
    model = Transformer(config)
    with pytest.raises(InputError, match=r"for matrices.*Muon\(model\)"):
        Muon(model.parameters())
    by_name, by_group = Muon(model.named_parameters()), Muon(parameter_groups(model, 0.1, muon=True))
    hidden = sum(p.size for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("blocks."))
    for optimizer in (by_name, by_group, Muon(model)):
        groups = [group for group in optimizer.param_groups if group["use_muon"]]
        assert sum(p.size for group in groups for p in group["params"]) == hidden


# --- clipping ---------------------------------------------------------------------------------------------------------


def test_clip_grad_norm_scales_all_gradients_and_only_when_they_are_too_long():
    x, y, without = with_gradient(0.0, 0.0, 0.0), with_gradient(0.0), leaf()
    assert clip_grad_norm_([x, y, without, x], 5.0) == 2.0
    assert x.grad.data.tolist() == [1.0, 1.0, 1.0]
    assert clip_grad_norm_(iter([x, y, without]), 1.0) == 2.0
    assert x.grad.data.tolist() == [0.5, 0.5, 0.5] and y.grad.item() == 0.5 and without.grad is None
    assert clip_grad_norm_(x, 10.0) == pytest.approx(math.sqrt(0.75))
    assert clip_grad_norm_([], 1.0) == 0.0


def test_clip_grad_norm_of_one_array_that_is_the_gradient_of_two():
    x, y = leaf(), leaf()
    x.grad = y.grad = Tensor(np.array([3.0, 0.0], np.float32))
    clip_grad_norm_([x, y], 0.3)
    assert math.hypot(x.grad.data[0], y.grad.data[0]) == pytest.approx(0.3)


def test_clip_grad_norm_leaves_a_norm_that_is_nan_to_the_step():
    x = leaf()
    optimizer = AdamW([x])
    x.grad = Tensor(np.array([math.nan, 1.0], np.float32))
    assert math.isnan(clip_grad_norm_([x], 1.0)) and x.grad.data[1] == 1.0
    with pytest.raises(InputError, match=r"gradient of parameters\[0\] holds NaN"):
        optimizer.step()


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, "1"])
def test_clip_grad_norm_refuses_what_is_not_a_norm(bad):
    with pytest.raises(InputError, match="max_norm must be a number above 0"):
        clip_grad_norm_([with_gradient()], bad)


# --- one of one's own -------------------------------------------------------------------------------------------------


class SignSGD(Optimizer):
    """The example of the docstring of `training.optimizer`."""

    state_names = ("momentum",)

    def __init__(self, params, lr=1e-3, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def update(self, p, g, state, step, group):
        m = state["momentum"]
        m[...] = group["momentum"] * m + g
        p[...] -= group["lr"] * array_module(m).sign(m)


def test_an_optimizer_of_ones_own():
    x, y = leaf(1.0, -1.0), leaf(0.5)
    optimizer = SignSGD([x, y], lr=0.25)
    for _ in range(2):
        loss = ops.sum(x * x) + ops.sum(y * y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert x.data.tolist() == [0.5, -0.5] and y.data.tolist() == [0.0]
    with pytest.raises(InputError, match="SignSGD: momentum must be"):
        SignSGD([leaf()], momentum=2.0)
