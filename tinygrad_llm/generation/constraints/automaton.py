"""The automaton: reads a text byte by byte, and knows at every moment whether the text can still be completed.

What is still to come is a linked list of parts. After "a" of "(ab|ac)d" it is one of two lists:

    b -> d -> end      or      c -> d -> end

The set of all lists that the text so far may have led to is a *state*. Reading a byte keeps the lists that begin with
it, and removes their first part (Thompson 1968). Each state is computed when a text first reaches it, and kept in a
table: a lazily determinised automaton. So an expression may contain itself (the list is then its stack), and of
"[a-z]{0,100000}" only the states exist that a text has visited.

Three things keep the sets small. Equal lists are one list, by number. Counted repetitions of the same part before the
same rest are one list as far as their counts touch: x{2,5} and x{4,9} are x{2,9}. And many fixed texts are one list
(`Words`): a range of the sorted words.

Parts that no text at all can match are never put on a list. So there are no dead ends: as long as a state has a list,
some bytes lead to the end, and every list knows how many at least.

Expressions come from others, so lists, states and work are limited. The work is counted in steps, not in seconds: the
same expression is accepted or refused on every machine.

Builds on: `expressions`. Used by: `constraint`, which asks which tokens keep it alive.
Left out on purpose: merging states that mean the same, which needs the whole automaton.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints.expressions import (
    Bytes,
    Choice,
    Expression,
    Reference,
    Repeat,
    Sequence,
    Words,
    children,
    nodes,
)

DEAD = 0  # the state in which no list is left: what was read cannot become a match any more
END = 0  # the empty list: nothing is still to come
ALL_BYTES = bytes(range(256))
MOST_LISTS = 5_000  # in one state
MOST_STATES = 100_000  # in the table; with 4 bytes for each class of bytes, at most 100 MB
MOST_WORK = 500_000  # steps at once: about a second
WORK_PER_TOKEN = 50_000  # steps that every further token may take on average
LONGEST_CHAIN = 200  # parts of a list that are looked at to find the part to blame


class Suffixes(NamedTuple):
    """What is left of some words when `read` bytes of them have been read: those of words number first … end - 1."""

    words: Words
    first: int
    end: int
    read: int


Part = Expression | Suffixes


class Automaton:
    """Reads texts along `expression`.

    States are small whole numbers: `DEAD`, `start`, and others as they are found. `available`: the bytes that can be
    had one at a time; a state's `shortest` counts only ways through these.

    >>> from tinygrad_llm.generation.constraints.expressions import Bytes, Repeat, Sequence
    >>> automaton = Automaton(Sequence((Bytes(b"a"), Repeat(Bytes(b"xy"), 1, 2))))  # a[xy]{1,2}
    >>> [automaton.accepts(automaton.read(automaton.start, text)) for text in (b"a", b"ax", b"axy", b"axyx")]
    [False, True, True, False]

    fewest_bytes: of the shortest text, whatever bytes are available.

    Raises InputError when no text matches, and later when reading needs more than `MOST_STATES` states, `MOST_LISTS`
    lists in one of them, or more steps than `MOST_WORK` and what `add_budget` has added.
    """

    def __init__(self, expression: Expression, available: bytes = ALL_BYTES) -> None:
        self.expression = expression
        self._available = set(available)
        self._word_lengths: dict[int, np.ndarray] = {}  # by identity; inf for a word in other bytes
        self._lengths = shortest_lengths(expression, available)
        lengths = shortest_lengths(expression, ALL_BYTES)
        self._possible = {identity for identity, length in lengths.items() if length < math.inf}
        self._may_be_empty = {identity for identity, length in lengths.items() if length == 0}
        if id(expression) not in self._possible:
            raise InputError("no text matches: what is asked for contains itself without an end, or has no choices.")
        self.fewest_bytes = lengths[id(expression)]
        self._work_left = MOST_WORK
        # Lists by number: their first part, the number of the rest, and their shortest way to the end.
        self._lists: list[tuple[Part, int]] = [(Sequence(()), END)]
        self._list_numbers: dict[tuple[Part, int], int] = {}
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

    def add_budget(self) -> None:
        """Allow `WORK_PER_TOKEN` more steps, because another token is wanted."""
        self._work_left = min(MOST_WORK, self._work_left + WORK_PER_TOKEN)

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

    # --- lists of what is still to come -----------------------------------------------------------------

    def _list(self, first: Part, rest: int) -> int:
        """The number of the list of `first` and then the list `rest`: equal lists have the same number."""
        key = (first, rest)
        if key not in self._list_numbers:
            self._list_numbers[key] = len(self._lists)
            self._lists.append(key)
            self._list_shortest.append(self._length(first) + self._list_shortest[rest])
        return self._list_numbers[key]

    def _length(self, part: Part) -> float:
        """Bytes of the shortest text of a part, in available bytes."""
        if isinstance(part, Repeat):  # made on the way, with other numbers than in the tree
            return part.least * self._lengths[id(part.part)] if part.least else 0.0
        if isinstance(part, Suffixes):
            words = part.words.words
            if id(part.words) not in self._word_lengths:
                lengths = [len(word) if self._available.issuperset(word) else math.inf for word in words]
                self._word_lengths[id(part.words)] = np.array(lengths)
            return float(self._word_lengths[id(part.words)][part.first : part.end].min()) - part.read
        return self._lengths[id(part)]

    def _opened(self, lists: set[int]) -> tuple[frozenset[int], bool]:
        """Everything in front taken apart: the lists that begin with a leaf, and whether END is among them."""
        seen: set[int] = set()
        counted: dict[tuple[int, int], list[Repeat]] = {}  # repetitions of one part before one rest
        waiting = self._merged(lists)
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            first, rest = self._lists[number]
            if isinstance(first, Repeat):
                others = counted.setdefault((id(first.part), rest), [])
                if any(includes(other, first) for other in others):
                    continue
                others.append(first)
            seen.add(number)
            new = self._taken_apart(first, rest)
            waiting.extend(new)
            self._spend(1 + len(new), seen)
            if len(seen) > MOST_LISTS:
                raise self._too_large(seen, f"a text can be read along it in more than {MOST_LISTS:,} ways at once")
        leaves = frozenset(number for number in seen if isinstance(self._lists[number][0], Bytes | Suffixes))
        return leaves, END in seen

    def _merged(self, lists: Iterable[int]) -> list[int]:
        """The same lists, with repetitions of one part before one rest joined as far as their counts touch."""
        repeats: dict[tuple[int, int], list[Repeat]] = {}
        others = []
        for number in lists:
            first, rest = self._lists[number]
            if isinstance(first, Repeat):
                repeats.setdefault((id(first.part), rest), []).append(first)
            else:
                others.append(number)
        for (_, rest), several in repeats.items():
            several.sort(key=lambda one: one.least)
            joined = several[:1]
            for one in several[1:]:
                last = joined[-1]
                if last.most is None or one.least <= last.most + 1:
                    most = None if last.most is None or one.most is None else max(last.most, one.most)
                    joined[-1] = Repeat(last.part, last.least, most, last.source)
                else:
                    joined.append(one)
            others += [self._list(one, rest) for one in joined]
        return others

    def _taken_apart(self, first: Part, rest: int) -> list[int]:
        """The lists that a list of `first` and `rest` stands for when `first` is taken apart, one level deep."""
        match first:
            case Bytes():
                return []
            case Suffixes(words, start, _, read):  # the first word is the shortest of those that begin like it
                return [rest] if len(words.words[start]) == read else []
            case Words(words):
                return [self._list(Suffixes(first, 0, len(words), 0), rest)]
            case Sequence(parts):
                for part in reversed(parts):
                    rest = self._list(part, rest)
                return [rest]
            case Choice(options):
                return [self._list(option, rest) for option in options if id(option) in self._possible]
            case Reference(target):
                return [self._list(target, rest)]
            case Repeat(part, least, most):
                # A part that may be empty can fill up the least number with nothing.
                least = 0 if id(part) in self._may_be_empty else least
                following = [rest] if least == 0 else []
                if most != 0 and id(part) in self._possible:
                    again = Repeat(part, max(least - 1, 0), None if most is None else most - 1, first.source)
                    following.append(self._list(part, self._list(again, rest)))
                return following

    # --- limits -----------------------------------------------------------------------------------------------

    def _spend(self, steps: int, lists: Iterable[int]) -> None:
        self._work_left -= steps
        if self._work_left < 0:
            raise self._too_large(lists, f"reading along it takes more than {MOST_WORK:,} steps")

    def _too_large(self, lists: Iterable[int], why: str) -> InputError:
        """The error that names the part which most of these lists stand in."""
        sources: Counter[str] = Counter()
        for number in list(lists)[:MOST_LISTS]:
            for _ in range(LONGEST_CHAIN):
                first, number = self._lists[number]
                sources[getattr(first, "source", "")] += 1
                if number == END:
                    break
        del sources[""]
        part = f"{sources.most_common(1)[0][0]} is" if sources else "the shape asked for is"
        return InputError(f"{part} too large: {why}. Use smaller counts, fewer alternatives or a simpler shape.")

    # --- states -----------------------------------------------------------------------------------------------

    def _state(self, lists: set[int]) -> int:
        members = self._opened(lists)
        if members not in self._states:
            number = len(self._members)
            if number >= MOST_STATES:
                raise self._too_large(lists, f"it needs more than {MOST_STATES:,} states")
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
        members = self._members[state][0]
        after_leaf: dict[Bytes, set[int]] = {}  # the lists that are left after one of its bytes
        after_word: dict[int, set[int]] = {}  # the same for a class of bytes with which words go on
        for number in members:
            leaf, rest = self._lists[number]
            if isinstance(leaf, Suffixes):
                for byte, longer in next_suffixes(leaf):
                    after_word.setdefault(int(self.class_of[byte]), set()).add(self._list(longer, rest))
            elif isinstance(leaf, Bytes):
                after_leaf.setdefault(leaf, set()).add(rest)
        leaves: dict[int, list[Bytes]] = {byte_class: [] for byte_class in after_word}
        for leaf in after_leaf:
            for byte_class in self._classes_of_leaf[leaf]:
                leaves.setdefault(byte_class, []).append(leaf)
        found: dict[tuple[Bytes, ...], int] = {}  # classes that the same leaves have lead to the same state
        for byte_class, several in leaves.items():
            key, words = tuple(several), after_word.get(byte_class, set())
            if words or key not in found:
                lists = words.union(*(after_leaf[leaf] for leaf in several))
                self._spend(len(lists), members)
                found_state = self._state(lists)
                if words:
                    self._table[state, byte_class] = found_state
                    continue
                found[key] = found_state
            self._table[state, byte_class] = found[key]
        self._known[state] = True


def includes(one: Repeat, other: Repeat) -> bool:
    """Whether the counts of `one` include those of `other`."""
    return one.least <= other.least and (one.most is None or (other.most is not None and other.most <= one.most))


def next_suffixes(suffixes: Suffixes) -> list[tuple[int, Suffixes]]:
    """The bytes with which these words go on, and what is left after each of them."""
    words, start, end, read = suffixes
    found = []
    while start < end:
        if len(words.words[start]) == read:  # complete; the others are longer
            start += 1
            continue
        byte = words.words[start][read]
        stop = bisect_left(words.words, byte + 1, start, end, key=lambda word: word[read])
        found.append((byte, Suffixes(words, start, stop, read + 1)))
        start = stop
    return found


def shortest_lengths(expression: Expression, available: bytes) -> dict[int, float]:
    """For every node of a tree, by its identity: the length of its shortest text in available bytes; inf without one.

    A reference may stand inside its own target. So all lengths start at infinity, and whenever one gets shorter, the
    nodes that contain it are looked at again, as in Bellman and Ford's shortest paths.
    """
    from_below = list(nodes(expression))[::-1]
    containing: dict[int, list[Expression]] = {}
    for node in from_below:
        for child in children(node):
            containing.setdefault(id(child), []).append(node)
    allowed = set(available)
    lengths = dict.fromkeys(map(id, from_below), math.inf)
    waiting, queued = deque(from_below), set(map(id, from_below))
    while waiting:
        node = waiting.popleft()
        queued.discard(id(node))
        match node:
            case Bytes(values):
                length = 1.0 if allowed.intersection(values) else math.inf
            case Words(words):
                length = float(min((len(word) for word in words if allowed.issuperset(word)), default=math.inf))
            case Sequence(parts):
                length = sum(lengths[id(part)] for part in parts)
            case Choice(options):
                length = min((lengths[id(option)] for option in options), default=math.inf)
            case Repeat(part, least, _):
                length = least * lengths[id(part)] if least else 0.0
            case Reference(target):
                length = lengths[id(target)]
        if length < lengths[id(node)]:
            lengths[id(node)] = length
            for above in containing.get(id(node), []):
                if id(above) not in queued:
                    queued.add(id(above))
                    waiting.append(above)
    return lengths


def byte_classes(expression: Expression) -> tuple[np.ndarray, dict[Bytes, list[int]]]:
    """Classes of bytes that no leaf of a tree tells apart: that of each byte (256,), and those of each leaf."""
    found = list(nodes(expression))
    leaves = list({node for node in found if isinstance(node, Bytes)})
    in_words = sorted(set().union(*(word for node in found if isinstance(node, Words) for word in node.words)))
    belongs = np.zeros((256, len(leaves) + len(in_words)), bool)
    for column, leaf in enumerate(leaves):
        belongs[list(leaf.values), column] = True
    belongs[in_words, len(leaves) + np.arange(len(in_words))] = True
    numbers: dict[bytes, int] = {}
    class_of = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in belongs], np.int32)  # (256,)
    return class_of, {leaf: sorted({int(class_of[byte]) for byte in leaf.values}) for leaf in leaves}
