"""A picture of where a text may go: the likeliest continuations as a tree, with the probability of every path.

    The capital of France is          next  path
    ├── ' Paris'                    0.7725  ███████████▌    0.7725
    │   ├── '.'                     0.6512  ███████▌        0.5031
    │   └── 49,151 others           0.3488  ████            0.2694
    └── 49,151 others               0.2275  ███▍            0.2275
    all together                                            1.000000

In a notebook it is drawn in columns, one for each token; the height of a box is the probability of the path to it. What
stands to the right of a box is as high as the box itself, so nothing gets lost.

Builds on: `generation.tree`, which computes it. Used by: the command `tinygrad-llm next --tree`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tinygrad_llm.drawing.colours import BLUE, INK, QUIET, UNDER_TEXT
from tinygrad_llm.drawing.svg import MONO_WIDTH, OUTLINE, Picture, document, rectangle, text_width, words
from tinygrad_llm.drawing.terminal import plain_text
from tinygrad_llm.generation.tree import Node
from tinygrad_llm.pictures.distribution import bar, label, number
from tinygrad_llm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.table import Table

BAR_WIDTH = 16  # characters of a bar in a terminal
PROMPT_LETTERS = 60  # of the end of the prompt

COLUMN, MARGIN, HEAD = 158.0, 20.0, 30.0  # of the picture, in points
HEIGHTS = (260.0, 900.0)  # the least and the greatest
READABLE = 13.0  # in between, the height of the lowest box
LETTER = 11.5  # the largest font size
NARROWEST = 6.5  # points; boxes that are less high have no words in them
WEAK, REST = 0.08, 0.07  # opacities: of a token with p = 0, of all other tokens


class Tree(Picture):
    """The likeliest continuations of a text.

    root: of `generation.continuation_tree`. prompt: the text before it. Shows itself: as text when printed, in colour
    with rich, as a picture in a notebook.
    """

    def __init__(self, root: Node, tokenizer: Tokenizer, prompt: str) -> None:
        self.root, self.tokenizer, self.prompt = root, tokenizer, prompt

    @property
    def total(self) -> float:
        """Σ p of all ends of the tree, and of the others beside them: 1, up to rounding."""
        nodes = [node for _, node in self.root.walk()]
        ends = [math.exp(node.path_log_p) for node in nodes if not node.children]
        return math.fsum(ends + [math.exp(node.path_log_p) * node.others_p for node in nodes])

    def lines(self) -> Iterator[Line]:
        """The tree from top to bottom, the root aside."""
        return lines_below(self.root, "", self.tokenizer)

    # --- in a terminal ----------------------------------------------------------------------------------------

    def as_table(self) -> Table:
        """The picture as a table of the library rich."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right")
        table.add_row(Text(shortened(self.prompt), "bold"), Text("next", "dim"), Text("the path to here", "dim"))
        for line in self.lines():
            style = "bold" if line.is_token else "dim"
            table.add_row(
                Text(line.guide, "dim").append(line.name, f"not dim {style}" if line.is_token else "dim"),
                Text(number(line.p), "" if line.is_token else "dim"),
                Text(f"{bar(line.path_p, BAR_WIDTH):{BAR_WIDTH}} ", "cyan" if line.is_token else "dim").append(
                    number(line.path_p), "not dim default" if line.is_token else "dim"
                ),
            )
        table.add_row(Text("all ends together", "dim"), "", Text(f"{'':{BAR_WIDTH}} {self.total:.6f}", "dim"))
        return table

    def as_text(self) -> str:
        """The picture in plain characters."""
        return plain_text(self.as_table(), 200)

    def __rich__(self) -> Table:
        return self.as_table()

    def __repr__(self) -> str:
        return self.as_text()

    # --- as a picture -----------------------------------------------------------------------------------------

    def svg(self) -> str:
        """The picture as the text of an SVG file. Point at a box for its probabilities."""
        nodes = list(self.root.walk())
        depth = max(len(path) for path, _ in nodes)
        least = math.exp(min(node.path_log_p for _, node in nodes))
        height = min(max(READABLE / least, HEIGHTS[0]), HEIGHTS[1])
        title = shortened(self.prompt, 2 * PROMPT_LETTERS)
        width = max(depth * COLUMN, text_width(title, LETTER, mono=True))
        parts = [words(MARGIN, MARGIN + 10, title, LETTER, mono=True, more="font-weight='bold'")]
        parts += self._boxes(self.root, "", MARGIN, MARGIN + HEAD, height)
        return document(width + 2 * MARGIN, height + 2 * MARGIN + HEAD, parts)

    def _boxes(self, node: Node, before: str, x: float, y: float, height: float) -> Iterator[str]:
        """What stands to the right of a box: its children from top to bottom, and what stands to the right of each."""
        for child in node.children:
            p, path_p = math.exp(child.log_p), math.exp(child.path_log_p)
            name, text = self._name(child), before + self._text(child)
            tip = f"{text!r}\nthis token: {p:.4f}\nthe whole path: {path_p:.6f}"
            fill = BLUE, WEAK + (UNDER_TEXT - WEAK) * p
            yield from box(x, y, height * p, fill, name, f"{p:.2f}", 1.0, tip)
            yield from self._boxes(child, text, x + COLUMN, y, height * p)
            y += height * p
        if node.others:
            tip = f"{node.others:,} other tokens: {node.others_p:.4f} together"
            yield from box(x, y, height * node.others_p, (INK, REST), f"{node.others:,} others", "", QUIET, tip)

    def _name(self, node: Node) -> str:
        return label(self._bytes(node))

    def _text(self, node: Node) -> str:
        return self._bytes(node).decode("utf-8", errors="replace")

    def _bytes(self, node: Node) -> bytes:
        return b"" if node.token is None else self.tokenizer.token_bytes(node.token)


