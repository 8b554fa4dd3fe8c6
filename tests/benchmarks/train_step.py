"""Tokens per second of one training step, beside PyTorch: forward, backward, clipping, AdamW.

    python tests/benchmarks/train_step.py tiny small --rounds 20

Needs an environment with PyTorch; without it only our side is timed. Contestants take turns (`contest`), so compare the
ratios, not the milliseconds.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from contest import Result, contest
from shapes import SHAPES, Shape


def ours(shape: Shape) -> Callable[[], float]:
    import numpy as np

    import tinygrad_llm as tg  # first: before NumPy
    from tinygrad_llm.training.parallel import Crew, is_worth_a_crew
    from tinygrad_llm.training.trainer import train_step

    model = tg.Transformer(getattr(tg.TransformerConfig, shape.kind)(**shape.config()))
    optimizer = tg.AdamW(model, rate=1e-4)
    crew = Crew(model, optimizer.flat, shape.batch) if is_worth_a_crew(model, shape.batch) else None
    rng = np.random.default_rng(0)
    ids, targets = (rng.integers(0, shape.vocab_size, (shape.batch, shape.context)) for _ in range(2))

    def step() -> float:
        start = time.perf_counter()
        train_step(model, optimizer, [(ids, targets)], rate=1e-4, clip=1.0, crew=crew)
        return time.perf_counter() - start

    return step


def torch_eager(shape: Shape) -> Callable[[], float]:
    return torch_step(shape, compiled=False)


def torch_compiled(shape: Shape) -> Callable[[], float]:
    return torch_step(shape, compiled=True)


def torch_step(shape: Shape, compiled: bool) -> Callable[[], float]:
    import torch
    from torch_model import TorchModel

    model = TorchModel(shape)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids, targets = (torch.randint(0, shape.vocab_size, (shape.batch, shape.context)) for _ in range(2))

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = run(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        return time.perf_counter() - start

    return step


def main(
    shapes: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(SHAPES)}.")] = None,
    rounds: Annotated[int, typer.Option(help="Steps of each contestant.")] = 15,
    compiled: Annotated[bool, typer.Option(help="Also time torch.compile.")] = False,
    write_json: Annotated[Path | None, typer.Option(help="Write the numbers to this file.")] = None,
) -> None:
    """Time one training step, ours beside PyTorch's, taking turns."""
    unknown = set(shapes or []) - set(SHAPES)
    if unknown:
        raise typer.BadParameter(f"unknown shapes {sorted(unknown)}; there are {', '.join(SHAPES)}.")
    makers: dict[str, Callable] = {"tinygrad_llm": ours}
    if importlib.util.find_spec("torch"):
        makers["PyTorch eager"] = torch_eager
        if compiled:
            makers["PyTorch compiled"] = torch_compiled
    table = Table(title="One training step, medians")
    for column in ("shape", "contestant", "ms", "tokens/s", "our speed over it", "peak memory"):
        table.add_column(column, justify="left" if column in ("shape", "contestant") else "right")
    record: dict[str, dict] = {}
    for name in shapes or ["tiny", "small"]:
        results = contest(makers, (SHAPES[name],), rounds)
        for contestant, result in results.items():
            table.add_row(name, contestant, *row(SHAPES[name], results["tinygrad_llm"], result))
        record[name] = {c: {"seconds": r.seconds, "peak_memory": r.peak_memory} for c, r in results.items()}
        table.add_section()
    Console().print(table)
    if write_json:
        write_json.write_text(json.dumps(record, indent=1))


def row(shape: Shape, us: Result, result: Result) -> tuple[str, str, str, str]:
    ratio = us.speed_over(result)
    return (
        f"{1000 * result.median:.1f}",
        f"{shape.tokens / result.median:,.0f}",
        "" if us is result else f"{ratio:.2f}×",
        f"{result.peak_memory / 1e6:,.0f} MB",
    )


if __name__ == "__main__":
    typer.run(main)
