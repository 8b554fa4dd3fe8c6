"""Byte pair encoding as `bpe` defines it, with less work: for books, and for words of a million letters.

Merges apply to any starting symbols: those of SentencePiece-style tokenizers are characters (`spelling`). Some of their
files have no merges but an order of tokens, from which `implied_merges` makes them.

Builds on: `bpe`, the definitions. Used by: `tokenizer`, `tokenizer_gguf`, `tokenizer_files`.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from tinygrad_llm.text.bpe import Pair, merge_pair, single_bytes

LONG = 512  # tokens: below, the heap takes all the merges
FEW = 16  # a pair that is not at least one of so many pairs is left to the heap


def train(words: Mapping[bytes, int], merges: int) -> list[Pair]:
    """`bpe.train`: counts are corrected only for words that hold the merged pair, and the best comes from a heap."""
    state = _Words(words)
    heap = [_heap_entry(pair, count) for pair, count in state.counts.items()]
    heapq.heapify(heap)
    learned: list[Pair] = []
    while len(learned) < merges:
        best = _pop_best(heap, state.counts)
        if best is None:
            break
        for pair in state.merge_everywhere(best):
            heapq.heappush(heap, _heap_entry(pair, state.counts[pair]))
        learned.append(best)
    return learned


class _Words:
    """The words as they are spelled at this moment, how often each pair is in them, and where."""

    def __init__(self, words: Mapping[bytes, int]) -> None:
        self.spellings = [single_bytes(word) for word in words]
        self.times = list(words.values())
        self.counts: defaultdict[Pair, int] = defaultdict(int)
        self.holders: defaultdict[Pair, set[int]] = defaultdict(set)  # words where a pair is, or once was
        for index, spelling in enumerate(self.spellings):
            for pair in pairwise(spelling):
                self.counts[pair] += self.times[index]
                self.holders[pair].add(index)

    def merge_everywhere(self, merged: Pair) -> set[Pair]:
        """Merge one pair in every word that holds it, and return the pairs that this creates."""
        token = merged[0] + merged[1]
        new_pairs: set[Pair] = set()
        for index in self.holders.pop(merged):
            old, times = self.spellings[index], self.times[index]
            new = merge_pair(old, merged)
            for pair in pairwise(old):
                self.counts[pair] -= times
            for pair in pairwise(new):
                self.counts[pair] += times
                if token in pair:
                    new_pairs.add(pair)
                    self.holders[pair].add(index)
            self.spellings[index] = new
        return new_pairs


def _pop_best(heap: list[tuple[int, str, Pair]], counts: Mapping[Pair, int]) -> Pair | None:
    """The pair to merge next, taken from a heap whose entries may be out of date; None when there is none.

    Each pair has one entry, which is never too low: after the step in which a pair first appears its count
    only falls, because for a new place one of its tokens would have to be made again, by another pair. So the
    first entry that is up to date is the best. The others go back to where they belong now, or away at count
    0.
    """
    while heap:
        negative_count, _, pair = heapq.heappop(heap)
        count = counts[pair]
        if count == -negative_count:
            return pair
        if count:
            heapq.heappush(heap, _heap_entry(pair, count))
    return None


def _heap_entry(pair: Pair, count: int) -> tuple[int, str, Pair]:
    """In a heap, which hands out the least: the greatest count first, among equals the greatest pair."""
    return -count, _falling(pair[0]) + _falling(pair[1]), pair


_COMPLEMENT = bytes(range(255, -1, -1))


def _falling(token: bytes) -> str:
    """A string that sorts the other way round: `_falling(a) < _falling(b)` exactly when `a > b`.

    Each byte b becomes the character 255 - b. The end becomes a character above all of them, because a prefix
    sorts before what it begins, and must sort after it here. The end also makes joined strings compare like a
    tuple.
    """
    return token.translate(_COMPLEMENT).decode("latin-1") + "\u0100"


# -- spelling a word with the merges -------------------------------------------------------------------------


def merge(spelling: Sequence[bytes], ranks: Mapping[Pair, int]) -> list[bytes]:
    """Spell a word, given from what to start, with the tokens that `ranks` makes: the last line of `bpe.merge_steps`.

    A "word" may well be a page of dashes, or a million letters without a space. While one pair is frequent, all its
    places are merged in one pass; then a heap takes the rest, in O(n log n) steps for n tokens.
    """
    tokens = list(spelling)
    while len(tokens) > LONG and (shorter := _merge_most_urgent(tokens, ranks)) is not None:
        tokens = shorter
    return _merge_by_heap(tokens, ranks)


def _merge_most_urgent(tokens: list[bytes], ranks: Mapping[Pair, int]) -> list[bytes] | None:
    """All places of the pair of least rank merged at once; None where one by one is needed, or quicker.

    At once and one by one differ where a merge makes a pair of lower rank, which then goes first. Merges that were
    learned never do; those implied by an order of tokens may.
    """
    found = [ranks.get(pair) for pair in pairwise(tokens)]
    ranked = [rank for rank in found if rank is not None]
    if not ranked:
        return None
    least = min(ranked)
    if ranked.count(least) * FEW < len(tokens):
        return None
    place = found.index(least)
    pair = tokens[place], tokens[place + 1]
    made = pair[0] + pair[1]
    for token in {*tokens, made}:
        if min(ranks.get((made, token), least), ranks.get((token, made), least)) < least:
            return None
    return merge_pair(tokens, pair)


def _merge_by_heap(spelling: Sequence[bytes], ranks: Mapping[Pair, int]) -> list[bytes]:
    """A heap holds the places where a merge is possible, the most urgent and leftmost first.

    Links to both neighbours stand in for a list that would have to close its gaps.
    """
    n = len(spelling)
    tokens = list(spelling)
    before = list(range(-1, n - 1))
    after = list(range(1, n + 1))
    heap = [(ranks[pair], i) for i, pair in enumerate(pairwise(tokens)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, i = heapq.heappop(heap)
        j = after[i]
        # A neighbour may have been merged away since this entry was pushed; an empty token is in no pair.
        if j == n or ranks.get((tokens[i], tokens[j])) != rank:
            continue
        tokens[i] += tokens[j]
        tokens[j] = b""
        h, k = before[i], after[j]
        after[i] = k
        if k < n:
            before[k] = i
            rank_right = ranks.get((tokens[i], tokens[k]))
            if rank_right is not None:
                heapq.heappush(heap, (rank_right, i))
        if h >= 0:
            rank_left = ranks.get((tokens[h], tokens[i]))
            if rank_left is not None:
                heapq.heappush(heap, (rank_left, h))
    return [token for token in tokens if token]


# -- merges from an order of tokens --------------------------------------------------------------------------


def implied_merges(tokens: Iterable[bytes]) -> Iterator[Pair]:
    """All pairs that make one of `tokens` out of two others; pairs that make an earlier token come first.

    A SentencePiece model keeps no merges but a score for each token, and joins two neighbours whenever the result is
    a token, the best score first. So its merges are these, for its tokens in the order of falling scores. Several
    pairs may make the same token; then the one with the longest left part comes first.

    >>> list(implied_merges([b"ab", b"abc", b"bc", b"a", b"b", b"c"]))
    [(b'a', b'b'), (b'ab', b'c'), (b'a', b'bc'), (b'b', b'c')]

    Source: Kudo and Richardson 2018, "SentencePiece", section 3.1, for merging by a priority queue. SentencePiece
    takes the leftmost of two pairs that make the same token; the order here, with which a list of merges can say the
    same for nearly every text, is that of Hugging Face's conversion of such models.
    """
    known = {token: token for token in tokens}  # the same object in every pair saves half the memory
    for token in known:
        for cut in range(len(token) - 1, 0, -1):
            left = known.get(token[:cut])
            if left is not None and (right := known.get(token[cut:])) is not None:
                yield left, right
