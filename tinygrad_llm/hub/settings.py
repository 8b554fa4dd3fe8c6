"""The settings in somebody's file, read by key and type. None of them is believed before it was looked at.

Comes before: `errors`. Comes after: `config_json` and `gguf_config`, which make a config of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import InputError

LAYER_LIMIT = 1000


@dataclass(frozen=True)
class Settings:
    """Values by key; `source` names the file in errors."""

    values: dict[str, Any]
    source: str

    def whole(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if type(value) is not int or value < 1:
            raise InputError(f"{self.source}: {key} must be a whole number of at least 1, and is {value!r}.")
        return value

    def layers(self, key: str) -> int:
        """A number of layers: small enough to count through."""
        value = self.whole(key)
        if value > LAYER_LIMIT:
            raise InputError(f"{self.source}: {key} is {value}, and no model has more than {LAYER_LIMIT} layers.")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise InputError(f"{self.source}: {key} must be a number above 0, and is {value!r}.")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.source}: {key} must be true or false, and is {value!r}.")
        return value

    def maybe_whole(self, key: str) -> int | None:
        return None if self.values.get(key) is None else self.whole(key)

    def maybe_number(self, key: str, default: float | None = None) -> float | None:
        return None if self.values.get(key, default) is None else self.number(key, default)

    def refuse_unless(self, key: str, supported: tuple[Any, ...], default: Any) -> None:
        """Raise InputError when a setting has a value that is not among the supported ones."""
        value = self.values.get(key, default)
        if value not in supported:
            raise InputError(
                f"{self.source}: {key} is {value!r}, which is not supported here, only "
                f"{' or '.join(map(repr, supported))}."
            )

    def part(self, key: str) -> Settings | None:
        """The object under a key, or None."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise InputError(f"{self.source}: {key} must be an object, and is {value!r}.")
        return None if value is None else Settings(value, f"{self.source}, {key}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        value = default if value is None else value
        if value is None:
            raise InputError(f"{self.source} lacks {key}. Fetch it again.")
        return value
