"""Chat templates: from a list of messages to the one text, and the ids, that a chat model was trained to go on from.

    [{"role": "user", "content": "Hi"}]  --template-->  "<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\n"

The template comes with the model. It is written in the language of Jinja, and runs in a process of its own, with
limits (`chat_renderer.py`), because it is a program of a stranger.

Special tokens are the walls between the messages. So nobody must be able to write one into a message: see
`ChatTemplate.encode`.

Before this: `tokenizer.py`. After this: the model continues the ids. Left out on purpose: training masks.
"""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.text.tokenizer import Tokenizer

RENDERER = Path(__file__).with_name("chat_renderer.py")
PATIENCE = 60.0  # seconds on the clock; the renderer is ended after a few seconds of work, but may have to wait

Message = Mapping[str, Any]


@dataclass(frozen=True)
class ChatTemplate:
    """The template of a chat model.

    source: the template itself, "chat_template" in the model's files. bos, eos: the names of the tokens that begin and
    end a text, which it may use as `bos_token` and `eos_token`.

    >>> source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"
    >>> template = ChatTemplate(source, eos="</s>")
    >>> template.render([{"role": "user", "content": "Hi"}])
    '[user] Hi</s>'
    """

    source: str
    bos: str | None = None
    eos: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise InputError(f"source must be the text of a chat template, and is {type(self.source).__name__}.")

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True, **variables: Any) -> str:
        """The whole conversation as one text.

        messages: dictionaries with a "role" ("system", "user", "assistant") and a "content", and whatever else the
        template reads. add_generation_prompt: end with the words that make the model answer. variables: more for the
        template to read, such as `tools` or `enable_thinking`; anything that JSON can hold.

        Raises InputError when the template is wrong, refuses the messages, or takes more than 2 seconds or 1 GB.
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
        _refuse_assembled_names(names, split[::2], [messages, variables])
        ids = tokenizer.special_tokens
        return tokenizer.encode_parts([ids[names[int(part)]] if n % 2 else part for n, part in enumerate(split)])

    def _render(
        self, messages: Sequence[Message], add_generation_prompt: bool, variables: dict[str, Any], marks: dict[str, str]
    ) -> str:
        _check_messages(messages)
        tokens = {"bos_token": self.bos, "eos_token": self.eos}
        known: dict[str, Any] = {name: token for name, token in tokens.items() if token is not None}
        known |= {"messages": messages, "add_generation_prompt": add_generation_prompt, **variables}
        try:
            request = json.dumps({"source": self.source, "variables": known, "marks": marks})
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"messages and variables must be what JSON can hold: {error}.") from error
        answer = _ask_renderer(request)
        if "error" in answer:
            raise InputError(f"the chat template cannot be used for these messages: {answer['error'].rstrip('.')}.")
        return answer["text"]


def _check_messages(messages: Sequence[Message]) -> None:
    if isinstance(messages, str) or not all(isinstance(message, Mapping) for message in messages):
        raise InputError('messages must be a list of dictionaries: [{"role": "user", "content": "Hi"}].')
    for n, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise InputError(f'messages[{n}] has no "role", such as "user", "assistant" or "system".')


def _ask_renderer(request: str) -> dict[str, str]:
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


def _refuse_assembled_names(names: Sequence[str], ordinary: Sequence[str], given: Any) -> None:
    """Every special name that is left in the ordinary text must be one that somebody wrote in a message."""
    left = [name for name in names if any(name in text for text in ordinary)]
    if not left:
        return
    strings = list(_strings(given))
    for name in left:
        if not any(name in string for string in strings):
            raise InputError(
                f"the chat template puts the special token {name!r} together from parts, so that it cannot be told "
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
