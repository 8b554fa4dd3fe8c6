"""A GGUF model that is split over several files: model-00001-of-00003.gguf and so on.

llama.cpp's `gguf-split` cuts large models into such parts. The first part has the metadata, each part has some of the
tensors and says which part it is: `split.no` (from 0), `split.count` and `split.tensors.count` (of all parts).

Builds on: `gguf`, which reads one file. Used by: `gguf_model`, `models`.
"""

from __future__ import annotations

import re
from pathlib import Path

from tinygrad_llm.entries import Entries, shown
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.gguf import GGUFFile

PART_LIMIT = 99_999  # the names have five digits
PART_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


def open_gguf(path: str | Path) -> GGUFFile:
    """The GGUF file at `path`, with the tensors of all parts if it is a part of a model (whichever part it is).

    Raises InputError when a part is missing, or does not belong to the others, and as `GGUFFile` does.
    """
    path = Path(path)
    file = GGUFFile(path)
    count = _entries(file).integer("split.count", 1, minimum=0, maximum=PART_LIMIT)
    if count <= 1:
        return file
    paths = parts_of(path)
    if len(paths) != count:
        raise InputError(
            f"{path} is one of {count} parts of a model, and is not named like one. "
            f"Name the parts NAME-00001-of-{count:05d}.gguf and so on, as they were."
        )
    missing = [part for part in paths if not part.is_file()]
    if missing:
        others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise InputError(
            f"{path} is one of {count} parts of a model, and {missing[0].name}{others} not beside it. "
            "Fetch all parts into one folder."
        )
    parts = [file if part == path else GGUFFile(part) for part in paths]
    return _joined(parts)


def parts_of(path: Path) -> list[Path]:
    """The paths of all parts of the model that `path` is a part of, by its name; `[path]` for any other name."""
    match = PART_NAME.fullmatch(path.name)
    if match is None:
        return [path]
    name, _, count = match.groups()
    return [path.with_name(f"{name}-{i:05d}-of-{count}.gguf") for i in range(1, int(count) + 1)]


def _joined(parts: list[GGUFFile]) -> GGUFFile:
    """The first part, with the tensors of all."""
    first = parts[0]
    for no, part in enumerate(parts):
        found = part.metadata.get("split.no"), part.metadata.get("split.count")
        if found != (no, len(parts)):
            raise InputError(
                f"{part.path} should be part {no + 1} of {len(parts)}, and has split.no {shown(found[0])} and "
                f"split.count {shown(found[1])}. Fetch the parts again."
            )
        if twice := no and first.tensors.keys() & part.tensors.keys():
            raise InputError(f"{part.path}: the tensor {min(twice)!r} is in another part as well. Fetch it again.")
        first.tensors |= part.tensors
    total = _entries(first).integer("split.tensors.count", len(first.tensors), minimum=0)
    if total != len(first.tensors):
        raise InputError(
            f"{first.path}: the parts should have {total} tensors, and have {len(first.tensors)}. Fetch them again."
        )
    return first


def _entries(file: GGUFFile) -> Entries:
    return Entries(file.metadata, str(file.path))
