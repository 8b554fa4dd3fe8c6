"""Every op that has a fast pair, beside its own plain definition and beside PyTorch: forward and backward.

    python tests/benchmarks/ops.py --shape medium --write-json ops.json --plot ops.png

The sizes are those that the op has inside a model of the shape. PyTorch uses one thread or all cores, whichever is
faster at the op; without PyTorch only our two sides are timed.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from contest import Result, Work, contest
from results import (
    EAGER,
    OURS,
    PLAIN,
    OursOnly,
    Plot,
    Rounds,
    WriteJson,
    add_legend,
    groups_of_bars,
    rivals,
    save_figure,
    write_record,
)
from surroundings import Surroundings

OP_SECONDS = 0.03  # each op is repeated for about so long in a turn, and the median counts
ONE_THREAD, ALL_CORES = "PyTorch, one thread", "PyTorch, all cores"
ADAMW: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
DROPPED = 0.1


class Case(NamedTuple):
    """An op: a function, what it is given, and how many of these, from the first, want a gradient."""

    function: Callable[..., Any]
    inputs: tuple
    wanting: int = 0


def arrays(sizes: dict[str, Any]) -> SimpleNamespace:
    """What all sides compute with: float32 noise and token ids in the shapes of a model, from one seed."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = SimpleNamespace(**sizes)
    B, T, C, H, V = shape.batch, shape.context, shape.width, shape.heads, shape.vocab_size
    D, F = C // H, 4 * C
    K = max(k for k in range(1, H) if H % k == 0) if H > 1 else 1  # the largest group of heads that share less
    N = 12 * shape.layers * C * C + V * C

    def noise(*dimensions: int) -> np.ndarray:
        return rng.standard_normal(dimensions, dtype=np.float32)

    angles = np.arange(T)[:, None] * 10_000.0 ** (-np.arange(0, D, 2) / D)
    return SimpleNamespace(
        x=noise(B, T, C), up=noise(F, C) / math.sqrt(C), bias=noise(F), hidden=noise(B, T, F), gate=noise(B, T, F),
        scores=noise(B, H, T, T), weight=noise(C), shift=noise(C), heads=noise(B, T, H, D),
        q=noise(B, T, H, D), k=noise(B, T, H, D), v=noise(B, T, H, D), k_few=noise(B, T, K, D), v_few=noise(B, T, K, D),
        cos=np.cos(angles).astype(np.float32), sin=np.sin(angles).astype(np.float32), window=max(1, T // 4),
        logits=noise(B, T, V), table=0.02 * noise(V, C), ids=rng.integers(0, V, (B, T)),
        parameters=[noise(N), noise(N), noise(N), noise(N) ** 2],
    )  # fmt: skip


def fast(sizes: dict[str, Any]) -> Work:
    return our_work(sizes, is_fast=True)


def plain(sizes: dict[str, Any]) -> Work:
    return our_work(sizes, is_fast=False)


def our_work(sizes: dict[str, Any], is_fast: bool) -> Work:
    import contextlib

    import tinygrad_llm as tg
    from tinygrad_llm.autograd import gradients

    cases = our_cases(arrays(sizes))

    def work() -> dict[str, float]:
        with contextlib.nullcontext() if is_fast else tg.plain():
            return {part: s for name, case in cases.items() for part, s in timed(name, case, gradients).items()}

    return work


def our_cases(a: SimpleNamespace) -> dict[str, Case]:
    import numpy as np

    from tinygrad_llm.autograd import Tensor
    from tinygrad_llm.nn import functional as F
    from tinygrad_llm.optim import AdamW
    from tinygrad_llm.training.gradient_norm import sum_of_squares

    def learned(*values: np.ndarray) -> tuple[Tensor, ...]:
        return tuple(Tensor(value, requires_grad=True) for value in values)

    (parameter,) = learned(a.parameters[0])
    parameter.grad = Tensor(a.parameters[1])
    optimizer = AdamW([parameter], **ADAMW)
    dropping = np.random.default_rng(0)
    return {
        "linear": Case(F.linear, learned(a.x, a.up, a.bias), 3),
        "gelu_tanh": Case(F.gelu_tanh, learned(a.hidden), 1),
        "swiglu": Case(F.swiglu, learned(a.gate, a.hidden), 2),
        "geglu_tanh": Case(F.geglu_tanh, learned(a.gate, a.hidden), 2),
        "softmax": Case(F.softmax, learned(a.scores), 1),
        "layer_norm": Case(F.layer_norm, learned(a.x, a.weight, a.shift), 3),
        "rms_norm": Case(F.rms_norm, learned(a.x, a.weight), 2),
        "rotate": Case(F.apply_rotary, (*learned(a.heads), a.cos, a.sin), 1),
        "attention": Case(F.attention, learned(a.q, a.k, a.v), 3),
        "attention, grouped heads": Case(F.attention, learned(a.q, a.k_few, a.v_few), 3),
        "attention, window": Case(partial(F.attention, window=a.window), learned(a.q, a.k, a.v), 3),
        "token_losses": Case(F.token_losses, (*learned(a.logits), a.ids), 1),
        "linear_cross_entropy": Case(F.linear_cross_entropy, (*learned(a.x, a.table), a.ids), 2),
        "embedding": Case(F.embedding, (*learned(a.table), a.ids), 1),
        "dropout": Case(lambda x: F.dropout(x, DROPPED, dropping), learned(a.x), 1),
        "adamw_step": Case(lambda: optimizer.apply([optimizer.pieces(0)], scale=1.0), ()),
        "sum_of_squares": Case(sum_of_squares, (a.parameters[1],)),
    }


def torch_one_thread(sizes: dict[str, Any]) -> Work:
    return torch_work(sizes, 1)


def torch_all_cores(sizes: dict[str, Any]) -> Work:
    return torch_work(sizes, None)


def torch_work(sizes: dict[str, Any], threads: int | None) -> Work:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    cases = torch_cases(arrays(sizes))

    def work() -> dict[str, float]:
        return {part: s for name, case in cases.items() for part, s in timed(name, case, torch.autograd.grad).items()}

    return work


def torch_cases(a: SimpleNamespace) -> dict[str, Case]:
    import torch
    from torch.nn import functional as F

    def learned(*values: Any) -> tuple:
        return tuple(torch.tensor(value).requires_grad_() for value in values)

    def rotate(x: Any, cos: Any, sin: Any) -> Any:
        first, second = x.chunk(2, dim=-1)
        cos, sin = cos[:, None, :], sin[:, None, :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def attention(q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        grouped = q.shape[1] != k.shape[1]
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=grouped)

    length = a.q.shape[1]
    visible = torch.ones(length, length, dtype=torch.bool).tril().triu(1 - a.window)
    ids = torch.tensor(a.ids)
    parameter = torch.nn.Parameter(torch.tensor(a.parameters[0]))
    parameter.grad = torch.tensor(a.parameters[1])
    optimizer = torch.optim.AdamW([parameter], **ADAMW, fused=True)
    return {
        "linear": Case(F.linear, learned(a.x, a.up, a.bias), 3),
        "gelu_tanh": Case(partial(F.gelu, approximate="tanh"), learned(a.hidden), 1),
        "swiglu": Case(lambda gate, up: F.silu(gate) * up, learned(a.gate, a.hidden), 2),
        "geglu_tanh": Case(lambda gate, up: F.gelu(gate, approximate="tanh") * up, learned(a.gate, a.hidden), 2),
        "softmax": Case(partial(F.softmax, dim=-1), learned(a.scores), 1),
        "layer_norm": Case(lambda x, w, b: F.layer_norm(x, w.shape, w, b), learned(a.x, a.weight, a.shift), 3),
        "rms_norm": Case(lambda x, w: F.rms_norm(x, w.shape, w), learned(a.x, a.weight), 2),
        "rotate": Case(rotate, (*learned(a.heads), torch.tensor(a.cos), torch.tensor(a.sin)), 1),
        "attention": Case(attention, learned(a.q, a.k, a.v), 3),
        "attention, grouped heads": Case(attention, learned(a.q, a.k_few, a.v_few), 3),
        "attention, window": Case(partial(attention, mask=visible), learned(a.q, a.k, a.v), 3),
        "token_losses": Case(
            lambda logits: F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none"), learned(a.logits), 1
        ),
        "linear_cross_entropy": Case(
            lambda x, w: F.cross_entropy(F.linear(x, w).flatten(0, 1), ids.flatten(), reduction="sum"),
            learned(a.x, a.table),
            2,
        ),
        "embedding": Case(lambda table: F.embedding(ids, table), learned(a.table), 1),
        "dropout": Case(partial(F.dropout, p=DROPPED), learned(a.x), 1),
        "adamw_step": Case(optimizer.step, ()),
        "sum_of_squares": Case(lambda x: torch.dot(x, x).item(), (torch.tensor(a.parameters[1]),)),
    }


def timed(name: str, case: Case, gradients: Callable[..., Any]) -> dict[str, float]:
    """Seconds of the op forward and, where something wants a gradient, backward: the median of a few times."""
    forward, backward = [], []
    began = time.perf_counter()
    wanted = list(case.inputs[: case.wanting])
    seed = None
    while len(forward) < 3 or time.perf_counter() - began < OP_SECONDS:
        start = time.perf_counter()
        y = case.function(*case.inputs)
        end = time.perf_counter()
        forward.append(end - start)
        if wanted:
            seed = y.detach() if seed is None else seed  # any gradient will do; this one has the right shape
            start = time.perf_counter()
            gradients(y, wanted, seed)
            backward.append(time.perf_counter() - start)
    if not wanted:
        return {name: statistics.median(forward)}
    return {f"{name} forward": statistics.median(forward), f"{name} backward": statistics.median(backward)}


def main(
    shape: Annotated[str, typer.Option(help="Sizes of: tiny, small, medium, gpt2-124m, llama.")] = "medium",
    rounds: Rounds = 7,
    ours_only: OursOnly = False,
    write_json: WriteJson = None,
    plot: Plot = None,
) -> None:
    """Time every fast op beside its plain definition and beside PyTorch, forward and backward."""
    from tinygrad_llm.training.shapes import SHAPES

    if shape not in SHAPES:
        raise typer.BadParameter(f"unknown shape {shape!r}; there are {', '.join(SHAPES)}.")
    surroundings = Surroundings()
    makers = {OURS: fast, PLAIN: plain}
    makers |= rivals({ONE_THREAD: torch_one_thread, ALL_CORES: torch_all_cores}, ours_only)
    results = contest(makers, (asdict(SHAPES[shape]),), rounds)
    table = Table(title=f"Ops in the sizes of {shape}, milliseconds, medians", title_justify="left")
    columns = ("op", "ours", "plain", "PyTorch", "our speed over plain", "over PyTorch")
    for column in columns:
        table.add_column(column, justify="left" if column == "op" else "right")
    record = {part: numbers(part, results) for part in results[OURS].seconds}
    for part, of in record.items():
        times = [f"{1000 * of[name]:.3f}" if name in of else "" for name in (OURS, PLAIN, EAGER)]
        speeds = [f"{of[key]:.2f}×" if key in of else "" for key in ("speed_over_plain", "speed_over_torch")]
        table.add_row(part, *times, *speeds)
    Console(highlight=False).print(table, surroundings.sentence(), sep="\n")
    if write_json:
        write_record(write_json, {shape: record}, surroundings)
    if plot:
        draw(record, shape, plot)


def numbers(part: str, results: dict[str, Result]) -> dict[str, float]:
    """Median seconds of each side at one part, PyTorch's with the better number of threads, and our speed over them."""
    us = results[OURS]
    of = {OURS: us.median(part), PLAIN: results[PLAIN].median(part)}
    of["speed_over_plain"] = us.speed_over(results[PLAIN], part)
    if ALL_CORES in results:
        better = min((results[ONE_THREAD], results[ALL_CORES]), key=lambda result: result.median(part))
        of |= {EAGER: better.median(part), "speed_over_torch": us.speed_over(better, part)}
    return of


def draw(record: dict[str, dict[str, float]], shape: str, path: Path) -> None:
    """The times, each as a multiple of ours, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.42 * len(record)), layout="constrained")
    axes = figure.subplots()
    ratios = {
        f"{part}   {1000 * of[OURS]:.2f} ms": {name: of[name] / of[OURS] for name in (PLAIN, EAGER) if name in of}
        for part, of in record.items()
    }
    axes.set_xscale("log")
    groups_of_bars(axes, ratios, "{:.2f}×".format, start=1.0)
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.axvline(1.0, color="#3b82c4", linewidth=1.6, label="ours")
    axes.set_title(f"Time as a multiple of ours, sizes of {shape}", loc="left", fontsize=11)
    add_legend(figure, axes)
    save_figure(figure, path)


if __name__ == "__main__":
    typer.run(main)
