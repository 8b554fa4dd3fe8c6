"""PEFT's folders of adapters: what PEFT wrote gives its answers, goes through a save unchanged, or is refused by name.

That PEFT reads what is written here is checked by the script tests/golden/make_peft_golden.py, which needs PEFT.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_models import logits, tiny_network

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.hugging_face import hugging_face_network
from tinygrad_llm.nn.lora import AdapterValues, adapters, attach, merge

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "peft" / "logits.json").read_text())["cases"]
FAMILIES = json.loads((GOLDEN / "families" / "logits.json").read_text())


def base(case):
    return hugging_face_network(GOLDEN / "families" / CASES[case]["family"])


def answer(network):
    with tg.no_grad():
        return network(np.array([FAMILIES["ids"]])).numpy()[0, FAMILIES["positions"]]


@pytest.fixture
def folder(tmp_path):
    """A copy of what PEFT wrote, to be changed."""
    return Path(shutil.copytree(GOLDEN / "peft" / "llama_patterns", tmp_path / "peft"))


def change_config(folder, **values):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_arrays(folder, change):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.parametrize("case", CASES)
def test_the_logits_are_those_of_peft(case):
    network, without = base(case), answer(base(case))
    assert tg.load_adapters(network, GOLDEN / "peft" / case) is network
    np.testing.assert_allclose(answer(network), CASES[case]["logits"], atol=2e-4)
    assert np.abs(answer(network) - without).max() > 0.1
    learn = {name for name, x in network.named_parameters() if x.requires_grad}
    assert learn == {f"{name}.{end}" for name in adapters(network) for end in "AB"}
    np.testing.assert_allclose(answer(merge(network)), CASES[case]["logits"], atol=2e-4)


@pytest.mark.parametrize("case", CASES)
def test_a_save_gives_back_what_peft_wrote(case, tmp_path):
    network = tg.load_adapters(base(case), GOLDEN / "peft" / case)
    tg.save_adapters(network, tmp_path / "again")
    before = load_file(GOLDEN / "peft" / case / "adapter_model.safetensors")
    after = load_file(tmp_path / "again" / "adapter_model.safetensors")
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    again = tg.load_adapters(base(case), tmp_path / "again" / "adapter_model.safetensors")
    np.testing.assert_allclose(answer(again), answer(network), atol=1e-5)
    tg.save_adapters(network, tmp_path / "one.safetensors")
    np.testing.assert_array_equal(answer(tg.load_adapters(base(case), tmp_path / "one.safetensors")), answer(network))


def test_the_config_that_is_written_is_the_shortest(tmp_path):
    def written(name, **settings):
        tg.save_adapters(tg.lora(tiny_network(name), **settings), tmp_path / "a")
        return json.loads((tmp_path / "a" / "adapter_config.json").read_text())

    values = written("llama", rank=2, alpha=3.0, parts=("query", "gate"))
    assert (values["r"], values["lora_alpha"], values["target_modules"]) == (2, 3, ["gate_proj", "q_proj"])
    assert (values["rank_pattern"], values["alpha_pattern"], values["fan_in_fan_out"]) == ({}, {}, False)
    values = written("gpt2", rank=2, parts=("output",))
    assert (values["target_modules"], values["fan_in_fan_out"]) == (["attn.c_proj"], True)
    assert written("gpt2", rank=2)["target_modules"] == ["c_attn", "c_fc", "c_proj"]
    values = written("gpt2", rank=2, alpha=1.0)
    assert (values["r"], values["lora_alpha"]) == (2, 1)
    assert values["rank_pattern"] == {f"^transformer.h.{i}.attn.c_attn": 6 for i in range(2)}
    assert values["alpha_pattern"] == {f"^transformer.h.{i}.attn.c_attn": 3 for i in range(2)}


@pytest.mark.parametrize("parts", [("query", "key", "value"), ("value",), ("query", "value", "up")])
def test_the_three_adapters_on_gpt2_s_one_matrix_compute_the_same(tmp_path, parts):
    rng = np.random.default_rng(0)
    network = tg.lora(tiny_network("gpt2"), rank=2, parts=parts)
    for layer in adapters(network).values():
        layer.B.data += rng.standard_normal(layer.B.shape, np.float32)
    tg.save_adapters(network, tmp_path / "a")
    again = tg.load_adapters(tiny_network("gpt2"), tmp_path / "a")
    np.testing.assert_allclose(logits(again), logits(network), atol=1e-4)


def test_adapters_that_were_one_are_trained_apart(tmp_path):
    network = tg.load_adapters(base("gpt2"), GOLDEN / "peft" / "gpt2")
    attention = network.blocks[0].attention
    attention.query.A.data[...] = 0
    assert np.abs(attention.key.A.numpy()).max() > 0


def test_other_scales_on_one_matrix_are_kept(tmp_path):
    rng = np.random.default_rng(0)

    def values(rank, scale):
        return AdapterValues(
            rng.standard_normal((rank, 32), np.float32), rng.standard_normal((32, rank), np.float32), scale
        )

    network = tiny_network("gpt2")
    attach(network, {"blocks.1.attention.key": values(1, 0.3), "blocks.1.attention.value": values(3, 0.7)})
    tg.save_adapters(network, tmp_path / "a")
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"] == [
        "transformer.h.1.attn.c_attn"
    ]
    again = tg.load_adapters(tiny_network("gpt2"), tmp_path / "a")
    np.testing.assert_allclose(logits(again), logits(network), atol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3', which is not supported. Supported: 'LORA'"),
        ({"use_dora": True}, "use_dora is true"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"use_rslora": 1}, "use_rslora must be true or false"),
        ({"lora_alpha": "8"}, "lora_alpha must be a number above 0"),
        ({"alpha_pattern": {r".*\.k_proj": 3}}, "alpha_pattern has the regular expression"),
        ({"alpha_pattern": 3}, "alpha_pattern must be an object"),
        ({"rank_pattern": {}}, "the rank of model.layers.1.*is 3, and its A has"),
        ({"target_modules": ["q_proj", "k_proj"]}, "target_modules has no model.layers.1"),
    ],
)
def test_what_a_config_asks_for_and_is_not_here_is_named(folder, values, message):
    change_config(folder, **values)
    network = base("llama")
    with pytest.raises(InputError, match=message):
        tg.load_adapters(network, folder)
    assert not adapters(network) and network.embedding.weight.requires_grad


Q = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: {}, "has no adapters in it"),
        (lambda arrays: {Q.format("A"): arrays[Q.format("A")]}, "only one of A and B of model.layers.1"),
        (lambda arrays: arrays | {Q.format("A"): arrays[Q.format("A")][:, 1:].copy()}, r"has A \(r, 16\) and B"),
        (
            lambda arrays: arrays | {Q.format("B"): arrays[Q.format("B")][1:].copy()},
            "has 15 rows, and this model needs",
        ),
        (lambda arrays: arrays | {Q.format("B"): arrays[Q.format("B")][:, 1:].copy()}, r"and B \(16, r\)"),
        (lambda arrays: arrays | {Q.format("B"): arrays[Q.format("B")][0]}, "are not matrices"),
        (lambda arrays: arrays | {Q.format("B"): arrays[Q.format("B")] * np.inf}, "infinite or not numbers"),
        (lambda arrays: arrays | {"base_model.model.lm_head.weight": np.ones((2, 2), np.float32)}, "lm_head.weight"),
        (
            lambda arrays: {name.replace("layers.1", "layers.9"): x for name, x in arrays.items()},
            "layers.9.*this model has no such layer",
        ),
        (
            lambda arrays: {name.replace("self_attn.q_proj", "embed"): x for name, x in arrays.items()},
            "embed, and this model has no such layer",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(folder, change, message):
    change_arrays(folder, change)
    network = base("llama")
    with pytest.raises(InputError, match=message):
        tg.load_adapters(network, folder)
    assert not adapters(network) and network.embedding.weight.requires_grad


def test_what_a_folder_lacks_is_named(folder, tmp_path):
    with pytest.raises(InputError, match="holds adapters, not a whole model. Load their base \\(llama\\)"):
        tg.load(folder)
    with pytest.raises(InputError, match="already"):
        tg.load_adapters(tg.load_adapters(base("llama"), folder), folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(InputError, match="Only weights in safetensors are read"):
        tg.load_adapters(base("llama"), folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(InputError, match="no file .*adapter_model.safetensors"):
        tg.load_adapters(base("llama"), folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(InputError, match="has no adapter_config.json. Give a folder of PEFT or a file of"):
        tg.load_adapters(base("llama"), folder)
    (folder / "adapters.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="has no adapter_config.json. Give .*adapters.safetensors"):
        tg.load_adapters(base("llama"), folder)


def test_only_a_folder_of_adapters_is_written_over(tmp_path):
    network = tg.lora(tiny_network("llama"), rank=1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    with pytest.raises(InputError, match="holds something else than adapters"):
        tg.save_adapters(network, tmp_path / "thesis")
    with pytest.raises(InputError, match="is a file. Give the name of a folder"):
        tg.save_adapters(network, tmp_path / "thesis" / "chapter.txt")
    tg.save_adapters(network, tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("mine")
    tg.save_adapters(network, tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    with pytest.raises(InputError, match="it has no adapters"):
        tg.save_adapters(tiny_network("llama"), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_model_of_no_family_says_why(tmp_path):
    network = tg.lora(tg.Transformer(tiny_network("llama").config.with_(norm="layer_norm")), rank=1)
    with pytest.raises(InputError, match="Nearest is llama"):
        tg.save_adapters(network, tmp_path / "a")
