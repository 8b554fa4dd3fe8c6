"""Reading judgements: our own files, and the usual files of preferences and demonstrations that others publish.

| what a line (or member of a JSON list) has | what it becomes |
|---|---|
| prompt, replies, choice / flag / correction | itself |
| prompt, chosen, rejected | a choice |
| chosen, rejected, each with the prompt in front | a choice; the prompt is what both begin with |
| prompt, completion, label (true or false) | a flag |
| prompt, completion | a demonstration |
| messages | a demonstration: the last turn, after the others |

Prompts and replies are texts, or conversations: lists of turns with role and content.

Used by: everything that learns from judgements.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_llm.errors import InputError
from tinygrad_llm.feedback.judgements import Judgement, Prompt
from tinygrad_llm.files import read_text

LAST_SPEAKER = "Assistant:"  # where a conversation in plain text, as in some published files, goes over to the reply


class JudgementFile(NamedTuple):
    """judgements: those that could be read. problems: a sentence for each line that could not, with its number."""

    judgements: list[Judgement]
    problems: list[str]


def read_judgements(path: str | Path) -> JudgementFile:
    """The judgements of a file, .jsonl or .json. A line that cannot be read is named and left out.

    Raises InputError when there is no such file, or nothing in it can be read; MachineError when the disk fails.
    """
    path = Path(path)
    text = read_text(path)
    judgements, problems = [], []
    for where, read in entries(path, text):
        try:
            judgements.append(as_judgement(read()))
        except InputError as error:
            problems.append(f"{path}, {where}: {error}")
    if not judgements:
        reason = problems[0] if problems else f"{path} is empty."
        raise InputError(f"no judgement could be read: {reason}")
    return JudgementFile(judgements, problems)


def entries(path: Path, text: str) -> list[tuple[str, Callable[[], Any]]]:
    """Where each entry stands, and a function that reads it."""
    if text.lstrip().startswith("["):
        return [
            (f"entry {i}", partial(lambda member: member, member)) for i, member in enumerate(parsed(text), start=1)
        ]
    return [(f"line {i}", partial(parsed, line)) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]


def parsed(text: str) -> Any:
    """JSON. Raises InputError for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"it is not JSON ({reason}).") from error


def as_judgement(entry: Any) -> Judgement:
    """An entry in any of the forms above. Raises InputError that says what it lacks."""
    if not isinstance(entry, dict):
        raise InputError(f"it must be a JSON object, it is a {type(entry).__name__}.")
    if "choice" in entry or "flag" in entry or "correction" in entry or "replies" in entry:
        return own(entry)
    who = {"labeller": entry.get("labeller", ""), "model": entry.get("model", "")}
    if "chosen" in entry and "rejected" in entry:
        prompt, chosen, rejected = comparison(entry)
        return Judgement(prompt, (chosen, rejected), "left", **who)
    if "prompt" in entry and "completion" in entry:
        prompt, reply = as_prompt(entry["prompt"]), as_reply(entry["completion"], "completion")
        if "label" not in entry:
            return Judgement(prompt, correction=reply, **who)
        if not isinstance(entry["label"], bool):
            raise InputError(f"label must be true or false, it is {entry['label']!r}.")
        return Judgement(prompt, (reply,), flag="good" if entry["label"] else "unhelpful", **who)
    if "messages" in entry:
        turns = as_prompt(entry["messages"])
        if isinstance(turns, str) or len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise InputError("messages must be turns that end with one of the assistant, after at least one other.")
        return Judgement(turns[:-1], correction=turns[-1]["content"], **who)
    raise InputError(
        f"it has the columns {', '.join(map(str, entry)) or 'none'}; there must be prompt, chosen and rejected, or "
        "prompt and completion, or messages, or prompt, replies and choice."
    )


def own(entry: dict[str, Any]) -> Judgement:
    """A line that `append_judgement` wrote."""
    known = set(Judgement.__dataclass_fields__)
    if "prompt" not in entry:
        raise InputError("it has no prompt.")
    replies = entry.get("replies", [])
    if not isinstance(replies, list):
        raise InputError(f"replies must be a list of texts, it is {replies!r:.60}.")
    values = {name: value for name, value in entry.items() if name in known}
    return Judgement(**values | {"prompt": as_prompt(entry["prompt"]), "replies": tuple(replies)})


def comparison(entry: dict[str, Any]) -> tuple[Prompt, str, str]:
    """(prompt, chosen, rejected) of an entry that has the latter two, with or without the prompt in front of them."""
    chosen, rejected = entry["chosen"], entry["rejected"]
    if "prompt" in entry:
        return as_prompt(entry["prompt"]), as_reply(chosen, "chosen"), as_reply(rejected, "rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        cut = chosen.rfind(LAST_SPEAKER, 0, common_length(chosen, rejected))
        if cut < 0:
            raise InputError("it has no prompt, and chosen and rejected do not begin with a common one.")
        cut += len(LAST_SPEAKER)
        return chosen[:cut], chosen[cut:], rejected[cut:]
    turns, others = as_prompt(chosen), as_prompt(rejected)
    if isinstance(turns, str) or isinstance(others, str) or len(turns) < 2 or turns[:-1] != others[:-1]:
        raise InputError(
            "it has no prompt, and chosen and rejected are not conversations that differ in the last turn."
        )
    return turns[:-1], turns[-1]["content"], others[-1]["content"]


def common_length(a: str, b: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def as_prompt(value: Any) -> Prompt:
    """A text, or turns. Raises InputError for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(is_turn(turn) for turn in value):
        return tuple({"role": turn["role"], "content": turn["content"]} for turn in value)
    raise InputError(f"a prompt must be a text or a list of turns with role and content, it is {value!r:.60}.")


def as_reply(value: Any, name: str) -> str:
    """A text; of a conversation, its last turn. Raises InputError for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and is_turn(value[-1]):
        return value[-1]["content"]
    raise InputError(f"{name} must be a text or a list of turns with role and content, it is {value!r:.60}.")


def is_turn(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)
