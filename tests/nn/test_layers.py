"""The small layers by hand: constructors, what they compute, how they print, and their initial values."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn
from tinygrad_llm.nn import functional as F

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def test_short_constructors():
    linear = nn.Linear(3, 4, seed=0)
    np.testing.assert_allclose(
        linear(tg.Tensor(X)).numpy(), X @ linear.weight.numpy().T + linear.bias.numpy(), rtol=1e-5, atol=1e-6
    )
    assert nn.Linear(3, 4, bias=False).bias is None
    assert np.array_equal(nn.Linear(3, 4, seed=0).weight.numpy(), linear.weight.numpy())
    assert not np.array_equal(nn.Linear(3, 4).weight.numpy(), nn.Linear(3, 4).weight.numpy())
    assert nn.Embedding(5, 3, seed=0)(np.array([[1, 2]])).shape == (1, 2, 3)
    normed = nn.LayerNorm(3)(tg.Tensor(X)).numpy()
    np.testing.assert_allclose(normed.mean(axis=-1), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.square(nn.RMSNorm(3)(tg.Tensor(X)).numpy()).mean(axis=-1), 1.0, rtol=1e-3)
    assert nn.MLP(3, 8, seed=0)(tg.Tensor(X)).shape == (2, 3)
    config = nn.TransformerConfig.llama(vocab_size=5, context=8, layers=2, heads=2, width=8)
    assert nn.Block(config, seed=0)(tg.Tensor(np.ones((1, 4, 8), np.float32))).shape == (1, 4, 8)


def test_ids_of_a_table():
    table = nn.Embedding(5, 3, seed=0)
    np.testing.assert_array_equal(table([[4, 0]]).numpy(), table.weight.numpy()[[[4, 0]]])
    for ids, wrong in (([-1], -1), (np.array([[0, 5]]), 5)):
        with pytest.raises(tg.InputError, match=f"ids: {wrong} is not a row of the table, which has the rows 0 to 4"):
            table(ids)


def test_losses():
    logits, targets = tg.Tensor(np.random.default_rng(0).standard_normal((2, 4))), [3, -100]
    p = np.exp(logits.numpy()[0, 3]) / np.exp(logits.numpy()[0]).sum()
    assert F.cross_entropy(logits, targets).item() == pytest.approx(-math.log(p))
    log_p = F.log_softmax(logits)
    for reduction in ("mean", "sum", "none"):
        one = F.cross_entropy(logits, np.array(targets), reduction).numpy()
        np.testing.assert_allclose(one, F.nll_loss(log_p, np.array(targets), reduction).numpy(), rtol=1e-12)
    assert F.mse_loss(tg.Tensor([1.0, 4.0]), tg.Tensor([0.0, 2.0])).item() == 2.5
    assert F.mse_loss(tg.Tensor([1.0, 4.0]), 0.0, "sum").item() == 17.0
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(tg.InputError, match="reduction must be 'mean', 'sum' or 'none', it was 'max'"):
            loss(logits, np.array(targets), "max")
    with pytest.raises(tg.InputError, match=r"logits \(2, 4\) want one target for each of \(2,\)"):
        F.cross_entropy(logits, [1, 2, 3])
    with pytest.raises(tg.InputError, match="targets: 4 is not a token id"):
        F.cross_entropy(logits, [4, 0])


def erf(x):
    return np.vectorize(math.erf)(x)


REFERENCE = {
    "gelu": lambda x: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0.0),
    "relu_squared": lambda x: np.maximum(x, 0.0) ** 2,
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("activation", REFERENCE)
def test_every_activation_of_the_mlp(activation, gated):
    mlp = nn.MLP(3, 8, activation, gated, bias=False, seed=0)
    x = X.astype(np.float64)
    f, up, down = REFERENCE[activation], x @ mlp.up.weight.numpy().T, mlp.down.weight.numpy()
    hidden = f(x @ mlp.gate.weight.numpy().T) * up if gated else f(up)
    for mode in (tg.no_grad(), tg.plain()):
        with mode:
            np.testing.assert_allclose(mlp(tg.Tensor(X)).numpy(), hidden @ down.T, rtol=1e-4, atol=1e-6)
    config = nn.TransformerConfig.llama(
        vocab_size=5, context=8, layers=1, heads=2, width=8, activation=activation, gated=gated
    )
    assert (tg.Transformer(config).blocks[0].mlp.gate is not None) == gated


def test_an_unknown_activation_is_refused():
    with pytest.raises(tg.InputError, match="activation must be one of gelu, gelu_tanh, relu"):
        nn.MLP(3, activation="tanh")


def test_a_module_in_ten_lines():
    class TwoLayers(nn.Module):
        def __init__(self, width):
            self.first, self.second = nn.Linear(width, 16, seed=0), nn.Linear(16, 1, seed=1)

        def forward(self, x):
            return self.second(F.relu(self.first(x)))

    model = TwoLayers(3)
    x, y = tg.Tensor(X), tg.Tensor(X.sum(axis=1, keepdims=True) ** 2)
    losses = []
    for _ in range(300):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        for parameter in model.parameters():
            parameter.data -= 0.05 * parameter.grad.data
        model.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


# --- printing -------------------------------------------------------------------------------------------------------


def test_a_model_prints_as_a_tree_with_counts():
    config = nn.TransformerConfig.llama(vocab_size=19, context=12, layers=3, heads=4, kv_heads=2, width=32)
    model = tg.Transformer(config)
    lines = repr(model).splitlines()
    assert lines[0].split() == ["Transformer", f"{model.num_parameters():,}"]
    assert lines[1].split() == ["├──", "embedding:", "Embedding(19,", "32)", "608"]
    assert "blocks.0 … 2: 3 × Block" in lines[2]
    assert len({len(line) for line in lines}) == 1  # the counts stand in a column
    top = [line for line in lines[1:] if line[0] in "├└"]
    assert sum(int(line.split()[-1].replace(",", "")) for line in top) == model.num_parameters()
    assert "attention: Attention(heads=4, kv_heads=2, head_dim=8)" in repr(model)
    tg.lora(model, rank=2, parts=("query",))
    assert "LoRALinear" in repr(model) and "query" in repr(model) and "frozen" in repr(model)


def test_a_module_of_ones_own_prints_its_parameters():
    class Scale(nn.Module):
        def __init__(self):
            self.weight = tg.Tensor(np.ones((2, 3)), requires_grad=True)
            self.fixed = tg.Tensor(np.ones(2))

    assert repr(Scale()).splitlines() == [
        "Scale                  8",
        "├── weight (2, 3)      6",
        "└── fixed (2,) frozen  2",
    ]


@pytest.mark.parametrize(
    ("name", "advice"), [("eval", "there is no mode"), ("train", "rng="), ("cuda", 'write model.to("cuda")')]
)
def test_names_of_pytorch_say_what_to_write(name, advice):
    with pytest.raises(AttributeError, match=advice.replace("(", r"\(").replace(")", r"\)")):
        getattr(nn.Linear(2, 2), name)
    with pytest.raises(AttributeError, match="no attribute 'wieght'"):
        nn.Linear(2, 2).wieght  # noqa: B018


# --- initial values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (nn.init.normal(0.3), 0.3),
        (nn.init.uniform(0.3), 0.3 / math.sqrt(3.0)),
        (nn.init.lecun_normal, math.sqrt(1.0 / 200)),
        (nn.init.xavier_normal, math.sqrt(2.0 / 500)),
        (nn.init.xavier_uniform, math.sqrt(2.0 / 500)),
        (nn.init.kaiming_normal, math.sqrt(2.0 / 200)),
        (nn.init.kaiming_uniform, math.sqrt(2.0 / 200)),
        (nn.init.scaled(nn.init.normal(0.3), 2.0), 0.6),
    ],
)
def test_initial_values_have_the_scale_that_is_said(init, std):
    weight = nn.Linear(200, 300, init=init, seed=0).weight.numpy()
    assert weight.dtype == np.float32 and weight.shape == (300, 200)
    assert weight.std() == pytest.approx(std, rel=0.02) and abs(weight.mean()) < std * 0.02


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6)])
def test_orthogonal_rows_or_columns(shape):
    weight = nn.init.orthogonal(shape, np.random.default_rng(0))
    product = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-6)


def test_constants_and_shapes_that_are_no_matrices():
    assert not nn.init.zeros((3,)).any() and (nn.init.ones((3,)) == 1).all()
    with pytest.raises(tg.InputError, match="for matrices"):
        nn.init.xavier_normal((3,), np.random.default_rng(0))


@pytest.mark.parametrize("init", ["xavier_normal", "kaiming_normal", "orthogonal"])
def test_the_config_names_the_initial_values(init):
    sizes = dict(vocab_size=30, context=8, layers=8, heads=4, width=64)
    block = tg.Transformer(nn.TransformerConfig.gpt2(**sizes, init=init)).blocks[2]
    wanted = nn.init.BY_NAME[init]((256, 64), np.random.default_rng(0)).std()
    assert block.mlp.up.weight.numpy().std() == pytest.approx(wanted, rel=0.05)
    wanted = nn.init.BY_NAME[init]((64, 256), np.random.default_rng(0)).std() / 4.0
    assert block.mlp.down.weight.numpy().std() == pytest.approx(wanted, rel=0.05)
    default = tg.Transformer(nn.TransformerConfig.gpt2(**sizes, init_std=0.1))
    assert default.embedding.weight.numpy().std() == pytest.approx(0.1, rel=0.1)
