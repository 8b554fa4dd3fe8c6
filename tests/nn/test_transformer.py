"""The transformer as a whole: sizes, initialisation, causality, gradients against finite differences."""

import itertools
import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.rotary import RotaryScaling, rotary_angles

GPT2 = dict(vocab_size=19, context=12, layers=2, heads=4, width=32)
KINDS = {
    "gpt2": tg.TransformerConfig.gpt2(**GPT2),
    "llama": tg.TransformerConfig.llama(**GPT2, kv_heads=2),
    "gemma": tg.TransformerConfig.llama(
        **GPT2,
        kv_heads=2,
        activation="gelu_tanh",
        head_dim=8,
        qk_norm=True,
        post_norms=True,
        norm_weight_plus_one=True,
        embedding_scale=4.0,
        attention_scale=0.3,
        attention_softcap=2.0,
        logit_softcap=3.0,
        window=3,
        full_attention_every=2,
        local_rotary_base=100.0,
        rotary_scaling=RotaryScaling("linear", 8.0),
    ),
    "untied": tg.TransformerConfig.gpt2(**GPT2, tied=False, bias=False, head_dim=6),
}


def ids(config, seed=0, batch=3):
    return np.random.default_rng(seed).integers(0, config.vocab_size, (batch, config.context))


def in_float64(model):
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_logits_have_the_shape_of_the_text_by_the_vocabulary(kind):
    config = KINDS[kind]
    logits = tg.Transformer(config)(ids(config))
    assert logits.shape == (3, config.context, config.vocab_size)
    assert logits.dtype == np.float32


def test_gpt2_has_the_published_number_of_parameters():
    """124,439,808 for GPT-2 small (12 layers, 12 heads, 768 wide, context 1024, vocabulary 50,257)."""
    C, V, T, L = 768, 50257, 1024, 12
    config = tg.TransformerConfig.gpt2(vocab_size=31, context=T, layers=1, heads=12, width=C)
    one_layer = tg.Transformer(config).num_parameters() - 31 * C - T * C - 2 * C
    assert V * C + T * C + L * one_layer + 2 * C == 124_439_808


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_knows_nothing(kind):
    """Its loss is close to log V: every next token is about as likely as any other."""
    config = KINDS[kind]
    loss = tg.Transformer(config).loss(ids(config), ids(config, seed=1))
    assert loss.item() == pytest.approx(math.log(config.vocab_size), abs=0.1)


def test_matrices_that_write_into_the_residual_stream_start_smaller():
    config = tg.TransformerConfig.gpt2(vocab_size=50, context=8, layers=8, heads=4, width=128)
    block = tg.Transformer(config).blocks[3]
    assert block.attention.query.weight.data.std() == pytest.approx(0.02, rel=0.03)
    for writing in (block.attention.output, block.mlp.down):
        assert writing.weight.data.std() == pytest.approx(0.02 / math.sqrt(2 * 8), rel=0.03)
    assert not block.mlp.up.bias.data.any()


