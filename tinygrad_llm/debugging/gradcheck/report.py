"""What was found: a Finding is one thing that is wrong, a Report all that was looked at.

The diagnoses:

    wrong rule: …        sign, constant factor, dropped factor, transposed, wrong places, repeated places, value,
                         no gradient, missing unbroadcast, gradient shape, gradient dtype, number of gradients, ignores
                         the incoming gradient, not linear, changes an array in place, reuses memory, fails
    wrong second derivative: …   left the graph, fails with Tensors, definition differs, value
    wrong forward: …     changes an input, dtype
    kink here, not differentiable, float32 too coarse, graph cut, not deterministic

Comes before: nothing. Comes after: `contracts`, `wrong_rule`, `wrong_second` and `check`, which fill it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    diagnosis: in two or three words, one of those listed above. order: 1 the gradient, 2 the gradient's gradient.
    op: the op at fault where it could be found. input, index: which input of the checked function and which element;
    analytic, numeric: what the rules say there, and what moving the input says.
    """

    diagnosis: str
    because: str
    order: int = 1
    op: str | None = None
    input: int | None = None
    index: tuple[int, ...] | None = None
    analytic: float | None = None
    numeric: float | None = None

    def __str__(self) -> str:
        where = "" if self.input is None else f", input {self.input}"
        where += "" if self.index is None else f"{list(self.index)}"
        numbers = (
            "" if self.numeric is None else f": the rules say {self.analytic:.9g}, moving it says {self.numeric:.9g}"
        )
        op = "" if self.op is None else f" in op '{self.op}'"
        return f"order {self.order}{where}{numbers}. {self.diagnosis}{op}: {self.because}"


@dataclass
class Report:
    """What `gradcheck` looked at and what it found. It is right when `findings` is empty."""

    orders: tuple[int, ...]
    inputs: int = 0
    elements: int = 0
    largest_difference: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    def note(self, difference: float) -> None:
        """Remember the largest relative difference."""
        self.largest_difference = max(self.largest_difference, difference)

    def __repr__(self) -> str:
        if self.findings:
            return "gradients are wrong:\n" + "\n".join(f"  {finding}" for finding in self.findings)
        bound = next(b for b in (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1.0) if self.largest_difference <= b)
        return (
            f"gradients agree: {count(self.inputs, 'input')}, {count(self.elements, 'element')}, "
            f"order{'s' * (len(self.orders) > 1)} {' and '.join(map(str, self.orders))}, "
            f"largest relative difference {bound:.0e} or less"
        )


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" + "s" * (n != 1)


class GradientError(AssertionError):
    """The gradients are wrong; `report` says where and why."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
