"""The entries of an object from a file, read by key and checked: each error names the file, the key and the value.

Builds on: `files.read_json_object`, which reads such an object. GGUF metadata are read through it as well.
Used by: the readers of run folders, checkpoints, Hugging Face folders, GGUF files and adapters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import json_type


@dataclass(frozen=True)
class Entries:
    """An object's values by key.

    source: the file's name, for errors. advice: a sentence that ends the error about a missing entry: what to do.

    All methods raise InputError when the entry is missing (and has no default) or has another type or range. An entry
    that is null counts as missing.
    """

    values: dict[str, Any]
    source: str
    advice: str = "Fetch it again."

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def integer(self, key: str, default: int | None = None, *, minimum: int = 1, maximum: float = math.inf) -> int:
        """An integer within these limits, both included; true and 3.0 are not integers."""
        value = self._value(key, default)
        if type(value) is not int or not minimum <= value <= maximum:
            limits = f"of at least {minimum}" if maximum == math.inf else f"from {minimum} to {maximum}"
            raise self.error(key, f"an integer {limits}", value)
        return value

    def number(self, key: str, default: float | None = None, *, minimum: float | None = None) -> float:
        """A finite number: above 0, or from `minimum` on if that is given."""
        value = self._value(key, default)
        above = minimum is None
        low = 0.0 if minimum is None else minimum
        if type(value) not in (int, float) or not low <= value <= _LARGEST or (above and value == 0):
            raise self.error(key, f"a number above {low:g}" if above else f"a number of at least {low:g}", value)
        return float(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false", value)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.error(key, "a string", value)
        return value

    def array(self, key: str, default: list[Any] | None = None) -> list[Any]:
        value = self._value(key, default)
        if not isinstance(value, list):
            raise self.error(key, "an array", value)
        return value

    def object(self, key: str, default: dict[str, Any] | None = None) -> Entries:
        """The entries of the object under a key."""
        value = self._value(key, default)
        if not isinstance(value, dict):
            raise self.error(key, "an object", value)
        return Entries(value, f"{self.source}, {key}", self.advice)

    def optional_integer(self, key: str, default: int | None = None) -> int | None:
        """As `integer`; but an entry that is null means None, and only one that is absent means the default."""
        return None if self.values.get(key, default) is None else self.integer(key, default)

    def optional_number(self, key: str, default: float | None = None) -> float | None:
        """As `number`; but an entry that is null means None, and only one that is absent means the default."""
        return None if self.values.get(key, default) is None else self.number(key, default)

    def optional_object(self, key: str) -> Entries | None:
        return self.object(key) if key in self else None

    def refuse_unless(self, key: str, supported: tuple[Any, ...], default: Any) -> None:
        """Raise InputError when an entry has a value that is not among the supported ones. 1 is not True here."""
        value = self.values.get(key, default)
        if not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in supported):
            raise InputError(
                f"{self.source}: {key} is {shown(value)}, which is not supported. "
                f"Supported: {', '.join(map(shown, supported))}."
            )

    def error(self, key: str, wanted: str, value: Any) -> InputError:
        """The error that `key` must be `wanted` and is `value`."""
        return InputError(f"{self.source}: {key} must be {wanted}, and is {shown(value)}. {self.advice}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            raise InputError(f"{self.source} has no {key}. {self.advice}")
        return value


_LARGEST = 1e300  # an integer of JSON can be too large for a float


def shown(value: Any) -> str:
    """A value as JSON has it, at most 60 characters; containers by their type."""
    if value is None or isinstance(value, bool | dict):
        return json_type(value)
    text = repr(value)
    if isinstance(value, list) and len(text) > _SHOWN:
        return f"an array of {len(value)}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


_SHOWN = 60  # characters


def integer_if_close(x: float) -> int | float:
    """256 for 255.99999999999997, which is what rounding leaves of a value that was written as an integer."""
    return round(x) if math.isclose(x, round(x), rel_tol=1e-9) else x
