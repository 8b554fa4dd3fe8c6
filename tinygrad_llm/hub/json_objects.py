"""JSON files of other people: read with a limit on their size, and an error that names what is wrong with them.

Comes before: `errors`. Comes after: `safetensors` and `hugging_face`, whose folders are full of them.
"""

import json
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import InputError, MachineError

SIZE_LIMIT = 1 << 28  # bytes; the largest tokenizer.json of today is 2^25


def read_json_object(path: str | Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises InputError when the file is missing, too large, no JSON, or its outermost value is no object; MachineError
    when it cannot be read.
    """
    path = Path(path)
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise InputError(f"{path} has {path.stat().st_size} bytes, and no file of its kind has above {SIZE_LIMIT}.")
        return parse_json_object(path.read_bytes(), str(path))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"there is no file {path}. Check the path, or fetch the model again.") from error
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror or error}.") from error


def parse_json_object(data: bytes, source: str) -> dict[str, Any]:
    """The object that is written in `data`. A key that is there twice is an error, as is anything but an object."""
    try:
        value = json.loads(data, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number too long, too deeply nested
        raise InputError(f"{source} is not JSON that can be read ({error}). Fetch it again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{source} holds a {type(value).__name__}, and an object was expected. Fetch it again.")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} is in it twice")
    return values
