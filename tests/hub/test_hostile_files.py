"""Files that are damaged or made to do harm: an error that names them, in bounded time and memory, and nothing else.

What must never come out: any other exception, a process that dies, more memory than a few times the file, a network
with numbers in it that the file does not have.
"""

import json
import struct
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.hub.gguf import ENCODINGS, GGUFFile
from tinygrad_llm.hub.gguf_model import load_gguf
from tinygrad_llm.hub.hugging_face import load_hugging_face
from tinygrad_llm.hub.safetensors import SafetensorsFiles

MEMORY = 50_000_000  # bytes; all files here are below 200 kB, unless they say otherwise
SECONDS = 20.0  # far more than any of them needs, for machines that do other things as well


@contextmanager
def bounded(memory=MEMORY):
    """Inside, only the two errors for users may be raised, little memory is used and little time passes."""
    tracemalloc.start()
    begin = time.monotonic()
    try:
        yield
    except (InputError, MachineError) as error:
        assert str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < memory and time.monotonic() - begin < SECONDS


@pytest.fixture(scope="module")
def gguf_bytes(tiny_model, tmp_path_factory):
    return tg.export(tiny_model("llama3"), tmp_path_factory.mktemp("gguf"), "gguf").read_bytes()


@pytest.fixture(scope="module")
def hf_files(tiny_model, tmp_path_factory):
    folder = tg.export(tiny_model("gemma3"), tmp_path_factory.mktemp("hf") / "a")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


# --- GGUF: whole models, cut and flipped ------------------------------------------------------------------------------


def header_borders(data: bytes) -> list[int]:
    """Where the fields of the header end: all its counts, keys and names are in the first part of the file."""
    end = data.index(b"rope_freqs.weight") + 200
    return [*range(0, 64), *range(64, end, 97), *range(end - 200, end)]


def test_a_file_that_is_cut_anywhere_is_an_error(gguf_bytes, place):
    path = place / "cut.gguf"
    for length in (*header_borders(gguf_bytes), *range(0, len(gguf_bytes), 20011), len(gguf_bytes) - 64):
        path.write_bytes(gguf_bytes[:length])
        with bounded(), pytest.raises(InputError):
            load_gguf(path)


def flip(data: bytes, bits: list[int]) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


slow_examples = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@slow_examples
@given(bits=st.lists(st.integers(0, 8 * 12_000), min_size=1, max_size=4))
@example(bits=[8 * 8 + 63])  # 2^63 tensors
@example(bits=[8 * 16 + 40])
def test_flipped_bits_in_a_header_are_an_error_or_harmless(gguf_bytes, place, bits):
    path = place / "flipped.gguf"
    path.write_bytes(flip(gguf_bytes, bits))
    with bounded():
        model = load_gguf(path)
        assert all(np.isfinite(parameter.data).all() for parameter in model.network.parameters())


@slow_examples
@given(data=st.data())
def test_overwritten_stretches_are_an_error_or_harmless(gguf_bytes, place, data):
    start = data.draw(st.integers(0, len(gguf_bytes) - 1))
    what = data.draw(st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([b"\xff" * 16, b"\0" * 64])))
    path = place / "overwritten.gguf"
    path.write_bytes(gguf_bytes[:start] + what + gguf_bytes[start + len(what) :])
    with bounded():
        model = load_gguf(path)
        assert all(np.isfinite(parameter.data).all() for parameter in model.network.parameters())


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=lambda encoding: encoding.name)
@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_finite_numbers_or_an_error(place, encoding, data):
    size = 3 * encoding.size
    raw = data.draw(st.binary(min_size=size, max_size=size))
    kind = next(number for number, known in ENCODINGS.items() if known is encoding)
    path = place / "numbers.gguf"
    path.write_bytes(crafted(tensors=[tensor("x", [3 * encoding.numbers], kind, 0)], data=raw))
    out = np.empty(3 * encoding.numbers, np.float32)
    with bounded():
        GGUFFile(path).read_into("x", out)
        assert np.isfinite(out).all()


