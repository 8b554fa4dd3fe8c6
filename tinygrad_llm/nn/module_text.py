"""How a module looks in text: the tree of its parts with shapes and counts, and errors for names of PyTorch's.

    Transformer                                          37,696
    ├── embedding: Embedding(19, 32)                        608
    ├── blocks.0 … 2: 3 × Block                          37,056
    │   ├── attention_norm: RMSNorm(32)                      32
    …

Used by: `module`.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_llm.autograd import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.nn.module import Module


class Line(NamedTuple):
    """A line of the tree. guide: its branches. name, text: of the part. numbers: how many it has."""

    guide: str
    name: str
    text: str
    numbers: int

    @property
    def left(self) -> str:
        between = "" if not self.name else " " if self.text.startswith("(") else ": "
        return f"{self.guide}{self.name}{between}{self.text}"


def module_text(module: Module) -> str:
    """The tree as text, one part a line, counts in a column."""
    lines = tree_lines(module)
    width = max(len(line.left) for line in lines) + 2
    digits = max(len(f"{line.numbers:,}") for line in lines)
    return "\n".join(f"{line.left:<{width}}{line.numbers:>{digits},}" for line in lines)


def tree_lines(module: Module, name: str = "", guide: str = "", below: str = "") -> list[Line]:
    """The lines of a module and of all that is in it; members of a list that look alike share a line.

    A module that says its sizes itself and has no children is one line. below: the beginning of its parts' guides.
    """
    lines = [Line(guide, name, heading(module), module.num_parameters())]
    if module.extra_repr() and not list(module.named_children()):
        return lines
    parts = shown_parts(module)
    for i, (part_name, part, times) in enumerate(parts):
        last = i == len(parts) - 1
        branch, stem = below + ("└── " if last else "├── "), below + ("    " if last else "│   ")
        if isinstance(part, Tensor):
            lines.append(Line(branch, part_name, f"{part.shape}{frozen([part])}", part.size))
        else:
            first, *others = tree_lines(part, part_name, branch, stem)
            text = first.text if times == 1 else f"{times} × {first.text}"
            lines += [first._replace(text=text, numbers=times * first.numbers), *others]
    return lines


def heading(module: Module) -> str:
    """Linear(3, 4)"""
    extra = module.extra_repr()
    return type(module).__name__ + (f"({extra})" if extra else "") + frozen(list(module.parameters()))


def frozen(parameters: list[Tensor]) -> str:
    """A word for parameters none of which requires a gradient."""
    return " frozen" if parameters and not any(parameter.requires_grad for parameter in parameters) else ""


def shown_parts(module: Module) -> list[tuple[str, Any, int]]:
    """(name, part, how many) of the parameters and children; neighbours in a list that look alike are one."""
    members = [(name, part) for name, part in module.named_members() if is_part(part)]
    shown = []
    for _, alike in groupby(members, key=lambda member: likeness(*member)):
        (name, part), *others = alike
        last = others[-1][0].rpartition(".")[2] if others else ""
        shown.append((f"{name} … {last}" if others else name, part, 1 + len(others)))
    return shown


def is_part(x: Any) -> bool:
    return isinstance(x, Tensor) or hasattr(x, "named_members")


def likeness(name: str, part: Any) -> Any:
    """Equal for members of one list that look alike; for anything else the name."""
    holder, _, number = name.rpartition(".")
    if not number.isdigit() or isinstance(part, Tensor):
        return name
    return holder, "\n".join(f"{line.guide}{line.name}{line.text}" for line in tree_lines(part))


# --- names that are PyTorch's ---------------------------------------------------------------------------------------

TORCH_NAMES = {
    "train": "leave the call out: there is no mode, and dropout is drawn in calls with rng=…",
    "eval": "leave the call out: there is no mode, and without rng=… nothing is dropped",
    "training": "there is no mode; dropout happens in calls with rng=…",
    "cuda": 'write model.to("cuda")',
    "cpu": 'write model.to("cpu")',
    "register_parameter": "write self.name = tg.Tensor(array, requires_grad=True)",
    "register_buffer": "write self.name = array; a plain array is a constant that moves with the model",
    "add_module": "write self.name = module",
    "register_module": "write self.name = module",
    "named_buffers": "write vars(module); plain arrays are its constants",
    "buffers": "write vars(module); plain arrays are its constants",
    "register_full_backward_hook": "write module.register_forward_hook(…), and output.register_hook(…) in it",
    "register_forward_pre_hook": "write module.register_forward_hook(…), which is given the inputs too",
    "get_parameter": "write dict(module.named_parameters())[name]",
    "get_submodule": "write dict(module.named_modules())[name]",
    "load": "write model.load_state_dict(state), or Transformer.load(path)",
    "save": "write safetensors.numpy.save_file(module.state_dict(), path)",
}


def no_module_attribute(kind: str, name: str) -> AttributeError:
    """The error for `module.name`."""
    if name in TORCH_NAMES:
        return AttributeError(f"{kind} has no '{name}': {TORCH_NAMES[name]}.")
    return AttributeError(f"{kind} has no attribute '{name}'. dir(module) lists what it has.")
