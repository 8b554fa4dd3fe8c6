"""GGUF: the file format of llama.cpp. Metadata and tensors in one file, the tensors often quantised.

    "GGUF" version tensor_count metadata_count
    metadata: key, type, value …        the architecture, its sizes, the tokenizer with all its tokens
    tensors:  name, dimensions, type, offset …
    the data of the tensors, each at its offset, aligned

The header is read here, number by number, because a file from elsewhere cannot be trusted: every count is compared
with the bytes that are left before anything is made of it, so that no file can ask for more memory or time than its own
size is worth. (The reader of the package `gguf` trusts what it reads, and takes seconds for a large vocabulary.) The
formulas of the quantised types come from that package: a tensor becomes float32, exactly the numbers the file means.

Builds on: `weights`.
Used by: `gguf_parts`, for models in several files; `gguf_config`, `architectures` and `text.tokenizer_gguf`, which know
what the names mean.
Left out on purpose: version 1, big-endian files, arrays of arrays (no model has them), and the rarer types of tensors
(IQ, TQ, MXFP4): they are refused by name. `gguf_model` writes such files.

Source: docs/gguf.md of github.com/ggml-org/ggml.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.hub.weights import BF16, F16, F32, Encoding, read_numbers

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # the layout is the same; version 3 allows big-endian files
HEADER_LIMIT = 1 << 28  # bytes; the largest vocabularies of today need 2^23
ALIGNMENT, ALIGNMENT_LIMIT = 32, 1 << 20
NAME_LIMIT = 1 << 10  # bytes of a key or of a tensor's name
DIMENSION_LIMIT = 4

STRING, ARRAY, BOOL = 8, 9, 7
NUMBERS = {  # type in the file -> NumPy's name of it
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    BOOL: "<u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}

MetadataValue = bool | int | float | str | list


def _quantised(name: str, numbers: int, size: int) -> Encoding:
    return Encoding(name, numbers, size, partial(_decode, name))


def _decode(name: str, units: np.ndarray) -> np.ndarray:
    import gguf.quants  # here, because it is slow to import

    return getattr(gguf.quants, name).dequantize_rows(units)


ENCODINGS = {  # type in the file -> what it is; quantised numbers stand in blocks that share a scale
    0: F32,
    1: F16,
    2: _quantised("Q4_0", 32, 18),
    3: _quantised("Q4_1", 32, 20),
    6: _quantised("Q5_0", 32, 22),
    7: _quantised("Q5_1", 32, 24),
    8: _quantised("Q8_0", 32, 34),
    10: _quantised("Q2_K", 256, 84),
    11: _quantised("Q3_K", 256, 110),
    12: _quantised("Q4_K", 256, 144),
    13: _quantised("Q5_K", 256, 176),
    14: _quantised("Q6_K", 256, 210),
    30: BF16,
}


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor stands: in which file, `shape` rows first, `offset` and `size` in bytes of the file."""

    path: Path
    shape: tuple[int, ...]
    encoding: Encoding
    offset: int
    size: int


