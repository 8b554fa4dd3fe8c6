"""A model as a table: every part with its shape, its parameters, its arithmetic, its memory; and the sums.

    tg.describe(model)            the first layer of each kind in full, all that are like it in one line
    tg.describe(config)           the same for a model that is not there

Comes before: `nn.describe`, which counts. Comes after: `tinygrad-llm describe`, and notebooks, where it shows itself.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygrad_llm.drawing import html
from tinygrad_llm.drawing.terminal import plain_text
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.describe import Outline, Row, rows_of, totals_of
from tinygrad_llm.nn.lora import network_of

if TYPE_CHECKING:
    from rich.console import Group

HEADINGS = ("part", "shape", "parameters", "FLOP/\ntoken", "cache/\ntoken", "memory\nfloat32", "\nbfloat16")
LEFT = 2  # columns of words; the others are numbers
WIDTH = 120  # characters of the printed table


def describe(model: Any, position: int | None = None) -> Description:
    """A table of every part of a model: shape, parameters, floating-point operations per token, memory.

    model: a LanguageModel, a Transformer, or a TransformerConfig, for a model that need not be there.
    position: the token, counted from 1, whose attention is counted: it looks at so many positions, or as many as its
    window has. None: the last one of the context, which costs most.

    What is counted, and how, stands in `nn.describe`. Raises InputError for another model or position.

    >>> from tinygrad_llm import TransformerConfig
    >>> gpt2 = TransformerConfig.gpt2(vocab_size=50257, context=1024, layers=12, heads=12, width=768)
    >>> describe(gpt2).totals.parameters
    124439808
    """
    network = Outline(model) if isinstance(model, TransformerConfig) else network_of(model)
    return Description(list(rows_of(network)), network.config, position)


class Line(NamedTuple):
    """A line of the table, and the rows that its numbers are the sums of: none in the heading of a layer."""

    name: str
    shape: str
    rows: list[Row]


class Description:
    """What `describe` found, and its picture.

    rows: one `Row` per part, all layers. totals: their sums. Shows itself: as text when printed, in colour with rich,
    as a table in a notebook.
    """

    def __init__(self, rows: list[Row], config: TransformerConfig, position: int | None = None) -> None:
        self.rows, self.config = rows, config
        self.totals = totals_of(rows, config.context, config.context if position is None else position)

    @property
    def title(self) -> str:
        config = self.config
        heads = f"{config.heads} heads"
        if config.kv_heads != config.heads:
            heads += f" ({config.kv_heads} key-value)"
        return f"{config.layers} layers, width {config.width}, {heads}, context {config.context:,}"

    def lines(self, all_layers: bool = False) -> list[Line]:
        """What the table shows: a line per row. Unless `all_layers`, layers that are like an earlier one share one."""
        stretches = [(layer, list(rows)) for layer, rows in groupby(self.rows, layer_of)]
        alike: dict[tuple[Row, ...], list[list[Row]]] = {}  # the layers of each kind
        for layer, rows in stretches:
            if layer is not None:
                alike.setdefault(kind_of(rows), []).append(rows)
        lines: list[Line] = []
        for layer, rows in stretches:
            same = [rows] if all_layers or layer is None else alike[kind_of(rows)]
            if rows is same[0]:
                lines += [] if layer is None else [Line(f"blocks.{layer}", "", [])]
                lines += [Line(label_of(row), shape_of(row), [row]) for row in rows]
                if others := same[1:]:
                    together = [row for other in others for row in other]
                    lines.append(Line(f" {len(others)} more like it", f"×{len(others)}", together))
        return lines

    def cells(self, line: Line) -> tuple[str, ...]:
        """A line as it is shown; nothing where there is nothing."""
        rows = line.rows
        parameters = f"{sum(row.parameters for row in rows):,}".removeprefix("0")
        return (
            line.name,
            line.shape,
            "(tied)" if any(row.tied_to for row in rows) and not parameters else parameters,
            amount(sum(row.operations_at(self.totals.position) for row in rows)),
            amount(sum(row.cache_bytes for row in rows), "B"),
            amount(sum(row.float32_bytes for row in rows), "B"),
            amount(sum(row.bfloat16_bytes for row in rows), "B"),
        )

    @property
    def footer(self) -> tuple[str, ...]:
        return self.cells(Line("together", "", self.rows))

    def sentences(self) -> list[str]:
        """What stands below the table."""
        totals = self.totals
        sentences = [
            "FLOP: 2 per token for each weight of a product, and attention for the token at position "
            f"{totals.position:,}. Norms, activations and look-ups are not counted.",
            f"Key-value cache: {totals.cache_bytes:,} bytes per token; {amount(totals.full_cache_bytes, 'B')} for a "
            f"text of {totals.context:,} tokens"
            + (", of which some layers remember only a window." if any(row.window for row in self.rows) else "."),
        ]
        sentences += [f"Tied: {row.name} is {row.tied_to}, counted once." for row in self.rows if row.tied_to]
        if totals.learned < totals.parameters:
            sentences.append(f"Learned: {totals.learned:,} of the parameters; the others are frozen.")
        return sentences

    def as_table(self, all_layers: bool = False) -> Group:
        """The picture for the library rich: the table and its sentences."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self.title, show_footer=True, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.title_justify, table.title_style = "left", "bold"
        for i, (heading, footer) in enumerate(zip(HEADINGS, self.footer, strict=True)):
            numbers = i >= LEFT  # stay whole in a narrow terminal, where words are folded
            table.add_column(
                heading, footer=Text(footer), justify="right" if numbers else "left", no_wrap=numbers, overflow="fold"
            )
        for line in self.lines(all_layers):
            table.add_row(*map(Text, self.cells(line)), style="dim" if len(line.rows) > 1 else "")
        return Group(table, *map(Text, self.sentences()))

    def as_text(self, all_layers: bool = False) -> str:
        """The picture in plain characters."""
        return plain_text(self.as_table(all_layers), WIDTH)

    def __repr__(self) -> str:
        return self.as_text()

    def __rich__(self) -> Group:
        return self.as_table()

    def _repr_html_(self) -> str:  # the parts of a layer stand further in, by a blank that HTML keeps
        rows = [[html.escape(cell).replace(" ", "\u00a0") for cell in self.cells(line)] for line in self.lines()]
        table = html.table(rows, HEADINGS, self.footer, numbers=LEFT)
        return html.box(html.title(self.title), table, *map(html.quiet, self.sentences()))


