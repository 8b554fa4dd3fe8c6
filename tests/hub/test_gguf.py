"""GGUF files as other programs write them: every kind of value, every kind of tensor."""

import gguf
import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.gguf import ENCODINGS, GGUFFile

ROWS, WIDTH = 70, 512
METADATA = {
    "a.text": ("string", "naïve 漢字"),
    "a.yes": ("bool", True),
    "a.small": ("uint8", 255),
    "a.signed": ("int8", -128),
    "a.large": ("uint64", 2**63 + 1),
    "a.negative": ("int64", -(2**62)),
    "a.float": ("float32", 0.5),
    "a.double": ("float64", 1e300),
    "a.words": ("array", ["the", "", "漢字"]),
    "a.numbers": ("array", [1, -2, 3]),
    "a.floats": ("array", [0.25, -1.0]),
    "a.flags": ("array", [True, False]),
}


def write(path, tensors=(), alignment=None, metadata=()):
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    for key, (kind, value) in dict(metadata).items():
        getattr(writer, f"add_{kind}")(key, value)
    for name, array, kind in tensors:
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def read(file, name):
    out = np.full(file.shapes[name], np.nan, np.float32)
    file.read_into(name, out)
    return out


def test_the_table_of_types_is_that_of_the_package():
    for number, encoding in ENCODINGS.items():
        kind = gguf.GGMLQuantizationType(number)
        assert (kind.name, *gguf.GGML_QUANT_SIZES[kind]) == (encoding.name, encoding.numbers, encoding.size)


def test_metadata_become_plain_values(tmp_path):
    file = GGUFFile(write(tmp_path / "a.gguf", metadata=METADATA))
    expected = {key: value for key, (_, value) in METADATA.items()}
    assert file.metadata == {"general.architecture": "llama"} | expected
    assert [type(file.metadata[key]) for key in expected] == [type(value) for value in expected.values()]


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=lambda encoding: encoding.name)
@pytest.mark.parametrize("alignment", [None, 8, 4096])
def test_tensors_are_what_the_package_makes_of_them(tmp_path, encoding, alignment):
    """Bytes drawn at random, scales included, as large as are finite."""
    kind = gguf.GGMLQuantizationType[encoding.name]
    rng = np.random.default_rng(1)
    units = rng.integers(0, 256, (ROWS * WIDTH // encoding.numbers, encoding.size), np.uint8)
    if encoding.name == "F32":
        units = rng.standard_normal(len(units), np.float32).view(np.uint8)
    elif encoding.name in ("F16", "BF16"):
        halves = units.view("<u2")
        halves[halves & 0x7C00 == 0x7C00] = 1  # no infinities of either type
    else:
        with np.errstate(all="ignore"):
            finite = np.isfinite(gguf.quants.dequantize(units, kind)).all(axis=1)
        units[~finite] = units[finite][0]
    raw = units.reshape(ROWS, -1)
    data = raw.view(np.float32) if encoding.name == "F32" else raw.view("<f2") if encoding.name == "F16" else raw
    first = np.arange(5, dtype=np.float32)
    path = write(tmp_path / "a.gguf", [("first", first, None), ("second", data, kind)], alignment)
    file = GGUFFile(path)
    assert file.shapes == {"first": (5,), "second": (ROWS, WIDTH)}
    assert read(file, "first").tolist() == first.tolist()
    assert np.array_equal(read(file, "second"), gguf.quants.dequantize(data, kind))


def test_more_dimensions_keep_their_order(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    file = GGUFFile(write(tmp_path / "a.gguf", [("x", array, None)]))
    assert np.array_equal(read(file, "x"), array)


def test_numbers_that_are_not_finite_are_named(tmp_path):
    array = np.zeros((300, 1000), np.float32)
    array[299, 999] = np.inf
    file = GGUFFile(write(tmp_path / "a.gguf", [("x", array, None)]))
    with pytest.raises(InputError, match="x has values that are infinite"):
        read(file, "x")


def test_large_numbers_whose_sum_overflows_are_fine(tmp_path):
    array = np.full((300, 1000), 3e38, np.float32)
    file = GGUFFile(write(tmp_path / "a.gguf", [("x", array, None)]))
    assert np.array_equal(read(file, "x"), array)


def test_a_file_that_is_shortened_while_it_is_read(tmp_path):
    path = write(tmp_path / "a.gguf", [("x", np.zeros((300, 1000), np.float32), None)])
    file = GGUFFile(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="ends in the middle of x"):
        read(file, "x")
