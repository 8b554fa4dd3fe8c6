"""Tokens in a notebook: the text as it reads, each token on a ground of its own colour; point at one for its id.

Neighbours have different colours, and a token that occurs again has another one perhaps: the colour only shows where it
ends. The end of a line is drawn as ⏎. Bytes that are no whole character are written as Python writes them.
Builds on: `text.tokenized_text`. Used by: `TokenizedText`, when a notebook shows it.
"""

from __future__ import annotations

from tinygrad_llm.drawing.colours import SERIES
from tinygrad_llm.drawing.html import MONO, area, box, escape, quiet
from tinygrad_llm.text.tokenized_text import TokenizedText

SHOWN = 2000  # tokens; the others are counted
GROUND = 0.28  # opacity of the colours


def html(tokens: TokenizedText) -> str:
    """The HTML form of the tokens of a text."""
    spans = [span(i, token, id) for i, (token, id) in enumerate(zip(tokens[:SHOWN], tokens.ids, strict=False))]
    left = f" … {len(tokens) - SHOWN:,} more" if len(tokens) > SHOWN else ""
    size = sum(map(len, tokens))
    counts = f"{len(tokens):,} tokens, {size:,} bytes" + (f", {size / len(tokens):.2f} per token" if tokens else "")
    text = f"<div style='{MONO};white-space:pre-wrap;line-height:1.7;max-width:75em'>{''.join(spans)}{left}</div>"
    return box(text, quiet(counts))


def span(number: int, token: bytes, id: int) -> str:
    """One token of the text."""
    ground = f"{area(SERIES[number % len(SERIES)], GROUND)};border-radius:3px;padding:1px 0"
    return f"<span title='{escape(repr(token))}, id {id}' style='{ground}'>{escape(readable(token))}</span>"


def readable(token: bytes) -> str:
    """The text of a token; what cannot be read as text, as Python writes it.

    >>> readable(b"\\n\\n"), readable(b"\\xe2"), readable(b"\\x00")
    ('⏎\\n⏎\\n', '\\\\xe2', '\\\\x00')
    """
    try:
        text = token.decode("utf-8")
    except UnicodeDecodeError:
        return repr(token)[2:-1]
    return "".join(c if c.isprintable() else "⏎\n" if c == "\n" else repr(c)[1:-1] for c in text)
