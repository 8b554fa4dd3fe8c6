"""What a text may look like, as a tree: the parts that every notation is translated to.

    "ab|c*"  ->  Choice((Sequence((Bytes(b"a"), Bytes(b"b"))), Repeat(Bytes(b"c"), 0, None)))

The leaves are sets of bytes and not of characters: tokens are bytes, and a token may end in the middle of a character.

Used by: `characters`, which spells characters as bytes; `regular_expressions` and `json_schema`, the two notations;
`automaton`, which reads a text along such a tree.
Left out on purpose: "both of these" and "anything but this", which neither notation has here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


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
    """Any one of the options; with none, no text at all. source: as in `Repeat`."""

    options: tuple[Expression, ...]
    source: str = field(default="", repr=False)


@dataclass(frozen=True, eq=False)
class Words:
    """Any one of fixed texts: what `Choice` says too, but 20,000 of them cost no more than one.

    words: sorted and without repetition, so that those that begin alike stand together.
    """

    words: tuple[bytes, ...]


@dataclass(frozen=True)
class Repeat:
    """The same part at least `least` and at most `most` times (None: any number of times).

    source: the place in the regular expression or schema, for an error about it.
    """

    part: Expression
    least: int
    most: int | None
    source: str = field(default="", compare=False, repr=False)


@dataclass(eq=False)
class Reference:
    """Stands for `target`, which may contain this reference itself: so a tree can describe lists in lists in lists.

    It is made first and given its target later; until then no text matches.
    """

    target: Expression = Choice(())


Expression = Bytes | Sequence | Choice | Words | Repeat | Reference


def literal(text: str) -> Expression:
    """Exactly this text."""
    return Words((text.encode(),))


def optional(part: Expression, source: str = "") -> Expression:
    """The part, or nothing."""
    return repeated(part, 0, 1, source)


def repeated(part: Expression, least: int, most: int | None, source: str = "") -> Repeat:
    """`Repeat`, where a repetition of a repetition becomes one if it matches the same texts.

    k runs of x{a,b} are ka to kb times x. These ranges cover all numbers between the first and the last if each begins
    at most one above the end of the one before; as they grow with k, the first two decide.

    >>> repeated(repeated(Bytes(b"a"), 1, 100), 1, 100)
    Repeat(part=Bytes(values=b'a'), least=1, most=10000)
    """
    if isinstance(part, Repeat) and most != 0 and part.most != 0:
        a, b = part.least, part.most
        only_one = least == most
        if only_one or (a <= 1 if least == 0 else b is None or (least + 1) * a <= least * b + 1):
            return Repeat(part.part, least * a, None if most is None or b is None else most * b, source)
    return Repeat(part, least, most, source)


def choice(options: Iterable[Expression]) -> Expression:
    """`Choice`, in which fixed texts become `Words`."""
    fixed: list[bytes] = []
    others: list[Expression] = []
    for option in options:
        text = fixed_text(option)
        if text is None:
            others.append(option)
        else:
            fixed.append(text)
    if fixed:
        others.append(Words(tuple(sorted(set(fixed)))))
    return others[0] if len(others) == 1 else Choice(tuple(others))


def fixed_text(expression: Expression) -> bytes | None:
    """The only text that matches, if this is a single byte or a sequence of such; else None."""
    match expression:
        case Bytes(values):
            return values if len(values) == 1 else None
        case Words((word,)):
            return word
        case Sequence(parts):
            text = bytearray()
            for part in parts:
                more = fixed_text(part)
                if more is None:
                    return None
                text += more
            return bytes(text)
        case _:
            return None


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
        case Bytes() | Words():
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
