"""Learning merges and applying them: the fast functions against their definitions, and the rules by hand."""

import doctest
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_llm.text import bpe, fast_bpe

# Few different bytes, so that pairs repeat, overlap (b"aaa") and tie; the smallest and the largest byte among
# them.
some_words = st.text(alphabet="ab\x00ÿ", max_size=12).map(lambda word: word.encode("latin-1"))
word_counts = st.dictionaries(some_words, st.integers(1, 4), max_size=12)


@st.composite
def words_with_any_ranks(draw):
    """A word, and all ways to put its parts together, ranked at random as no training would rank them."""
    word = draw(st.text(alphabet="abc", min_size=2, max_size=10)).encode()
    cuts = itertools.combinations(range(len(word) + 1), 3)
    pairs = sorted({(word[i:j], word[j:k]) for i, j, k in cuts})
    return word, {pair: rank for rank, pair in enumerate(draw(st.permutations(pairs)))}


def spelled(word, ranks):
    return fast_bpe.merge(bpe.single_bytes(word), ranks)


def test_the_examples_in_the_docstrings():
    failed, tried = map(sum, zip(doctest.testmod(bpe), doctest.testmod(fast_bpe), strict=True))
    assert tried >= 4 and not failed


@given(word_counts, st.integers(0, 40))
def test_incremental_training_is_the_plain_definition(words, merges):
    assert fast_bpe.train(words, merges) == bpe.train(words, merges)


@given(word_counts)
def test_the_order_of_the_words_does_not_matter(words):
    assert fast_bpe.train(words, 20) == fast_bpe.train(dict(reversed(words.items())), 20)


@given(word_counts)
def test_trained_to_the_end_every_word_is_one_token_and_no_token_is_made_twice(words):
    merges = fast_bpe.train(words, 10_000)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    assert all(spelled(word, ranks) == [word] for word in words if word)
    made = [left + right for left, right in merges]
    assert len(set(made)) == len(made)
    assert all(spelled(token, ranks) == [token] for token in made)


def test_the_most_frequent_pair_is_merged_first():
    assert fast_bpe.train({b"ab": 2, b"zz": 1}, 2) == [(b"a", b"b"), (b"z", b"z")]


def test_among_equal_counts_the_lexicographically_greatest_pair_of_byte_strings_is_merged():
    assert fast_bpe.train({b"ab": 1, b"ba": 1, b"bb": 1, b"\xffa": 1}, 4) == [
        (b"\xff", b"a"),
        (b"b", b"b"),
        (b"b", b"a"),
        (b"a", b"b"),
    ]


def test_the_tie_is_decided_by_byte_strings_not_by_age_or_length():
    # After "ab" the pairs (ab, x) and (b, y) are equally frequent, and so are (a, c) and (ab, c): a prefix is
    # smaller.
    words = {b"ab": 9, b"abx": 2, b"by": 2}
    assert fast_bpe.train(words, 3)[1:] == [(b"b", b"y"), (b"ab", b"x")]
    words = {b"ab": 9, b"abc": 2, b"ac": 2}
    assert fast_bpe.train(words, 3)[1:] == [(b"ab", b"c"), (b"a", b"c")]


def test_every_place_of_an_overlapping_pair_counts():
    # "aaa" holds (a, a) in two places, which beats the single (z, z) although only one merge fits.
    assert fast_bpe.train({b"aaa": 1, b"zz": 1}, 3) == [(b"a", b"a"), (b"z", b"z"), (b"aa", b"a")]


def test_a_word_counts_as_often_as_it_occurs():
    assert fast_bpe.train({b"ab": 1, b"abc": 1, b"xy": 3}, 1) == [(b"x", b"y")]


def test_training_ends_when_nothing_is_left_to_merge():
    assert fast_bpe.train({b"abc": 1, b"x": 5, b"": 3}, 100) == [(b"b", b"c"), (b"a", b"bc")]
    assert fast_bpe.train({}, 5) == []


