"""How an object finds its picture: `_repr_html_ = shown_by("tinygrad_llm.pictures.tensor")` in its class.

The picture is imported when a notebook asks for it, by name. So what computes knows nothing of what draws, imports
still only point up the page, and `import tinygrad_llm` loads no picture.
Used by: the classes that show themselves in a notebook.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def shown_by(module: str) -> Callable[[Any], str]:
    """A method `_repr_html_` that returns `html(self)` of the module with this name."""

    def _repr_html_(self: Any) -> str:
        return importlib.import_module(module).html(self)

    return _repr_html_
