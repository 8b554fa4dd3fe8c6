"""Backpropagation one node at a time, forwards and back again.

    walk = steps(loss)      # nothing of the graph is used up, no .grad is touched
    walk.forward()          # the next op: what came in, its rule, what goes out
    walk.back()             # undo that step
    walk.gradients          # what every tensor has received up to here
    walk.explore()          # in a terminal: Enter, b, q

Each step is the engine's: a node takes the finished gradient of its result, its rule turns that into one gradient
per input, and each of these is added to what the input has received so far. All steps are taken once, when the walk
is made; walking back is then exact, because nothing has to be recomputed.

Comes before: `engine`, `graph`. Comes after: a reader.
"""

from __future__ import annotations

import ast
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_llm.autograd.engine import backward_pass
from tinygrad_llm.autograd.fused import Fused
from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.autograd.primitive import Node
from tinygrad_llm.autograd.tensor import Tensor, raw
from tinygrad_llm.backend import to_numpy
from tinygrad_llm.debugging.graph import Graph
from tinygrad_llm.debugging.lines import Line, lines_of
from tinygrad_llm.debugging.names import variables
from tinygrad_llm.drawing import html

if TYPE_CHECKING:
    from rich.console import Console

HEIGHT = 620.0  # of the graph beside a step in a notebook, in pixels
FEW = 24  # numbers that are shown one by one; of more, the range


def steps(result: Tensor, gradient: Any = None, names: Mapping[str, Tensor] | None = None) -> Walk:
    """A walk through the backward pass of `result`, standing before its first step.

    gradient: as for `Tensor.backward`. names: what to call tensors, for instance `dict(model.named_parameters())`; the
    caller's variables are known without. Lines are shown where the computation ran inside `remember_lines()`.

    Raises what `backward` raises. Call it before `result.backward()`, which frees the graph.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> walk = steps(loss)
    >>> print(len(walk), walk.forward().step.op, walk.forward().step.op, walk.gradients["x"])
    2 sum multiply [2. 4.]
    """
    return Walk(result, result.first_gradient(gradient).data, {**variables(0), **(names or {})})


@dataclass(frozen=True)
class Step:
    """One node of the walk: the gradient `g` of its result becomes the gradients of its inputs."""

    number: int
    op: str
    result: str  # its name
    value: np.ndarray
    g: np.ndarray  # the gradient of the result, complete
    inputs: tuple[tuple[str, Any], ...]  # (name, values)
    gradients: tuple[np.ndarray | None, ...]  # one per input
    formula: str  # the first line of what the op says about itself
    rule: str  # the source of its rule
    rule_place: str
    lines: tuple[Line, ...]  # who called it, where that is known

    @property
    def call(self) -> str:
        """The op as it was called: "hidden = tanh(add_1)"."""
        return f"{self.result} = {self.op}({', '.join(name for name, _ in self.inputs)})"

    def outgoing(self) -> Iterator[tuple[str, np.ndarray]]:
        """(name, gradient) of every input that receives one."""
        for (name, _), gradient in zip(self.inputs, self.gradients, strict=True):
            if gradient is not None:
                yield name, gradient


class Walk:
    """The steps of a backward pass, and how many of them have been taken (`position`)."""

    def __init__(self, result: Tensor, gradient: Any, names: Mapping[str, Tensor]) -> None:
        self.graph = Graph(result, names, gradient)
        self.root = self.graph.names[result]
        self.first_gradient = to_numpy(gradient)
        recorder = Recorder(self.graph)
        with observing(recorder):
            for _ in backward_pass([result], [gradient], retain_graph=True):
                pass  # the recorder keeps what matters
        self.all, self.tensors = recorder.steps, recorder.tensors
        self.position = 0

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.all)

    def __getitem__(self, i: int) -> Step:
        return self.all[i]

    @property
    def step(self) -> Step | None:
        """The step taken last; None before the first."""
        return self.all[self.position - 1] if self.position else None

    def forward(self, count: int = 1) -> Walk:
        """Take the next `count` steps (as many as there are); returns itself, so that a notebook shows it."""
        self.position = min(len(self.all), self.position + count)
        return self

    def back(self, count: int = 1) -> Walk:
        """Undo the last `count` steps (as many as were taken); returns itself."""
        self.position = max(0, self.position - count)
        return self

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """What every tensor has received up to here, by name."""
        return self.received(self.position)

    def received(self, count: int) -> dict[str, np.ndarray]:
        """The same after `count` steps."""
        received = {self.root: self.first_gradient}
        for step in self.all[:count]:
            for name, gradient in step.outgoing():
                received[name] = received[name] + gradient if name in received else gradient
        return received

    def explore(self, read: Callable[[str], str] = input, console: Console | None = None) -> None:
        """Walk in a terminal: Enter goes forwards, b back, q ends."""
        from rich.console import Console

        console = console or Console()
        console.print(self)
        while (answer := read("[Enter] forward   [b] back   [q] quit: ").strip().lower()) != "q":
            console.print(self.back() if answer == "b" else self.forward())

    # --- how it shows itself ------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return describe(self.step, self) if self.step else self.start()

    def start(self) -> str:
        first = f"d{self.root}/d{self.root} = {numbers(self.first_gradient)}"
        return f"before step 1 of {len(self)}: {first}; .forward() takes a step"

    def __rich__(self) -> Any:
        from rich.console import Group  # here, because it takes long to import, and few programs step
        from rich.panel import Panel
        from rich.syntax import Syntax
        from rich.text import Text

        if self.step is None:
            return Panel(Text(self.start()), title="steps")
        before, rule, after = parts(self.step, self)
        source = Syntax(rule, "python", background_color="default", word_wrap=True)
        return Panel(Group(Text(before), source, Text(after)), title=title(self.step, self))

    def _repr_html_(self) -> str:
        here = self.tensors[self.position - 1] if self.position else self.graph.result
        if self.step is None:
            told = html.title("steps") + html.mono(self.start())
        else:
            before, rule, after = parts(self.step, self)
            told = html.title(title(self.step, self)) + html.mono(before) + html.indented(rule) + html.mono(after)
        picture = self.graph.svg(around=here, most=HEIGHT)
        return html.box(html.beside(f"<div>{picture}</div>", f"<div style='flex:1 1 380px'>{told}</div>"))


