"""JSON that a run has stored, read back: every error names the file and the key.

A file may be cut, edited or of another program, so nothing about its structure is taken for granted.

Used by: `run_folder`, `checkpoints`.
"""

from __future__ import annotations

import json
from typing import Any

from tinygrad_llm.errors import InputError

NAMES = {dict: "an object", list: "a list", str: "a string", int: "an integer", float: "a number"}


def parse_object(data: bytes | str, source: str, advice: str) -> dict[str, Any]:
    """The JSON object in `data`. source: what an error calls it. advice: what to do about it, a sentence.

    Raises InputError when it is not JSON, nested too deeply, or not an object.
    """
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise InputError(f"{source} is damaged: its JSON is nested too deeply. {advice}") from error
    except ValueError as error:  # not JSON, not UTF-8, an integer with too many digits
        raise InputError(f"{source} is damaged: it is not JSON ({error}). {advice}") from error
    if not isinstance(value, dict):
        raise InputError(f"{source} is damaged: it holds {kind_of(value)}, not an object. {advice}")
    return value


def entry(values: dict[str, Any], key: str, kind: type, source: str, advice: str) -> Any:
    """`values[key]`. Raises InputError unless it is there and of this kind."""
    if key not in values:
        raise InputError(f"{source} is damaged: the key {key!r} is missing. {advice}")
    value = values[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{source} is damaged: {key!r} is {kind_of(value)}, not {NAMES[kind]}. {advice}")
    return value


def kind_of(value: Any) -> str:
    """What kind of JSON value this is, in words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return NAMES.get(type(value), type(value).__name__)
