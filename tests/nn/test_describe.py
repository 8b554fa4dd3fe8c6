"""What a model is said to have and to cost, against the published numbers and against what happens when it runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_llm as tg
from tinygrad_llm.debugging.profile import Profile
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.nn.lora import lora

SMOLLM2 = tg.TransformerConfig.llama(
    vocab_size=49152, context=8192, layers=30, heads=9, kv_heads=3, width=576, hidden=1536
)
GPT2 = tg.TransformerConfig.gpt2(vocab_size=50257, context=1024, layers=12, heads=12, width=768)
GEMMA3 = tg.TransformerConfig.llama(
    vocab_size=262144,
    context=32768,
    layers=18,
    heads=4,
    kv_heads=1,
    width=640,
    head_dim=256,
    hidden=2048,
    activation="gelu_tanh",
    qk_norm=True,
    post_norms=True,
    window=512,
    full_attention_every=6,
)
SIZES = dict(vocab_size=19, context=12, layers=3, heads=4, width=32)
KINDS = {
    "gpt2": tg.TransformerConfig.gpt2(**SIZES),
    "untied": tg.TransformerConfig.llama(**SIZES, kv_heads=2, tied=False, head_dim=6),
    "windows": tg.TransformerConfig.llama(**SIZES, kv_heads=1, qk_norm=True, window=3, full_attention_every=2),
}


@pytest.fixture(params=KINDS)
def config(request):
    return KINDS[request.param]


def row(description, name):
    (found,) = [row for row in description.rows if row.name == name]
    return found


@pytest.mark.parametrize(
    "config, parameters", [(SMOLLM2, 134_515_008), (GPT2, 124_439_808), (GEMMA3, 268_098_176)], ids=["s", "g", "e"]
)
def test_the_published_numbers_of_parameters(config, parameters):
    totals = tg.describe(config).totals
    assert totals.parameters == totals.learned == parameters
    assert (totals.float32_bytes, totals.bfloat16_bytes) == (4 * parameters, 2 * parameters)


def test_smollm2_in_numbers():
    """Two operations per weight of a product: all parameters but the norms, 61 of width 576; the embedding is one."""
    description = tg.describe(SMOLLM2, position=1000)
    totals = description.totals
    assert totals.operations == 2 * (134_515_008 - 61 * 576) + 30 * 4 * 9 * 64 * 1000
    assert totals.cache_bytes == 30 * 2 * 3 * 64 * 4
    assert totals.full_cache_bytes == 8192 * totals.cache_bytes
    head = row(description, "head.weight")
    assert (head.parameters, head.tied_to, head.shape) == (0, "embedding.weight", (49152, 576))
    assert row(description, "embedding.weight").operations == 0
    assert row(description, "blocks.29.mlp.down.weight").shape == (576, 1536)


def test_gemma_3_remembers_its_windows():
    totals = tg.describe(GEMMA3).totals
    per_layer = 2 * 256 * 4  # keys and values of one head, in float32
    assert totals.cache_bytes == 18 * per_layer
    assert totals.full_cache_bytes == (3 * 32768 + 15 * 512) * per_layer
    near, far = (tg.describe(GEMMA3, position).totals.operations for position in (512, 32768))
    assert far - near == 3 * 4 * 4 * 256 * (32768 - 512)  # only three layers look further than 512


def test_the_arithmetic_is_what_a_forward_pass_does(config):
    model = tg.Transformer(config)
    text = np.zeros((1, config.context), np.int64)
    with Profile() as profile, tg.no_grad():
        model(text)
    done = sum(work.operations for work in profile.forward.values())
    assert done == sum(tg.describe(model, t + 1).totals.operations for t in range(config.context))


def test_a_config_is_described_as_its_model(config):
    model = tg.Transformer(config)
    description = tg.describe(config)
    assert description.rows == tg.describe(model).rows
    assert description.totals == tg.describe(model).totals
    own = {row.name: row.shape for row in description.rows if row.parameters}
    assert own == {name: parameter.shape for name, parameter in model.named_parameters()}
    assert description.totals.parameters == model.num_parameters()


@given(st.integers(1, 64))
def test_the_cache_takes_what_is_said(length):
    config = tg.TransformerConfig.llama(vocab_size=5, context=64, layers=2, heads=2, width=8)  # room for 64 is made
    model, cache = tg.Transformer(config), GrowingCache(config)
    with tg.no_grad():
        model(np.zeros((1, length), np.int64), cache=cache)
    rows = tg.describe(model).rows
    assert cache.nbytes / 64 * length == sum(row.cache_at(length) for row in rows) == 128 * length


def test_a_model_in_float64_caches_twice_as_much():
    model = tg.Transformer(KINDS["gpt2"])
    once = tg.describe(model).totals.cache_bytes
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    assert tg.describe(model).totals.cache_bytes == 2 * once


def test_adapters_are_parts_and_alone_are_learned():
    model = lora(tg.Transformer(KINDS["gpt2"]), rank=2, parts=("value",))
    description = tg.describe(model)
    assert row(description, "blocks.1.attention.value.A").shape == (2, 32)
    assert not row(description, "blocks.1.attention.value.base.weight").learned
    assert description.totals.learned == 3 * 2 * (32 + 32)
    without = tg.describe(KINDS["gpt2"]).totals
    assert description.totals.operations == without.operations + 2 * description.totals.learned


def test_a_model_that_fits_into_no_memory():
    config = tg.TransformerConfig.llama(
        vocab_size=128256, context=8192, layers=80, heads=64, kv_heads=8, width=8192, hidden=28672, tied=False
    )
    assert tg.describe(config).totals.parameters == 70_553_706_496  # Llama 3 70B


@pytest.mark.parametrize("position", [0, 13, 2.0, True])
def test_positions_outside_the_context_are_refused(position):
    with pytest.raises(tg.InputError, match="from 1 to 12"):
        tg.describe(KINDS["gpt2"], position)


def test_other_things_are_refused():
    with pytest.raises(tg.InputError, match="a LanguageModel or a Transformer"):
        tg.describe("gpt2")


@pytest.mark.download
@pytest.mark.slow
@pytest.mark.parametrize("name, config", [("smollm2-135m-instruct", SMOLLM2), ("gemma-3-270m", GEMMA3)])
def test_the_real_models_are_what_their_configs_say(name, config):
    try:
        model = tg.load(name)
    except tg.MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    assert tg.describe(model).rows == tg.describe(config).rows
