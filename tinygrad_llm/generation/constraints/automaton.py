"""The automaton: reads a text byte by byte, and knows at every moment whether the text can still come to a good end.

What is still to be written is a linked list of parts. After "a" of "(ab|ac)d" it is one of two lists:

    b -> d -> end      or      c -> d -> end

The set of all lists that the text so far may have led to is a *state*. Reading a byte keeps the lists that begin with
it, and takes their first part off (Thompson 1968). A state that has been computed is kept in a table, so that the same
work is never done twice: the automaton is built while it is used, and only as much of it as the text visits. That also
bounds what a pattern with a huge automaton costs, and lets an expression contain itself: the list is then its stack.

Parts that no text at all can match are never put on a list. So there are no dead ends: as long as a state has a list,
some bytes lead to the end, and every list knows how many at least.

Comes before: `expressions`. Comes after: `constraint`, which asks which tokens keep it alive.
Left out on purpose: merging states that mean the same, which needs the whole automaton.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints.expressions import (
    Bytes,
    Choice,
    Expression,
    Reference,
    Repeat,
    Sequence,
    nodes,
)

DEAD = 0  # the state in which no list is left: what was read cannot become a match any more
END = 0  # the empty list: nothing is left to write
ALL_BYTES = bytes(range(256))
MOST_LISTS = 5_000  # in one state
MOST_STATES = 100_000  # in the table; with 4 bytes for each class of bytes, at most 100 MB


class Automaton:
    """Reads texts along `expression`.

    States are small whole numbers: `DEAD`, `start`, and others as they are found. `available`: the bytes that can be
    written one at a time; a state's `shortest` counts only ways through these.

    >>> from tinygrad_llm.generation.constraints.expressions import Bytes, Repeat, Sequence
    >>> automaton = Automaton(Sequence((Bytes(b"a"), Repeat(Bytes(b"xy"), 1, 2))))  # a[xy]{1,2}
    >>> [automaton.accepts(automaton.read(automaton.start, text)) for text in (b"a", b"ax", b"axy", b"axyx")]
    [False, True, True, False]

    Raises InputError when no text matches, and later when reading needs more than `MOST_STATES` states or `MOST_LISTS`
    lists in one of them.
    """

    def __init__(self, expression: Expression, available: bytes = ALL_BYTES) -> None:
        self.expression = expression
        self._lengths = shortest_lengths(expression, available)
        lengths = shortest_lengths(expression, ALL_BYTES)
        self._possible = {identity for identity, length in lengths.items() if length < math.inf}
        if id(expression) not in self._possible:
            raise InputError("no text matches: what is asked for contains itself without an end, or has no choices.")
        # Lists by number: their first part, the number of the rest, and their shortest way to the end.
        self._lists: list[tuple[Expression, int]] = [(Sequence(()), END)]
        self._list_numbers: dict[tuple[Expression, int], int] = {}
        self._list_shortest: list[float] = [0.0]
        # Bytes that no leaf tells apart share a column of the table.
        self.class_of, self._classes_of_leaf = byte_classes(expression)
        classes = int(self.class_of.max()) + 1
        self._table = np.zeros((64, classes), np.int32)  # state, class -> the next state
        self._known = np.zeros(64, bool)  # whether this row of the table has been computed
        self.shortest = np.full(64, np.inf)  # bytes that are at least missing; inf: not with the available bytes
        self._states: dict[tuple[frozenset[int], bool], int] = {(frozenset(), False): DEAD}
        self._members: list[tuple[frozenset[int], bool]] = [(frozenset(), False)]  # the lists; is END one of them?
        self._known[DEAD] = True
        self.start = self._state({self._list(expression, END)})

    def __len__(self) -> int:
        """How many states have been found so far."""
        return len(self._members)

    def accepts(self, state: int) -> bool:
        """Whether the text that led here matches as it stands."""
        return self._members[state][1]

    def read(self, state: int, data: bytes) -> int:
        """The state after these bytes."""
        for byte in data:
            if not self._known[state]:
                self._compute_row(state)
            state = int(self._table[state, self.class_of[byte]])
        return state

    def read_each(self, states: np.ndarray, data: np.ndarray) -> np.ndarray:
        """The states after one byte each: states (n,), bytes (n,) -> states (n,)."""
        for state in np.unique(states[~self._known[states]]):
            self._compute_row(int(state))
        return self._table[states, self.class_of[data]]

    # --- lists of what is still to be written -----------------------------------------------------------------

    def _list(self, first: Expression, rest: int) -> int:
        """The number of the list of `first` and then the list `rest`: equal lists have the same number."""
        key = (first, rest)
        if key not in self._list_numbers:
            self._list_numbers[key] = len(self._lists)
            self._lists.append(key)
            self._list_shortest.append(self._length(first) + self._list_shortest[rest])
        return self._list_numbers[key]

    def _length(self, part: Expression) -> float:
        if isinstance(part, Repeat):  # made on the way, with other numbers than in the tree
            return part.least * self._lengths[id(part.part)] if part.least else 0.0
        return self._lengths[id(part)]

    def _opened(self, lists: set[int]) -> tuple[frozenset[int], bool]:
        """Everything in front taken apart: the lists that begin with a leaf, and whether END is among them."""
        seen, waiting = set(lists), list(lists)
        while waiting:
            new = self._taken_apart(waiting.pop()) - seen
            seen |= new
            waiting.extend(new)
            if len(seen) > MOST_LISTS:
                raise InputError(
                    f"the shape asked for is too ambiguous: a text can be read along it in more than {MOST_LISTS:,} "
                    "ways at once. Do not nest counted repetitions, as in (a{1,100}){1,100}."
                )
        leaves = frozenset(number for number in seen if isinstance(self._lists[number][0], Bytes))
        return leaves, END in seen

    def _taken_apart(self, number: int) -> set[int]:
        """The lists that this one stands for when its first part is taken apart, one level deep."""
        first, rest = self._lists[number]
        match first:
            case Bytes():
                return set()
            case Sequence(parts):
                for part in reversed(parts):
                    rest = self._list(part, rest)
                return {rest}
            case Choice(options):
                return {self._list(option, rest) for option in options if id(option) in self._possible}
            case Reference(target):
                return {self._list(target, rest)}
            case Repeat(part, least, most):
                following = {rest} if least == 0 else set()
                if most != 0 and id(part) in self._possible:
                    again = Repeat(part, max(least - 1, 0), None if most is None else most - 1)
                    following.add(self._list(part, self._list(again, rest)))
                return following

    # --- states -----------------------------------------------------------------------------------------------

    def _state(self, lists: set[int]) -> int:
        members = self._opened(lists)
        if members not in self._states:
            number = len(self._members)
            if number >= MOST_STATES:
                raise InputError(
                    f"the shape asked for is too complicated: more than {MOST_STATES:,} states were needed. Use fewer "
                    "or smaller counted repetitions."
                )
            if number == len(self._known):
                self._table = np.concatenate([self._table, np.zeros_like(self._table)])
                self._known = np.concatenate([self._known, np.zeros_like(self._known)])
                self.shortest = np.concatenate([self.shortest, np.full_like(self.shortest, np.inf)])
            self._states[members] = number
            self._members.append(members)
            leading, accepts = members
            self.shortest[number] = 0.0 if accepts else min(self._list_shortest[one] for one in leading)
        return self._states[members]

    def _compute_row(self, state: int) -> None:
        rests: dict[int, set[int]] = {}  # class of bytes -> the lists that are left after one of them
        for number in self._members[state][0]:
            leaf, rest = self._lists[number]
            for byte_class in self._classes_of_leaf[leaf]:
                rests.setdefault(byte_class, set()).add(rest)
        found: dict[frozenset[int], int] = {}
        for byte_class, lists in rests.items():
            key = frozenset(lists)
            if key not in found:
                found[key] = self._state(lists)
            self._table[state, byte_class] = found[key]
        self._known[state] = True


def shortest_lengths(expression: Expression, available: bytes) -> dict[int, float]:
    """For every node of a tree, by its identity: the length of its shortest text in available bytes; inf without one.

    A reference may stand inside its own target. So all lengths start at infinity, and the rules are applied again and
    again until nothing gets shorter, as in Bellman and Ford's shortest ways.
    """
    from_below = list(nodes(expression))[::-1]
    lengths = dict.fromkeys(map(id, from_below), math.inf)
    changed = True
    while changed:
        changed = False
        for node in from_below:
            match node:
                case Bytes(values):
                    length = 1.0 if set(values) & set(available) else math.inf
                case Sequence(parts):
                    length = sum(lengths[id(part)] for part in parts)
                case Choice(options):
                    length = min((lengths[id(option)] for option in options), default=math.inf)
                case Repeat(part, least, _):
                    length = least * lengths[id(part)] if least else 0.0
                case Reference(target):
                    length = lengths[id(target)]
            changed |= length < lengths[id(node)]
            lengths[id(node)] = length
    return lengths


def byte_classes(expression: Expression) -> tuple[np.ndarray, dict[Expression, list[int]]]:
    """Classes of bytes that no leaf of a tree tells apart: that of each byte (256,), and those of each leaf."""
    leaves = list({node for node in nodes(expression) if isinstance(node, Bytes)})
    belongs = np.zeros((256, len(leaves)), bool)
    for column, leaf in enumerate(leaves):
        belongs[list(leaf.values), column] = True
    numbers: dict[bytes, int] = {}
    class_of = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in belongs], np.int32)  # (256,)
    return class_of, {leaf: sorted({int(class_of[byte]) for byte in leaf.values}) for leaf in leaves}
