"""Constrained generation: a logits processor that removes every token after which the text could no longer match.

    expression --automaton--> states        vocabulary --tree--> tokens that keep a state alive

At each step the automaton has read the text so far. The processor removes the tokens that lead to its dead state, and
leaves the logits of all others. So every text matches, and the model's probabilities decide among those that do. It is
not the distribution of the model's texts *given* that they match: a token may be sampled because it is probable now,
and lead to where only improbable ones follow (Lew et al. 2023).

There are no dead ends: a token is kept only if the text can be completed after it, with the tokens of this vocabulary,
within the tokens that are left.

What it costs: the tokens of a state are looked up once, and remembered. Where few tokens can follow, that takes a tenth
of a millisecond; inside of a string, where nearly all can, 10 ms for SmolLM2 (V = 49,152) and 23 ms for Gemma 3
(V = 262,144). After that it is 1.3 and 6.6 ms per token there, less than 0.2 ms elsewhere. (One core, AVX2.)

Builds on: `automaton`, `vocabulary`, `logits_processors`. Used by: `language_model`.
Left out on purpose: steering towards the tokens into which the tokenizer itself would cut the text. A word may come out
in other pieces than the model has seen it in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints.automaton import DEAD, Automaton
from tinygrad_llm.generation.constraints.expressions import Expression
from tinygrad_llm.generation.constraints.vocabulary import Vocabulary
from tinygrad_llm.generation.logits_processors import keep

KEPT_STATES = 20_000  # when more have been found, the automaton forgets them all and begins anew
KEPT_TOKENS = 16_000_000  # of all states together that are remembered; 8 bytes each
LONGEST_WAY = 20  # times max_tokens: as far as a way to the end is followed to say how long it is
MOST_SEARCHED = 2_000  # states that are tried to find a way to the end


class Constraint:
    """Texts in the tokens of `vocabulary` that match `expression`. It can serve any number of texts.

    stop_tokens: the tokens that end a text, at least one. They can be sampled when the text matches as it stands, and
    must be when nothing more can follow.

    Raises InputError when no text in these tokens matches.
    """

    def __init__(self, expression: Expression, vocabulary: Vocabulary, stop_tokens: Collection[int]) -> None:
        if not stop_tokens:
            raise InputError("stop_tokens is empty: a constrained text needs a token that says that it is complete.")
        self.expression, self.vocabulary = expression, vocabulary
        self.stop_tokens = np.array(sorted(stop_tokens), np.int64)
        self._begin_anew()
        start = self.automaton.start
        if self.automaton.shortest[start] == math.inf and self.tokens_to_finish(start) == math.inf:
            raise InputError("no text matches that can be written in the tokens of this vocabulary.")

    def _begin_anew(self) -> None:
        self.automaton = Automaton(self.expression, self.vocabulary.single_bytes)
        self._after: dict[tuple[int, int], int] = {}  # state, token -> the next state
        self._following: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._kept = 0  # tokens in `_following`
        self._to_finish: dict[int, float] = {}

    def processor(self, after: int, max_tokens: int | None = None) -> ConstraintProcessor:
        """The stage for one text. after: how many ids stand before the constrained part, such as the prompt's.

        max_tokens: at most so many will follow; tokens after which more would be needed are removed as well.
        Raises InputError when no matching text is known to be so short.
        """
        self.automaton.add_budget()
        start = self.automaton.start
        if max_tokens is not None and self.automaton.shortest[start] > max_tokens:
            fewest = math.ceil(self.automaton.fewest_bytes / max(1, self.vocabulary.longest))
            if fewest > max_tokens:
                raise InputError(
                    f"max_tokens is {max_tokens}, and every text that matches takes {fewest:,} tokens or more. Allow "
                    "more tokens."
                )
            limit = LONGEST_WAY * (1 + max_tokens)
            needed = self.tokens_to_finish(start, limit)
            if needed > max_tokens:
                count = f"more than {limit:,}" if needed == math.inf else f"{needed:.0f}"
                raise InputError(
                    f"max_tokens is {max_tokens}, and the shortest text that was found to match takes {count} tokens. "
                    "Allow more tokens."
                )
        return ConstraintProcessor(self, after, max_tokens)

    def state(self, tokens: Iterable[int]) -> int:
        """The state after these tokens, which begin with the constrained part.

        Raises InputError for tokens that the constraint does not allow.
        """
        if len(self.automaton) > KEPT_STATES:
            self._begin_anew()
        state = self.automaton.start
        for token in tokens:
            before, state = state, self._after.get((state, token), -1)
            if state < 0:
                data = self.vocabulary.tokens[token]
                state = self.automaton.read(before, data) if data else DEAD
                self._after[before, token] = state
            if state == DEAD:
                raise InputError(
                    f"the text does not match: token {token} cannot stand where it stands. Was `after` the number of "
                    "ids before the constrained part?"
                )
        return state

    def following(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that the automaton survives, (n,), and the states after them, (n,). Do not change them."""
        if state not in self._following:
            ids, states = self.vocabulary.following(self.automaton, state)
            if self._kept + len(ids) > KEPT_TOKENS:
                self._following.clear()
                self._kept = 0
            self._kept += len(ids)
            self._following[state] = ids, states
        return self._following[state]

    def allowed(self, state: int, tokens_left: float = math.inf) -> np.ndarray:
        """The ids (n,) of the tokens after which the text can be finished within `tokens_left`, this one counted.

        Tokens that end the text are not among them: they stand for no text.
        """
        ids, states = self.following(state)
        enough = self.automaton.shortest[states] < tokens_left
        # What cannot be finished byte by byte in time can perhaps be finished in longer tokens.
        perhaps = ~enough & (self.fewest_tokens(states) < tokens_left)
        for other in np.unique(states[perhaps]):
            if self.tokens_to_finish(int(other), tokens_left) < tokens_left:
                enough |= states == other
        return ids[enough]

    def fewest_tokens(self, states: np.ndarray) -> np.ndarray:
        """Tokens that are at least needed from each of these states to a text that matches: (n,) -> (n,)."""
        if len(self.vocabulary.single_bytes) < 256:  # `shortest` does not count texts with the other bytes
            return np.zeros(len(states))
        return self.automaton.shortest[states] / self.vocabulary.longest

    def tokens_to_finish(self, state: int, limit: float = math.inf) -> float:
        """How many tokens it takes from here to a text that matches, along a way that was found; inf if there is none.

        limit: a way of more tokens is not followed to its end, and counts as inf.
        The way need not be the shortest one. But it is a way: if this is n > 0, there is a token after which it is
        n - 1 or less. It goes in each state to the one that has the fewest bytes to the end.
        """
        way = [state]
        while way[-1] not in self._to_finish:
            if len(way) > limit:
                return math.inf
            if self.automaton.accepts(way[-1]):
                self._to_finish[way[-1]] = 0.0
            else:
                way.append(self._nearer_to_the_end(way[-1]))
        rest = self._to_finish[way[-1]]
        for distance, earlier in enumerate(reversed(way)):
            self._to_finish[earlier] = rest + distance
        return self._to_finish[state]

    def _nearer_to_the_end(self, state: int) -> int:
        """The next state on a way to the end. Without any way, the state itself, which is then known to have none."""
        _, states = self.following(state)
        distances = self.automaton.shortest[states]
        if distances.min(initial=math.inf) < math.inf:
            return int(states[distances.argmin()])
        return self._search(state)

    def _search(self, start: int) -> int:
        """As `_nearer_to_the_end`, where a byte on the way is no token by itself: all ways at once, breadth first."""
        came_from = {start: start}
        waiting = [start]
        for state in waiting:  # grows meanwhile
            if self.automaton.shortest[state] < math.inf or self._to_finish.get(state, math.inf) < math.inf:
                while came_from[state] != start:
                    state = came_from[state]
                return state
            if len(came_from) > MOST_SEARCHED:
                raise InputError(
                    f"no way to a matching text was found among {MOST_SEARCHED:,} states: the vocabulary lacks single "
                    "bytes that the text needs. Use a vocabulary with all 256 bytes."
                )
            for other in np.unique(self.following(state)[1]).tolist():
                if other not in came_from:
                    came_from[other] = state
                    waiting.append(other)
        self._to_finish.update(dict.fromkeys(came_from, math.inf))  # none of them has a way
        return start


@dataclass(frozen=True)
class ConstraintProcessor:
    """Removes the tokens after which the text from id number `after` on could not become a match any more.

    A logits processor. Put it before those that keep the most probable tokens, such as top-k: they
    might remove all that are allowed.
    """

    constraint: Constraint
    after: int
    max_tokens: int | None = None

    def __call__(self, logits: np.ndarray, text: Sequence[int] = ()) -> np.ndarray:
        """logits (V,) -> (V,). Raises InputError when no token that is allowed has any probability left."""
        constraint = self.constraint
        constraint.automaton.add_budget()
        generated = text[self.after :]
        state = constraint.state(generated)
        left = math.inf if self.max_tokens is None else self.max_tokens - len(generated)
        allowed = constraint.allowed(state, left)
        if constraint.automaton.accepts(state):
            allowed = np.append(allowed, constraint.stop_tokens)
        if logits[allowed].max() == -np.inf:
            raise InputError(
                "an earlier stage has removed all tokens that the constraint allows: put the constraint first."
            )
        return keep(logits, lambda row: allowed)
