"""safetensors: Hugging Face's format of weights. A header in JSON with names, types, shapes and places; then the data.

Large models are cut into several files ("shards"), and `model.safetensors.index.json` says which array is in which.

The package `safetensors` opens each file and thereby checks its header: every array inside the file, no two in the same
place, no gaps, sizes that agree with types and shapes. The numbers are then read block by block and widened to float32
(`weights`): NumPy has no bfloat16, and the package's own arrays would be a second copy of the model in memory.

Builds on: `weights`, `files`. Used by: `hugging_face`, `peft`; `architectures` knows what the names mean.
Left out on purpose: integers, float64 and 8-bit floats (no model of our families is published in them): an array of
such a type may be in the file, as GPT-2's attention masks are, but cannot be read.

Source: README.md of github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.entries import shown
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import parse_json_object, read_json_object
from tinygrad_llm.hub.weights import BF16, F16, F32, read_numbers

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BLOCK = 1 << 20  # bytes that are compared at a time
HEADER_LIMIT = 1 << 25  # bytes; a model of 100 layers needs 2^17
ENCODINGS = {encoding.name: encoding for encoding in (F32, F16, BF16)}


@dataclass(frozen=True)
class ArrayInfo:
    """Where one array stands: in which file, at which byte, how many bytes long, and of what type it is."""

    path: Path
    offset: int
    size: int
    type: str
    shape: tuple[int, ...]


class SafetensorsFiles:
    """The arrays of one file or of the shards of a model, all headers read and checked.

    arrays: name -> where it stands. Raises InputError when a file is missing, damaged or not what the index says, and
    MachineError when the disk fails.
    """

    def __init__(self, *paths: Path) -> None:
        self.arrays: dict[str, ArrayInfo] = {}
        for path in paths:
            found = read_header(path)
            if twice := self.arrays.keys() & found.keys():
                raise InputError(f"{path}: {min(twice)!r} is in another file of the model as well. Fetch it again.")
            self.arrays |= found

    @classmethod
    def of_folder(cls, folder: str | Path) -> SafetensorsFiles:
        """The model in a folder: model.safetensors, or the shards that model.safetensors.index.json names."""
        folder = Path(folder)
        if (folder / SINGLE).is_file() or not (folder / INDEX).is_file():
            return cls(folder / SINGLE)
        index = folder / INDEX
        places = read_json_object(index).get("weight_map")
        if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
            raise InputError(f"{index} does not say in which file each array is (weight_map). Fetch it again.")
        for name in set(places.values()):
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise InputError(f"{index} names {shown(name)}, which is not a safetensors file in its folder.")
        files = cls(*(folder / name for name in sorted(set(places.values()))))
        for name, info in files.arrays.items():
            if places.pop(name, info.path.name) != info.path.name:
                raise InputError(
                    f"{index} says that {name!r} is in another file than {info.path.name}. Fetch it again."
                )
        if places:
            raise InputError(f"{index} names {min(places)!r}, which is in none of its files. Fetch it again.")
        return files

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: info.shape for name, info in self.arrays.items()}

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Fill `out` (float32, contiguous, of the array's shape) with the array `name`."""
        info = self.arrays[name]
        if info.type not in ENCODINGS:
            raise InputError(f"{info.path}: {name} is of type {info.type}, and {', '.join(ENCODINGS)} are read.")
        read_numbers(info.path, info.offset, ENCODINGS[info.type], out, name)

    def same_values(self, one: str, other: str) -> bool:
        """Whether two arrays have the same type, shape and bytes."""
        a, b = self.arrays[one], self.arrays[other]
        if (a.type, a.shape, a.size) != (b.type, b.shape, b.size):
            return False
        try:
            with open(a.path, "rb") as file, open(b.path, "rb") as other_file:
                file.seek(a.offset)
                other_file.seek(b.offset)
                blocks = [min(BLOCK, a.size - start) for start in range(0, a.size, BLOCK)]
                return all(file.read(length) == other_file.read(length) for length in blocks)
        except OSError as error:
            raise MachineError(f"{a.path} cannot be read: {error.strerror or error}. Check the disk.") from error

    def close(self) -> None:
        """Nothing is kept open."""


def read_header(path: Path) -> dict[str, ArrayInfo]:
    """Name -> where it stands, for all arrays of one file. Raises as `SafetensorsFiles` does."""
    from safetensors import SafetensorError, safe_open  # here, so that `import tinygrad_llm` stays quick

    if path.is_dir() or not path.exists():
        raise InputError(f"There is no file {path}. Check the path, or fetch the model again.")
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > HEADER_LIMIT:
                raise InputError(f"{path} claims a header of {length} bytes, above {HEADER_LIMIT}. Fetch it again.")
            with safe_open(path, framework="numpy"):  # opening it is checking it
                header = parse_json_object(file.read(length), str(path))
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}). Fetch it again.") from error
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}. Check the disk.") from error
    header.pop("__metadata__", None)
    return {name: _array_info(path, 8 + length, entry) for name, entry in header.items()}


def _array_info(path: Path, start: int, entry: dict[str, Any]) -> ArrayInfo:
    """start: the byte of the file at which the data begin."""
    begin, end = entry["data_offsets"]
    return ArrayInfo(path, start + begin, end - begin, entry["dtype"], tuple(entry["shape"]))


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 arrays to a file, without a second copy of them in memory.

    The file is not synced and not renamed: the caller writes into a folder that nobody reads yet.
    """
    from safetensors import SafetensorError, numpy

    try:
        # The metadata tell Transformers that names and layout are those of PyTorch's modules.
        contiguous: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        path.touch()
        mode = (
            path.stat().st_mode
        )  # what the user's files usually have; the package makes files that only they can read
        numpy.save_file(contiguous, path, metadata={"format": "pt"})
        path.chmod(mode)
    except (SafetensorError, OSError) as error:
        raise MachineError(f"{path} was not written: {error}. Check the disk, or choose another folder.") from error
