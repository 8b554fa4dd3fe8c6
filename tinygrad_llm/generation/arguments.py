"""Checks of arguments that all ways to generate text share; each error names the argument and its value.

Used by: everything else in `generation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_llm.errors import InputError


def is_number(value: object) -> bool:
    """Whether `value` is a real number, of Python or NumPy; True and False are not."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Whether `value` is an integer, of Python or NumPy; True and False are not, and 2.0 is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_integer(name: str, value: object, least: int = 1) -> int:
    """The value as an int. Raises InputError unless it is an integer of at least `least`."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise InputError(f"{name} must be an integer of at least {least}, it was {value!r}.")


def check_seed(seed: object) -> None:
    """Raise InputError unless `seed` is None or an integer of at least 0."""
    if seed is not None:
        check_integer("seed", seed, 0)


def check_text(name: str, value: object) -> str:
    """The value. Raises InputError unless it is a string."""
    if isinstance(value, str):
        return value
    several = name == "prompt" and isinstance(value, list) and not all(isinstance(one, int) for one in value)
    advice = "For several texts write generate_batch." if several else "For ids write tokenizer.decode(ids)."
    raise InputError(f"{name} must be a string, it was {type(value).__name__}. {advice}")


def stop_strings(stop: str | Sequence[str] | None) -> list[str]:
    """`stop` as a list: one string, several or none. Raises InputError for anything else and for an empty string."""
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list | tuple | set | frozenset) or not all(isinstance(s, str) and s for s in stops):
        raise InputError(f"stop must be strings of at least one character, it was {stop!r}.")
    return list(stops)
