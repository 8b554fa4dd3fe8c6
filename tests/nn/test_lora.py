"""Adapters: nothing changes at the start, only they learn, and merged or apart they say the same."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

import tinygrad_llm as tg
from tinygrad_llm.autograd.modes import Observer, mode, observing
from tinygrad_llm.debugging.profile import Profile
from tinygrad_llm.nn.adapter_file import FORMAT, load_adapters, save_adapters
from tinygrad_llm.nn.lora import AdapterValues, adapters, attach, lora, lora_linear, merge, merged_state

SIZES = dict(vocab_size=19, context=12, layers=2, heads=4, width=32)
KINDS = {
    "gpt2": tg.TransformerConfig.gpt2(**SIZES),
    "llama": tg.TransformerConfig.llama(**SIZES, kv_heads=2, tied=False),
    "gemma": tg.TransformerConfig.llama(
        **SIZES, activation="gelu_tanh", qk_norm=True, post_norms=True, norm_weight_plus_one=True
    ),
}
PARTS = {"gpt2": 6, "llama": 7, "gemma": 7}  # Linear layers of a block


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def in_float64(model):
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    return model


def ids(seed=0):
    return np.random.default_rng(seed).integers(0, SIZES["vocab_size"], (3, SIZES["context"]))


def logits(model):
    with tg.no_grad():
        return model(ids()).numpy()


def trained(model, steps=3):
    """The model after a few steps of its adapters."""
    optimizer = tg.AdamW(model, lr=0.03)
    for step in range(steps):
        model.loss(ids(step), ids(step + 1)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


# --- the op -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 3), st.booleans(), st.sets(st.sampled_from(["x", "weight", "A", "B"])))
def test_the_fast_way_is_the_formula(rows, rank, has_bias, wanted):
    rng = np.random.default_rng(rows)
    shapes = {"x": (2, rows, 5), "weight": (4, 5), "A": (rank, 5), "B": (4, rank)} | (
        {"bias": (4,)} if has_bias else {}
    )
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    seed, found = rng.standard_normal((2, rows, 4)), []
    for fast in (True, False):
        tensors = {name: tg.Tensor(x, requires_grad=name in wanted | {"bias"}) for name, x in arrays.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mode, "fast", fast)
            patch.setattr("tinygrad_llm.kernels.threads.BLOCK_BYTES", 300)
            y = lora_linear(*tensors.values(), scale=0.7)
            if y.requires_grad:
                y.backward(seed)
        found.append([y.numpy()] + [tensors[name].grad.numpy() for name in tensors if tensors[name].requires_grad])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    expected = arrays["x"] @ (arrays["weight"] + 0.7 * arrays["B"] @ arrays["A"]).T + arrays.get("bias", 0.0)
    np.testing.assert_allclose(found[0][0], expected, rtol=1e-12, atol=1e-13)


def test_its_costs_are_those_of_its_products():
    x, weight, A, B = (tg.Tensor(np.ones(shape), requires_grad=True) for shape in ((6, 5), (7, 5), (2, 5), (7, 2)))
    weight.requires_grad = False
    with Profile() as profile:
        lora_linear(x, weight, A, B, scale=1.0).sum().backward()
    assert profile.forward["lora_linear"].operations == 2 * 6 * (35 + 10 + 14)
    assert profile.backward["lora_linear"].operations == 2 * 6 * (35 + 10 + 14) + 2 * 6 * 10 + 2 * 6 * 14


# --- a model with adapters --------------------------------------------------------------------------------------------


def test_at_the_start_nothing_changes(kind):
    model = tg.Transformer(KINDS[kind])
    before = logits(model)
    assert lora(model, rank=2) is model
    assert len(adapters(model)) == PARTS[kind] * SIZES["layers"]
    np.testing.assert_array_equal(logits(model), before)


def test_only_the_adapters_learn(kind):
    model = lora(tg.Transformer(KINDS[kind]), rank=2, parts=("query", "down"))
    learned = {f"blocks.{i}.{part}.{end}" for i in (0, 1) for part in ("attention.query", "mlp.down") for end in "AB"}
    before = {name: parameter.numpy().copy() for name, parameter in model.named_parameters()}
    trained(model)
    changed = {name for name, parameter in model.named_parameters() if (parameter.numpy() != before[name]).any()}
    assert changed == learned
    assert all(p.grad is None and p.grad_buffer is None for n, p in model.named_parameters() if n not in learned)
    assert tg.AdamW(model).flat.values.size == sum(before[name].size for name in learned)


def test_no_gradient_of_a_frozen_matrix_is_ever_made(kind):
    made = []

    class Look(Observer):
        def on_backward(self, node, out, g, gradients):
            made.extend(x for x, gx in zip(node.inputs, gradients, strict=True) if gx is not None)

    model = lora(tg.Transformer(KINDS[kind]), rank=2)
    with observing(Look()):
        model.loss(ids(), ids(1)).backward()
    matrices = {id(parameter) for parameter in model.parameters() if parameter.ndim == 2}
    learned = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert matrices & {id(x) for x in made} == learned


def test_a_model_that_was_being_trained_drops_its_gradients():
    model = tg.Transformer(KINDS["gpt2"])
    trained(model).loss(ids(), ids(1)).backward()
    assert model.embedding.weight.grad is not None
    lora(model, rank=1)
    assert model.embedding.weight.grad is None and model.embedding.weight.grad_buffer is None


@pytest.mark.parametrize("alpha", [None, 6.0])
def test_merged_and_apart_say_the_same(kind, alpha):
    model = trained(lora(in_float64(tg.Transformer(KINDS[kind])), rank=3, alpha=alpha, seed=5))
    apart = logits(model)
    assert np.abs(apart - logits(in_float64(tg.Transformer(KINDS[kind])))).max() > 0.01
    state = merged_state(model)
    np.testing.assert_array_equal(logits(model), apart)
    assert merge(model) is model
    np.testing.assert_allclose(logits(model), apart, rtol=0, atol=1e-12)
    assert state.keys() == model.state_dict().keys() == tg.Transformer(KINDS[kind]).state_dict().keys()
    assert all(np.array_equal(state[name], parameter.numpy()) for name, parameter in model.named_parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_seed_decides_what_is_learned():
    first, again, other = (trained(lora(tg.Transformer(KINDS["llama"]), rank=2, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(logits(first), logits(again))
    assert (logits(first) != logits(other)).any()


def test_hooks_stay_with_their_layer():
    model, seen = tg.Transformer(KINDS["gpt2"]), []
    model.blocks[0].mlp.up.register_forward_hook(lambda module, inputs, output: seen.append(type(module).__name__))
    for change in (lambda model: model, lambda model: lora(model, rank=1), merge):
        logits(change(model))
    assert seen == ["Linear", "LoRALinear", "Linear"]


def test_a_language_model_is_taken_as_a_whole(tmp_path):
    tokenizer = tg.Tokenizer.train("aab", 256)
    model = tg.LanguageModel(tg.Transformer(KINDS["gpt2"].with_(vocab_size=256)), tokenizer)
    assert lora(model, rank=1) is model and adapters(model.network)
    save_adapters(model, tmp_path / "a.safetensors")
    before = model.next_word("a").log_probabilities
    assert merge(model) is model and not adapters(model.network)
    assert load_adapters(model, tmp_path / "a.safetensors") is model and adapters(model.network)
    np.testing.assert_array_equal(model.next_word("a").log_probabilities, before)


def refusals():
    fresh, adapted = (lambda: tg.Transformer(KINDS["gpt2"])), (lambda: lora(tg.Transformer(KINDS["gpt2"]), rank=1))
    yield "rank must be a whole number from 1 to 32", lambda: lora(fresh(), rank=0)
    yield "rank must be a whole number from 1 to 32", lambda: lora(fresh(), rank=33)
    yield "rank must be a whole number from 1 to 32", lambda: lora(fresh(), rank=2.0)
    yield "alpha must be a number above 0", lambda: lora(fresh(), rank=2, alpha=0.0)
    yield "alpha must be a number above 0", lambda: lora(fresh(), rank=2, alpha=float("nan"))
    yield "query, key, value, output, up, down", lambda: lora(fresh(), rank=2, parts=("query", "gate"))
    yield "parts must be some of", lambda: lora(fresh(), rank=2, parts="query")
    yield "parts must be some of", lambda: lora(fresh(), rank=2, parts=())
    yield "the model has adapters already", lambda: lora(adapted(), rank=2)
    yield "it has no adapters", lambda: merge(fresh())
    yield "it has no adapters", lambda: save_adapters(fresh(), "nowhere")
    yield "a LanguageModel or a Transformer", lambda: lora("smollm2", rank=2)


@pytest.mark.parametrize("message, wrong", [pytest.param(*case, id=f"{i}") for i, case in enumerate(refusals())])
def test_what_cannot_be_is_said(message, wrong):
    with pytest.raises(tg.InputError, match=message):
        wrong()


def test_a_refused_model_is_as_it_was():
    model = tg.Transformer(KINDS["gpt2"])
    with pytest.raises(tg.InputError):
        lora(model, rank=2, alpha=-1.0)
    assert all(parameter.requires_grad for parameter in model.parameters()) and not adapters(model)


# --- saved apart ------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A trained model and the file of its adapters."""
    model = trained(lora(tg.Transformer(KINDS["llama"]), rank=2, alpha=3.0, parts=("query", "gate")))
    save_adapters(model, tmp_path / "adapters.safetensors")
    return model, tmp_path / "adapters.safetensors"


