"""Judgements: what they must hold, how they are kept and read, and what the methods get of them."""

import json
import os

import numpy as np
import pytest

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.feedback.agreement import Share, cohens_kappa, report
from tinygrad_llm.feedback.judgement_files import read_judgements
from tinygrad_llm.feedback.judgements import (
    Demonstration,
    Flagged,
    Judgement,
    Pair,
    append_judgement,
    demonstrations,
    flags,
    pairs,
)
from tinygrad_llm.feedback.simulated import SimulatedLabeller, brevity, has_list, kindness

TURNS = ({"role": "user", "content": "Hello?"},)
SOME = [
    Judgement("p", ("a", "b"), "left", labeller="Ann"),
    Judgement("p", ("a", "b"), "right", correction="c", labeller="Bob"),
    Judgement("q", ("a", "b"), "tie", labeller="Ann"),
    Judgement("q", ("a", "b"), "both bad", labeller="Bob"),
    Judgement("r", ("a",), flag="problematic", correction="c"),
    Judgement("r", ("a",), flag="good"),
    Judgement(TURNS, correction="Hi."),
    Judgement("s", ("a", "a"), "left"),
    Judgement("s", ("a", " "), "left"),
]


def test_a_file_gives_back_what_was_appended(tmp_path):
    path = tmp_path / "judgements.jsonl"
    for one in SOME:
        append_judgement(path, one)
    assert read_judgements(path) == (SOME, [])


def test_a_line_that_was_cut_off_is_named_and_nothing_else_is_lost(tmp_path):
    path = tmp_path / "judgements.jsonl"
    append_judgement(path, SOME[0])
    append_judgement(path, SOME[1])
    os.truncate(path, path.stat().st_size - 9)
    append_judgement(path, SOME[2])
    judgements, problems = read_judgements(path)
    assert judgements == [SOME[0], SOME[2]]
    assert len(problems) == 1 and "line 2" in problems[0] and "not JSON" in problems[0]


def test_a_full_disk_says_so(tmp_path):
    with pytest.raises(MachineError, match="was not saved"):
        append_judgement(tmp_path / "missing" / "file.jsonl", SOME[0])


def test_pairs_come_from_choices_and_from_corrections():
    assert pairs(SOME) == [
        Pair("p", "a", "b"),
        Pair("p", "b", "a"),
        Pair("p", "c", "a"),
        Pair("r", "c", "a"),
    ]
    assert pairs(SOME, ties=True)[3] == Pair("q", "a", "b", is_tie=True)


def test_flags_come_from_all_that_is_called_good_or_bad():
    assert flags(SOME[:6]) == [
        Flagged("p", "a", True),
        Flagged("p", "b", False),
        Flagged("p", "b", True),
        Flagged("p", "c", True),
        Flagged("p", "a", False),
        Flagged("q", "a", False),
        Flagged("q", "b", False),
        Flagged("r", "c", True),
        Flagged("r", "a", False),
        Flagged("r", "a", True),
    ]


def test_demonstrations_are_corrections_and_on_request_what_was_chosen():
    assert demonstrations(SOME) == [Demonstration("p", "c"), Demonstration("r", "c"), Demonstration(TURNS, "Hi.")]
    assert demonstrations(SOME[:1], chosen=True) == [Demonstration("p", "a")]


@pytest.mark.parametrize(
    "entry, expected",
    [
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, Judgement("p", ("a", "b"), "left")),
        (
            {"prompt": [{"role": "user", "content": "Hello?"}], "chosen": "a", "rejected": "b"},
            Judgement(TURNS, ("a", "b"), "left"),
        ),
        (
            {
                "chosen": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "a"}],
                "rejected": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "b"}],
            },
            Judgement(TURNS, ("a", "b"), "left"),
        ),
        (
            {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Hey"},
            Judgement("\n\nHuman: Hi\n\nAssistant:", (" Hello", " Hey"), "left"),
        ),
        ({"prompt": "p", "completion": "a", "label": False}, Judgement("p", ("a",), flag="unhelpful")),
        ({"prompt": "p", "completion": "a"}, Judgement("p", correction="a")),
        (
            {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]},
            Judgement(TURNS, correction="Hi."),
        ),
    ],
)
def test_the_usual_files_are_read(tmp_path, entry, expected):
    for name, text in (("a.jsonl", json.dumps(entry) + "\n"), ("a.json", json.dumps([entry], indent=1))):
        (tmp_path / name).write_text(text)
        assert read_judgements(tmp_path / name).judgements == [expected]