@pytest.mark.parametrize("plainly", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_causality(kind, plainly):
    """Changing a token leaves the logits before it bit-equal, and changes those after it."""
    config = KINDS[kind]
    model = tg.Transformer(config)
    before = ids(config)
    after = before.copy()
    after[:, 7] = (after[:, 7] + 1) % config.vocab_size
    if plainly:
        with tg.plain():
            first, second = model(before).data, model(after).data
    else:
        first, second = model(before).data, model(after).data
    assert np.array_equal(first[:, :7], second[:, :7])
    assert np.all(np.any(first[:, 7:] != second[:, 7:], axis=-1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_cross_entropy_of_the_logits(kind):
    config = KINDS[kind]
    model, text = in_float64(tg.Transformer(config)), ids(config)
    targets = np.where(np.arange(config.context) % 3 == 1, -1, ids(config, seed=1))
    loss = model.loss(text, targets)
    assert loss.item() == pytest.approx(F.cross_entropy(model(text), targets).item(), rel=1e-12)
    with tg.no_grad():
        assert model.loss(text, targets).item() == pytest.approx(loss.item(), rel=1e-12)
    summed = model.loss(text, targets, reduction="sum").item()
    assert summed == pytest.approx(loss.item() * int((targets >= 0).sum()), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_and_fast_agree_in_every_gradient(kind):
    config = KINDS[kind]
    model = in_float64(tg.Transformer(config))
    model.loss(ids(config), ids(config, seed=1)).backward()
    fast = {name: parameter.grad.data for name, parameter in model.named_parameters()}
    model.zero_grad()
    with tg.plain():
        model.loss(ids(config), ids(config, seed=1)).backward()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(fast[name], parameter.grad.data, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_finite_differences(kind):
    config = KINDS[kind]
    model = in_float64(tg.Transformer(config))
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape)  # away from the calm start
    text, targets = ids(config), ids(config, seed=1)
    model.loss(text, targets).backward()
    for name, parameter in model.named_parameters():
        direction = rng.standard_normal(parameter.shape)
        step = 1e-5 / np.linalg.norm(direction)
        start = parameter.data
        parameter.data = start + step * direction
        above = model.loss(text, targets).item()
        parameter.data = start - step * direction
        below = model.loss(text, targets).item()
        parameter.data = start
        slope = float((parameter.grad.data * direction).sum())
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_rotary_attention_depends_on_distances_only():
    """Shifting all positions by the same amount turns queries and keys alike, and changes nothing."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 6, 2, 8)) for _ in range(3))

    def attended(start):
        cos, sin = rotary_angles(np.arange(start, start + 6), 8, 10_000.0)
        return F.attention(F.apply_rotary(q, cos, sin), F.apply_rotary(k, cos, sin), v)

    np.testing.assert_allclose(attended(0), attended(1000), rtol=1e-9, atol=1e-12)


def test_dropout_needs_a_generator_and_repeats_with_its_seed():
    config = KINDS["gpt2"].with_(dropout=0.5)
    model, text = tg.Transformer(config), ids(config)
    calm = model(text).data
    assert np.array_equal(calm, model(text).data)
    one, same, other = (model(text, rng=np.random.default_rng(seed)).data for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, calm)


def test_dropout_keeps_the_mean():
    x = tg.Tensor(np.ones((200, 500), np.float32))
    dropped = F.dropout(x, 0.3, np.random.default_rng(0)).data
    assert dropped.mean() == pytest.approx(1.0, abs=0.01)
    assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(1.0 / 0.7)}


def test_state_goes_in_and_out():
    config = KINDS["llama"]
    one, two = tg.Transformer(config, seed=1), tg.Transformer(config, seed=2)
    two.load_state_dict(one.state_dict())
    assert np.array_equal(one(ids(config)).data, two(ids(config)).data)


def test_a_state_of_another_model_is_refused_and_changes_nothing():
    one, two = tg.Transformer(KINDS["gpt2"]), tg.Transformer(KINDS["llama"], seed=9)
    before = {name: values.copy() for name, values in two.state_dict().items()}
    with pytest.raises(tg.InputError, match="not of this kind of model"):
        two.load_state_dict(one.state_dict())
    short = dict(before, **{"embedding.weight": before["embedding.weight"][:-1]})
    with pytest.raises(tg.InputError, match="embedding.weight has the shape"):
        two.load_state_dict(short)
    assert all(np.array_equal(before[name], values) for name, values in two.state_dict().items())


def test_a_text_longer_than_the_context_is_refused():
    config = KINDS["gpt2"]
    with pytest.raises(tg.InputError, match="13 tokens long, the model can look at 12"):
        tg.Transformer(config)(np.zeros((1, 13), int))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(heads=5), "width 32 cannot be cut into 5 heads"),
        (dict(kv_heads=3), "4 query heads cannot share 3"),
        (dict(layers=0), "layers must be a whole number"),
        (dict(width=2.5), "width must be a whole number"),
        (dict(dropout=1.0), "dropout must be at least 0 and below 1"),
        (dict(positions="rotary", head_dim=5), "head_dim 5 is odd"),
        (dict(activation="tanh"), "activation must be one of"),
        (dict(layers=True), "layers must be a whole number"),
        (dict(context="12"), "context must be a whole number of at least 1, it was '12'"),
        (dict(vocab_size=None), "vocab_size must be a whole number"),
        (dict(bias=1), "bias must be True or False, it was 1"),
        (dict(gated="yes"), "gated must be True or False"),
        (dict(norm_eps=0), "norm_eps must be a number above 0"),
        (dict(rotary_base="10"), "rotary_base must be a number above 0, it was '10'"),
        (dict(logit_softcap=math.nan), "logit_softcap must be a number above 0, it was nan"),
        (dict(dropout=-0.1), "dropout must be at least 0 and below 1, it was -0.1"),
        (dict(window=0), "window must be a whole number"),
        (dict(positions=3), "positions must be one of"),
        (dict(rotary_scaling={"kind": "linear"}), "rotary_scaling must be a RotaryScaling or None"),
        (dict(heads=64, head_dim=None), "width 32 cannot be cut into 64 heads"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(tg.InputError, match=message):
        tg.TransformerConfig.gpt2(**{**GPT2, **change})


def test_sizes_that_were_not_given_follow_the_others():
    config = KINDS["llama"]
    assert (config.head_dim, config.kv_heads, config.hidden, config.qkv_bias) == (8, 2, 96, False)
    wider = config.with_(width=64, bias=True)
    assert (wider.head_dim, wider.kv_heads, wider.hidden, wider.qkv_bias) == (16, 2, 192, True)
    given = tg.TransformerConfig.gpt2(**GPT2, hidden=128, head_dim=8)
    assert (given.with_(width=64).hidden, given.with_(width=64).head_dim) == (128, 8)
    assert given.with_(hidden=None).hidden == 128 and given.with_(width=64, hidden=None).hidden == 256


def test_numbers_of_numpy_become_plain_ones():
    config = tg.TransformerConfig.gpt2(**{**GPT2, "width": np.int64(32), "dropout": np.float32(0.5), "norm_eps": 1})
    assert [type(config.to_dict()[name]) for name in ("width", "dropout", "norm_eps")] == [int, float, float]


def test_config_round_trip_and_unknown_entries():
    config = KINDS["llama"]
    assert tg.TransformerConfig.from_dict(config.to_dict()) == config
    with pytest.raises(tg.InputError, match="unknown entries"):
        tg.TransformerConfig.from_dict({**config.to_dict(), "flavour": 1})
    with pytest.raises(tg.InputError, match="vocab_size"):
        tg.TransformerConfig.from_dict({"context": 3})


def test_without_a_seed_it_is_one_empty_array_to_load_into():
    config = KINDS["gpt2"]
    drawn, empty = tg.Transformer(config), tg.Transformer.empty(config)
    addresses = [parameter.data.ctypes.data for parameter in empty.parameters()]
    sizes = [parameter.data.nbytes for parameter in empty.parameters()]
    assert [b - a for a, b in itertools.pairwise(addresses)] == sizes[:-1]
    empty.load_state_dict(drawn.state_dict())
    assert np.array_equal(empty(ids(config)).data, drawn(ids(config)).data)


# --- ids --------------------------------------------------------------------------------------------------------------


def test_ids_are_arrays_tensors_or_lists():
    model = tg.Transformer(KINDS["llama"])
    text = [[3, 1, 4], [1, 5, 9]]
    wanted = model(np.array(text)).numpy()
    for given in (
        text,
        tuple(map(tuple, text)),
        tg.Tensor(np.array(text)),
        np.array(text, np.uint8),
        np.array(text, np.int32),
    ):
        np.testing.assert_array_equal(model(given).numpy(), wanted)
    np.testing.assert_array_equal(model([3, 1, 4]).numpy(), model([[3, 1, 4]]).numpy())
    targets = [[1, 4, -100], [5, 9, -1]]
    wanted = model.loss(np.array(text), np.array(targets)).item()
    assert model.loss(text, targets).item() == wanted
    assert model.loss(tg.Tensor(np.array(text)), tg.Tensor(np.array(targets))).item() == wanted
    assert model.loss([3, 1, 4], [1, 4, 1]).item() == model.loss([[3, 1, 4]], [[1, 4, 1]]).item()
    assert model.loss(text).item() == pytest.approx(wanted, rel=1e-6)  # each token is the target of those before it


@pytest.mark.parametrize("plainly", [False, True])
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([[3, -1]], "ids: -1 is not a token id; the vocabulary has the ids 0 to 18"),
        ([[-100, 3]], "ids: -100 is not a token id"),
        ([[3, 19]], "ids: 19 is not a token id"),
        (np.array([[3, 255]], np.uint8), "ids: 255 is not a token id"),
        ([[0.5, 1.0]], "ids must be integers, token ids; they were float64"),
        ([[True, False]], "ids must be integers, token ids; they were bool"),
        ("abc", "ids must be integers"),
        ([[1, 2], [3]], "equally long"),
        ([[[1]]], r"of shape \(B, T\), or \(T,\) for one text; the shape was \(1, 1, 1\)"),
        (3, r"of shape \(B, T\), or \(T,\) for one text; the shape was \(\)"),
    ],
)
def test_other_ids_are_refused(ids, message, plainly):
    model = tg.Transformer(KINDS["llama"])
    for call in (model, model.hidden, model.loss):
        with pytest.raises(tg.InputError, match=message):
            if plainly:
                with tg.plain():
                    call(ids)
            else:
                call(ids)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[1, 2]], r"targets must have one id for each of ids; the shapes were \(1, 2\) and \(1, 3\)"),
        ([[1, 2, 19]], "targets: 19 is not a token id"),
        ([[1.0, 2.0, 3.0]], "targets must be integers"),
    ],
)
def test_other_targets_are_refused(targets, message):
    with pytest.raises(tg.InputError, match=message):
        tg.Transformer(KINDS["llama"]).loss([[1, 2, 3]], targets)
