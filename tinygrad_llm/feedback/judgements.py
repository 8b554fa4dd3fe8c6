"""What people said about replies: one record per judgement, kept in a file with one JSON object per line.

A judgement is about one prompt. It is a choice between two replies, or a flag on one reply, and it may bring a
correction: the reply that the labeller would have wanted. The methods of this folder ask for it in three forms:

    pairs            this reply rather than that one     the reward model, DPO, IPO, ORPO, SimPO
    flags            this reply is good, this one is not  KTO
    demonstrations   reply like this                      supervised tuning

The file only ever grows at its end, and each line is on the disk before the next question is asked.

Used by: `judgement_files` (reads, also the files of others), `agreement` (reports), `simulated`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from tinygrad_llm.errors import InputError, MachineError

Choice = Literal["left", "right", "tie", "both bad"]
Flag = Literal["good", "unhelpful", "problematic"]
Prompt = str | tuple[dict[str, str], ...]  # a text to go on from, or the turns of a conversation


@dataclass(frozen=True)
class Judgement:
    """One judgement about one prompt.

    prompt: a text, or the turns of a conversation: ({"role": "user", "content": …}, …). replies: as they were shown,
    from left to right; two for a choice, one for a flag, none for a demonstration. choice: between two. flag: of one.
    correction: what the reply should have been. labeller: who judged; a simulated one says so in its name.
    time: ISO 8601, UTC. model, seed: what wrote the replies.

    Raises InputError when these do not fit together.
    """

    prompt: Prompt
    replies: tuple[str, ...] = ()
    choice: Choice | None = None
    flag: Flag | None = None
    correction: str | None = None
    labeller: str = ""
    time: str = ""
    model: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        if not all(isinstance(reply, str) for reply in self.replies):
            raise InputError(f"replies must be texts, they were {self.replies!r}.")
        for name, value, allowed, count in (
            ("choice", self.choice, get_args(Choice), 2),
            ("flag", self.flag, get_args(Flag), 1),
        ):
            if value is None:
                continue
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}; it was {value!r}.")
            if len(self.replies) != count:
                raise InputError(f"a {name} is about {count} replies, there are {len(self.replies)}.")
        if self.choice is None and self.flag is None and not self.correction:
            raise InputError("a judgement needs a choice, a flag or a correction.")
        for name in ("correction", "labeller", "time", "model"):
            value = getattr(self, name)
            if not (isinstance(value, str) or (name == "correction" and value is None)):
                raise InputError(f"{name} must be a text, it was {value!r}.")

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields that say something."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "", ())}


def check_prompt(prompt: Any) -> None:
    """Raise InputError unless it is a text, or turns with a role and a content."""
    if isinstance(prompt, str):
        return
    is_turns = isinstance(prompt, tuple) and all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in prompt
    )
    if not is_turns or not prompt:
        raise InputError(f"prompt must be a text or a list of turns with role and content, it was {prompt!r:.100}.")


def now() -> str:
    """The time of a judgement made now."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_judgement(path: str | Path, judgement: Judgement) -> None:
    """One more line at the end of the file, on the disk when this returns. Raises MachineError when that fails.

    A line that an earlier process was killed in the middle of stays apart: a new one begins.
    """
    line = json.dumps(judgement.to_dict(), ensure_ascii=False).encode() + b"\n"
    try:
        with open(path, "ab+") as file:
            if file.tell() and not ends_with_line_end(file):
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise MachineError(
            f"{path}: {error.strerror or error}. The judgement was not saved; check the disk."
        ) from error


def ends_with_line_end(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


# --- the three forms ------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """`chosen` was preferred to `rejected`; where is_tie, both were found as good."""

    prompt: Prompt
    chosen: str
    rejected: str
    is_tie: bool = False


class Flagged(NamedTuple):
    """A reply that is good, or is not."""

    prompt: Prompt
    reply: str
    is_good: bool


class Demonstration(NamedTuple):
    """How a reply should be."""

    prompt: Prompt
    reply: str


def pairs(judgements: Iterable[Judgement], *, ties: bool = False) -> list[Pair]:
    """The comparisons in the judgements: choices, and corrections, each preferred to the reply that it corrects.

    ties: with the ties; else without. Pairs of equal replies say nothing and are left out; so are empty replies, which
    no method can learn from.
    """
    found = []
    for one in judgements:
        if one.choice in ("left", "right"):
            left, right = one.replies
            found.append(Pair(one.prompt, left, right) if one.choice == "left" else Pair(one.prompt, right, left))
        elif one.choice == "tie" and ties:
            found.append(Pair(one.prompt, one.replies[0], one.replies[1], is_tie=True))
        if one.correction:
            found += [Pair(one.prompt, one.correction, reply) for reply in faulted(one)]
    return [pair for pair in found if pair.chosen != pair.rejected and pair.chosen.strip() and pair.rejected.strip()]


def faulted(judgement: Judgement) -> Sequence[str]:
    """The replies that the judgement finds fault with: all, unless one of two was chosen or the only one is good."""
    if judgement.choice in ("left", "right"):
        return judgement.replies[1:] if judgement.choice == "left" else judgement.replies[:1]
    return () if judgement.flag == "good" or judgement.choice == "tie" else judgement.replies


def flags(judgements: Iterable[Judgement]) -> list[Flagged]:
    """Every reply that was called good or bad: by a flag, by a choice (both are bad: both), by a correction (good)."""
    found = []
    for one in judgements:
        bad = faulted(one)
        good = [] if one.choice in ("tie", "both bad") else [reply for reply in one.replies if reply not in bad]
        if one.correction:
            good.append(one.correction)
        found += [Flagged(one.prompt, reply, True) for reply in good]
        found += [Flagged(one.prompt, reply, False) for reply in bad]
    return [flagged for flagged in found if flagged.reply.strip()]


def demonstrations(judgements: Iterable[Judgement], *, chosen: bool = False) -> list[Demonstration]:
    """The corrections; with `chosen` also the replies that were chosen or called good."""
    judgements = list(judgements)
    found = [Demonstration(one.prompt, one.correction) for one in judgements if one.correction]
    if chosen:
        corrected = [one.prompt for one in found]
        good = (one for one in flags(judgements) if one.is_good and one.prompt not in corrected)
        found += [Demonstration(one.prompt, one.reply) for one in good]
    return [one for one in found if one.reply.strip()]
