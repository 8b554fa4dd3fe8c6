"""The families: what Transformers answers, both formats there and back, and what is not supported, by name."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import CONFIGS, logits, same_bytes, tiny_network

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.architectures import (
    FAMILIES,
    Row,
    deinterleave,
    describe_mapping,
    export_arrays,
    family_of,
    interleave,
    load_network,
    mapping,
    parameter_shapes,
)
from tinygrad_llm.hub.config_json import config_from_json, config_to_json
from tinygrad_llm.hub.gguf import GGUFFile
from tinygrad_llm.hub.gguf_config import ROTARY_FACTORS, config_from_gguf, config_to_gguf
from tinygrad_llm.hub.gguf_model import gguf_network, write_gguf
from tinygrad_llm.hub.hugging_face import hugging_face_network
from tinygrad_llm.hub.safetensors import SafetensorsFiles, write_safetensors
from tinygrad_llm.nn.rotary import RotaryScaling, rotary_angles

GOLDEN = Path(__file__).parents[1] / "golden" / "families"
ANSWERS = json.loads((GOLDEN / "logits.json").read_text())


@pytest.mark.parametrize("name", ANSWERS["logits"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_logits_are_those_of_transformers(name, dtype):
    """Folders that Transformers wrote, weights in bfloat16; its answers are float32."""
    network = hugging_face_network(GOLDEN / name)
    assert family_of(network.config).name == name.removesuffix("_bias")
    for parameter in network.parameters():
        parameter.data = parameter.data.astype(dtype)
    with tg.no_grad():
        found = network(np.array([ANSWERS["ids"]])).numpy()[0, ANSWERS["positions"]]
    assert np.abs(found - ANSWERS["logits"][name]).max() < 1e-5


@pytest.mark.parametrize("name", ANSWERS["logits"])
def test_from_a_folder_to_a_folder_every_number_keeps_its_bits(name, tmp_path):
    network = hugging_face_network(GOLDEN / name)
    arrays = dict(export_arrays(network, mapping(network.config, "hf")))
    original = SafetensorsFiles.of_folder(GOLDEN / name)
    assert {name: array.shape for name, array in arrays.items()} == original.shapes
    for array_name, array in arrays.items():
        widened = np.empty(array.shape, np.float32)
        original.read_into(array_name, widened)
        assert np.ascontiguousarray(array).tobytes() == widened.tobytes(), array_name
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(network.config)))
    write_safetensors(tmp_path / "model.safetensors", arrays)
    again = hugging_face_network(tmp_path)
    assert again.config.with_(head_dim=network.config.head_dim) == network.config
    assert same_bytes(again, network)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_each_parameter_is_in_the_table_once_with_its_shape(name, format):
    network = tiny_network(name)
    rows, shapes = mapping(network.config, format), parameter_shapes(network.config)
    ours = [parameter.replace("{layer}", str(layer)) for row in rows for parameter in row.ours for layer in range(9)]
    named = [name for name in dict.fromkeys(ours) if name in network.state_dict()]
    assert sorted(named) == sorted(network.state_dict())
    listed = [parameter for row in rows for parameter in row.ours]
    assert len(listed) == len(set(listed))
    for parameter in listed:
        assert network.state_dict()[parameter.replace("{layer}", "1")].shape == shapes[parameter]


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "mistral"])
def test_a_gguf_file_gives_back_config_and_function(name, tmp_path):
    """Gemma's norms come back as 1 + w, which is another number for the same function; all else has the same bits."""
    network = tiny_network(name)
    config = network.config
    write_gguf(tmp_path / "a.gguf", config_to_gguf(config), network, mapping(config, "gguf"))
    again = gguf_network(GGUFFile(tmp_path / "a.gguf"))
    expected = config.with_(
        hidden=config.hidden,
        head_dim=again.config.head_dim,
        kv_heads=again.config.kv_heads,
        qkv_bias=again.config.qkv_bias,
        norm_weight_plus_one=False,
    )
    assert again.config == expected
    assert (again.config.kv_heads, again.config.head_dim) == (
        config.kv_heads,
        config.head_dim,
    )
    if config.norm_weight_plus_one:
        assert np.abs(logits(again) - logits(network)).max() < 1e-5
    else:
        assert same_bytes(again, network)
        assert np.array_equal(logits(again), logits(network))


