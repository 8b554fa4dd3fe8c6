"""A generated text in a notebook: after its prompt, as it reads, with how it ended and how probable it was.

Builds on: `generation.generated_text`. Used by: `GeneratedText`, when a notebook shows it.
"""

from __future__ import annotations

from tinygrad_llm.drawing.colours import QUIET
from tinygrad_llm.drawing.html import box, escape, quiet
from tinygrad_llm.generation.generated_text import GeneratedText


def html(text: GeneratedText) -> str:
    """The HTML form of a generated text."""
    prompt = f"<span style='opacity:{QUIET}'>{escape(text.prompt)}</span>"
    count = len(text.ids)
    told = f"{count:,} token" + "s" * (count != 1) + f", log-probability {text.log_probability:.2f} nats"
    body = f"<div style='white-space:pre-wrap;max-width:60em'>{prompt}{escape(str(text))}</div>"
    return box(body, quiet(f"{told}, ended by: {text.ending}"))
