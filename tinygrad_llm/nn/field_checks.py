"""Checks of a dataclass's fields by their types, with errors that name the field, its value and what is allowed.

Used by: `config`.
"""

from __future__ import annotations

import math
from dataclasses import fields
from functools import lru_cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tinygrad_llm.errors import InputError


def check_fields(record: Any) -> None:
    """Check every field of a frozen dataclass, and make NumPy's numbers plain ones.

    int: a whole number of at least 1. float: above 0, or for `dropout` a probability below 1. bool, Literal, another
    class: one of these. None is allowed where the type or the default says so. Raises InputError.
    """
    hints = type_hints(type(record))  # type: ignore[arg-type]
    for field in fields(record):
        value, kind = getattr(record, field.name), hints[field.name]
        kinds = [part for part in get_args(kind) if part is not NoneType] if NoneType in get_args(kind) else [kind]
        if value is None and (kinds[0] is not kind or field.default is None):
            continue
        object.__setattr__(record, field.name, checked(field.name, value, kinds[0]))


type_hints = lru_cache(get_type_hints)


def checked(name: str, value: Any, kind: Any) -> Any:
    """The value of a field of this type, as a plain Python one."""
    if get_origin(kind) is Literal:
        return choice(name, value, get_args(kind))
    if kind is bool:
        return boolean(name, value)
    if kind is int:
        return positive_integer(name, value)
    if kind is float:
        return probability(name, value) if name == "dropout" else positive_number(name, value)
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__} or None, it was {value!r}.")
    return value


def positive_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise InputError(f"{name} must be a whole number of at least 1, it was {value!r}.")
    return int(value)


def positive_number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 < float(value) < math.inf:
        raise InputError(f"{name} must be a number above 0, it was {value!r}.")
    return float(value)


def probability(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) < 1.0:
        raise InputError(f"{name} must be at least 0 and below 1, it was {value!r}.")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, it was {value!r}.")
    return value


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} must be one of {allowed}, it was {value!r}.")
    return value
