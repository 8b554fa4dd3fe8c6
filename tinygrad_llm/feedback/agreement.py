"""How much judgements are worth: do labellers agree, and do they go by position or by length instead of by content?

Agreement is measured by Cohen's kappa (1960): (p_o - p_e) / (1 - p_e), p_o the share of questions on which two
labellers said the same, p_e the share that chance would give, had each kept only their own frequencies. 1 is always
the same, 0 is no better than chance. A bias is a share that should be one half: of the left reply among the chosen,
of the longer one among the chosen.

Builds on: `judgements`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from tinygrad_llm.feedback.judgements import Judgement

Z_95 = 1.959964  # of the normal distribution: 95 % lie within ± this


@dataclass(frozen=True)
class Share:
    """How often something happened: `count` of `total`; low and high are the 95 % interval of Wilson (1927)."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.total if self.total else math.nan

    @classmethod
    def of(cls, count: int, total: int) -> Share:
        if total == 0:
            return cls(0, 0, 0.0, 1.0)
        p, z = count / total, Z_95
        middle = (p + z * z / (2 * total)) / (1 + z * z / total)
        half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
        return cls(count, total, max(0.0, middle - half), min(1.0, middle + half))


class Agreement(NamedTuple):
    """Of two labellers on the questions that both answered. kappa: NaN where both always said one and the same."""

    labellers: tuple[str, str]
    questions: int
    same: float
    kappa: float


@dataclass(frozen=True, repr=False)
class Report:
    """counts: of each choice and flag. labellers: judgements of each. left, longer: shares among decided pairs.

    agreements: one for every two labellers with common questions. corrections: how many judgements have one.
    """

    judgements: int
    prompts: int
    counts: dict[str, int]
    corrections: int
    labellers: dict[str, int]
    models: dict[str, int]
    left: Share
    longer: Share
    agreements: tuple[Agreement, ...]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The report in words, one fact a line."""
        lines = [
            f"{self.judgements} judgements of {self.prompts} prompts, {self.corrections} with a correction",
            "said: " + ", ".join(f"{name} {count}" for name, count in self.counts.items()),
            "by: " + ", ".join(f"{name or 'unnamed'} {count}" for name, count in self.labellers.items()),
        ]
        for share, sentence, bias in (
            (self.left, "the left one was chosen", "a bias: without one it would be 50 %"),
            (self.longer, "the longer one was chosen", "so a reward model will learn length along with quality"),
        ):
            if share.total:
                lines.append(
                    f"{sentence}: {share.value:.0%} of {share.total} (95 %: {share.low:.0%} to {share.high:.0%})"
                    + ("" if share.low <= 0.5 <= share.high else f", {bias}")
                )
        for one in self.agreements:
            lines.append(
                f"{one.labellers[0]} and {one.labellers[1]}: the same in {one.same:.0%} of {one.questions}, "
                f"kappa {one.kappa:.2f}"
            )
        return lines


def report(judgements: Iterable[Judgement]) -> Report:
    """What the judgements say about themselves."""
    judgements = list(judgements)
    said = [one.choice or one.flag or "correction" for one in judgements]
    decided = [one for one in judgements if one.choice in ("left", "right")]
    unequal = [one for one in decided if len(one.replies[0]) != len(one.replies[1])]
    longer = [one for one in unequal if (len(one.replies[0]) > len(one.replies[1])) == (one.choice == "left")]
    return Report(
        judgements=len(judgements),
        prompts=len({json.dumps(one.prompt) for one in judgements}),
        counts=dict(Counter(said).most_common()),
        corrections=sum(bool(one.correction) for one in judgements),
        labellers=dict(Counter(one.labeller for one in judgements).most_common()),
        models=dict(Counter(one.model for one in judgements).most_common()),
        left=Share.of(sum(one.choice == "left" for one in decided), len(decided)),
        longer=Share.of(len(longer), len(unequal)),
        agreements=tuple(agreements(judgements)),
    )


def agreements(judgements: Sequence[Judgement]) -> Iterable[Agreement]:
    """Of every two labellers who answered some of the same questions; of repeated answers the last one counts."""
    answers: dict[str, dict[str, str]] = {}
    for one in judgements:
        question, answer = question_and_answer(one)
        answers.setdefault(one.labeller, {})[question] = answer
    for a, b in combinations(sorted(answers), 2):
        common = sorted(answers[a].keys() & answers[b].keys())
        if common:
            first, second = [answers[a][q] for q in common], [answers[b][q] for q in common]
            same = sum(x == y for x, y in zip(first, second, strict=True)) / len(common)
            yield Agreement((a, b), len(common), same, cohens_kappa(first, second))


def question_and_answer(judgement: Judgement) -> tuple[str, str]:
    """What was asked, and what was said. Sides are undone: "first" is the first of the two in alphabetical order."""
    replies = sorted(judgement.replies)
    if judgement.choice in ("left", "right"):
        chosen = judgement.replies[0 if judgement.choice == "left" else 1]
        return json.dumps([judgement.prompt, replies]), "first" if chosen == replies[0] else "second"
    return json.dumps([judgement.prompt, replies]), judgement.choice or judgement.flag or "correction"


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """(p_o - p_e) / (1 - p_e) of two lists of answers to the same questions; NaN where p_e is 1.

    >>> print(cohens_kappa("aabb", "aabb"), cohens_kappa("aabb", "abab"))
    1.0 0.0
    """
    n = len(first)
    p_same = sum(x == y for x, y in zip(first, second, strict=True)) / n
    p_chance = sum(first.count(word) * second.count(word) for word in set(first)) / (n * n)
    return (p_same - p_chance) / (1 - p_chance) if p_chance < 1 else math.nan