@given(some_words, word_counts)
def test_merging_is_the_last_of_the_merge_steps_with_trained_ranks(word, words):
    ranks = {pair: rank for rank, pair in enumerate(fast_bpe.train(words, 30))}
    assert spelled(word, ranks) == bpe.merge_steps(bpe.single_bytes(word), ranks)[-1]


@given(words_with_any_ranks())
@example((b"abcd", {(b"b", b"c"): 0, (b"a", b"b"): 1, (b"bc", b"d"): 2, (b"a", b"bc"): 3}))
def test_merging_is_the_last_of_the_merge_steps_with_any_ranks(word_and_ranks):
    word, ranks = word_and_ranks
    assert spelled(word, ranks) == bpe.merge_steps(bpe.single_bytes(word), ranks)[-1]


@given(some_words, word_counts)
def test_each_merge_step_joins_two_neighbours(word, words):
    ranks = {pair: rank for rank, pair in enumerate(fast_bpe.train(words, 30))}
    steps = bpe.merge_steps(bpe.single_bytes(word), ranks)
    assert steps[0] == [bytes([byte]) for byte in word]
    for before, after in zip(steps, steps[1:], strict=False):
        assert len(after) == len(before) - 1
        assert b"".join(after) == word
        (joined,) = {
            i for i in range(len(after)) if [*before[:i], before[i] + before[i + 1], *before[i + 2 :]] == after
        }
        pairs = [(ranks[pair], i) for i, pair in enumerate(zip(before, before[1:], strict=False)) if pair in ranks]
        assert min(pairs)[1] == joined


def test_a_page_of_one_sign_is_merged_as_a_short_run_is():
    ranks = {(b"-" * 2**n, b"-" * 2**n): n for n in range(6)}
    assert spelled(b"-" * 100_003, ranks) == [b"-" * 64] * 1562 + [b"-" * 32, b"--", b"-"]


# -- merges from an order of tokens --------------------------------------------------------------------------


def merge_by_order(spelling, order):
    """What SentencePiece does, said plainly: join the neighbours that make the first token in the order."""
    while True:
        places = [
            (order.index(a + b), -len(a), i) for i, (a, b) in enumerate(itertools.pairwise(spelling)) if a + b in order
        ]
        if not places:
            return spelling
        i = min(places)[2]
        spelling = [*spelling[:i], spelling[i] + spelling[i + 1], *spelling[i + 2 :]]


@given(
    st.text("abc", max_size=12).map(str.encode),
    st.lists(st.text("abc", min_size=2, max_size=5).map(str.encode), unique=True, max_size=25),
)
def test_implied_merges_spell_as_the_order_of_the_tokens_says(word, longer):
    order = [*longer, b"a", b"b", b"c"]
    ranks = {pair: rank for rank, pair in enumerate(fast_bpe.implied_merges(order))}
    assert spelled(word, ranks) == merge_by_order(bpe.single_bytes(word), order)


@given(st.lists(st.text("aé漢", min_size=1, max_size=4).map(str.encode), unique=True))
def test_implied_merges_are_all_pairs_that_make_a_token(tokens):
    pairs = list(fast_bpe.implied_merges(tokens))
    assert set(pairs) == {(a, b) for a in tokens for b in tokens if a + b in tokens}
    assert len(set(pairs)) == len(pairs)
    assert sorted(pairs, key=lambda pair: (tokens.index(pair[0] + pair[1]), -len(pair[0]))) == pairs


@given(words_with_any_ranks())
@example((b"abab", {(b"ab", b"a"): 0, (b"a", b"b"): 1}))
def test_long_words_are_spelled_as_short_ones_are(drawn):
    """All places of one pair at once, as it is done in long words, whatever the order of the merges is."""
    word, ranks = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_bpe, "LONG", 1)
        assert spelled(word, ranks) == bpe.merge_steps(bpe.single_bytes(word), ranks)[-1]
