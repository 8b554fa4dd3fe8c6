"""Where the time goes, op by op: forward and backward, with what each op costs at least beside what it took.

    with Profile() as profile:
        model.loss(ids, targets).backward()
    print(profile)

It is an `Observer`, which is called whenever an op is done. The time since the call before belongs to the op that
is done now, with all that happened on the way there: Python's work before the op, adding up gradients, finding the
order of the walk. Nothing is left out, so the parts sum to the whole; what the profile itself needs is not in it.
For work that is no op, say `profile.mark("optimizer")` when it is done.

Comes before: `modes` (the watcher), `costs`. Comes after: `training.profile`, `generation.profile`, the pictures.
Left out on purpose: GPUs, whose work goes on after the host was told it is done; and single calls: see `graph`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tinygrad_llm.autograd.modes import Observer, observing
from tinygrad_llm.autograd.tensor import Tensor
from tinygrad_llm.debugging.costs import NOTHING, Cost, backward_cost, forward_cost

if TYPE_CHECKING:
    from tinygrad_llm.autograd.primitive import Node
    from tinygrad_llm.kernels.peaks import Peaks


@dataclass
class Work:
    """What one op did in one direction, over all its calls. costs: how often each cost was asked for."""

    seconds: float = 0.0
    costs: Counter[Cost] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        return self.costs.total()

    @property
    def operations(self) -> int:
        """Floating-point operations, those of matrix products."""
        return sum(count * cost.operations for cost, count in self.costs.items())

    @property
    def moved(self) -> int:
        """Bytes that had to be read and written."""
        return sum(count * cost.moved for cost, count in self.costs.items())

    def least_seconds(self, peaks: Peaks) -> float:
        """The time that this machine needs for it at best: that of every call, added up."""
        return sum(count * peaks.least_seconds(*cost) for cost, count in self.costs.items())

    def __add__(self, other: Work) -> Work:
        return Work(self.seconds + other.seconds, self.costs + other.costs)


class Profile(Observer):
    """Watches every op inside its `with`, and keeps what each took.

    forward, backward: of each op, by name. outside: of what was marked, by the name it was marked with. Backward work
    that runs ops again (`checkpoint`, second derivatives) counts as those ops' forward.
    clock: seconds, going up.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.forward: dict[str, Work] = {}
        self.backward: dict[str, Work] = {}
        self.outside: dict[str, Work] = {}
        self._since = 0.0
        self._observing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._observing.enter_context(observing(self))
        self._since = self.clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._observing.close()

    def on_forward(self, op: Any, inputs: tuple, options: dict[str, Any], out: Tensor) -> None:
        now = self.clock()
        self._add(self.forward, op.name, now, forward_cost(op.name, inputs, options, out))

    def on_backward(self, node: Node, out: Tensor, g: Any, gradients: tuple) -> None:
        now = self.clock()
        self._add(self.backward, node.name, now, backward_cost(node.name, node.inputs, node.options, out, g, gradients))

    def mark(self, name: str, cost: Cost = NOTHING) -> None:
        """The time since the last op or mark was spent on `name`, which is no op. cost: what that asked for."""
        self._add(self.outside, name, self.clock(), cost)

    def _add(self, works: dict[str, Work], name: str, now: float, cost: Cost) -> None:
        work = works.setdefault(name, Work())
        work.seconds += now - self._since
        work.costs[cost] += 1
        self._since = self.clock()  # what was done here is nobody's time

    @property
    def names(self) -> list[str]:
        """The ops and what was marked, the costliest first."""
        everything = {**self.forward, **self.backward, **self.outside}
        return sorted(everything, key=lambda name: -self.total(name).seconds)

    def total(self, name: str | None = None) -> Work:
        """Of one op in both directions, or of everything."""
        parts = (self.forward, self.backward, self.outside)
        found = [work for part in parts for key, work in part.items() if name in (None, key)]
        return sum(found, start=Work())

    def to_dict(self, peaks: Peaks, rounds: int = 1) -> dict[str, Any]:
        """Everything as plain numbers, per round, for JSON; `rounds` of the same work were watched."""
        parts = {"forward": self.forward, "backward": self.backward, "outside": self.outside}
        works = {
            name: {key: numbers(part[name], peaks, rounds) for key, part in parts.items() if name in part}
            for name in self.names
        }
        return {"ops": works, "together": numbers(self.total(), peaks, rounds)}

    def __repr__(self) -> str:
        whole = self.total().seconds
        lines = [
            f"{name:<20} {1000 * self.total(name).seconds:10.2f} ms  {self.total(name).seconds / whole:6.1%}"
            for name in self.names
        ]
        return "\n".join([*lines, f"{'together':<20} {1000 * whole:10.2f} ms"])


def numbers(work: Work, peaks: Peaks, rounds: int) -> dict[str, float]:
    """A work per round, as plain numbers."""
    return {
        "calls": work.calls / rounds,
        "seconds": work.seconds / rounds,
        "operations": work.operations / rounds,
        "moved_bytes": work.moved / rounds,
        "least_seconds": work.least_seconds(peaks) / rounds,
    }