class Line(NamedTuple):
    """A line of the tree: guide lines and name, the probability of the token, and that of the path to it."""

    guide: str
    name: str
    p: float
    path_p: float
    is_token: bool


def lines_below(node: Node, indent: str, tokenizer: Tokenizer) -> Iterator[Line]:
    """The lines of the children of a node, each with all that is below it."""
    path_p = math.exp(node.path_log_p)
    for place, child in enumerate(node.children):
        last = place == len(node.children) - 1 and not node.others
        assert child.token is not None
        name, p = label(tokenizer.token_bytes(child.token)), math.exp(child.log_p)
        yield Line(indent + ("└── " if last else "├── "), name, p, path_p * p, True)
        yield from lines_below(child, indent + ("    " if last else "│   "), tokenizer)
    if node.others:
        yield Line(f"{indent}└── ", f"{node.others:,} others", node.others_p, path_p * node.others_p, False)


def box(
    x: float, y: float, height: float, fill: tuple[str, float], name: str, right: str, ink: float, tip: str
) -> Iterator[str]:
    """A box of the picture, with its words where there is room for them."""
    yield rectangle(x, y, COLUMN, height, *fill, OUTLINE, tip)
    if height >= NARROWEST:
        size = min(LETTER, height - 1)
        room = int((COLUMN - 14) / (size * MONO_WIDTH)) - len(right)
        name = name if len(name) <= room else name[: room - 1] + "…"
        middle = y + height / 2 + 0.36 * size
        yield words(x + 7, middle, name, size, ink, mono=True, tip=tip)
        if right:
            more = "text-anchor='end'"
            yield words(x + COLUMN - 7, middle, right, min(size, LETTER - 1.5), QUIET, more=more, tip=tip)


def shortened(prompt: str, letters: int = PROMPT_LETTERS) -> str:
    """The end of a prompt on one line."""
    line = " ".join(prompt.split("\n"))
    return line if len(line) <= letters else "…" + line[-letters + 1 :]