def layer_of(row: Row) -> int | None:
    """The number of the layer that a part belongs to; None for what stands before and behind them."""
    return int(row.name.split(".")[1]) if row.name.startswith("blocks.") else None


def kind_of(rows: list[Row]) -> tuple[Row, ...]:
    """What layers that are alike have in common: all but the number in the names of their parts."""
    return tuple(replace(row, name=row.name.split(".", 2)[-1]) for row in rows)


def label_of(row: Row) -> str:
    """The name of a part, below the heading of its layer if it has one; that a weight is a weight goes without saying.

    >>> label_of(Row("blocks.3.mlp.up.weight")), label_of(Row("embedding.weight"))
    (' mlp.up', 'embedding')
    """
    name = row.name.removesuffix(".weight")
    return name if layer_of(row) is None else " " + name.split(".", 2)[2]


def shape_of(row: Row) -> str:
    """The shape of a parameter; of an attention what it looks at."""
    if row.per_position:
        return "all before" if row.window is None else f"window {row.window:,}"
    return "×".join(map(str, row.shape))


def amount(number: int, unit: str = "") -> str:
    """A number in three digits, such as 1.54 k or 538 M; nothing for 0.

    >>> amount(134515008), amount(1536, "B"), amount(0)
    ('135 M', '1.54 kB', '')
    """
    if not number:
        return ""
    power = min(max(0, len(str(number)) - 1) // 3, len(PREFIXES) - 1)
    scaled = number / 1000**power
    if scaled >= 999.5 and power < len(PREFIXES) - 1:
        power, scaled = power + 1, scaled / 1000
    digits = 0 if power == 0 or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:,.{digits}f} {PREFIXES[power]}{unit}".rstrip()


PREFIXES = ("", "k", "M", "G", "T")
