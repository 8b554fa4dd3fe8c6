"""A picture of sampling: the distribution as the model gave it, and as each stage of a chain leaves it.

                     the model              temperature 0.7        min p 0.05
    ' girl'          █████████       0.3831 ██████████████  0.6040 ███████████████ 0.6692
    ' town'          █████▌          0.2340 ███████         0.2986 ███████▊        0.3308
    ' village'       ▊               0.0319 ▌               0.0173 removed
    49,149 others                    0.3510                 0.0801                 0.0000
    possible tokens  49,152                 49,152                 2
    entropy          4.41 bits              1.75 bits              0.92 bits
    sum              1.000000               1.000000               1.000000

Builds on: `generation.logits_processors`; `distribution`, the picture of one of the distributions.
Used by: the command `tinygrad-llm next --sampler … --stages`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tinygrad_llm.drawing.colours import BLUE, FAINT, LINE, QUIET, RED
from tinygrad_llm.drawing.svg import Picture, document, path, rectangle, text_width, words
from tinygrad_llm.drawing.terminal import plain_text
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.logits_processors import LogitsProcessor, SamplerChain, ranked
from tinygrad_llm.generation.sampler_chain import format_sampler_chain
from tinygrad_llm.pictures.distribution import SHOWN, Distribution, bar, label

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderResult
    from rich.table import Table

FIRST_NAME = "the model"
REMOVED, STILL_REMOVED = "removed", "·"
SPACE = "  "
NUMBER_WIDTH = len(" 0.1234" + SPACE)
WIDEST_BAR, NARROWEST_BAR = 20, 6  # characters of the longest bar in a terminal

BEFORE = 0.28  # opacity of the bar of the stage before
COLUMN, ROW, HEAD, GAP, MARGIN = 190.0, 21.0, 38.0, 22.0, 20.0
TITLE, LABEL, NUMBER = 12.5, 11.5, 10.5  # font sizes
END = "text-anchor='end'"
PER_BAND = 4  # columns side by side; more stand in a second band below
NAME_LETTERS = 25  # in a line of a column's name

Totals = list[tuple[str, list[str]]]


class Stages(Picture):
    """The distributions before and after each stage of a sampler.

    distribution: what the model said. sampler: a chain, or a single stage; those that look at the text are shown
    `distribution.text`. count: tokens that are shown, those that are most probable in any of the distributions. Shows
    itself: as text when printed, in colour with rich, as a picture in a notebook.

    names: "the model", and then the stages, such as "top k 40". distributions: as many, in this order.
    """

    def __init__(self, distribution: Distribution, sampler: LogitsProcessor, count: int = SHOWN) -> None:
        if count < 1:
            raise InputError(f"count must be at least 1, it was {count}.")
        self.count = count
        self.names, self.distributions = [FIRST_NAME], [distribution]
        for stage in flat(sampler):
            logits = stage(self.distributions[-1].logits, distribution.text)
            self.names.append(title(stage))
            self.distributions.append(Distribution(logits, distribution.tokenizer, distribution.text))

    def shown(self) -> np.ndarray:
        """The ids of the tokens that are shown, in the model's order."""
        log_p = np.array([d.log_probabilities for d in self.distributions])  # (S, V)
        ids = np.sort(ranked(log_p.max(axis=0), self.count))  # (count,)
        return ids[np.argsort(-log_p[0, ids], kind="stable")]

    def rows(self) -> list[Row]:
        """What the picture says, line by line: the shown tokens, and all others together."""
        ids = self.shown()
        tokenizer, p = self.distributions[0].tokenizer, [d.probabilities for d in self.distributions]
        rows = [Row(label(tokenizer.token_bytes(i)), [float(q[i]) for q in p], True) for i in ids.tolist()]
        if others := len(p[0]) - len(ids):
            rows.append(Row(f"{others:,} others", [float(np.delete(q, ids).sum()) for q in p], False))
        return rows

    def totals(self) -> Totals:
        """The last lines: how many tokens are possible, how undecided that is, and that everything together is 1."""
        return [
            ("possible tokens", [f"{np.count_nonzero(d.probabilities):,}" for d in self.distributions]),
            ("entropy", [f"{d.entropy:.2f} bits" for d in self.distributions]),
            ("sum", [f"{d.probabilities.sum():.6f}" for d in self.distributions]),
        ]

    def __repr__(self) -> str:
        return self.as_text()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.as_table(options.max_width)

    # --- in a terminal ----------------------------------------------------------------------------------------

    def as_table(self, width: int = 100) -> Group:
        """The picture for a terminal of this width: as many distributions side by side as fit, the others below.

        A number is green when the stage has raised it, red when it has lowered it.
        """
        from rich.console import Group

        rows, totals = self.rows(), self.totals()
        room = width - max(len(name) for name in [row.name for row in rows] + [name for name, _ in totals])
        columns = min(len(self.names), max(1, room // (NARROWEST_BAR + NUMBER_WIDTH)))
        bar_width = min(WIDEST_BAR, max(NARROWEST_BAR, room // columns - NUMBER_WIDTH))
        bands = self.bands(columns)
        return Group(*(self._table(rows, totals, band, bar_width, last=band is bands[-1]) for band in bands))

    def as_text(self, width: int = 100) -> str:
        """The picture in plain characters."""
        return plain_text(self.as_table(width), width)

    def bands(self, columns: int) -> list[range]:
        """Which distributions stand side by side when there is room for so many."""
        starts = range(0, len(self.names), columns)
        return [range(start, min(start + columns, len(self.names))) for start in starts]

    def _table(self, rows: list[Row], totals: Totals, band: range, bar_width: int, last: bool) -> Table:
        from rich.table import Table
        from rich.text import Text

        largest = largest_of(rows)
        table = Table.grid(padding=(0, len(SPACE)))
        table.add_column(no_wrap=True)
        for _ in band:
            table.add_column(width=bar_width + NUMBER_WIDTH - len(SPACE))
        table.add_row("", *(Text(self.names[i], "bold") for i in band))
        for row in rows:
            cells = [Text(row.name, "bold" if row.is_token else "dim")]
            for i in band:
                now, before = row.probabilities[i], row.before(i)
                if not row.is_token:
                    cells.append(Text(f"{'':{bar_width}} {now:.4f}", "dim"))
                elif now == 0.0:
                    cells.append(Text(REMOVED if before else STILL_REMOVED, "dim"))
                else:
                    change = 0.0 if before is None else round(now, 4) - round(before, 4)
                    colour = "green" if change > 0 else "red" if change < 0 else "default"
                    cells.append(Text(f"{bar(now / largest, bar_width):{bar_width}} ", "cyan"))
                    cells[-1].append(f"{now:.4f}", colour)
            table.add_row(*cells)
        for name, values in totals:
            table.add_row(Text(name, "dim"), *(Text(values[i], "dim") for i in band))
        if not last:
            table.add_row("")
        return table

    # --- as a picture -----------------------------------------------------------------------------------------

    def svg(self) -> str:
        """The picture as the text of an SVG file. The pale bar behind each bar is what it was one stage before."""
        rows, totals = self.rows(), self.totals()
        bands, band_height = self.bands(PER_BAND), HEAD + ROW * (len(rows) + len(totals)) + ROW
        names = [text_width(row.name, LABEL, mono=True) for row in rows]
        labels = MARGIN + max(names + [text_width(name, NUMBER) for name, _ in totals])  # where they end
        width = labels + len(bands[0]) * (GAP + COLUMN) + MARGIN
        parts = []
        for number, band in enumerate(bands):
            parts += self._svg_band(rows, totals, band, labels, MARGIN + number * band_height)
        return document(width, MARGIN + len(bands) * band_height, parts)

    def _svg_band(self, rows: list[Row], totals: Totals, band: range, labels: float, top: float) -> list[str]:
        scale = (COLUMN - text_width(" 0.1234", NUMBER)) / largest_of(rows)  # points per probability
        first_row, line = top + HEAD, top + HEAD + ROW * len(rows) + 4
        parts = [
            path(f"M{MARGIN:.1f} {line:.1f} h{labels - MARGIN + len(band) * (GAP + COLUMN):.1f}", width=1, opacity=LINE)
        ]
        for k, row in enumerate(rows):
            ink = 1.0 if row.is_token else QUIET
            parts.append(words(labels, first_row + ROW * k + 14, row.name, LABEL, ink, mono=row.is_token, more=END))
        for k, (name, _) in enumerate(totals):
            parts.append(words(labels, line + ROW * k + 17, name, NUMBER, QUIET, more=END))
        for column, i in enumerate(band):
            x = labels + GAP + (COLUMN + GAP) * column
            for k, words_of_name in enumerate(textwrap.wrap(self.names[i], NAME_LETTERS)[:2]):
                parts.append(words(x, top + 12 + 15 * k, words_of_name, TITLE, more="font-weight='bold'"))
            for k, row in enumerate(rows):
                tip = f"{row.name} after {self.names[i]}: {row.probabilities[i]:.3g}"
                parts += row.svg(i, x, first_row + ROW * k, scale, tip)
            for k, (_, values) in enumerate(totals):
                parts.append(words(x, line + ROW * k + 17, values[i], NUMBER, QUIET))
        return parts


class Row(NamedTuple):
    """A line of the picture: a token, or all others together, and its probability in each distribution."""

    name: str
    probabilities: list[float]
    is_token: bool

    def before(self, i: int) -> float | None:
        """The probability one stage before distribution i; None for the first."""
        return self.probabilities[i - 1] if i else None

    def svg(self, i: int, x: float, y: float, scale: float, tip: str) -> list[str]:
        """The bar and the number of distribution i."""
        now, was = self.probabilities[i], self.before(i)
        if not self.is_token:
            return [words(x, y + 14, f"{now:.4f}", NUMBER, QUIET)]
        length, length_before = now * scale, (was or 0.0) * scale
        gone = now == 0.0
        parts = (
            [rectangle(x, y + 3, length_before, ROW - 6, RED if gone else BLUE, BEFORE, "rx='2'", tip)] if was else []
        )
        end = x + max(length, length_before) + 5
        if gone:
            return [*parts, words(end, y + 14, REMOVED if was else STILL_REMOVED, NUMBER, FAINT)]
        bar = rectangle(x, y + 5.5, max(0.8, length), ROW - 11, BLUE, 1.0, "rx='2'", tip)
        return [*parts, bar, words(end, y + 14, f"{now:.4f}", NUMBER)]


def largest_of(rows: list[Row]) -> float:
    """The largest probability of a token in any distribution: all bars are drawn on this scale."""
    return max(max(row.probabilities) for row in rows if row.is_token)


def flat(sampler: LogitsProcessor) -> Iterator[LogitsProcessor]:
    """The single stages of a chain, in which other chains may stand."""
    if isinstance(sampler, SamplerChain):
        for stage in sampler.processors:
            yield from flat(stage)
    else:
        yield sampler


def title(stage: LogitsProcessor) -> str:
    """What a stage is called in the picture: its text as `parse_sampler_chain` reads it, in words."""
    return format_sampler_chain(stage).replace("_", " ").replace("=", " ", 1)
