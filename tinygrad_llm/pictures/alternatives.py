"""A picture of what else a text could have said: under each of its tokens the others that might have stood there.

    token      p              rank  instead
    ' Paris'   ███████▋ 0.7725   1  ' the' 0.0645   ' London' 0.0125   ' Le' 0.0099
    '.'        ██████▌  0.6512   1  ',' 0.2411   ' and' 0.0211   '\\n' 0.0120

Builds on: `generation.alternatives`, which computes it. Used by: `language_model.alternatives`, and the command
`tinygrad-llm generate --alternatives`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinygrad_llm.drawing.colours import BLUE, ORANGE, QUIET, UNDER_TEXT
from tinygrad_llm.drawing.svg import OUTLINE, Picture, document, rectangle, text_width, words
from tinygrad_llm.drawing.terminal import plain_text
from tinygrad_llm.generation.alternatives import TokenAlternatives
from tinygrad_llm.pictures.distribution import bar, label, number
from tinygrad_llm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

BAR_WIDTH = 8  # characters of a bar in a terminal

WIDTH, MARGIN, GAP = 1000.0, 20.0, 10.0  # of the picture, in points
TOKEN, OTHER = 12.5, 10.5  # font sizes
HEAD, ROW = 40.0, 17.0  # heights: of the token with its probability, of another token
SURPRISE = 12.0  # bits; a token as surprising as this or more has the strongest colour
BAR = 0.3  # opacity


class Alternatives(Picture):
    """A text token by token, with what else might have stood there.

    choices: of `generation.text_alternatives` or `step_alternatives`. Shows itself: as text when printed, in colour
    with rich, as a picture in a notebook.
    """

    def __init__(self, choices: Sequence[TokenAlternatives], tokenizer: Tokenizer) -> None:
        self.choices, self.tokenizer = list(choices), tokenizer

    def _label(self, token: int) -> str:
        return label(self.tokenizer.token_bytes(token))

    # --- in a terminal ----------------------------------------------------------------------------------------

    def as_table(self, width: int = 100) -> Table:
        """The picture as a table of the library rich, with as many other tokens as fit."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        table.add_row(*(Text(name, "dim") for name in ("token", "p", "rank", "instead")))
        names = max([len("token"), *(len(self._label(one.token)) for one in self.choices)])
        ranks = max([len("rank"), *(len(f"{one.rank:,}") for one in self.choices)])
        room = width - names - BAR_WIDTH - len(" 0.1234") - ranks - 3 * 2
        for one in self.choices:
            p, others, used = math.exp(one.log_p), Text(), 0
            for token, log_p in one.others:
                name, chance = self._label(token), f" {number(math.exp(log_p))}"
                used += len(name) + len(chance) + 3
                if used - 3 > room:
                    break
                others.append(name).append(chance + "   ", "dim")
            style = "bold" if one.rank == 1 else "bold yellow" if one.rank <= 1 + len(one.others) else "bold red"
            own = Text(f"{bar(p, BAR_WIDTH):{BAR_WIDTH}} ", "cyan").append(number(p), "default")
            table.add_row(Text(self._label(one.token), style), own, Text(f"{one.rank:,}", "dim"), others)
        return table

    def as_text(self, width: int = 100) -> str:
        """The picture in plain characters."""
        return plain_text(self.as_table(width), width)

    def __repr__(self) -> str:
        return self.as_text()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.as_table(options.max_width)

    # --- as a picture -----------------------------------------------------------------------------------------

    def svg(self) -> str:
        """The picture as the text of an SVG file: the text from left to right, the likeliest others below each token.

        A token is the more orange the more surprising it is, -log₂ p.
        """
        height = HEAD + ROW * max((len(one.others) for one in self.choices), default=0) + 1.5 * GAP
        x, y, parts, widest = MARGIN, MARGIN, [], 0.0
        for one in self.choices:
            width = self._width(one)
            if x + width > WIDTH - MARGIN and x > MARGIN:
                x, y = MARGIN, y + height
            parts += self._svg_choice(one, x, y, width)
            x += width + GAP
            widest = max(widest, x)
        return document(widest - GAP + MARGIN, y + height + MARGIN - 1.5 * GAP, parts)

    def _width(self, one: TokenAlternatives) -> float:
        head = [text_width(self._label(one.token), TOKEN, mono=True), text_width(f"0.1234  rank {one.rank:,}", OTHER)]
        others = [text_width(self._label(token), OTHER, mono=True) for token, _ in one.others]
        return 12 + max(head + [width + text_width("  0.1234", OTHER) for width in others])

    def _svg_choice(self, one: TokenAlternatives, x: float, y: float, width: float) -> list[str]:
        p, bits = math.exp(one.log_p), -one.log_p / math.log(2.0)
        surprise = min(1.0, bits / SURPRISE)
        tip = f"{self._label(one.token)}: {p:.6f}, {bits:.2f} bits of surprise, rank {one.rank:,}"
        parts = [
            rectangle(x, y, width, HEAD - 6, ORANGE, UNDER_TEXT * surprise, f"rx='4' {OUTLINE}", tip),
            words(x + 6, y + 14.5, self._label(one.token), TOKEN, mono=True, more="font-weight='bold'", tip=tip),
            words(x + 6, y + 28.5, number(p).strip(), OTHER - 1, tip=tip),
        ]
        if one.rank > 1:
            end = "text-anchor='end'"
            parts.append(words(x + width - 6, y + 28.5, f"rank {one.rank:,}", OTHER - 1, more=end, tip=tip))
        for k, (token, log_p) in enumerate(one.others):
            top, q = y + HEAD + ROW * k, math.exp(log_p)
            parts += [
                rectangle(x, top, max(1.0, width * q), ROW - 3, BLUE, BAR, "rx='2'"),
                words(x + 6, top + 11, self._label(token), OTHER, mono=True),
                words(x + width - 6, top + 11, number(q).strip(), OTHER - 1.5, QUIET, more="text-anchor='end'"),
            ]
        return parts