class GGUFFile:
    """A GGUF file, its header read and checked; the tensors are read when they are asked for.

    metadata: key -> number, text, or a list of either. tensors: name -> where it stands.

    Raises InputError when the file is missing, damaged, or has something in it that is not read here (named), and
    MachineError when the disk fails.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metadata: dict[str, MetadataValue] = {}
        self.tensors: dict[str, TensorInfo] = {}
        try:
            with open(self.path, "rb") as file:
                self._read_header(_Header(file))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise InputError(f"There is no file {path}. Check the path.") from error
        except OSError as error:
            raise MachineError(f"{path} cannot be read: {error.strerror or error}.") from error
        except _Damaged as error:
            raise InputError(f"{path} cannot be used: {error}. Fetch it again, or take another file.") from error

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Fill `out` (float32, contiguous, of the tensor's shape) with the tensor `name`."""
        tensor = self.tensors[name]
        read_numbers(tensor.path, tensor.offset, tensor.encoding, out, name)

    def close(self) -> None:
        """Nothing is kept open."""

    # --- the header ---------------------------------------------------------------------------------------------------

    def _read_header(self, header: _Header) -> None:
        if header.take(len(MAGIC)) != MAGIC:
            raise _Damaged("it is not a GGUF file (it does not begin with 'GGUF')")
        version = header.number("<I")
        if version and version % (1 << 24) == 0:
            raise _Damaged("it is big-endian, and only little-endian files are read")
        if version not in VERSIONS:
            raise _Damaged(f"it is GGUF version {version}, and versions {VERSIONS} are read")
        tensors, entries = header.number("<Q"), header.number("<Q")
        header.check_count(tensors, 8 + 4 + 8 + 4 + 8, "tensors")
        header.check_count(entries, 8 + 4 + 1, "entries of metadata")
        for _ in range(entries):
            self._read_entry(header)
        alignment = self.metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or not 0 < alignment <= ALIGNMENT_LIMIT or alignment & (alignment - 1):
            raise _Damaged(f"general.alignment is {alignment!r}, and should be a power of 2")
        for _ in range(tensors):
            self._read_tensor_info(header, alignment)
        self._place_tensors(start=-(-header.position // alignment) * alignment, end=header.file_size)

    def _read_entry(self, header: _Header) -> None:
        key = header.name("a key of the metadata")
        if key in self.metadata:
            raise _Damaged(f"the metadata have {key!r} twice")
        self.metadata[key] = header.value(header.number("<I"), key)

    def _read_tensor_info(self, header: _Header, alignment: int) -> None:
        name = header.name("the name of a tensor")
        if name in self.tensors:
            raise _Damaged(f"the tensor {name!r} is in it twice")
        dimensions = header.number("<I")
        if not 1 <= dimensions <= DIMENSION_LIMIT:
            raise _Damaged(f"the tensor {name!r} has {dimensions} dimensions")
        shape = tuple(header.number("<Q") for _ in range(dimensions))[::-1]  # in the file the rows come last
        kind, offset = header.number("<I"), header.number("<Q")
        if kind not in ENCODINGS:
            raise _Damaged(f"the tensor {name!r} is of type {_type_name(kind)}, and {_known_types()} are read")
        encoding = ENCODINGS[kind]
        if 0 in shape or shape[-1] % encoding.numbers:
            raise _Damaged(f"the tensor {name!r} of shape {shape} cannot be of type {encoding.name}")
        if offset % alignment:
            raise _Damaged(f"the tensor {name!r} begins at {offset}, which is not a multiple of {alignment}")
        size = math.prod(shape) // encoding.numbers * encoding.size
        self.tensors[name] = TensorInfo(self.path, shape, encoding, offset, size)

    def _place_tensors(self, start: int, end: int) -> None:
        """Count the offsets from the beginning of the file. No tensor may reach past the end, or into another."""
        free = start
        for name, tensor in sorted(self.tensors.items(), key=lambda item: item[1].offset):
            offset = start + tensor.offset
            if offset < free:
                raise _Damaged(f"the tensor {name!r} overlaps another")
            free = offset + tensor.size
            if free > end:
                raise _Damaged(f"the tensor {name!r} would end at byte {free}, and the file has {end}: it is cut off")
            self.tensors[name] = TensorInfo(self.path, tensor.shape, tensor.encoding, offset, tensor.size)


def is_gguf(path: Path) -> bool:
    """Whether a file begins as a GGUF file does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class _Damaged(Exception):
    """What is wrong with the file; `GGUFFile` adds its name."""


class _Header:
    """The header of an opened file, read from front to back and never past its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.file_size = file.seek(0, 2)
        self.end = min(self.file_size, HEADER_LIMIT)
        self.position = file.seek(0)

    def take(self, count: int) -> bytes:
        if count > self.end - self.position:
            if self.end == HEADER_LIMIT:
                raise _Damaged(f"its header is longer than {HEADER_LIMIT} bytes")
            raise _Damaged("it ends in the middle of the header")
        self.position += count
        return self.file.read(count)

    def check_count(self, count: int, least_size: int, what: str) -> None:
        """Refuse a number of things that cannot fit in what is left, each at least so many bytes large."""
        if count * least_size > self.end - self.position:
            raise _Damaged(f"it claims to have {count} {what}, more than fit in it")

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def name(self, what: str) -> str:
        length = self.number("<Q")
        if not 0 < length <= NAME_LIMIT:
            raise _Damaged(f"{what} is {length} bytes long")
        return self.text(length, what)

    def text(self, length: int, what: str) -> str:
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise _Damaged(f"{what} is not UTF-8") from error

    def value(self, kind: int, key: str) -> MetadataValue:
        if kind == STRING:
            return self.text(self.number("<Q"), key)
        if kind != ARRAY:
            return self.numbers(kind, 1, key)[0]
        kind, count = self.number("<I"), self.number("<Q")
        if kind != STRING:
            return self.numbers(kind, count, key)
        self.check_count(count, 8, f"texts in {key!r}")
        return [self.text(self.number("<Q"), key) for _ in range(count)]

    def numbers(self, kind: int, count: int, key: str) -> list[Any]:
        if kind not in NUMBERS:
            what = "an array of arrays" if kind == ARRAY else f"of the unknown type {kind}"
            raise _Damaged(f"the metadata {key!r} are {what}")
        dtype = np.dtype(NUMBERS[kind])
        self.check_count(count, dtype.itemsize, f"numbers in {key!r}")
        numbers = np.frombuffer(self.take(count * dtype.itemsize), dtype)
        if kind == BOOL and (numbers > 1).any():
            raise _Damaged(f"the metadata {key!r} should be true or false, and are {numbers.max()}")
        return (numbers != 0).tolist() if kind == BOOL else numbers.tolist()


def _type_name(kind: int) -> str:
    from gguf import GGMLQuantizationType

    try:
        return GGMLQuantizationType(kind).name
    except ValueError:
        return f"{kind}, which is unknown"


def _known_types() -> str:
    return ", ".join(encoding.name for encoding in ENCODINGS.values())
