"""safetensors: exact widening, shards, and an index that does not agree with its files."""

import json

import numpy as np
import pytest
from safetensors import TensorSpec, serialize_file

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.safetensors import SafetensorsFiles, write_safetensors


def write_halves(path, kind, values):
    values = np.ascontiguousarray(values)
    spec = TensorSpec(dtype=kind, shape=list(values.shape), data_ptr=values.ctypes.data, data_len=values.nbytes)
    serialize_file({"x": spec}, path)


def read(files, name):
    out = np.full(files.shapes[name], np.nan, np.float32)
    files.read_into(name, out)
    return out


def test_every_float16_is_widened_exactly(tmp_path):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(2, -1)
    write_halves(tmp_path / "model.safetensors", "float16", halves)
    x = read(SafetensorsFiles.of_folder(tmp_path), "x")
    assert np.array_equal(x, halves.astype(np.float64)) and np.array_equal(np.signbit(x), np.signbit(halves))


def test_every_bfloat16_is_widened_exactly(tmp_path):
    """sign · 2^(e - 127) · (1 + m / 128), computed in float64 from the bits."""
    bits = np.arange(2**16, dtype=np.uint16)
    bits = bits[(bits >> 7) & 0xFF != 0xFF].reshape(2, -1)  # infinities and no numbers
    write_halves(tmp_path / "model.safetensors", "bfloat16", bits)
    sign, exponent, mantissa = bits >> 15, (bits >> 7 & 0xFF).astype(int), (bits & 0x7F) / 128.0
    size = np.where(exponent > 0, (1 + mantissa) * 2.0 ** (exponent - 127), mantissa * 2.0**-126)
    assert np.array_equal(read(SafetensorsFiles.of_folder(tmp_path), "x"), np.where(sign, -size, size))


def make_shards(folder):
    write_safetensors(folder / "model-1.safetensors", {"a": np.ones((2, 3), np.float32)})
    write_safetensors(folder / "model-2.safetensors", {"b": np.arange(4, dtype=np.float32)})
    return {"a": "model-1.safetensors", "b": "model-2.safetensors"}


def write_index(folder, places):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_shards_are_one_model(tmp_path):
    write_index(tmp_path, make_shards(tmp_path))
    files = SafetensorsFiles.of_folder(tmp_path)
    assert files.shapes == {"a": (2, 3), "b": (4,)}
    assert read(files, "b").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": "../model-2.safetensors"}, "not a safetensors file in its folder"),
        ({"b": "/etc/passwd"}, "not a safetensors file in its folder"),
        ({"b": "model-3.safetensors"}, "There is no file .*model-3"),
        ({"b": "model-1.safetensors"}, "names 'b', which is in none of its files"),
        ({"a": "model-2.safetensors", "b": "model-1.safetensors"}, "in another file than"),
        ({"c": "model-1.safetensors"}, "names 'c', which is in none of its files"),
        ({"b": 7}, "in which file each array is"),
    ],
)
def test_an_index_that_does_not_agree_with_its_files(tmp_path, change, message):
    write_index(tmp_path, make_shards(tmp_path) | change)
    with pytest.raises(InputError, match=message):
        SafetensorsFiles.of_folder(tmp_path)


def test_an_array_in_two_shards(tmp_path):
    places = make_shards(tmp_path)
    write_safetensors(tmp_path / "model-2.safetensors", {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)})
    write_index(tmp_path, places)
    with pytest.raises(InputError, match="'a' is in another file of the model as well"):
        SafetensorsFiles.of_folder(tmp_path)


def test_types_that_are_not_read_are_named_when_they_are_asked_for(tmp_path):
    write_halves(tmp_path / "model.safetensors", "int64", np.zeros(3, np.int64))
    files = SafetensorsFiles.of_folder(tmp_path)
    with pytest.raises(InputError, match="x is of type I64, and F32, F16, BF16 are read"):
        read(files, "x")


def test_what_is_written_is_read_back_and_others_may_read_it(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.float32([1.5])}
    write_safetensors(tmp_path / "model.safetensors", arrays)
    files = SafetensorsFiles.of_folder(tmp_path)
    assert np.array_equal(read(files, "a"), arrays["a"]) and np.array_equal(read(files, "b"), arrays["b"])
    (tmp_path / "plain").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