class Recorder(Observer):
    """Writes down each step of a walk."""

    def __init__(self, graph: Graph) -> None:
        self.names = graph.names
        self.steps: list[Step] = []
        self.tensors: list[Tensor] = []

    def on_backward(self, node: Node, out: Tensor, g: Any, gradients: tuple) -> None:
        if not self.names.knows(out):
            return  # inside a checkpoint: what it computes again belongs to its one step
        self.tensors.append(out)
        rule, place = rule_of(node.op)
        wanted = [isinstance(x, Tensor) and x.requires_grad for x in node.inputs]
        self.steps.append(
            Step(
                number=len(self.steps) + 1,
                op=node.name,
                result=self.names[out],
                value=to_numpy(out.data),
                g=to_numpy(raw(g)),
                inputs=tuple((self.name(x), raw(x)) for x in node.inputs),
                gradients=tuple(
                    to_numpy(raw(gx)) if want and gx is not None else None
                    for want, gx in zip(wanted, gradients, strict=True)
                ),
                formula=((node.op.__doc__ or "").strip().splitlines() or [""])[0],
                rule=rule,
                rule_place=place,
                lines=lines_of(out),
            )
        )

    def name(self, x: Any) -> str:
        return self.names[x] if hasattr(x, "shape") else repr(x)


# --- the rule's source ------------------------------------------------------------------------------------------


def rule_of(op: Any) -> tuple[str, str]:
    """The source of an op's rule, and where it stands. That of a fused op is to differentiate its definition."""
    function = op.rule
    try:
        source, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return f"(the source of {op.name} is not at hand)", "?"
    text = without_docstring(textwrap.dedent("".join(source)))
    if isinstance(op, Fused):
        text = f"# fused: the gradient is that of this definition (inside plain(), step by step)\n{text}"
    return text, f"{os.path.basename(inspect.getfile(function))}:{first}"


def without_docstring(source: str) -> str:
    """A function's source without decorators and docstring; as it is where that cannot be told."""
    try:
        function = ast.parse(source).body[0]
    except SyntaxError:  # a lambda in the middle of a statement
        return source.rstrip()
    if not isinstance(function, ast.FunctionDef):
        return source.rstrip()
    lines = source.splitlines()
    keep = lines[function.lineno - 1 : function.body[0].lineno - 1]
    has_doc = ast.get_docstring(function) is not None
    start = function.body[0].end_lineno if has_doc else function.body[0].lineno - 1
    return "\n".join([*keep, *lines[start:]]).rstrip()


# --- text -------------------------------------------------------------------------------------------------------


def title(step: Step, walk: Walk) -> str:
    return f"step {step.number} of {len(walk)}: {step.op}"


def describe(step: Step, walk: Walk) -> str:
    """A step as plain text."""
    before, rule, after = parts(step, walk)
    return "\n".join([title(step, walk), before, textwrap.indent(rule, "    "), after])


def parts(step: Step, walk: Walk) -> tuple[str, str, str]:
    """What stands before the rule, the rule, and what comes of it."""
    before = [step.call, *(f"called at {line}" for line in step.lines), step.formula]
    before.append(f"g = d{walk.root}/d{step.result} = {numbers(step.g)}")
    before.append(f"rule at {step.rule_place}:")
    received = walk.received(step.number - 1)
    after = []
    for name, gradient in step.outgoing():
        after.append(f"d{walk.root}/d{name} += {numbers(gradient)}")
        if name in received:
            received[name] = received[name] + gradient
            after.append(f"    which makes {numbers(received[name])}")
        else:
            received[name] = gradient
    return "\n".join(before), step.rule, "\n".join(after)


def numbers(array: np.ndarray) -> str:
    """An array in a few lines: its numbers where they are few, else shape and range."""
    if array.size <= FEW:
        text = np.array2string(array, precision=4, suppress_small=True, separator=", ")
        return text if "\n" not in text else f"array of shape {array.shape}\n{textwrap.indent(text, '    ')}"
    return f"array of shape {array.shape}, from {array.min():.4g} to {array.max():.4g}"
