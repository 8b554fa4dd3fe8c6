"""One backward pass gives what one backward pass per example gives."""

import doctest

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, ops, plain
from tinygrad_llm.autograd.functional import gradients
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn import per_example
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.per_example import per_example_gradients
from tinygrad_llm.nn.transformer import Transformer

B, T, C = 4, 5, 6


def leaf(rng, *shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def one_by_one(losses_of, batch, parameters):
    """The loop that the function under test spares."""
    rows = [gradients(losses_of(*(x[b : b + 1] for x in batch)).sum(), parameters) for b in range(len(batch[0]))]
    return {name: np.stack([row[name].data for row in rows]) for name in parameters}


def check(losses_of, batch, parameters):
    found = per_example_gradients(losses_of(*batch), parameters)
    wanted = one_by_one(losses_of, batch, parameters)
    scale = max(np.abs(gradient).max() for gradient in wanted.values())  # some gradients are 0 but for rounding
    for name in parameters:
        np.testing.assert_allclose(found[name].data, wanted[name], rtol=1e-11, atol=1e-12 * scale, err_msg=name)


def case_linear(rng):
    p = {"W": leaf(rng, 3, C), "b": leaf(rng, 3)}
    return (lambda x: (F.linear(Tensor(x), p["W"], p["b"]) ** 2).sum(axis=(1, 2))), [rng.standard_normal((B, T, C))], p


def case_linear_on_vectors(rng):
    p = {"W": leaf(rng, 3, C), "b": leaf(rng, 3)}
    return (lambda x: F.linear(Tensor(x), p["W"], p["b"]).tanh().sum(axis=1)), [rng.standard_normal((B, C))], p


def case_embedding(rng):
    p = {"table": leaf(rng, 7, C)}
    return (lambda ids: (F.embedding(p["table"], ids) ** 3).sum(axis=(1, 2))), [rng.integers(0, 7, (B, T))], p


def case_norms(rng):
    p = {"w1": leaf(rng, C), "b1": leaf(rng, C), "w2": leaf(rng, C)}

    def losses(x):
        return (F.rms_norm(F.layer_norm(Tensor(x), p["w1"], p["b1"]), p["w2"]) ** 2).sum(axis=(1, 2))

    return losses, [rng.standard_normal((B, T, C))], p


def case_arithmetic(rng):
    p = {"a": leaf(rng, T, C), "b": leaf(rng, C), "c": leaf(rng, 1, C), "d": leaf(rng), "W": leaf(rng, C, 2)}

    def losses(x):
        y = (Tensor(x) + p["a"]) * p["b"] - p["c"]
        return ((y / p["d"]) @ p["W"]).tanh().sum(axis=(1, 2))

    return losses, [rng.standard_normal((B, T, C))], p


def case_used_twice_and_changed_before_use(rng):
    p = {"table": leaf(rng, 7, C), "place": leaf(rng, 9, C)}

    def losses(ids):
        x = F.embedding(p["table"], ids) + p["place"][:T]
        return (F.linear(x, p["table"] * 2.0) ** 2).sum(axis=(1, 2))

    return losses, [rng.integers(0, 7, (B, T))], p


CASES = [
    case_linear,
    case_linear_on_vectors,
    case_embedding,
    case_norms,
    case_arithmetic,
    case_used_twice_and_changed_before_use,
]


@pytest.mark.parametrize("case", CASES)
def test_equal_to_a_loop_over_examples(case):
    check(*case(np.random.default_rng(0)))


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_a_whole_transformer(kind, is_plain):
    styles = {
        "gpt": {"positions": "learned", "norm": "layer_norm", "bias": True, "tied": True},
        "llama": {
            "positions": "rotary",
            "norm": "rms_norm",
            "activation": "silu",
            "gated": True,
            "bias": False,
            "tied": False,
            "kv_heads": 1,
        },
    }
    model = Transformer(TransformerConfig(vocab_size=11, context=6, width=8, layers=2, heads=2, **styles[kind]))
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    rng = np.random.default_rng(0)
    batch = [rng.integers(0, 11, (3, 6)), rng.integers(0, 11, (3, 6))]

    def losses_of(ids, targets):
        if is_plain:
            with plain():
                return F.token_losses(model(ids), targets).sum(axis=1)
        return F.token_losses(model(ids), targets).sum(axis=1)

    check(losses_of, batch, dict(model.named_parameters()))


def test_their_sum_is_the_gradient_and_no_grad_is_touched():
    losses_of, batch, parameters = case_norms(np.random.default_rng(1))
    found = per_example_gradients(losses_of(*batch), parameters)
    losses_of(*batch).sum().backward()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(found[name].data.sum(axis=0), parameter.grad.data, rtol=1e-11)


def test_the_answer_has_the_form_of_the_parameters():
    rng = np.random.default_rng(0)
    W, unused = leaf(rng, 3, C), leaf(rng, 2)
    x = rng.standard_normal((B, C))

    def losses():
        return F.linear(Tensor(x), W).sum(axis=1)

    assert per_example_gradients(losses(), W).shape == (B, 3, C)
    _, second = per_example_gradients(losses(), [W, unused])
    assert second.shape == (B, 2) and not second.data.any()


def test_what_it_cannot_do_it_says():
    rng = np.random.default_rng(0)
    W, x = leaf(rng, C, C), rng.standard_normal((B, T, C))
    with pytest.raises(InputError, match=r"one number per example, \(B,\), not \(4, 5\)"):
        per_example_gradients((Tensor(x) * W.sum()).sum(axis=2), W)
    with pytest.raises(InputError, match="goes through the op 'maximum'.*linear"):
        per_example_gradients(ops.maximum(Tensor(x), W[0]).sum(axis=(1, 2)), W)
    with pytest.raises(InputError, match="the op 'linear' makes.*first axis must be the 4 examples"):
        per_example_gradients(F.linear(Tensor(x.reshape(B * T, C)), W).reshape(B, -1).sum(axis=1), W)


def test_examples_in_the_docstrings_run():
    result = doctest.testmod(per_example, extraglobs={"Tensor": Tensor})
    assert result.attempted > 1 and result.failed == 0
