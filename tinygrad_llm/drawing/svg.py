"""Shapes of an SVG picture as text, made here without any other program.

A notebook shows it by itself, a browser opens the file, and letters stay letters: sharp at any size, and in whatever
script the model writes, since the browser finds the font.

Builds on: `colours`. Used by: the pictures, `debugging.graph`, `chart`.
Left out on purpose: PNG, which needs a font for every script.
"""

from __future__ import annotations

import html
import unicodedata
from abc import ABC, abstractmethod
from pathlib import Path

from tinygrad_llm.drawing.colours import INK, LINE
from tinygrad_llm.drawing.html import page
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import write_atomically

SANS = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"
MONO_WIDTH, SANS_WIDTH = 0.602, 0.56  # of a letter, in font sizes; of sans letters, about
OUTLINE = f"stroke='{INK}' stroke-width='0.7' stroke-opacity='{2 * LINE:.2g}'"  # of a rectangle
PAPER = "color:#1b2733;background:#ffffff"  # of a file, which is not shown on a page of its own colours


class Picture(ABC):
    """Something with an SVG text: it shows itself in a notebook and can be saved.

    In a notebook the SVG is part of the page, so that it takes the page's colours, light or dark.
    """

    @abstractmethod
    def svg(self) -> str:
        """The picture as the text of an SVG file."""

    def save(self, path: str | Path) -> None:
        """Write the picture to a file that ends in .svg or .html; neither needs anything else to be shown.

        Raises InputError for another ending.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".html"):
            raise InputError(f"save: path must end in .svg or .html, it was {str(path)!r}.")
        picture = self.svg()
        text = page(picture, path.stem) if path.suffix == ".html" else on_paper(picture)
        write_atomically(path, lambda file: file.write((text + "\n").encode()))

    def _repr_html_(self) -> str:
        return self.svg()


def on_paper(svg: str) -> str:
    """The picture with colours of its own for text and ground, as a file needs them: it may be shown on any page."""
    return svg.replace("style='", f"style='{PAPER};", 1)


def document(width: float, height: float, parts: list[str], *, top: float = 0.0) -> str:
    """An SVG of this size, in which `parts` are drawn one after the other; `top` is the y of its upper edge."""
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 {top:.0f} {width:.0f} {height:.0f}' "
            f"width='{width:.0f}' height='{height:.0f}' style='max-width:100%;height:auto' font-family='{SANS}'>",
            *parts,
            "</svg>",
        ]
    )


def rectangle(
    x: float, y: float, width: float, height: float, fill: str, opacity: float = 1.0, more: str = "", tip: str = ""
) -> str:
    """A rectangle; `tip` is what it says when one points at it."""
    size = f"x='{x:.2f}' y='{y:.2f}' width='{max(0.0, width):.2f}' height='{height:.2f}'"
    shape = f"<rect {size} {_paint(fill, opacity)} {more}"
    return f"{shape}><title>{html.escape(tip)}</title></rect>" if tip else f"{shape}/>"


def words(
    x: float,
    y: float,
    text: str,
    size: float,
    opacity: float = 1.0,
    *,
    mono: bool = False,
    more: str = "",
    tip: str = "",
) -> str:
    """A line of text in the page's colour that begins at x, or as `more` says ("text-anchor='end'"); y: baseline."""
    font = f"font-family='{MONO}' xml:space='preserve'" if mono else ""
    title = f"<title>{html.escape(tip)}</title>" if tip else ""
    place = f"x='{x:.1f}' y='{y:.1f}' font-size='{size:.4g}' {_paint(INK, opacity)}"
    return f"<text {place} {font} {more}>{title}{printable(text)}</text>"


def _paint(fill: str, opacity: float) -> str:
    return f"fill='{fill}'" if opacity >= 1.0 else f"fill='{fill}' fill-opacity='{opacity:.3g}'"


def path(data: str, stroke: str = INK, width: float = 1.3, opacity: float = 1.0, more: str = "") -> str:
    """A line along `data`, the path in SVG's letters."""
    paint = f"stroke='{stroke}' stroke-width='{width:.4g}' stroke-opacity='{opacity:.3g}'"
    return f"<path d='{data}' fill='none' {paint} {more}/>"


def printable(text: str) -> str:
    """Escaped for XML, which does not allow control characters or lone surrogates at all."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def text_width(text: str, size: float, mono: bool = False, bold: bool = False) -> float:
    """About how wide a line of text will be; for `mono` nearly exactly."""
    letters = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    return letters * size * (MONO_WIDTH if mono else SANS_WIDTH * (1.15 if bold else 1.0))