@pytest.mark.parametrize("name", ["gemma", "gemma2", "gemma3"])
def test_folded_norms_are_unfolded_for_hugging_face(name, tmp_path):
    """GGUF -> Hugging Face -> GGUF: what was folded comes back to the bit where 1 + w rounds nothing away."""
    network = tiny_network(name)
    for parameter_name, parameter in network.named_parameters():
        if "norm" in parameter_name:
            parameter.data[...] = np.round(parameter.data * 64) / 64 + 0.0  # and no -0
    folded = network.config.with_(norm_weight_plus_one=False)
    write_gguf(tmp_path / "a.gguf", config_to_gguf(network.config), network, mapping(network.config, "gguf"))
    file = GGUFFile(tmp_path / "a.gguf")
    _, config = config_from_gguf(file)
    assert family_of(config).name == name == family_of(folded).name
    loaded = load_network(config, mapping(config, "gguf"), file, "a")
    arrays = dict(export_arrays(loaded, mapping(config, "hf")))
    for array_name, array in export_arrays(network, mapping(network.config, "hf")):
        assert array.tobytes() == arrays[array_name].tobytes()


@given(st.integers(1, 4), st.integers(1, 5), st.sampled_from([(), (3,)]))
def test_interleaving_puts_the_two_channels_of_a_pair_side_by_side(heads, pairs, rest):
    rows = np.arange(heads * 2 * pairs)
    x = np.broadcast_to(rows.reshape(-1, *[1] * len(rest)), (len(rows), *rest))
    y = interleave(x, heads)
    assert np.array_equal(deinterleave(y, heads), x)
    for head in range(heads):
        for pair in range(pairs):
            first = head * 2 * pairs
            assert (y[first + 2 * pair] == first + pair).all()
            assert (y[first + 2 * pair + 1] == first + pair + pairs).all()


def test_interleaved_rows_with_interleaved_pairs_are_the_same_attention():
    """The definition: turning neighbours (2i, 2i + 1) of the file's rows gives the same products q · k as turning the
    halves (i, i + D/2) of ours."""
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 8))
    cos, sin = (x[3] for x in rotary_angles(np.arange(4), 8, 10_000.0))

    def halves(x):
        a, b = x[:4], x[4:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin])

    def neighbours(x):
        a, b = x[0::2], x[1::2]
        return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(-1)

    expected = halves(q) @ k
    assert neighbours(interleave(q, 1)) @ interleave(k, 1) == pytest.approx(expected)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_json_gives_back_the_config(name):
    config = CONFIGS[name]
    family, again = config_from_json(json.loads(json.dumps(config_to_json(config))), "config.json")
    assert family is family_of(config)
    differs = {key for key, value in config.to_dict().items() if again.to_dict()[key] != value}
    assert differs <= {"head_dim", "kv_heads", "qkv_bias"}  # None where the usual is meant
    assert (again.head_dim, again.kv_heads) == (config.head_dim, config.kv_heads)


def test_the_older_form_of_the_rotary_settings():
    values = config_to_json(CONFIGS["llama"])
    llama3 = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    for old in ({"rope_type": "llama3", **llama3}, {"type": "llama3", **llama3}):
        _, config = config_from_json(values | {"rope_scaling": old, "rope_theta": 5e5}, "config.json")
        assert config.rotary_scaling == RotaryScaling("llama3", 32.0, original_context=64)
        assert config.rotary_base == 5e5


CASES = json.loads((GOLDEN.parent / "config_golden.json").read_text())