def test_saved_apart_and_loaded_again(saved):
    model, path = saved
    again = load_adapters(tg.Transformer(KINDS["llama"]), path)
    np.testing.assert_array_equal(logits(again), logits(model))
    assert again.state_dict().keys() == model.state_dict().keys()
    assert path.stat().st_size < 20_000
    in_float64(model), in_float64(again)
    np.testing.assert_allclose(logits(merge(again)), logits(model), rtol=0, atol=1e-12)


def test_a_file_of_the_first_format_has_one_scale_for_all_layers(saved):
    model, path = saved
    first = {"format": 1, "rank": 2, "alpha": 3.0, "parts": ["query", "gate"]}
    changed(path, lambda about: {"kind": about["kind"], "base": about["base"]} | first)
    np.testing.assert_array_equal(logits(load_adapters(tg.Transformer(KINDS["llama"]), path)), logits(model))


def test_each_layer_may_have_a_rank_and_a_scale_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    network = tg.Transformer(KINDS["llama"])
    values = {
        f"blocks.{i}.attention.{part}": AdapterValues(
            rng.standard_normal((rank, 32), np.float32), rng.standard_normal((outputs, rank), np.float32), scale
        )
        for i, part, outputs, rank, scale in (
            (0, "query", 32, 3, 0.5),
            (1, "key", 16, 40, 0.02),
            (1, "output", 32, 1, 2.0),
        )
    }
    before = network.blocks[1].attention.key.weight.numpy().copy()
    attach(network, values)
    save_adapters(network, tmp_path / "a.safetensors")
    again = load_adapters(tg.Transformer(KINDS["llama"]), tmp_path / "a.safetensors")
    np.testing.assert_array_equal(logits(again), logits(network))
    A, B, scale = values["blocks.1.attention.key"]
    np.testing.assert_allclose(merge(again).blocks[1].attention.key.weight.numpy(), before + scale * B @ A, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "A", "B", "message"),
    [
        ("blocks.0.attention.nothing", (2, 32), (32, 2), "no layer blocks.0.attention.nothing"),
        ("blocks.0.attention.query", (2, 31), (32, 2), r"A \(r, 32\) and B \(32, r\), and these are \(2, 31\)"),
        ("blocks.0.attention.query", (2, 32), (32, 3), r"and \(32, 3\)"),
        ("blocks.0.attention.query", (2,), (32, 2), r"these are \(2,\)"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(name, A, B, message):
    network = tg.Transformer(KINDS["llama"])
    with pytest.raises(tg.InputError, match=message):
        attach(network, {name: AdapterValues(np.zeros(A, np.float32), np.zeros(B, np.float32), 1.0)})
    assert not adapters(network) and network.embedding.weight.requires_grad


def test_adapters_for_another_base_are_refused(saved):
    _, path = saved
    for other in (tg.Transformer(KINDS["llama"], seed=1), tg.Transformer(KINDS["gpt2"])):
        with pytest.raises(tg.InputError, match="made for another model"):
            load_adapters(other, path)
        assert not adapters(other)


def test_precision_is_no_other_base(saved):
    model, path = saved
    again = load_adapters(in_float64(tg.Transformer(KINDS["llama"])), path)
    assert again.blocks[0].attention.query.A.dtype == np.float64
    np.testing.assert_allclose(logits(again), logits(model), atol=1e-5)


def changed(path, change_about=None, change_arrays=None):
    """The file with something else in it."""
    data = path.read_bytes()
    arrays = load(data)
    about = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["about"])
    about, arrays = (change_about or dict)(about), (change_arrays or dict)(arrays)
    path.write_bytes(save(arrays, {"about": json.dumps(about)}))


LAYER = "blocks.1.mlp.gate"
NAME = f"{LAYER}.B"


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(save({"x": np.zeros(3)})),
        lambda path: changed(path, lambda about: about | {"scales": 3}),
        lambda path: changed(path, lambda about: about | {"scales": {}}),
        lambda path: changed(path, lambda about: about | {"scales": about["scales"] | {LAYER: "much"}}),
        lambda path: changed(path, lambda about: about | {"scales": about["scales"] | {LAYER: float("inf")}}),
        lambda path: changed(path, lambda about: about | {"scales": about["scales"] | {"blocks.7.mlp.gate": 1.0}}),
        lambda path: changed(path, lambda about: about | {"base": None}),
        lambda path: changed(path, lambda about: about | {"format": 3}),
        lambda path: changed(path, lambda about: about | {"format": True, "alpha": 1.0}),
        lambda path: changed(path, lambda about: {"kind": about["kind"], "format": FORMAT}),
        lambda path: changed(path, lambda about: {"kind": about["kind"], "format": 1, "base": about["base"]}),
        lambda path: changed(path, lambda about: [about]),
        lambda path: changed(path, None, lambda arrays: arrays | {NAME: arrays[NAME].T.copy()}),
        lambda path: changed(path, None, lambda arrays: arrays | {NAME: arrays[NAME] * np.nan}),
        lambda path: changed(path, None, lambda arrays: arrays | {NAME: arrays[NAME].astype(np.int32)}),
        lambda path: changed(path, None, lambda arrays: arrays | {"blocks.7.mlp.gate.B": arrays[NAME]}),
        lambda path: changed(path, None, lambda arrays: {name: x for name, x in arrays.items() if name != NAME}),
    ],
)
def test_a_file_that_is_not_as_it_was_written_changes_nothing(saved, change):
    _, path = saved
    change(path)
    model = tg.Transformer(KINDS["llama"])
    with pytest.raises(tg.InputError):
        load_adapters(model, path)
    assert not adapters(model) and model.embedding.weight.requires_grad


