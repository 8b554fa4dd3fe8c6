"""What all benchmark commands share: their options, the JSON they write, and how their pictures look."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from surroundings import Surroundings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tinygrad_llm.kernels.peaks import Peaks

OURS, PLAIN, EAGER, COMPILED = "tinygrad_llm", "plain definition", "PyTorch eager", "PyTorch compiled"
COLOURS = {OURS: "#3b82c4", PLAIN: "#b4bcc4", EAGER: "#d98c5f", COMPILED: "#a8553a"}

Rounds = Annotated[int, typer.Option(min=1, help="Turns of each contestant.")]
OursOnly = Annotated[bool, typer.Option("--ours-only", help="Leave PyTorch out.")]
WriteJson = Annotated[Path | None, typer.Option(help="Write the numbers to this file.")]
Plot = Annotated[Path | None, typer.Option(help="Draw the numbers into this PNG file.")]


def rivals(makers: dict[str, Callable], ours_only: bool, package: str = "torch") -> dict[str, Callable]:
    """The makers of contestants, if these may take part and their package is installed; else none."""
    return {} if ours_only or importlib.util.find_spec(package) is None else makers


def machine_peaks() -> Peaks:
    """In a process of its own: the arrays that are needed for measuring end with it."""
    from tinygrad_llm.kernels.peaks import measured_peaks

    return measured_peaks()


def peaks_in_words(peaks: Peaks) -> str:
    return (
        f"The machine at best, {peaks.cores} cores: {peaks.operations / 1e9:,.0f} GFLOP/s in matrix products, memory "
        f"read at {peaks.read / 1e9:,.1f} GB/s and copied at {peaks.copy / 1e9:,.1f} GB/s."
    )


def write_record(
    path: Path, numbers: Any, surroundings: Surroundings | None = None, peaks: Peaks | None = None
) -> None:
    """The numbers as JSON, with what they were measured on, and how quiet it was."""
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "transformers", "tokenizers", "tiktoken"):
        if importlib.util.find_spec(package):
            versions[package] = importlib.metadata.version(package)
    record = {"processor": processor(), "versions": versions, "results": numbers}
    if surroundings is not None:
        record["surroundings"] = surroundings.shares()
    if peaks is not None:
        record["peaks"] = asdict(peaks)
    path.write_text(json.dumps(record, indent=1) + "\n")


def processor() -> str:
    """The name of the processor, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def save_figure(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=160, facecolor="white")


def groups_of_bars(
    axes: Axes, groups: dict[str, dict[str, float]], note: Callable[[float], str], start: float = 0.0
) -> None:
    """Horizontal bars from `start`: one group per name, in it one bar per contestant, with a note at its end."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    height = 0.8 / len(names)
    for i, name in enumerate(names):
        rows = [row + (i - (len(names) - 1) / 2) * height for row, group in enumerate(groups.values()) if name in group]
        values = [group[name] for group in groups.values() if name in group]
        lengths = [value - start for value in values]
        axes.barh(rows, lengths, 0.9 * height, left=start, color=COLOURS[name], label=name)
        for row, value in zip(rows, values, strict=True):
            axes.annotate(
                note(value), (max(value, start), row), xytext=(4, 0), textcoords="offset points", va="center",
                fontsize=7.5,
            )  # fmt: skip
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.margins(x=0.12)
    tidy(axes)
    axes.grid(axis="x", color="#e6e9ed")


def add_legend(figure: Figure, axes: Axes) -> None:
    """Above the picture, where it hides nothing."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=4, frameon=False, fontsize=8.5)


def tidy(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
