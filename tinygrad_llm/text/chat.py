"""Chat templates: from a list of messages to the one text, and the ids, that a chat model was trained to go on from.

    [{"role": "user", "content": "Hi"}]  --template-->  "<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n"

The template comes with the model. It is written in the language of Jinja, and runs in a process of its own, with
limits (`chat_renderer.py`), because it is a program of a stranger.

Special tokens separate the messages. So a message must not be able to contain one: see `ChatTemplate.encode`.

Builds on: `tokenizer`. Used by: `chat_session`, and `hub`, which reads templates from files.
Left out on purpose: training masks.
"""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.text.tokenizer import Tokenizer

RENDERER = Path(__file__).with_name("chat_renderer.py")
LONGEST_REASON = 500  # characters of what a template says when it refuses
PATIENCE = 60.0  # seconds on the clock; the renderer is ended after a few seconds of work, but may have to wait
LONGEST = 1 << 18  # characters of a conversation beyond four times those of the messages

Message = Mapping[str, Any]


@dataclass(frozen=True)
class ChatTemplate:
    """The template of a chat model.

    source: the template itself, "chat_template" in the model's files. bos, eos: the tokens that begin and end a text,
    which it may use as `bos_token` and `eos_token`. special_tokens: other variables for it that are special tokens,
    such as {"pad_token": "<pad>"}. name: what errors call the template, such as the file that it stands in.

    >>> source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"
    >>> template = ChatTemplate(source, eos="</s>")
    >>> template.render([{"role": "user", "content": "Hi"}])
    '[user] Hi</s>'
    """

    source: str
    bos: str | None = None
    eos: str | None = None
    special_tokens: Mapping[str, str] = field(default_factory=dict, hash=False)
    name: str = field(default="the chat template", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise InputError(f"source must be the text of a chat template, and is {type(self.source).__name__}.")

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> str:
        """The whole conversation as one text.

        messages: dictionaries with a "role" ("system", "user", "assistant") and a "content", and whatever else the
        template reads. add_generation_prompt: end with the words that make the model answer. variables: more for the
        template to read, such as `enable_thinking`; anything that JSON can hold. `tools` and `documents` are None
        unless they are given, as in Transformers.

        Raises InputError when the template is wrong, refuses the messages, or takes more than 2 seconds, 1 GB, a
        million iterations of its loops, or 262,144 characters beyond four times those of the messages.
        """
        return self._render(messages, add_generation_prompt, variables, {})

    def encode(
        self,
        messages: Sequence[Message],
        tokenizer: Tokenizer,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> list[int]:
        """The ids of the whole conversation. Arguments as for `render`.

        For ordinary messages they are `tokenizer.encode(self.render(messages), allowed_special="all")`. But there a
        user who writes "<|im_end|>" would end his own message, and could go on as somebody else. Here a special token
        counts where the template's author wrote it: in the text of the template, in a string that it puts out, or in
        `bos_token` and `eos_token`. In all these places a mark takes its place before the template runs, one that
        nobody can guess: it is drawn anew for each call. What stands at a mark afterwards becomes the id; all else is
        ordinary text, whatever it looks like and however the template has cut and joined it.

        Raises InputError also when a template puts the name of a special token together from parts
        ('<|' + role + '|>'), since its own work and a user's cannot be told apart then.
        """
        secret = secrets.token_hex(16)
        names = list(tokenizer.special_tokens)
        marks = {name: f"\ue000{secret}:{n}\ue001" for n, name in enumerate(names)}
        text = self._render(messages, add_generation_prompt, variables, marks)
        split = re.split(f"\ue000{secret}:([0-9]+)\ue001", text)  # ordinary text and the number of a mark, in turn
        _refuse_assembled_names(self.name, names, split[::2], [messages, variables])
        ids = tokenizer.special_tokens
        return tokenizer.encode_parts([ids[names[int(part)]] if n % 2 else part for n, part in enumerate(split)])

    def _render(
        self, messages: Sequence[Message], add_generation_prompt: bool, variables: dict[str, Any], marks: dict[str, str]
    ) -> str:
        _check_messages(messages)
        named = {**self.special_tokens, "bos_token": self.bos, "eos_token": self.eos}
        tokens = {name: token for name, token in named.items() if token is not None and name not in variables}
        given = {"messages": messages, "tools": None, "documents": None, **variables}
        try:
            longest = LONGEST + 4 * len(json.dumps(given))
            request = json.dumps(
                {
                    "source": self.source,
                    "variables": {**tokens, "add_generation_prompt": add_generation_prompt, **given},
                    "tokens": list(tokens),
                    "marks": marks,
                    "longest": longest,
                }
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"messages and variables must be what JSON can hold: {error}.") from error
        answer = _run_renderer(request)
        if "error" in answer:
            why = answer["error"].rstrip(".")
            why = why if len(why) <= LONGEST_REASON else why[:LONGEST_REASON] + "…"
            raise InputError(f"{self.name} cannot be used for these messages: {why}.")
        text = answer["text"]
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"{self.name} cannot be used for these messages: it makes half a character (a surrogate).")
        return text


def _check_messages(messages: Sequence[Message]) -> None:
    if isinstance(messages, str) or not all(isinstance(message, Mapping) for message in messages):
        raise InputError('messages must be a list of dictionaries: [{"role": "user", "content": "Hi"}].')
    for n, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise InputError(f'messages[{n}] has no "role", such as "user", "assistant" or "system".')


def _run_renderer(request: str) -> dict[str, str]:
    """The renderer's answer, whatever becomes of it."""
    # -P: a file called jinja2.py in the folder where the user works must not run instead.
    command = [sys.executable, "-P", str(RENDERER)]
    try:
        done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"error": f"it did not end within {PATIENCE:.0f} seconds"}
    except OSError as error:
        raise MachineError(f"the process that renders chat templates could not be started: {error}.") from error
    if b"ModuleNotFoundError" in done.stderr:
        raise MachineError("chat templates need the package jinja2. Install it: pip install jinja2.")
    try:
        return json.loads(done.stdout)
    except ValueError:  # ended by the system, in the middle of its work
        return {"error": "it takes too much time or memory"}


def _refuse_assembled_names(template: str, names: Sequence[str], ordinary: Sequence[str], given: Any) -> None:
    """Every special name that is left in the ordinary text must be one that somebody wrote in a message."""
    left = [name for name in names if any(name in text for text in ordinary)]
    if not left:
        return
    strings = list(_strings(given))
    for name in left:
        if not any(name in string for string in strings):
            raise InputError(
                f"{template} puts the special token {name!r} together from parts, so that it cannot be told "
                "from what a user wrote. Write the name out in the template."
            )


def _strings(value: Any) -> Iterator[str]:
    """All strings in nested lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(list(value.items()))
    elif isinstance(value, Sequence):
        for part in value:
            yield from _strings(part)
