"""Byte pair encoding: how a vocabulary is learned from text, and how a word is spelled with it.

Start with the 256 bytes as tokens. Count every pair of neighbours, make the most frequent pair a token,
replace it everywhere, repeat. What was learned is the list of merges, in order. To spell a new word, apply
the same merges to its bytes in the same order.

Both halves stand here twice: `train_plain` and `merge_steps` are the definitions, to be read; `train` and
`merge` give the same answers with less work, and a test holds each pair equal.

Before this: `patterns.py` cuts the text into words. After this: `tokenizer.py` gives the tokens ids. In here
a token is nothing but its bytes. That is enough, because training never makes the same bytes from two pairs.
As long as both ends of a string are edges of tokens, what lies between is merged as if it stood alone; so at
any moment it is cut in one way only, and once it is a token it is never cut again.

Applying merges does not care where they came from or what a spelling starts from: SentencePiece-style tokenizers
start from characters (`spelling.py`), and some of their files have no merges but an order of tokens, from which
`implied_merges` makes them.

Left out on purpose: a lower limit on counts, dropout of merges, parallel counting.

Sources: Gage 1994, "A New Algorithm for Data Compression"; Sennrich, Haddow and Birch 2016, "Neural Machine
Translation of Rare Words with Subword Units", algorithm 1; Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners", section 2.2, for bytes in place of characters.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

Pair = tuple[bytes, bytes]


def single_bytes(word: bytes) -> list[bytes]:
    """The spelling every word starts from: b"the" is [b"t", b"h", b"e"]."""
    return [word[i : i + 1] for i in range(len(word))]


def merge_pair(spelling: Sequence[bytes], pair: Pair) -> list[bytes]:
    """Replace every occurrence of `pair` by one token, from left to right.

    >>> merge_pair([b"a", b"a", b"a", b"b"], (b"a", b"a"))
    [b'aa', b'a', b'b']
    """
    left, right = pair
    token = left + right
    merged: list[bytes] = []
    i, last = 0, len(spelling) - 1
    while i <= last:
        if spelling[i] == left and i < last and spelling[i + 1] == right:
            merged.append(token)
            i += 2
        else:
            merged.append(spelling[i])
            i += 1
    return merged


# -- learning the merges -------------------------------------------------------------------------------------


def train_plain(words: Mapping[bytes, int], merges: int) -> list[Pair]:
    """The definition of `train`: count all pairs, merge the best, and begin again.

    Every pass goes over all words. Good for a paragraph, hopeless for a book.
    """
    spellings = {tuple(single_bytes(word)): times for word, times in words.items()}
    learned: list[Pair] = []
    while len(learned) < merges:
        counts: Counter[Pair] = Counter()
        for spelling, times in spellings.items():
            for pair in pairwise(spelling):
                counts[pair] += times
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        spellings = {tuple(merge_pair(spelling, best)): times for spelling, times in spellings.items()}
        learned.append(best)
    return learned


def train(words: Mapping[bytes, int], merges: int) -> list[Pair]:
    """Learn up to `merges` merges from `words`, which says how often each word occurs.

    Each step merges the pair with the greatest count; among pairs of equal count, the lexicographically
    greatest (left, right) as byte strings. The count of a pair is the number of places where the two stand
    side by side (b"aaa" counts (b"a", b"a") twice), times the number of occurrences of the word. The result
    depends on the counts alone, never on the order of `words`.

    Returns fewer merges when nothing is left to merge: every word is one token.

    >>> train({b"hug": 10, b"pug": 5, b"hugs": 5}, 2)
    [(b'u', b'g'), (b'h', b'ug')]

    Two things make it fast: counts are corrected only for the words that hold the merged pair (`_Words`), and
    the best pair comes from a heap (`_pop_best`).
    """
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
        """Merge one pair in every word that holds it, and return the pairs that this made."""
        token = merged[0] + merged[1]
        born: set[Pair] = set()
        for index in self.holders.pop(merged):
            old, times = self.spellings[index], self.times[index]
            new = merge_pair(old, merged)
            for pair in pairwise(old):
                self.counts[pair] -= times
            for pair in pairwise(new):
                self.counts[pair] += times
                if token in pair:
                    born.add(pair)
                    self.holders[pair].add(index)
            self.spellings[index] = new
        return born


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


def merge_steps(spelling: Sequence[bytes], ranks: Mapping[Pair, int]) -> list[list[bytes]]:
    """The story of one word: every spelling from the first to the last. It is the definition of `merge`.

    `ranks` says how early each pair was learned. Each step merges the leftmost pair of least rank.

    >>> ranks = {(b"u", b"g"): 0, (b"h", b"ug"): 1}
    >>> for spelling in merge_steps(single_bytes(b"hugs"), ranks): print(spelling)
    [b'h', b'u', b'g', b's']
    [b'h', b'ug', b's']
    [b'hug', b's']
    """
    steps = [list(spelling)]
    while True:
        spelling = steps[-1]
        places = [(ranks[pair], i) for i, pair in enumerate(pairwise(spelling)) if pair in ranks]
        if not places:
            return steps
        _, i = min(places)
        steps.append([*spelling[:i], spelling[i] + spelling[i + 1], *spelling[i + 2 :]])


def merge(spelling: Sequence[bytes], ranks: Mapping[Pair, int]) -> list[bytes]:
    """Spell a word, given from what to start, with the tokens that `ranks` makes: the last line of `merge_steps`.

    Takes O(n log n) steps for n tokens to start from, because a "word" may well be a page of dashes: a heap holds
    the places where a merge is possible, and links to both neighbours stand in for a list that would have to close
    its gaps.
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
