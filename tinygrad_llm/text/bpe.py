"""Byte pair encoding: how a vocabulary is learned from text, and how a word is spelled with it.

Start with the 256 bytes as tokens. Count every pair of neighbours, make the most frequent pair a token, replace it
everywhere, repeat. What was learned is the list of merges, in order. To spell a new word, apply the same merges to its
bytes in the same order.

In this file a token is its bytes, without an id. That is enough, because training never makes the same bytes from two
pairs: as long as both ends of a string are edges of tokens, the string between is merged as if it stood alone. So it is
always divided in one way only, and once it is a token it is never divided again.

These are the definitions. `fast_bpe` gives the same answers with less work, and a test holds each pair equal.

Builds on: words, as `patterns` splits them. Used by: `fast_bpe`, `tokenizer` (which gives the tokens ids).
Left out on purpose: a lower limit on counts, dropout of merges, parallel counting.

Sources: Gage 1994, "A New Algorithm for Data Compression"; Sennrich, Haddow and Birch 2016, "Neural Machine
Translation of Rare Words with Subword Units", algorithm 1; Radford et al. 2019, "Language Models are Unsupervised
Multitask Learners", section 2.2, for bytes in place of characters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
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


def train(words: Mapping[bytes, int], merges: int) -> list[Pair]:
    """Learn up to `merges` merges from `words`, which says how often each word occurs.

    Each step merges the pair with the greatest count; among pairs of equal count, the lexicographically greatest
    (left, right) as byte strings. The count of a pair is the number of places where the two stand side by side
    (b"aaa" counts (b"a", b"a") twice), times the number of occurrences of the word. So the result depends on the
    counts alone, never on the order of `words`. There are fewer merges when every word is one token.

    >>> train({b"hug": 10, b"pug": 5, b"hugs": 5}, 2)
    [(b'u', b'g'), (b'h', b'ug')]

    Every pass goes over all words, which is enough for a paragraph and too slow for a book: see `fast_bpe.train`.
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


# -- spelling a word with the merges -------------------------------------------------------------------------


def merge_steps(spelling: Sequence[bytes], ranks: Mapping[Pair, int]) -> list[list[bytes]]:
    """Every spelling of one word on the way from the first to the last.

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