# --- GGUF: headers made by hand ---------------------------------------------------------------------------------------

U8, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10


def text(x: str | bytes) -> bytes:
    x = x.encode() if isinstance(x, str) else x
    return struct.pack("<Q", len(x)) + x


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


def tensor(name: str, dims: list[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def crafted(
    entries: list[bytes] | tuple = (),
    tensors: list[bytes] | tuple = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    entry_count: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(entries) if entry_count is None else entry_count,
    )
    header = magic + struct.pack("<IQQ", version, *counts) + b"".join(entries) + b"".join(tensors)
    return header + b"\0" * (-len(header) % 32) + data


HUGE = 2**63 - 1
CRAFTED = {
    "nothing": (b"", "ends in the middle of the header"),
    "another kind of file": (b"PK\3\4" + b"x" * 100, "not a GGUF file"),
    "an old version": (crafted(version=1), r"version 1, and versions \(2, 3\)"),
    "a future version": (crafted(version=4), "version 4"),
    "version 0": (crafted(version=0), "GGUF version 0"),
    "big-endian": (crafted(version=3 << 24), "big-endian"),
    "absurdly many tensors": (crafted(tensor_count=HUGE), f"{HUGE} tensors, more than fit"),
    "absurdly many entries": (crafted(entry_count=HUGE), f"{HUGE} entries of metadata, more than fit"),
    "a key of exabytes": (crafted([struct.pack("<Q", HUGE) + b"x"]), "a key of the metadata is"),
    "an empty key": (crafted([entry("", U8, b"\1")]), "a key of the metadata is 0 bytes"),
    "a key that is no text": (crafted([entry(b"\xff\xfe", U8, b"\1")]), "not UTF-8"),
    "a key twice": (crafted([entry("a", U8, b"\1"), entry("a", U8, b"\1")]), "have 'a' twice"),
    "a text of exabytes": (crafted([entry("a", STRING, struct.pack("<Q", HUGE))]), "ends in the middle of the header"),
    "a text that is none": (crafted([entry("a", STRING, text(b"\xc3\x28"))]), "a is not UTF-8"),
    "an unknown type": (crafted([entry("a", 99, b"\1")]), "unknown type 99"),
    "neither true nor false": (crafted([entry("a", BOOL, b"\2")]), "true or false"),
    "an array of arrays": (crafted([entry("a", ARRAY, array(ARRAY, 1, array(U8, 1, b"\1")))]), "array of arrays"),
    "arrays a thousand deep": (
        crafted([entry("a", ARRAY, array(ARRAY, 1) * 1000 + array(U8, 1, b"\1"))]),
        "array of arrays",
    ),
    "an array of exabytes": (crafted([entry("a", ARRAY, array(U64, HUGE))]), "more than fit"),
    "an array of too many texts": (crafted([entry("a", ARRAY, array(STRING, HUGE))]), "more than fit"),
    "an array of an unknown type": (crafted([entry("a", ARRAY, array(77, 1, b"\1"))]), "unknown type 77"),
    "an alignment of 0": (crafted([entry("general.alignment", U32, struct.pack("<I", 0))]), "power of 2"),
    "an odd alignment": (crafted([entry("general.alignment", U32, struct.pack("<I", 33))]), "power of 2"),
    "an absurd alignment": (crafted([entry("general.alignment", U32, struct.pack("<I", 2**31))]), "power of 2"),
    "an alignment that is a text": (crafted([entry("general.alignment", STRING, text("32"))]), "power of 2"),
    "a tensor twice": (crafted((), [tensor("x", [8], 0, 0)] * 2, b"\0" * 64), "'x' is in it twice"),
    "a tensor beyond the end": (crafted((), [tensor("x", [8], 0, 2**40)], b"\0" * 64), "cut off"),
    "a tensor over the end": (crafted((), [tensor("x", [17], 0, 0)], b"\0" * 64), "cut off"),
    "an offset that overflows": (crafted((), [tensor("x", [8], 0, 2**64 - 32)], b"\0" * 64), "cut off"),
    "an offset off the grid": (crafted((), [tensor("x", [8], 0, 4)], b"\0" * 64), "not a multiple of 32"),
    "tensors in the same place": (
        crafted((), [tensor("x", [16], 0, 0), tensor("y", [8], 0, 32)], b"\0" * 64),
        "'y' overlaps another",
    ),
    "a shape that overflows": (crafted((), [tensor("x", [2**32, 2**32], 0, 0)], b"\0" * 64), "cut off"),
    "a shape with 0": (crafted((), [tensor("x", [8, 0], 0, 0)], b"\0" * 64), "cannot be of type F32"),
    "no dimensions": (crafted((), [tensor("x", [], 0, 0)], b"\0" * 64), "0 dimensions"),
    "too many dimensions": (crafted((), [tensor("x", [1] * 99, 0, 0)], b"\0" * 64), "99 dimensions"),
    "a type that is not read": (crafted((), [tensor("x", [256], 16, 0)], b"\0" * 999), "type IQ2_XXS, and F32"),
    "a type that is none": (crafted((), [tensor("x", [256], 999, 0)], b"\0" * 999), "type 999, which is unknown"),
    "half a block": (crafted((), [tensor("x", [31], 8, 0)], b"\0" * 999), "cannot be of type Q8_0"),
    "a model without anything": (
        crafted([entry("general.architecture", STRING, text("llama"))]),
        "not a whole language",
    ),
    "a model of an unknown kind": (crafted([entry("general.architecture", STRING, text("rwkv"))]), "'rwkv' is not"),
    "a model of no kind": (crafted(), "architecture None is not supported"),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_headers_made_by_hand_are_refused_by_name(place, case):
    data, message = CRAFTED[case]
    path = place / "crafted.gguf"
    path.write_bytes(data)
    with bounded(1_000_000 + 20 * len(data)), pytest.raises(InputError, match=message):
        load_gguf(path)


def test_a_header_of_gigabytes_is_refused_without_reading_it(place):
    """A file with a hole in it takes no room on the disk."""
    path = place / "large.gguf"
    with open(path, "wb") as file:
        file.write(crafted([text("a") + struct.pack("<I", STRING) + struct.pack("<Q", 2**31)]))
        file.truncate(2**32)
    with bounded(1_000_000), pytest.raises(InputError, match="header is longer than"):
        GGUFFile(path)
    path.unlink()


def test_very_many_empty_texts_take_little_memory(place):
    """The worst ratio of memory to file that a header allows: a list of empty texts."""
    count = 200_000
    data = crafted([entry("a", ARRAY, array(STRING, count, b"\0" * 8 * count))])
    path = place / "texts.gguf"
    path.write_bytes(data)
    with bounded(4 * len(data)):
        assert GGUFFile(path).metadata["a"] == [""] * count


def test_no_allocation_is_as_large_as_the_metadata_claim(gguf_bytes, place):
    """Sizes in the metadata are compared with the arrays of the file before a network is made of them."""
    for key, value in (("embedding_length", 2**20), ("feed_forward_length", 2**30), ("attention.head_count", 2**24)):
        name = f"llama.{key}".encode()
        at = gguf_bytes.index(name) + len(name) + 4
        path = place / "claims.gguf"
        path.write_bytes(gguf_bytes[:at] + struct.pack("<I", value) + gguf_bytes[at + 4 :])
        with bounded(5_000_000), pytest.raises(InputError):
            load_gguf(path)


def test_a_path_that_is_no_file(place):
    for path in (place, place / "absent.gguf"):
        with bounded(), pytest.raises(InputError, match="There is no file"):
            GGUFFile(path)


# --- safetensors and the JSON around it -------------------------------------------------------------------------------


def write_all(folder, files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
def test_folders_with_a_cut_file(hf_files, place, name):
    data = hf_files[name]
    for length in (0, 1, 7, 8, 9, 100, len(data) // 3, len(data) // 2, len(data) - 2):
        if length < len(data):
            folder = write_all(place / "cut", hf_files | {name: data[:length]})
            with bounded(), pytest.raises(InputError, match=name.partition(".")[0]):
                load_hugging_face(folder)


@slow_examples
@given(data=st.data())
def test_folders_with_flipped_bits(hf_files, place, data):
    name = data.draw(st.sampled_from(sorted(hf_files)))
    bits = data.draw(st.lists(st.integers(0, 8 * len(hf_files[name]) - 1), min_size=1, max_size=3))
    folder = write_all(place / "flipped", hf_files | {name: flip(hf_files[name], bits)})
    with bounded():
        model = load_hugging_face(folder)
        assert all(np.isfinite(parameter.data).all() for parameter in model.network.parameters())


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@slow_examples
@given(data=st.data())
def test_settings_of_any_type(hf_files, place, data):
    name = data.draw(st.sampled_from(["config.json", "tokenizer_config.json", "generation_config.json"]))
    values = json.loads(hf_files[name])
    keys = st.sampled_from([*values, "rope_parameters", "rope_scaling", "layer_types", "eos_token_id", "chat_template"])
    values |= data.draw(st.dictionaries(keys, anything, min_size=1, max_size=3))
    folder = write_all(place / "settings", hf_files | {name: json.dumps(values).encode()})
    with bounded():
        load_hugging_face(folder)


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def info(shape=(4,), begin=0, end=16, kind="F32", **more):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end], **more}


DATA = b"\0" * 16
SAFETENSORS = {
    "nothing": b"",
    "a header of exabytes": safetensors({}, length=2**63),
    "a header of gigabytes": safetensors({}, DATA, length=2**31),
    "a header that is longer than the file": safetensors({}, DATA, length=1000),
    "no JSON": safetensors(b"{nonsense", DATA),
    "no object": safetensors([1, 2], DATA),
    "lists a million deep": safetensors(b"[" * 1_000_000, DATA),
    "a name twice": safetensors(b'{"x":%s,"x":%s}' % ((json.dumps(info()).encode(),) * 2), DATA),
    "an array over the end": safetensors({"x": info((8,), 0, 32)}, DATA),
    "an array before the beginning": safetensors({"x": info((4,), -16, 0)}, DATA),
    "an end before the beginning": safetensors({"x": info((4,), 16, 0)}, DATA),
    "two arrays in one place": safetensors({"x": info(), "y": info()}, DATA),
    "a gap": safetensors({"x": info((2,), 8, 16)}, DATA),
    "data of no array": safetensors({"x": info((2,), 0, 8)}, DATA),
    "a shape that is too large": safetensors({"x": info((5,))}, DATA),
    "a shape that overflows": safetensors({"x": info((2**62, 2**62))}, DATA),
    "a negative shape": safetensors({"x": info((-4,))}, DATA),
    "a shape of texts": safetensors({"x": info(("4",))}, DATA),
    "an unknown type": safetensors({"x": info(kind="F31")}, DATA),
    "no offsets": safetensors({"x": {"dtype": "F32", "shape": [4]}}, DATA),
    "a number for an array": safetensors({"x": 7}, DATA),
    "a pickle": b"\x80\x04\x95" + b"cos\nsystem\n(S'false'\ntR." * 10,
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_safetensors_headers_made_by_hand_are_refused(place, case):
    (place / "model.safetensors").write_bytes(SAFETENSORS[case])
    with bounded(), pytest.raises(InputError, match="model.safetensors"):
        SafetensorsFiles.of_folder(place)


def test_an_infinite_weight_is_named(hf_files, place):
    data = hf_files["model.safetensors"]
    folder = write_all(place / "infinite", hf_files | {"model.safetensors": data[:-4] + struct.pack("<f", np.inf)})
    with pytest.raises(InputError, match="values that are infinite or not numbers"):
        load_hugging_face(folder)
