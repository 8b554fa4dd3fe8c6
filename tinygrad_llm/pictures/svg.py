"""What the pictures of this folder are drawn with: an SVG text, made here without any other program.

A notebook shows it by itself, a browser opens the file, and letters stay letters: sharp at any size, and in whatever
script the model writes, since the browser finds the font.

Comes before: nothing. Comes after: `stages`, `tree`, `alternatives`.
Left out on purpose: PNG, which needs a font for every script; and curves with axes, which matplotlib draws better.
"""

from __future__ import annotations

import html
import unicodedata
from abc import ABC, abstractmethod
from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import write_atomically

INK, QUIET, FAINT, LINE = "#1b2733", "#5f6f7d", "#aab6c0", "#e3e8ec"
SANS = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"
MONO_WIDTH, SANS_WIDTH = 0.602, 0.56  # of a letter, in font sizes; of sans letters, about


class Picture(ABC):
    """Something with an SVG text: it shows itself in a notebook and can be saved."""

    @abstractmethod
    def svg(self) -> str:
        """The picture as the text of an SVG file."""

    def save(self, path: str | Path) -> None:
        """Write the picture to a file that ends in .svg or .html; neither needs anything else to be shown.

        Raises InputError for another ending.
        """
        path = Path(path)
        page = f"<!doctype html>\n<meta charset='utf-8'>\n<title>{html.escape(path.stem)}</title>\n"
        texts = {".svg": "", ".html": page}
        if path.suffix not in texts:
            raise InputError(f"save: path must end in .svg or .html, it was {str(path)!r}.")
        data = (texts[path.suffix] + self.svg() + "\n").encode()
        write_atomically(path, lambda file: file.write(data))

    def _repr_svg_(self) -> str:
        return self.svg()


def document(width: float, height: float, parts: list[str]) -> str:
    """An SVG of this size, in which `parts` are drawn one after the other on white."""
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
            f"height='{height:.0f}' style='max-width:100%;height:auto' font-family='{SANS}'>",
            f"<rect width='{width:.0f}' height='{height:.0f}' rx='10' fill='#ffffff'/>",
            *parts,
            "</svg>",
        ]
    )


def rectangle(x: float, y: float, width: float, height: float, fill: str, more: str = "", tip: str = "") -> str:
    """A rectangle; `tip` is what it says when one points at it."""
    shape = f"<rect x='{x:.2f}' y='{y:.2f}' width='{max(0.0, width):.2f}' height='{height:.2f}' fill='{fill}' {more}"
    return f"{shape}><title>{html.escape(tip)}</title></rect>" if tip else f"{shape}/>"


def words(
    x: float, y: float, text: str, size: float, ink: str = INK, *, mono: bool = False, more: str = "", tip: str = ""
) -> str:
    """A line of text that begins at x, or as `more` says ("text-anchor='end'"); y is its baseline."""
    font = f"font-family='{MONO}' xml:space='preserve'" if mono else ""
    title = f"<title>{html.escape(tip)}</title>" if tip else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{ink}' {font} {more}>{title}{printable(text)}</text>"
    )


def printable(text: str) -> str:
    """Escaped for XML, which does not allow control characters or lone surrogates at all."""
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def text_width(text: str, size: float, mono: bool = False) -> float:
    """About how wide a line of text will be; for `mono` nearly exactly."""
    letters = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    return letters * size * (MONO_WIDTH if mono else SANS_WIDTH)
