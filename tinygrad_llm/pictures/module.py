"""A module in a notebook: its parts as a tree that opens, each with its shapes and the number of its parameters.

Parts of a list that are alike, such as the blocks of a transformer, share one line.
Builds on: `nn.module`. Used by: `Module`, when a notebook shows it.
"""

from __future__ import annotations

from itertools import groupby

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.drawing.colours import QUIET
from tinygrad_llm.drawing.html import MONO, box, escape, folded
from tinygrad_llm.nn.module import Module

OPEN_LEVELS = 1  # of the tree; what lies deeper opens when clicked


def html(module: Module) -> str:
    """The HTML form of a module."""
    return box(tree("", module, 0))


def tree(name: str, module: Module, level: int) -> str:
    """A module as a line that opens: its parameters and its children."""
    inside = [parameter_line(key, value) for key, value in module.named_members() if isinstance(value, Tensor)]
    for _, alike in groupby(module.named_children(), key=lambda pair: kind_of(*pair)):
        children = list(alike)
        first, last = children[0][0], children[-1][0]
        together = first if len(children) == 1 else f"{first} … {last}"
        inside.append(tree(together, children[0][1], level + 1))
    head = headline(name, module)
    return (
        folded(head, "".join(inside), level < OPEN_LEVELS) if inside else f"<div style='margin-left:15px'>{head}</div>"
    )


def headline(name: str, module: Module) -> str:
    """The name of a part, its class and how many numbers are learned in it."""
    count = module.num_parameters()
    numbers = f"{count:,} parameters" if count else "no parameters"
    label = f"<span style='{MONO}'>{escape(name)}</span> " if name else ""
    return f"{label}<b>{escape(type(module).__name__)}</b> <span style='opacity:{QUIET}'>{numbers}</span>"


def parameter_line(name: str, parameter: Tensor) -> str:
    """A parameter of a module itself."""
    facts = f"{parameter.shape} {parameter.dtype}" + ("" if parameter.requires_grad else " · frozen")
    told = f"<span style='opacity:{QUIET}'>{escape(facts)}</span>"
    return f"<div style='margin-left:15px'><span style='{MONO}'>{escape(name)}</span> {told}</div>"


def kind_of(name: str, module: Module) -> tuple:
    """What parts that share a line have in common: the list they are in, their class, and the shapes inside."""
    stem, _, number = name.rpartition(".")
    shapes = tuple((key, parameter.shape, parameter.requires_grad) for key, parameter in module.named_parameters())
    return (stem if number.isdigit() else name, type(module), shapes)