@given(st.data())
def test_damaged_bytes_end_in_a_clear_error_or_do_no_harm(tmp_path_factory, data):
    """A flipped bit among the numbers may pass: there it is another number."""
    folder = tmp_path_factory.mktemp("damaged")
    path, model = folder / "a.safetensors", lora(tg.Transformer(KINDS["llama"]), rank=1, parts=("value",))
    save_adapters(model, path)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    if data.draw(st.booleans(), "cut"):
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1), "length")])
        with pytest.raises(tg.InputError):
            load_adapters(tg.Transformer(KINDS["llama"]), path)
        return
    place = data.draw(st.integers(0, header - 1), "place")
    content[place] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    try:
        again = load_adapters(tg.Transformer(KINDS["llama"]), path)
    except tg.InputError:
        return
    assert adapters(again).keys() == adapters(model).keys()


# --- a real model -----------------------------------------------------------------------------------------------------


@pytest.mark.download
@pytest.mark.slow
def test_smollm2_learns_a_sentence(tmp_path):
    try:
        model = tg.load("smollm2-135m-instruct")
    except tg.MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    sentence = "At Lindhaven the ferry is called the Patient Heron, and her captain is a retired piano tuner."
    before = model.perplexity(sentence)
    lora(model, rank=4)
    optimizer = tg.AdamW(model.network, lr=2e-3, weight_decay=0.0)
    assert optimizer.flat.values.size < model.network.num_parameters() / 100
    tokens = model.tokenizer.encode_array(sentence)[None]
    for _ in range(6):
        model.network.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
    learned = model.perplexity(sentence)
    assert learned < before / 3
    save_adapters(model, tmp_path / "ferry.safetensors")
    assert (tmp_path / "ferry.safetensors").stat().st_size < 6_000_000
    assert merge(model).perplexity(sentence) == pytest.approx(learned, rel=1e-3)
    again = load_adapters(tg.load("smollm2-135m-instruct"), tmp_path / "ferry.safetensors")
    assert again.perplexity(sentence) == pytest.approx(learned, rel=1e-6)