@pytest.mark.parametrize("values, answer", CASES)
def test_a_config_json_means_what_transformers_makes_of_it(values, answer):
    """Or it is refused by name. `rope_theta`, `rope_scaling`, `rope_parameters` and the windows in many mixtures."""
    try:
        _, config = config_from_json(values, "config.json")
    except InputError as error:
        assert str(error).startswith("config.json")
        return
    assert answer["supported"]
    assert [config.window_of(layer) for layer in range(config.layers)] == answer["windows"]
    pairs = np.arange(0, config.head_dim, 2)
    for kind, angles in answer["angles"].items():
        local = kind == "sliding_attention" and config.local_rotary_base is not None
        frequencies = (config.local_rotary_base if local else config.rotary_base) ** (-pairs / config.head_dim)
        if config.rotary_scaling is not None and not local:
            frequencies = config.rotary_scaling(frequencies)
        np.testing.assert_allclose(frequencies, angles, rtol=1e-4)


def test_of_those_cases_that_are_supported_most_are_read():
    read = 0
    for values, _ in CASES:
        with contextlib.suppress(InputError):
            config_from_json(values, "config.json")
            read += 1
    assert read >= 0.75 * sum(answer["supported"] for _, answer in CASES)  # the others contradict themselves


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llama", {"model_type": "mixtral"}, "model_type 'mixtral' is not supported.*Supported are gpt2, llama"),
        ("llama", {"model_type": None}, "model_type None is not supported"),
        ("llama", {"hidden_act": "relu"}, "hidden_act is 'relu'.*Supported: 'silu', 'swish'"),
        (
            "llama",
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
            "rope_type is 'yarn', which is not supported",
        ),
        (
            "llama",
            {"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "yarn", "factor": 4.0}},
            "rope_scaling: type is 'yarn', which is not supported",
        ),
        ("llama", {"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention is an object"),
        ("gemma3", {"rope_parameters": {"rope_type": "linear", "factor": 8.0}}, "outside of 'full_attention'"),
        ("gemma3", {"rope_scaling": {"type": "linear", "factor": 8.0}}, "Name it rope_type"),
        ("llama", {"residual_multiplier": 0.22}, "residual_multiplier is 0.22, which is not supported"),
        ("llama", {"per_layer_config": {"0": {"head_dim": 4}}}, "per_layer_config is an object"),
        ("llama", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ("llama", {"is_causal": False}, "is_causal is false"),
        ("mistral", {"layer_types": ["full_attention"] * 2}, "layer_types and sliding_window disagree"),
        ("gemma2", {"sliding_window": None}, "no size is given"),
        ("llama", {"rope_scaling": {"rope_type": "linear"}}, "rope_scaling has no factor"),
        ("llama", {"rope_scaling": 7}, "rope_scaling must be an object"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config is .*not supported"),
        ("llama", {"attention_bias": True}, "mlp_bias is false, which is not supported. Supported: true"),
        ("llama", {"num_hidden_layers": 10**12}, "must be an integer from 1 to 1000"),
        ("llama", {"num_hidden_layers": "12"}, "num_hidden_layers must be an integer"),
        ("llama", {"num_hidden_layers": True}, "num_hidden_layers must be an integer"),
        ("llama", {"hidden_size": None}, "has no hidden_size"),
        ("llama", {"rms_norm_eps": float("nan")}, "rms_norm_eps must be a number above 0"),
        ("llama", {"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
        ("llama", {"num_key_value_heads": 3}, "kv_heads must divide heads"),
        ("gpt2", {"activation_function": "gelu"}, "activation_function is 'gelu'.*'gelu_new'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is true"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is true"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
        ("gemma3", {"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
        ("gemma3", {"layer_types": ["full_attention", "sliding_attention"]}, "irregular places"),
        ("gemma3", {"layer_types": ["chunked_attention"] * 2}, "layer_types must say"),
        ("gemma3", {"layer_types": ["full_attention"]}, "layer_types must say"),
        ("qwen2", {"attention_bias": True}, "attention_bias is true"),
    ],
)
def test_what_a_config_json_asks_for_and_is_not_here_is_named(name, changes, message):
    with pytest.raises(InputError, match=message):
        config_from_json(config_to_json(CONFIGS[name]) | changes, "config.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.architecture": "mamba"}, "architecture 'mamba' is not supported.*Supported are gpt2, llama, qwen2"),
        ({"llama.expert_count": 8}, "expert_count is 8"),
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type is 'yarn'"),
        ({"llama.rope.dimension_count": 4}, "rope.dimension_count is 4, .*Supported: 8"),
        ({"llama.attention.value_length": 4}, "attention.value_length is 4"),
        ({"llama.block_count": 3}, "has no array blk.2.attn_norm.weight"),
        ({"llama.block_count": 2**31}, "must be an integer from 1 to 1000"),
        ({"llama.block_count": 1}, "8 arrays that this kind of model does not have|9 arrays"),
        ({"llama.feed_forward_length": 64}, "blk.0.ffn_gate.weight has the shape .* should be"),
        ({"llama.attention.scale": 0.5}, "attention.scale is 0.5"),
        ({"llama.logit_scale": 0.0625}, "logit_scale is 0.0625"),
        ({"llama.residual_scale": 0.25}, "residual_scale is 0.25"),
        ({"llama.attention.causal": False}, "attention.causal is false"),
        ({"llama.final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ({"llama.rope.scaling.attn_factor": 0.5}, "rope.scaling.attn_factor is 0.5"),
        ({"llama.attention.head_count_kv": [2, 4]}, r"head_count_kv must be an integer .* is \[2, 4\]"),
        ({"general.type": "adapter"}, "general.type is 'adapter'"),
        ({"llama.attention.head_count": 3}, r"a.gguf: heads must divide|a.gguf: kv_heads must divide"),
        ({"llama.context_length": "long"}, "context_length must be an integer"),
    ],
)
def test_what_a_gguf_file_asks_for_and_is_not_here_is_named(tmp_path, changes, message):
    network = tiny_network("llama")
    metadata = config_to_gguf(network.config)
    write_gguf(tmp_path / "a.gguf", metadata, network, mapping(network.config, "gguf"))
    file = GGUFFile(tmp_path / "a.gguf")
    file.metadata |= changes
    with pytest.raises(InputError, match=message):
        gguf_network(file)


@pytest.mark.parametrize(
    ("changes", "scaling"),
    [
        ({}, None),
        ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}, RotaryScaling("linear", 4.0)),
        ({"rope.scaling.factor": 4.0}, RotaryScaling("linear", 4.0)),
        ({"rope.scale_linear": 4.0}, RotaryScaling("linear", 4.0)),
        ({"rope.scaling.factor": 2.0, "rope.scale_linear": 4.0}, RotaryScaling("linear", 2.0)),
        ({"rope.scaling.factor": 0.0}, None),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None),
        ({"attention.head_count_kv": [2, 2]}, None),
    ],
)
def test_the_linear_scaling_of_a_gguf_file_as_llama_cpp_reads_it(tmp_path, changes, scaling):
    network = tiny_network("llama")
    write_gguf(tmp_path / "a.gguf", config_to_gguf(network.config), network, mapping(network.config, "gguf"))
    file = GGUFFile(tmp_path / "a.gguf")
    file.metadata |= {f"llama.{key}": value for key, value in changes.items()}
    read = gguf_network(file)
    assert read.config.rotary_scaling == scaling
    same = np.array_equal(logits(read), logits(network))
    assert same == (scaling is None)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qwen2", {"attention.sliding_window": 8}, "attention.sliding_window is 8"),
        ("gpt2", {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ("gemma3", {"attention.sliding_window_pattern": 4}, "sliding_window_pattern is 4"),
    ],
)
def test_what_another_architecture_does_not_know_is_refused(tmp_path, name, changes, message):
    network = tiny_network(name)
    write_gguf(tmp_path / "a.gguf", config_to_gguf(network.config), network, mapping(network.config, "gguf"))
    file = GGUFFile(tmp_path / "a.gguf")
    file.metadata |= {f"{name}.{key}": value for key, value in changes.items()}
    with pytest.raises(InputError, match=message):
        gguf_network(file)


def test_rotary_factors_in_a_file_of_another_family_are_not_passed_over(tmp_path):
    network = tiny_network("qwen2")
    row = Row(ROTARY_FACTORS, ("final_norm.weight",))
    write_gguf(tmp_path / "a.gguf", config_to_gguf(network.config), network, [*mapping(network.config, "gguf"), row])
    with pytest.raises(InputError, match="does not have, for instance rope_freqs.weight"):
        gguf_network(GGUFFile(tmp_path / "a.gguf"))


def test_other_rotary_factors_than_llama_3_s_are_refused(tmp_path):
    network = tiny_network("llama3")
    path = tmp_path / "a.gguf"
    write_gguf(path, config_to_gguf(network.config), network, mapping(network.config, "gguf"))
    data = path.read_bytes()
    factor = np.float32(8.0).tobytes()
    at = data.rindex(factor)
    path.write_bytes(data[:at] + np.float32(9.0).tobytes() + data[at + 4 :])
    with pytest.raises(InputError, match="rope_freqs.weight is not Llama 3's scaling"):
        gguf_network(GGUFFile(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "layer_norm"}, "Nearest is llama, and it has norm 'layer_norm' in place of 'rms_norm'"),
        ({"activation": "gelu"}, "activation 'gelu' in place of 'silu'"),
        ({"logit_softcap": 30.0}, "logit_softcap 30.0 in place of None"),
        ({"post_norms": True}, "post_norms True in place of False"),
    ],
)
def test_a_model_of_no_family_says_what_is_in_the_way(changes, message):
    with pytest.raises(InputError, match=message):
        family_of(CONFIGS["llama"].with_(**changes))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mistral", {}, "a sliding window, which llama.cpp does not compute for mistral.*format 'hf'"),
        ("gemma3", {"full_attention_every": 4}, "full attention every 4 layers"),
        ("gemma3", {"attention_scale": 0.5}, "an attention scale of 0.5"),
        ("gemma3", {"local_rotary_base": 5e3}, "a local rotary base of 5000.0"),
        ("gemma2", {"logit_softcap": None}, "no soft caps"),
        ("qwen2", {"rotary_scaling": RotaryScaling("llama3", 8.0)}, "Llama 3's scaling"),
        ("llama", {"rotary_scaling": RotaryScaling("llama3", 8.0, 1.0, 2.0)}, "unusual frequency factors"),
    ],
)
def test_what_llama_cpp_would_compute_differently_is_refused(name, changes, message):
    with pytest.raises(InputError, match=message):
        config_to_gguf(CONFIGS[name].with_(**changes))


def test_the_tables_can_be_read():
    gemma, llama = describe_mapping("gemma3", "gguf"), describe_mapping("llama", "gguf")
    assert "the file has w + 1" in gemma and "not in the file: tied" in gemma
    query = next(line for line in llama.splitlines() if "attn_q" in line)
    assert query.split()[-1] == "blocks.{layer}.attention.query.weight"
    assert llama.count("interleaved") == 2 and "interleaved" not in gemma
    assert "stacked, transposed" in tg.describe_mapping("gpt2")
    for family in FAMILIES:
        for format in ("hf", "gguf"):
            assert len(describe_mapping(family, format).splitlines()) > 10
    with pytest.raises(InputError, match="family must be one of gpt2, llama"):
        describe_mapping("bert")
    with pytest.raises(InputError, match="format must be"):
        describe_mapping("llama", "onnx")
