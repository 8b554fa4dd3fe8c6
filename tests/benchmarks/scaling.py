"""Time and memory of a training step, with one size varied: context, batch, width, layers or vocabulary.

    python tests/benchmarks/scaling.py context width --shape small --plot scaling.png

Each point is a contest of its own between fresh processes (`contest`), ours beside PyTorch where that is installed.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from contest import contest
from results import (
    COLOURS,
    EAGER,
    OURS,
    OursOnly,
    Plot,
    Rounds,
    WriteJson,
    add_legend,
    rivals,
    save_figure,
    tidy,
    write_record,
)
from surroundings import Surroundings
from train_step import PART, ours, torch_eager

if TYPE_CHECKING:
    from tinygrad_llm.training.shapes import Shape

SIZES = ("context", "batch", "width", "layers", "vocab_size")


def main(
    vary: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(SIZES)}.", show_default="all")] = None,
    shape: Annotated[str, typer.Option(help="What is varied: tiny, small, medium, gpt2-124m, llama.")] = "small",
    factors: Annotated[str, typer.Option(help="What the size is multiplied with.")] = "1/4,1/2,1,2",
    rounds: Rounds = 3,
    ours_only: OursOnly = False,
    write_json: WriteJson = None,
    plot: Plot = None,
) -> None:
    """Time a training step, and measure its memory, for models and batches of many sizes."""
    from tinygrad_llm.training.shapes import SHAPES

    unknown = set(vary or []) - set(SIZES)
    if unknown:
        raise typer.BadParameter(f"unknown sizes {sorted(unknown)}; there are {', '.join(SIZES)}.")
    if shape not in SHAPES:
        raise typer.BadParameter(f"unknown shape {shape!r}; there are {', '.join(SHAPES)}.")
    surroundings = Surroundings()
    makers = {OURS: ours} | rivals({EAGER: torch_eager}, ours_only)
    table = Table(title=f"One training step, medians; {shape} with one size varied", title_justify="left")
    for column in ("size", "value", "contestant", "ms", "tokens/s", "our speed over it", "memory"):
        table.add_column(column, justify="left" if column in ("size", "contestant") else "right")
    record: dict[str, dict[int, dict[str, Any]]] = {}
    for size in vary or SIZES:
        record[size] = {}
        for value, varied in variations(SHAPES[shape], size, factors).items():
            results = contest(makers, (asdict(varied),), rounds)
            record[size][value] = {
                name: {
                    "seconds": result.median(PART),
                    "tokens_per_second": varied.tokens / result.median(PART),
                    "our_speed_over_it": results[OURS].speed_over(result, PART),
                    "peak_memory": result.peak_memory,
                }
                for name, result in results.items()
            }
            for name, of in record[size][value].items():
                table.add_row(size, f"{value:,}", name, *cells(of))
        table.add_section()
    Console(highlight=False).print(table, surroundings.sentence(), sep="\n")
    if write_json:
        write_record(write_json, {shape: record}, surroundings)
    if plot:
        draw(record, shape, plot)


def variations(shape: Shape, size: str, factors: str) -> dict[int, Shape]:
    """The shape with one of its sizes multiplied by each factor, by the value of that size.

    A wider model keeps the width of its heads and has more of them.
    """
    varied = {}
    for factor in factors.split(","):
        above, _, below = factor.partition("/")
        if not (above.strip().isdigit() and (below.strip() or "1").isdigit()):
            raise typer.BadParameter(
                f"factors are whole numbers or fractions of them, as in 1/4,1,2; one was {factor!r}."
            )
        steps = shape.heads if size == "width" else 1
        value = steps * max(1, getattr(shape, size) // steps * int(above) // int(below or 1))
        varied[value] = replace(shape, **{size: value})
        if size == "width":
            heads = max(1, shape.heads * value // shape.width)
            varied[value] = replace(shape, width=heads * shape.width // shape.heads, heads=heads, kv_heads=None)
    return varied


def cells(of: dict[str, Any]) -> tuple[str, ...]:
    """The last columns of the table."""
    return (
        f"{1000 * of['seconds']:.1f}",
        f"{of['tokens_per_second']:,.0f}",
        f"{of['our_speed_over_it']:.2f}×",
        "" if of["peak_memory"] is None else f"{of['peak_memory'] / 1e6:,.0f} MB",
    )


def draw(record: dict[str, dict[int, dict[str, Any]]], shape: str, path: Path) -> None:
    """Per size that was varied, time above memory, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(1.5 + 2.6 * len(record), 5.4), layout="constrained")
    grid = figure.subplots(2, len(record), squeeze=False, sharex="col", sharey="row")
    figure.suptitle(f"A training step of {shape}, one size varied", x=0.01, ha="left", fontsize=11)
    rows = {"seconds": ("milliseconds", 1e3), "peak_memory": ("memory, MB", 1e-6)}
    for axes_of_size, (size, values) in zip(grid.T, record.items(), strict=True):
        for axes, (key, (unit, scale)) in zip(axes_of_size, rows.items(), strict=True):
            for name in next(iter(values.values())):
                points = [(value, scale * of[name][key]) for value, of in values.items() if of[name][key]]
                axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=COLOURS[name], label=name)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(list(values), [f"{value:,}" for value in values], fontsize=8)
            axes.minorticks_off()
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.grid(color="#e6e9ed")
            tidy(axes)
            if axes in grid[:, 0]:
                axes.set_ylabel(unit)
        axes_of_size[-1].set_xlabel(size)
    add_legend(figure, grid[0, 0])
    save_figure(figure, path)


if __name__ == "__main__":
    typer.run(main)
