"""What the library rich would print, as plain text.

Used by: the pictures, whose `repr` is their table without colours.
"""

from __future__ import annotations

import io
from typing import Any


def plain_text(thing: Any, width: int = 100) -> str:
    """Anything that rich can print, as lines of plain characters without blanks at their ends."""
    from rich.console import Console  # here, because it takes long to import

    # In a notebook rich would display the table, whatever the file: then one that is asked for its text shows up twice.
    console = Console(file=(text := io.StringIO()), width=width, color_system=None, force_jupyter=False)
    console.print(thing)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
