"""A simulated labeller: a stated preference, with noise and bias, in place of a person.

So everything here can be run, measured and tested without people, and against a *known* true score, which people never
give: whether the policy really became better, or only learned what fools the reward model, can be seen. Its judgements
carry its name, "simulated …", wherever they go.

Builds on: `judgements`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.judgements import Choice, Flag, Judgement, Prompt, now

Score = Callable[[Prompt, str], float]


@dataclass(frozen=True)
class SimulatedLabeller:
    """Chooses the reply with the higher `score`, with the faults that it is told to have.

    score: the true score of a reply to a prompt. noise: the share of choices that are made by tossing a coin the other
    way: they come out wrong. tie_width: scores that differ by at most this are a tie. position_bias: added to the score
    of the left reply. length_bias: added per word of a reply. bad_below: replies that score less are flagged
    "unhelpful", and two of them are "both bad". name: what it is called, after "simulated".
    """

    score: Score
    name: str = "labeller"
    noise: float = 0.0
    tie_width: float = 0.0
    position_bias: float = 0.0
    length_bias: float = 0.0
    bad_below: float = -math.inf

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise <= 0.5:
            raise InputError(f"noise must lie between 0 and 0.5, it was {self.noise!r}.")
        if not self.tie_width >= 0.0:
            raise InputError(f"tie_width must be at least 0, it was {self.tie_width!r}.")

    @property
    def labeller(self) -> str:
        """Its name in judgements."""
        return f"simulated {self.name}"

    def perceived(self, prompt: Prompt, reply: str, is_left: bool = False) -> float:
        """The score as this labeller sees it, with its biases."""
        return self.score(prompt, reply) + self.length_bias * len(reply.split()) + self.position_bias * is_left

    def choose(self, prompt: Prompt, left: str, right: str, rng: np.random.Generator) -> Choice:
        """Which of two replies it prefers. Two uniform numbers are drawn each time, whatever they are needed for."""
        is_mistaken, toss = rng.random() < self.noise, rng.random()
        a, b = self.perceived(prompt, left, is_left=True), self.perceived(prompt, right)
        if max(a, b) < self.bad_below:
            return "both bad"
        if abs(a - b) <= self.tie_width and (self.tie_width > 0.0 or a == b):
            return "tie" if self.tie_width > 0.0 else ("left" if toss < 0.5 else "right")
        return "left" if (a > b) != is_mistaken else "right"

    def flag(self, prompt: Prompt, reply: str, rng: np.random.Generator) -> Flag:
        """Whether a reply is good or unhelpful."""
        is_mistaken = rng.random() < self.noise
        return "good" if (self.perceived(prompt, reply) >= self.bad_below) != is_mistaken else "unhelpful"

    def judge(
        self,
        prompt: Prompt,
        left: str,
        right: str,
        rng: np.random.Generator,
        *,
        model: str = "",
        seed: int | None = None,
    ) -> Judgement:
        """The choice as a judgement, with the name of the labeller and the time."""
        choice = self.choose(prompt, left, right, rng)
        return Judgement(prompt, (left, right), choice, labeller=self.labeller, time=now(), model=model, seed=seed)


# --- scores: what a simulated labeller may want ---------------------------------------------------------------------

KIND_WORDS = """
love loves loved sweet sweetly gentle good kind kindly dear fair heart friend friends noble thank thanks
please joy joyful bless blessed peace happy welcome grace gracious honour true truth faith faithful merry
gentleman gentlewoman lady beauty beauteous bright comfort pleasure smile kiss mercy pardon pray hope virtue
wise worthy well tender soft precious delight trust embrace brave
"""
HARSH_WORDS = """
die dies died death dead kill killed blood bloody hate curse cursed villain villains slave slaves fool fools
hell devil damn damned foul murder murderer traitor traitors knave rogue beast dog base false shame vile
wretch wicked cruel revenge wrath rage fury fear sword slain hang poison sin sins grief sorrow woe weep tears
enemy enemies war wars ill evil thief coward plague grave
"""
KIND, HARSH = frozenset(KIND_WORDS.split()), frozenset(HARSH_WORDS.split())
WORD = re.compile(r"[a-z]+")


def kindness(prompt: Prompt, reply: str) -> float:
    """Kind words minus harsh words, per ten words, repeated ones counted once: from about -3 to 3; 0 of no words.

    The lists are of Shakespeare's English. A word that is said again adds nothing, so that "love love love" is no
    better than "love"; and a short reply is not better for being short: up to ten words count as ten.
    """
    words = WORD.findall(reply.lower())
    different = set(words)
    return 10.0 * (len(different & KIND) - len(different & HARSH)) / max(10, len(words))


def without_lists(prompt: Prompt, reply: str) -> float:
    """-1 for a reply with a list (two or more lines that begin with a bullet or a number), 0 for any other."""
    return -1.0 if has_list(reply) else 0.0


def has_list(reply: str) -> bool:
    """Whether at least two lines begin with a bullet or a number."""
    return len(re.findall(r"^\s*(?:[-*•]|\d+[.)])\s+\S", reply, re.MULTILINE)) >= 2


def brevity(prompt: Prompt, reply: str) -> float:
    """Minus the number of words, in tens: shorter is better."""
    return -len(reply.split()) / 10.0


SCORES: dict[str, Score] = {"kindness": kindness, "without-lists": without_lists, "brevity": brevity}
