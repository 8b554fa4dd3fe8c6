"""The tokens of a vocabulary as a tree of their bytes: which of them may come next, without trying each.

Tokens that begin alike share a path from the root. An automaton is led along all paths at once, one byte further in
each round, and a branch is dropped where the automaton reaches its dead state. The tokens whose paths are left at their
end may come next. One round is a few NumPy operations on all branches together.

Builds on: `text.tokenizer`, `automaton`. Used by: `constraint`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from tinygrad_llm.generation.constraints.automaton import DEAD, Automaton
from tinygrad_llm.text.tokenizer import Tokenizer


class Vocabulary:
    """The bytes of each token, by id; None for those that stand for no text: special tokens, unused ids.

    Several tokens may have the same bytes.
    """

    def __repr__(self) -> str:
        return f"Vocabulary({len(self.tokens):,} tokens)"

    def __init__(self, tokens: Sequence[bytes | None]) -> None:
        self.tokens = tokens
        # A node is a beginning of tokens. They are numbered by length, so that the children of a node lie together.
        ids = np.array([i for i, token in enumerate(tokens) if token], np.int32)  # (n,)
        texts = [tokens[i] or b"" for i in ids]
        lengths = np.array([len(token) for token in texts], np.int64)
        joined = np.frombuffer(b"".join(texts), np.uint8)
        starts = lengths.cumsum() - lengths
        at = np.zeros(len(ids), np.int64)  # the node that each token has come to, and in the end the one where it ends
        going_on = np.arange(len(ids))  # the tokens that are longer than `depth`
        parents, values = [np.array([-1])], [np.array([0], np.uint8)]
        nodes = 1
        for depth in range(int(lengths.max(initial=0))):
            going_on = going_on[lengths[going_on] > depth]
            branches = at[going_on] * 256 + joined[starts[going_on] + depth]  # parent and byte in one number
            distinct, number = np.unique(branches, return_inverse=True)
            at[going_on] = nodes + number
            parents.append(distinct // 256)
            values.append((distinct % 256).astype(np.uint8))
            nodes += len(distinct)
        self._bytes = np.concatenate(values)  # (nodes,): the last byte of the beginning
        self._children = np.bincount(np.concatenate(parents)[1:], minlength=nodes)  # (nodes,): how many it has
        self._first_child = 1 + self._children.cumsum() - self._children  # (nodes,)
        self._ids = ids[np.argsort(at, kind="stable")]  # by the node where they end
        self._ending = np.bincount(at, minlength=nodes)  # (nodes,): how many tokens end there
        self._first_ending = self._ending.cumsum() - self._ending  # (nodes,)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """The vocabulary of a tokenizer. Its special tokens stand for no text."""
        tokens = tokenizer.bytes_of_ids
        for i in tokenizer.special_tokens.values():
            del tokens[i]
        return cls([tokens.get(i) for i in range(tokenizer.vocab_size)])

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max((len(token) for token in self.tokens if token), default=0)

    @cached_property
    def single_bytes(self) -> bytes:
        """The bytes that are a token by themselves."""
        return bytes(sorted({token[0] for token in self.tokens if token and len(token) == 1}))

    def following(self, automaton: Automaton, state: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that can follow in `state` without leading to the dead state, and the states after them.

        -> ids (n,), states (n,)
        """
        nodes, states = np.zeros(1, np.int64), np.array([state])
        found_ids, found_states = [], []
        while len(nodes):
            parents, children = _ranges(self._first_child[nodes], self._children[nodes])
            after = automaton.read_each(states[parents], self._bytes[children])
            alive = np.flatnonzero(after != DEAD)
            nodes, states = children[alive], after[alive]
            at, ending = _ranges(self._first_ending[nodes], self._ending[nodes])
            found_ids.append(self._ids[ending])
            found_states.append(states[at])
        return np.concatenate(found_ids), np.concatenate(found_states)


def _ranges(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers starts[0], starts[0] + 1, … counts[0] of them, then those of starts[1], and so on.

    starts, counts: (n,) -> which of the n each number belongs to, (Σ counts,), and the numbers, (Σ counts,).
    """
    ends = counts.cumsum()
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) + (starts - (ends - counts))[which]
