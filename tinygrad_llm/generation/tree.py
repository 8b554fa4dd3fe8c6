"""The tree of continuations: the most probable next tokens, what follows each of them, and so on.

The probability of a path is the product of its steps. What is not shown is added up, so that the leaves and the rest
sum to 1.

Builds on: `continuations`, `generate`. Used by: `pictures.tree`, which draws it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import check_integer, is_number
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.continuations import checked_prompt
from tinygrad_llm.generation.generate import next_logits
from tinygrad_llm.generation.logits_processors import LogitsProcessor, SamplerChain, ranked, sampling_distribution
from tinygrad_llm.nn.transformer import Transformer

TOGETHER = 8  # nodes that are read in one batch; each needs a copy of the cache


@dataclass
class Node:
    """A token that may come, after those on the way from the root.

    token: its id; the root has None. log_p: of the token, given all before it. path_log_p: of all tokens from the root
    to here. ended: whether the token is one that ends the text. children: the likeliest tokens after it, the best
    first; empty for a leaf. others: how many more tokens may follow, where there are children. others_p: their
    probability together, given all before, so that children and others are 1 together.
    """

    token: int | None
    log_p: float
    path_log_p: float
    ended: bool = False
    children: list[Node] = field(default_factory=list)
    others: int = 0
    others_p: float = 0.0

    def walk(self, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Node]]:
        """Every node with the tokens from the root to it, parents before children."""
        here = path if self.token is None else (*path, self.token)
        yield here, self
        for child in self.children:
            yield from child.walk(here)


def continuation_tree(
    model: Transformer,
    ids: Sequence[int] | np.ndarray,
    depth: int = 4,
    branches: int = 3,
    *,
    mass: float = 0.9,
    least: float = 0.01,
    sampler: LogitsProcessor | None = None,
    stop_tokens: Collection[int] = (),
) -> Node:
    """The likeliest continuations of `ids`, up to `depth` tokens, as a tree; its root stands for the text so far.

    branches: the most children of a node. mass: no more of them once they have this probability together.
    least: paths less probable than this are not in the tree, so there are at most 1 / least of them at each depth.
    sampler: changes the distributions first; the probabilities are then those of sampling.
    stop_tokens: nothing follows them.

    Raises InputError for a text that does not fit in the context together with depth.
    """
    check_integer("depth", depth)
    check_integer("branches", branches)
    for name, value in (("mass", mass), ("least", least)):
        if not is_number(value) or not 0.0 < value <= 1.0:
            raise InputError(f"{name} must be above 0 and at most 1, it was {value!r}.")
    text, sampler = checked_prompt(model, ids, depth, "depth"), SamplerChain() if sampler is None else sampler
    cache, root = GrowingCache(model.config), Node(None, 0.0, 0.0)
    log_p = sampling_distribution(sampler, next_logits(model, text, cache), text)  # (V,)
    grow(root, log_p, branches, mass, least, stop_tokens)
    for length in range(1, depth):
        leaves = [(path, node) for path, node in root.walk() if len(path) == length and not node.ended]
        for start in range(0, len(leaves), TOGETHER):
            some = leaves[start : start + TOGETHER]
            # All of them are of the same length. They are read from the end of the text on: a few tokens each.
            paths = np.array([path for path, _ in some])  # (B, T)
            rows = next_logits(model, paths, cache.repeat(len(some)))  # (B, V)
            for (path, node), row in zip(some, rows, strict=True):
                log_p = sampling_distribution(sampler, row, [*text, *path])  # (V,)
                grow(node, log_p, branches, mass, least, stop_tokens)
    return root


def grow(node: Node, log_p: np.ndarray, branches: int, mass: float, least: float, stop_tokens: Collection[int]) -> None:
    """Give a node its children, the most probable tokens of log_p (V,); it stays a leaf if none is probable enough."""
    best = ranked(log_p, branches)
    together = np.exp(log_p[best]).cumsum()
    shown = best[: np.searchsorted(together, mass) + 1]
    shown = shown[node.path_log_p + log_p[shown] >= math.log(least)]
    if not shown.size:
        return
    for token in shown.tolist():
        step = float(log_p[token])
        node.children.append(Node(token, step, node.path_log_p + step, ended=token in stop_tokens))
    rest = np.delete(log_p, shown)
    node.others, node.others_p = int(np.count_nonzero(rest > -np.inf)), float(np.exp(rest).sum())
