"""What a text may look like, as a tree: the parts that every notation is brought to.

    "ab|c*"  ->  Choice((Sequence((Bytes(b"a"), Bytes(b"b"))), Repeat(Bytes(b"c"), 0, None)))

The leaves are sets of bytes and not of characters: tokens are bytes, and a token may end in the middle of a character.

Comes before: nothing. Comes after: `characters`, which spells characters as bytes; `regular_expressions` and
`json_schema`, the two notations; `automaton`, which reads a text along such a tree.
Left out on purpose: "both of these" and "anything but this", which neither notation has here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Bytes:
    """One byte, any one of `values`, which are sorted and without repetition."""

    values: bytes


@dataclass(frozen=True, eq=False)
class Sequence:
    """One part after the other; with none, the empty text."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """Any one of the options; with none, no text at all."""

    options: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """The same part at least `least` and at most `most` times (None: any number of times)."""

    part: Expression
    least: int
    most: int | None


@dataclass(eq=False)
class Reference:
    """Stands for `target`, which may contain this reference itself: so a tree can describe lists in lists in lists.

    It is made first and given its target later; until then no text matches.
    """

    target: Expression = Choice(())


Expression = Bytes | Sequence | Choice | Repeat | Reference


def literal(text: str) -> Expression:
    """Exactly this text."""
    return Sequence(tuple(Bytes(bytes([byte])) for byte in text.encode()))


def optional(part: Expression) -> Expression:
    """The part, or nothing."""
    return Repeat(part, 0, 1)


def children(expression: Expression) -> Iterable[Expression]:
    """The parts that a tree is put together from."""
    match expression:
        case Sequence(parts):
            return parts
        case Choice(options):
            return options
        case Repeat(part):
            return (part,)
        case Reference(target):
            return (target,)
        case Bytes():
            return ()


def nodes(expression: Expression) -> Iterator[Expression]:
    """Every node of a tree once, each one before its children where references do not run in a circle."""
    found: set[int] = set()  # by identity: equal nodes may stand in several places
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found.add(id(node))
            yield node
            waiting.extend(children(node))
