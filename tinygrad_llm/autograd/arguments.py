"""Arguments of an op that are not where its forward wants them: options by position, inputs by name.

Used by: `primitive`, `ops.composite`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any


def input_names(function: Callable[..., Any]) -> tuple[frozenset[str], float]:
    """The names of a function's inputs (its positional parameters), and how many inputs it takes at most."""
    names = positional(function)
    takes_more = names is None or function.__code__.co_flags & inspect.CO_VARARGS
    return frozenset(names or ()), math.inf if takes_more else len(names or ())


def positional(function: Any) -> tuple[str, ...] | None:
    """The positional parameters, as in `inspect.signature` but quickly; None for what is not a Python function."""
    code = getattr(function, "__code__", None)
    return None if code is None else code.co_varnames[: code.co_argcount]


def arrange(
    function: Callable[..., Any], name: str, inputs: tuple, options: dict[str, Any]
) -> tuple[tuple, dict[str, Any]]:
    """The same call with options by name and inputs by position.

    Surplus positional arguments are the keyword-only options, in their order: sum(x, 0) is sum(x, axis=0). An array
    given by the name of an input goes to its position: linear(x, weight=W) is linear(x, W).

    Raises TypeError when there are too many arguments, or two for one parameter.
    """
    code, names = function.__code__, positional(function) or ()
    options = dict(options)
    surplus = inputs[len(names) :] if not code.co_flags & inspect.CO_VARARGS else ()
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    if len(surplus) > len(keywords):
        raise TypeError(f"{name}: takes at most {len(names) + len(keywords)} arguments, {len(inputs)} were given.")
    for key, value in zip(keywords, surplus, strict=False):
        if key in options:
            raise TypeError(f"{name}: got two values for {key}.")
        options[key] = value
    kept = list(inputs[: len(inputs) - len(surplus)])
    last = max((i for i, key in enumerate(names) if hasattr(options.get(key), "shape")), default=-1)
    for i, key in enumerate(names[: last + 1]):
        if i < len(kept):
            if key in options:
                raise TypeError(f"{name}: got two values for {key}.")
        elif key in options:
            kept.append(options.pop(key))
        else:
            kept.append(default_of(function, name, key))
    return tuple(kept), options


def default_of(function: Any, name: str, key: str) -> Any:
    """The default of a positional parameter. Raises TypeError when it has none."""
    defaults = dict(zip(reversed(positional(function) or ()), reversed(function.__defaults__ or ()), strict=False))
    if key not in defaults:
        raise TypeError(f"{name}: the argument {key} is missing.")
    return defaults[key]
