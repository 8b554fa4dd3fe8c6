"""What the library rich would print, as plain text.

Used by: the pictures, whose `repr` is their table without colours.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import fields
from typing import Any


class Text(str):
    """Several lines of text that show themselves as they are where they are the value of a line, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def call_text(thing: Any, leave_out: Collection[str] = ()) -> str:
    """The call that makes a dataclass: the fields that have no default, and those whose value is another one."""
    given = [field for field in fields(thing) if field.name not in leave_out]
    shown = [field.name for field in given if getattr(thing, field.name) != field.default]
    return f"{type(thing).__name__}({', '.join(f'{name}={getattr(thing, name)!r}' for name in shown)})"


def plain_text(thing: Any, width: int = 100) -> str:
    """Anything that rich can print, as lines of plain characters without blanks at their ends."""
    from rich.console import Console  # here, because it takes long to import

    # In a notebook rich would display the table, whatever the file: then one that is asked for its text shows up twice.
    console = Console(file=(text := io.StringIO()), width=width, color_system=None, force_jupyter=False)
    console.print(thing)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