@pytest.mark.parametrize(
    "entry, sentence",
    [
        ("{", "line 2: it is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "must be a JSON object"),
        ('{"question": "?"}', "it has the columns question"),
        ('{"chosen": "a", "rejected": "b"}', "do not begin with a common one"),
        ('{"prompt": "p", "completion": "a", "label": 1}', "label must be true or false"),
        ('{"prompt": 3, "completion": "a"}', "a prompt must be a text"),
        ('{"prompt": "p", "chosen": 1, "rejected": "b"}', "chosen must be a text"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "end with one of the assistant"),
        ('{"prompt": "p", "replies": ["a"], "choice": "left"}', "about 2 replies, there are 1"),
        ('{"prompt": "p", "replies": ["a", "b"], "choice": "up"}', "choice must be one of left"),
        ('{"prompt": "p", "replies": "ab", "choice": "left"}', "replies must be a list"),
        ('{"prompt": "p", "replies": ["a", 2], "choice": "left"}', "replies must be texts"),
        ('{"prompt": "p", "replies": ["a"], "flag": "good", "labeller": 3}', "labeller must be a text"),
        ('{"replies": ["a", "b"], "choice": "left"}', "it has no prompt"),
        ('{"prompt": "p", "replies": ["a", "b"]}', "needs a choice, a flag or a correction"),
    ],
)
def test_what_a_line_lacks_is_said_with_its_number_and_the_rest_is_used(tmp_path, entry, sentence):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n' + entry + "\n")
    judgements, problems = read_judgements(path)
    assert len(judgements) == len(problems) == 1
    assert sentence in problems[0] and "line 2" in problems[0]


def test_a_file_with_nothing_in_it_is_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_judgements(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="There is no"):
        read_judgements(tmp_path / "none.jsonl")


def test_kappa_by_hand():
    """Cohen's own kind of table: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: p_o 0.7, p_e 0.5."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohens_kappa(first, second) == pytest.approx((0.7 - 0.5) / 0.5)
    assert np.isnan(cohens_kappa(["a", "a"], ["a", "a"]))


def test_the_report_counts_agreement_and_biases():
    a_b, b_a = ("a", "bb"), ("bb", "a")
    found = report(
        [
            Judgement("1", a_b, "left", labeller="Ann"),
            Judgement("1", b_a, "right", labeller="Bob"),  # the same, seen from the other side
            Judgement("2", a_b, "right", labeller="Ann"),
            Judgement("2", a_b, "left", labeller="Bob"),
            Judgement("3", a_b, "tie", labeller="Ann"),
        ]
    )
    assert found.agreements[0].labellers == ("Ann", "Bob")
    assert (found.agreements[0].questions, found.agreements[0].same) == (2, 0.5)
    assert (found.left.count, found.left.total, found.longer.count) == (2, 4, 1)
    assert "kappa" in repr(found) and "tie 1" in repr(found)


def test_wilsons_interval():
    share = Share.of(8, 10)
    assert (share.low, share.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Share.of(0, 0).low == 0.0


def test_a_simulated_labeller_has_the_faults_it_is_told_to_have():
    rng = np.random.default_rng(0)
    exact = SimulatedLabeller(brevity)
    assert exact.choose("p", "one", "one two", rng) == "left"
    noisy = SimulatedLabeller(brevity, noise=0.1)
    wrong = sum(noisy.choose("p", "one", "one two", rng) == "right" for _ in range(4000))
    assert 0.08 < wrong / 4000 < 0.12
    assert SimulatedLabeller(brevity, length_bias=1.0).choose("p", "one", "one two", rng) == "right"
    assert SimulatedLabeller(brevity, position_bias=9.0).choose("p", "one two", "one", rng) == "left"
    assert SimulatedLabeller(brevity, tie_width=0.2).choose("p", "one two", "one", rng) == "tie"
    assert SimulatedLabeller(brevity, bad_below=0.0).choose("p", "one two", "one", rng) == "both bad"
    assert SimulatedLabeller(brevity, bad_below=-0.15).flag("p", "one two", rng) == "unhelpful"
    assert exact.judge("p", "one", "one two", rng).labeller == "simulated labeller"
    with pytest.raises(InputError, match="noise must lie"):
        SimulatedLabeller(brevity, noise=0.6)


def test_the_scores_say_what_they_say():
    assert (
        kindness("", "I love thee, love thee, love thee, my sweet friend and good lord")
        > 0
        > kindness("", "Die, slave!")
    )
    assert kindness("", "") == 0.0
    assert has_list("Well:\n1. one\n2. two") and has_list("- a\n- b") and not has_list("a - b\n1. only one")
