"""Write the API reference from the docstrings: `pip install '.[docs]'`, `python docs/reference.py`, open the page.

    python docs/reference.py [FOLDER]       (docs/reference unless given)

pdoc makes one page per module. Our docstrings say "name: what it is. other: …" in running text; here that becomes a
list, and examples become code. A warning of pdoc, for instance of a name in backticks that has gone, is an error.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import typing
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import tinygrad_llm
from tinygrad_llm.autograd.fused import Fused
from tinygrad_llm.autograd.primitive import Primitive

HERE = Path(__file__).parent
LEFT_OUT = (
    "cli",
    "drawing",
    "kernels",
    "pictures",
    "files",
    "other_names",
    "described",
    "runtime",
    "version",
    "__main__",
)  # not called by users
ARGUMENT = re.compile(r"(?:^|(?<=[.!?)] )|(?<=\.\n))(\*{0,2}[a-z_][a-z0-9_]*(?:, \*{0,2}[a-z_][a-z0-9_]*)*): ", re.M)


def to_markdown(docstring: str) -> str:
    """A docstring as Markdown: lists of arguments as lists, examples as code."""
    return "\n\n".join(map(block_to_markdown, re.split(r"\n\s*\n", docstring)))


def block_to_markdown(block: str) -> str:
    """A paragraph, a list of arguments, an example or an indented block."""
    if block.lstrip().startswith(">>>"):
        return f"```python\n{block}\n```"
    first, *others = block.splitlines() or [""]
    if others and not first.startswith(" ") and all(line.startswith("    ") for line in others):
        rows = [row for line in others if (row := re.fullmatch(r" +(\S.*?)  +(\S.*)", line))]
        if len(rows) == len(others):  # a heading over names with a line about each
            names = [", ".join(f"`{name}`" for name in row[1].split(", ")) for row in rows]
            lines = [f"- {named}: {row[2]}" for named, row in zip(names, rows, strict=True)]
            return "\n".join([f"### {first}\n", *lines])
        return "\n".join([f"{first}\n", *others])
    if block.startswith("    ") or not ARGUMENT.match(block):
        return re.sub(r"^(\d+)\. ", r"\1\\. ", block, flags=re.M)  # a number at the start of a line makes no list
    pieces = ARGUMENT.split(" ".join(line.strip() for line in block.splitlines()))
    names = [name.replace("*", r"\*") for name in pieces[1::2]]
    return "\n".join(f"- **{name}**: {text.strip()}" for name, text in zip(names, pieces[2::2], strict=True))


class Shown:
    """An annotation that cannot be evaluated, shown as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def resolve_named_tuples(module: str) -> None:
    """Give the constructors of a module's NamedTuples annotations that pdoc can show: they hold bare references."""
    for _, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass):
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            for name, annotation in cls.__new__.__annotations__.items():
                if isinstance(annotation, typing.ForwardRef):
                    cls.__new__.__annotations__[name] = Shown(annotation.__forward_arg__)


def show_ops_as_functions(module: str) -> None:
    """Put the function that an op is written as in its place, so that its arguments and its docstring are shown."""
    namespace = vars(importlib.import_module(module))
    for name, op in list(namespace.items()):
        if isinstance(op, Primitive | Fused):
            namespace[name] = op.__wrapped__


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "reference"
    names = [m.name for m in pkgutil.walk_packages(tinygrad_llm.__path__, "tinygrad_llm.")]
    names = [name for name in names if name.split(".")[1] not in LEFT_OUT]
    for name in names:
        resolve_named_tuples(name)
    for name in names:
        show_ops_as_functions(name)
    beside = [name for name in names if name.count(".") == 1 and name.split(".")[1] not in tinygrad_llm.__all__]
    pdoc.render.configure(
        docformat="markdown", footer_text=f"tinygrad_llm {tinygrad_llm.__version__}", template_directory=HERE
    )
    pdoc.render.env.filters["to_markdown"] = to_markdown
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc("tinygrad_llm", *beside, output_directory=folder)
    print(f"{folder / 'tinygrad_llm.html'}")


if __name__ == "__main__":
    main()
