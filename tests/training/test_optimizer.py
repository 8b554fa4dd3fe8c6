"""Optimizers: formula, one-pass version and PyTorch agree; groups, clipping, saving, and bad gradients."""

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strict_array import strict, unwrap

from tinygrad_llm.autograd import Tensor, plain
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.module import Module
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.optim import SGD, AdamW, Muon, clip_grad_norm_, parameter_groups
from tinygrad_llm.training.newton_schulz import A, B, C, orthogonalize, orthogonalize_in_place

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "optimizer_golden.json").read_text())


def sgd(params, lr=1e-3, weight_decay=0.0):
    return SGD(params, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)


ALL = pytest.mark.parametrize("make", [AdamW, Muon, sgd])


def module_of(arrays):
    """A module whose parameters are these arrays."""
    module = Module()
    for name, array in arrays.items():
        setattr(module, name, Tensor(np.array(array), requires_grad=True))
    return module


def set_gradients(module, gradients):
    for name, gradient in gradients.items():
        getattr(module, name).grad = Tensor(np.array(gradient))


def random_arrays(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    shapes = {"wide": (24, 40), "tall": (33, 7), "square": (16, 16), "embedding": (50, 8), "bias": (40,)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


GOLDEN_CASES = {
    "adamw": lambda module: AdamW(parameter_groups(module, 0.1), betas=(0.9, 0.99)),
    "adamw_defaults": lambda module: AdamW(module.parameters()),
    "adamw_skipping": lambda module: AdamW(parameter_groups(module, 0.1), betas=(0.9, 0.99)),
    "muon": lambda module: Muon(parameter_groups(module, 0.1, muon=True), betas=(0.9, 0.99)),
    "muon_without_nesterov": lambda module: Muon(
        parameter_groups(module, 0.1, muon=True), betas=(0.9, 0.99), nesterov=False
    ),
    "sgd": lambda module: SGD(module.parameters()),
    "sgd_momentum": lambda module: SGD(module.parameters(), momentum=0.9, weight_decay=0.1),
    "sgd_nesterov": lambda module: SGD(module.parameters(), momentum=0.9, nesterov=True, weight_decay=0.1),
}


@pytest.mark.parametrize("definition", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_every_step_is_that_of_pytorch(name, definition):
    module = module_of(GOLDEN["start"])
    optimizer = GOLDEN_CASES[name](module)
    with plain() if definition else contextlib.nullcontext():
        for step, (lr, gradients, expected) in enumerate(
            zip(GOLDEN["lrs"], GOLDEN["gradients"], GOLDEN[name], strict=True)
        ):
            set_gradients(module, gradients)
            if name.endswith("skipping") and step == GOLDEN["skipped_step"]:
                module.tall.grad = None
            optimizer.lr = lr
            optimizer.step()
            for parameter, values in expected.items():
                tolerance = 1e-8 if "muon" in name else 1e-14
                np.testing.assert_allclose(getattr(module, parameter).data, values, rtol=0, atol=tolerance)


@pytest.mark.parametrize("inside", [False, True], ids=["clip_grad_norm_", "step(clip=)"])
def test_clipping_is_that_of_pytorch(inside):
    module = module_of(GOLDEN["start"])
    optimizer = AdamW(parameter_groups(module, 0.1), betas=(0.9, 0.99))
    golden = GOLDEN["adamw_clipped"]
    assert min(golden["norms"]) > 3.0  # so that every step is clipped
    for lr, gradients, norm, expected in zip(
        GOLDEN["lrs"], GOLDEN["gradients"], golden["norms"], golden["after"], strict=True
    ):
        set_gradients(module, gradients)
        optimizer.lr = lr
        if inside:
            assert optimizer.step(clip=3.0) == pytest.approx(norm, rel=1e-12)
        else:
            assert clip_grad_norm_(module.parameters(), 3.0) == pytest.approx(norm, rel=1e-12)
            assert optimizer.step() == pytest.approx(3.0, rel=1e-12)
        for parameter, values in expected.items():  # PyTorch adds 1e-6 to the norm before it divides by it
            np.testing.assert_allclose(getattr(module, parameter).data, values, rtol=0, atol=1e-6)


@ALL
def test_the_one_pass_version_is_the_definition(make):
    fast, defined = module_of(random_arrays(0)), module_of(random_arrays(0))
    of_fast, of_defined = make(fast), make(defined)
    for optimizer in (of_fast, of_defined):
        optimizer.lr = 1e-2
    for step in range(5):
        gradients = random_arrays(step + 1)
        set_gradients(fast, gradients)
        set_gradients(defined, gradients)
        norm = of_fast.step(scale=0.1, clip=1.0)
        with plain():
            assert of_defined.step(scale=0.1, clip=1.0) == pytest.approx(norm, rel=1e-6)
    np.testing.assert_allclose(of_fast.flat.values, of_defined.flat.values, rtol=0, atol=2e-6)
    for name, average in of_fast.state_dict().items():
        np.testing.assert_allclose(average, of_defined.state_dict()[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_blocks_that_are_shared_among_threads_are_the_definition():
    start, gradient = (np.random.default_rng(seed).standard_normal(1_000_003).astype(np.float32) for seed in (0, 1))
    for make in (AdamW, sgd):
        ours = module_of({"long": start})
        optimizer = make(ours, lr=0.1)
        set_gradients(ours, {"long": gradient})
        optimizer.step(scale=0.5)
        by_hand = module_of({"long": start})
        set_gradients(by_hand, {"long": gradient})
        with plain():
            make(by_hand, lr=0.1).step(scale=0.5)
        np.testing.assert_allclose(ours.long.data, by_hand.long.data, rtol=0, atol=1e-6)


@ALL
def test_an_update_needs_nothing_that_a_gpu_array_has_not(make):
    here, there = module_of(random_arrays(0)), Module()
    for name, array in random_arrays(0).items():
        setattr(there, name, Tensor(strict(array), requires_grad=True))
    of_here, of_there = make(here), make(there)
    for step in (1, 2):
        set_gradients(here, random_arrays(step))
        for name, gradient in random_arrays(step).items():
            getattr(there, name).grad = Tensor(strict(gradient))
        for optimizer in (of_here, of_there):
            pieces = [optimizer.pieces(number) for number in range(len(optimizer.param_groups))]
            optimizer.apply(pieces, 0.1)
            optimizer._steps = dict.fromkeys(optimizer._steps, step)
    np.testing.assert_allclose(unwrap(of_there.flat.values), of_here.flat.values, rtol=0, atol=2e-6)


def test_the_averages_are_as_small_as_they_can_be():
    module = module_of(random_arrays(0))
    hidden = sum(random_arrays(0)[name].size for name in ("wide", "tall", "square"))
    everything = sum(array.size for array in random_arrays(0).values())

    def state_size(optimizer):
        return sum(array.size for name, array in optimizer.state_dict().items() if name[:3] not in ("ste", "lr/"))

    assert state_size(AdamW(module)) == 2 * everything
    assert state_size(Muon(module)) == 2 * everything - hidden
    assert state_size(SGD(module)) == 0
    assert state_size(SGD(module, momentum=0.5)) == everything


@ALL
def test_of_the_usual_groups_matrices_decay_and_vectors_do_not(make):
    start = random_arrays(0)
    module = module_of(start)
    set_gradients(module, {name: np.zeros_like(array) for name, array in start.items()})
    make(parameter_groups(module, 0.5, muon=make is Muon), lr=0.1).step()
    for name in ("wide", "tall", "square", "embedding"):
        shrink = 0.05 * 1.9 if make is sgd else 0.05  # with Nesterov's look ahead the first step counts 1 + μ times
        np.testing.assert_allclose(getattr(module, name).data, start[name] * (1 - shrink), rtol=1e-5)
    assert np.array_equal(module.bias.data, start["bias"])


@ALL
@given(scale=st.floats(0.01, 2.0), clip=st.floats(0.01, 100.0))
def test_the_norm_is_of_the_whole_gradient_and_clipping_scales_it_down_to_the_clip(make, scale, clip):
    gradients = random_arrays(1)
    length = scale * math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values()))
    clipped, scaled = module_of(random_arrays(0)), module_of(random_arrays(0))
    set_gradients(clipped, gradients)
    set_gradients(scaled, gradients)
    assert make(clipped).step(scale=scale, clip=clip) == pytest.approx(length, rel=1e-6)
    make(scaled).step(scale=scale * min(1.0, clip / length))
    for name in gradients:
        np.testing.assert_allclose(getattr(clipped, name).data, getattr(scaled, name).data, rtol=0, atol=1e-6)


@ALL
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_named_and_changes_nothing(make, bad):
    module = module_of(random_arrays(0))
    optimizer = make(module)
    gradients = random_arrays(1)
    set_gradients(module, gradients)
    optimizer.step()
    before = {name: array.copy() for name, array in optimizer.state_dict().items()}
    weights = optimizer.flat.values.copy()
    gradients["square"][3, 4] = bad
    set_gradients(module, gradients)
    with pytest.raises(InputError, match=r"the gradient of square holds NaN or infinity \(step 2\).*Lower the lr"):
        optimizer.step(clip=1.0)
    assert np.array_equal(optimizer.flat.values, weights)
    assert all(np.array_equal(before[name], array) for name, array in optimizer.state_dict().items())


def test_a_norm_that_overflows_is_an_error_as_well():
    module = module_of({"w": np.ones((2, 2), np.float32)})
    module.w.grad = Tensor(np.full((2, 2), 1e30, np.float32))
    with pytest.raises(InputError, match="so large that its norm overflows"):
        AdamW(module).step()


@ALL
def test_going_on_from_a_saved_state_is_bit_equal(make):
    whole, first = module_of(random_arrays(0)), module_of(random_arrays(0))
    of_whole, of_first = make(whole), make(first)
    for step in range(6):
        set_gradients(whole, random_arrays(step + 1))
        of_whole.step()
    for step in range(3):
        set_gradients(first, random_arrays(step + 1))
        of_first.step()
    second = module_of({name: getattr(first, name).data for name in random_arrays(0)})
    of_second = make(second)
    of_second.load_state_dict({name: array.copy() for name, array in of_first.state_dict().items()})
    for step in range(3, 6):
        set_gradients(second, random_arrays(step + 1))
        of_second.step()
    assert np.array_equal(of_second.flat.values, of_whole.flat.values)


def test_the_state_of_another_optimizer_is_refused():
    with pytest.raises(InputError, match="optimizer state: .* does not fit"):
        Muon(module_of(random_arrays(0))).load_state_dict(AdamW(module_of(random_arrays(0))).state_dict())
    smaller = AdamW(module_of({"bias": np.ones(3, np.float32)}))
    with pytest.raises(InputError, match="bias does not fit"):
        AdamW(module_of({"bias": np.ones(4, np.float32)})).load_state_dict(smaller.state_dict())


@ALL
def test_the_loop_of_the_readme_learns(make, world, config):
    model = Transformer(config)
    optimizer = make(model.named_parameters(), lr=0.2 if make is sgd else 1e-2)
    ids, targets = world.validation.inputs, world.validation.targets
    losses = []
    for _ in range(15):
        loss = model.loss(ids, targets)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[0] == pytest.approx(math.log(280), abs=0.1)
    assert losses[-1] < losses[0] - 1.0


# --- orthogonalisation ------------------------------------------------------------------------------------------------


def by_svd(matrix):
    """What five iterations do to each singular value, on a singular value decomposition instead of products."""
    u, sigma, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    sigma = sigma / np.sqrt((sigma**2).sum())
    for _ in range(5):
        sigma = A * sigma + B * sigma**3 + C * sigma**5
    return u * sigma @ vt, sigma


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 5), (5, 1)])
def test_orthogonalize_lifts_all_singular_values_to_about_one(shape):
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected, sigma = by_svd(matrix)
    np.testing.assert_allclose(orthogonalize(matrix), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(orthogonalize_in_place(matrix.copy()), orthogonalize(matrix), rtol=0, atol=2e-5)
    assert sigma.max() < 1.25 and np.median(sigma) > 0.65


def test_orthogonalize_keeps_zero():
    zero = np.zeros((3, 4), np.float32)
    assert not orthogonalize(zero).any()
    assert not orthogonalize_in_place(zero).any()


@pytest.mark.parametrize("shape", [(64, 64), (32, 128), (128, 32)])
def test_an_update_of_muon_has_the_size_of_adamws(shape):
    gradient = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    module = module_of({"w": np.zeros(shape, np.float32)})
    set_gradients(module, {"w": gradient})
    Muon(module, lr=1.0).step()
    assert math.sqrt(float((module.w.data**2).mean())) == pytest.approx(0.2, abs=0.04)
