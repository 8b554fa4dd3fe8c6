"""Pieces of HTML for notebooks and saved pages: tables, lines of quiet text, things side by side.

Every style stands in the element itself, and every colour is relative to the page's own (`colours`): no style sheet, no
script, nothing to load.

Builds on: `colours`. Used by: the pictures.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from tinygrad_llm.drawing.colours import LINE, QUIET

FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.45"
MONO = "font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px"
RULE = f"1px solid rgba(128,128,128,{2 * LINE:.2g})"
BOX = f"border:{RULE};border-radius:6px;padding:8px 12px;margin:4px 0;width:fit-content;max-width:100%;overflow-x:auto"


def escape(text: object) -> str:
    """Text as it must stand in HTML."""
    return html.escape(str(text))


def box(*parts: str) -> str:
    """A frame around the view of one object."""
    return f"<div style='{FONT};{BOX}'>{''.join(parts)}</div>"


def title(name: str, *facts: str) -> str:
    """The first line of a view: what it is, and in quiet letters what is worth knowing about it."""
    rest = " · ".join(map(escape, facts))
    return f"<div><b>{escape(name)}</b> <span style='opacity:{QUIET}'>{rest}</span></div>"


def quiet(text: str) -> str:
    """A line that explains."""
    return f"<div style='opacity:{QUIET};font-size:12px'>{escape(text)}</div>"


def mono(text: str) -> str:
    """Lines of plain characters, as they would stand in a terminal."""
    return f"<div style='{MONO};white-space:pre-wrap'>{escape(text)}</div>"


def indented(source: str) -> str:
    """Lines of a program, on a ground of their own."""
    ground = "background:rgba(128,128,128,0.12);border-radius:6px;padding:6px 10px;margin:4px 0"
    return f"<div style='{ground}'>{mono(source)}</div>"


def beside(*parts: str) -> str:
    """Things side by side, below each other where the page is narrow."""
    return f"<div style='display:flex;flex-wrap:wrap;gap:8px 20px;align-items:flex-start'>{''.join(parts)}</div>"


def folded(summary: str, content: str, is_open: bool = False) -> str:
    """A line that opens when clicked or when Enter is pressed on it; `summary` and `content` are HTML."""
    return (
        f"<details{' open' * is_open} style='margin:0'><summary style='cursor:pointer'>{summary}</summary>"
        f"<div style='margin-left:18px'>{content}</div></details>"
    )


def area(hue: str, opacity: float) -> str:
    """The style of a background: a hue such as "#2b83c9" with an opacity, over the page's own background."""
    if not hue.startswith("#"):  # the page's text colour, for NaN
        return "outline:1px dashed currentColor;outline-offset:-1px"
    red, green, blue = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    return f"background:rgba({red},{green},{blue},{opacity:.3g})"


def table(
    rows: Iterable[Sequence[str]], head: Sequence[str] = (), foot: Sequence[str] = (), numbers: int | None = None
) -> str:
    """A table. Cells are HTML; from column `numbers` on they stand to the right (None: all stand to the left)."""

    def line(cells: Sequence[str], tag: str, more: str = "") -> str:
        return f"<tr style='background:none'>{''.join(cell(i, text, tag, more) for i, text in enumerate(cells))}</tr>"

    def cell(i: int, text: str, tag: str, more: str) -> str:
        is_number = numbers is not None and i >= numbers
        align = "right;font-variant-numeric:tabular-nums;white-space:nowrap" if is_number else "left"
        style = f"text-align:{align};padding:2px 14px 2px 0;border:0;vertical-align:top;{more}"
        return f"<{tag} style='{style}'>{text}</{tag}>"

    lines = [line(head, "th", f"border-bottom:{RULE};white-space:pre-line;vertical-align:bottom")] if head else []
    lines += [line(cells, "td") for cells in rows]
    lines += [line(foot, "th", f"border-top:{RULE}")] if foot else []
    return f"<table style='border-collapse:collapse;margin:4px 0'>{''.join(lines)}</table>"


def page(content: str, name: str) -> str:
    """A page of its own that shows `content`, light or dark as the reader's system is set."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='color-scheme' content='light dark'>"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{escape(name)}</title></head>\n<body>\n{content}\n</body></html>"
    )
