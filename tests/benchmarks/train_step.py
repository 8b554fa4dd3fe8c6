"""One training step beside PyTorch: forward, backward, clipping, AdamW.

    python tests/benchmarks/train_step.py tiny small --compiled --rounds 20

Needs an environment with PyTorch; without it only our side is timed. Contestants take turns (`contest`), so compare the
ratios, not the milliseconds. PyTorch uses one thread or all cores, whichever is faster.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from contest import Result, Work, contest, in_a_process
from results import (
    COMPILED,
    EAGER,
    OURS,
    OursOnly,
    Plot,
    Rounds,
    WriteJson,
    add_legend,
    groups_of_bars,
    machine_peaks,
    peaks_in_words,
    rivals,
    save_figure,
    write_record,
)
from surroundings import Surroundings

if TYPE_CHECKING:
    from tinygrad_llm.kernels.peaks import Peaks

PART = "step"
TURN_SECONDS = 1.0  # training is many steps in a row, and the first ones after a pause are slower


def ours(sizes: dict[str, Any]) -> Work:
    import numpy as np

    import tinygrad_llm as tg  # first: before NumPy
    from tinygrad_llm.training.data_parallel import DataParallel, is_worth_it
    from tinygrad_llm.training.shapes import Shape
    from tinygrad_llm.training.trainer import train_step

    shape = Shape(**sizes)
    model = tg.Transformer(shape.config)
    optimizer = tg.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1)
    parallel = DataParallel(model, optimizer.flat, shape.batch) if is_worth_it(model, shape.batch) else None
    rng = np.random.default_rng(0)
    ids, targets = (rng.integers(0, shape.vocab_size, (shape.batch, shape.context)) for _ in range(2))

    def step() -> dict[str, float]:
        start = time.perf_counter()
        train_step(model, optimizer, [(ids, targets)], clip=1.0, data_parallel=parallel)
        return {PART: time.perf_counter() - start}

    return step


def torch_eager(sizes: dict[str, Any]) -> Work:
    return torch_step(sizes, compiled=False)


def torch_compiled(sizes: dict[str, Any]) -> Work:
    return torch_step(sizes, compiled=True)


def torch_step(sizes: dict[str, Any], compiled: bool) -> Work:
    import torch
    from torch_model import TorchModel, best_thread_count

    shape = SimpleNamespace(**sizes)
    model = TorchModel(shape)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    ids, targets = (torch.randint(0, shape.vocab_size, (shape.batch, shape.context)) for _ in range(2))

    def step() -> dict[str, float]:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = run(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        return {PART: time.perf_counter() - start}

    best_thread_count(step)
    gc.collect()
    return step


def step_costs(sizes: dict[str, Any], peaks: Peaks) -> dict[str, float]:
    """What a step asks for, however it is done: "operations", and "least_seconds" at the machine's peaks."""
    import tinygrad_llm as tg
    from tinygrad_llm.cli.profile import random_batches
    from tinygrad_llm.training.profile import profile_training
    from tinygrad_llm.training.shapes import Shape

    shape = Shape(**sizes)
    model = tg.Transformer(shape.config)
    batches = random_batches(shape.config, shape.batch)
    whole = profile_training(model, tg.AdamW(model), batches, steps=1, warmup=0).total()
    return {"operations": whole.operations, "least_seconds": whole.least_seconds(peaks)}


def main(
    shapes: Annotated[
        list[str] | None, typer.Argument(help="Some of: tiny, small, medium, gpt2-124m, llama.", show_default="all")
    ] = None,
    rounds: Rounds = 15,
    compiled: Annotated[bool, typer.Option("--compiled", help="Also time torch.compile.")] = False,
    ours_only: OursOnly = False,
    write_json: WriteJson = None,
    plot: Plot = None,
) -> None:
    """Time one training step, ours beside PyTorch's, taking turns.

    of the peak: matrix products per second, as a share of the best that this machine reaches. at best: the share of
    the step's time that its operations and its bytes must take at the machine's peaks (the roofline).
    """
    from tinygrad_llm.training.shapes import SHAPES

    unknown = set(shapes or []) - set(SHAPES)
    if unknown:
        raise typer.BadParameter(f"unknown shapes {sorted(unknown)}; there are {', '.join(SHAPES)}.")
    surroundings = Surroundings()
    makers = {OURS: ours} | rivals({EAGER: torch_eager} | ({COMPILED: torch_compiled} if compiled else {}), ours_only)
    peaks = in_a_process(machine_peaks)
    table = Table(title="One training step, medians", title_justify="left")
    for column in ("shape", "contestant", "ms", "tokens/s", "our speed over it", "of the peak", "at best", "memory"):
        table.add_column(column, justify="left" if column in ("shape", "contestant") else "right")
    record: dict[str, dict] = {}
    for name in shapes or SHAPES:
        sizes = asdict(SHAPES[name])
        results = contest(makers, (sizes,), rounds, TURN_SECONDS)
        costs = in_a_process(step_costs, sizes, peaks)
        record[name] = {
            contestant: numbers(result, results[OURS], SHAPES[name].tokens, costs, peaks)
            for contestant, result in results.items()
        }
        for contestant, of in record[name].items():
            table.add_row(name, contestant, *cells(of))
        table.add_section()
    console = Console(highlight=False)
    console.print(table, peaks_in_words(peaks), surroundings.sentence(), sep="\n")
    if write_json:
        write_record(write_json, record, surroundings, peaks)
    if plot:
        draw(record, plot)


def numbers(result: Result, us: Result, tokens: int, costs: dict[str, float], peaks: Peaks) -> dict[str, Any]:
    """All that is said of one contestant at one shape."""
    seconds = result.median(PART)
    return {
        "seconds": result.seconds[PART],
        "median_seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "our_speed_over_it": us.speed_over(result, PART),
        "share_of_peak": costs["operations"] / seconds / peaks.operations,
        "share_of_roofline": costs["least_seconds"] / seconds,
        "peak_memory": result.peak_memory,
    }


def cells(of: dict[str, Any]) -> tuple[str, ...]:
    """The same as the columns of the table."""
    return (
        f"{1000 * of['median_seconds']:.1f}",
        f"{of['tokens_per_second']:,.0f}",
        f"{of['our_speed_over_it']:.2f}×",
        f"{of['share_of_peak']:.0%}",
        f"{of['share_of_roofline']:.0%}",
        "" if of["peak_memory"] is None else f"{of['peak_memory'] / 1e6:,.0f} MB",
    )


def draw(record: dict[str, dict], path: Path) -> None:
    """Speed, as a share of what the machine can do, and memory."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.6 + 0.9 * len(record)), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    shares = {
        shape: {name: 100 * of["share_of_roofline"] for name, of in group.items()} for shape, group in record.items()
    }
    groups_of_bars(speed, shares, "{:.0f} %".format)
    speed.set_title("Speed: share of what the machine can do at best, %", loc="left", fontsize=10)
    held = {
        shape: {name: of["peak_memory"] / 1e6 for name, of in group.items() if of["peak_memory"]}
        for shape, group in record.items()
    }
    groups_of_bars(memory, held, "{:,.0f} MB".format)
    memory.set_title("Memory at most, MB", loc="left", fontsize=10)
    add_legend(figure, speed)
    save_figure(figure, path)


if __name__ == "__main__":
    typer.run(main)
