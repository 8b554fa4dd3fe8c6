"""A transformer saved to one file and loaded again."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

import tinygrad_llm as tg

CONFIG = tg.TransformerConfig.llama(vocab_size=11, context=8, layers=2, heads=2, width=16)


def saved(path, seed=3):
    model = tg.Transformer(CONFIG, seed=seed)
    model.save(path)
    return model


def test_saving_and_loading_is_the_identity(tmp_path):
    path = tmp_path / "model.safetensors"
    model = saved(path)
    again = tg.Transformer.load(path)
    assert again.config == CONFIG
    assert list(again.state_dict()) == list(model.state_dict())
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], values)
    assert list(load(path.read_bytes())) and list(tmp_path.iterdir()) == [path]


def test_an_earlier_file_is_replaced(tmp_path):
    saved(tmp_path / "m", seed=1)
    second = saved(tmp_path / "m", seed=2)
    loaded = tg.Transformer.load(tmp_path / "m").state_dict()
    np.testing.assert_array_equal(loaded["embedding.weight"], second.state_dict()["embedding.weight"])


def test_a_model_with_adapters_says_what_to_do(tmp_path):
    model = tg.lora(tg.Transformer(CONFIG), rank=2)
    with pytest.raises(tg.InputError, match=r"tg\.merge\(model\)"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def rewritten(path, change):
    """The file again, with other metadata."""
    data = path.read_bytes()
    about = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["about"])
    path.write_bytes(save(load(data), {"about": change(about)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: "[" * 100_000, "holds no config"),
        (lambda about: "{}", "holds no config"),
        (lambda about: "3", "holds no config"),
        (lambda about: json.dumps({**about, "kind": "x"}), "of the kind 'x'"),
        (lambda about: json.dumps({**about, "format": 2}), "format 2"),
        (lambda about: json.dumps({**about, "config": 3}), "its config is 3"),
        (lambda about: json.dumps({**about, "config": {}}), "vocab_size"),
        (lambda about: json.dumps({**about, "config": {**about["config"], "width": 32}}), "embedding.weight"),
        (lambda about: json.dumps({**about, "config": {**about["config"], "layers": 3}}), "missing"),
    ],
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path, change, message):
    path = tmp_path / "m"
    saved(path)
    rewritten(path, change)
    with pytest.raises(tg.InputError, match=message):
        tg.Transformer.load(path)


def test_what_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(tg.InputError, match="there is no file"):
        tg.Transformer.load(tmp_path / "none")
    with pytest.raises(tg.InputError, match="is a folder"):
        tg.Transformer.load(tmp_path)
    (tmp_path / "cut").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(tg.InputError, match="damaged"):
        tg.Transformer.load(tmp_path / "cut")
