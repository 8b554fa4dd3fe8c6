"""`tinygrad-llm profile`: where the time of a training step goes, and that of writing, beside what the machine can do.

Builds on: `training.profile`, `generation.profile`. Used by: `cli.main`.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console

from tinygrad_llm.cli.arguments import NETWORK_HELP
from tinygrad_llm.cli.options import OptionsOf, expand_options
from tinygrad_llm.debugging.profile import Profile
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import atomic_write_bytes
from tinygrad_llm.generation.profile import profile_generation
from tinygrad_llm.hub.base import Base
from tinygrad_llm.kernels.peaks import Peaks, measured_peaks
from tinygrad_llm.kernels.threads import thread_pool
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.describe import num_parameters
from tinygrad_llm.nn.lora import lora
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.optim import AdamW, Muon
from tinygrad_llm.text.batches import Batches
from tinygrad_llm.training.profile import profile_training
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.shapes import SHAPES, Shape

EPOCH_WINDOWS = 100  # of random tokens: what the tokens are does not change how long they take

SHAPE_HELP = {
    "model": "The kind of network.",
    **{name: NETWORK_HELP[name] for name in ("layers", "heads", "kv_heads", "width", "context", "vocab_size")},
    "batch": "Windows per step.",
}


@expand_options
def profile(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="The folder of a run: its model and batch are profiled.")
    ] = None,
    *,
    shape: Annotated[str | None, typer.Option(help=f"Instead of RUN: {', '.join(SHAPES)}.")] = None,
    changes: Annotated[dict[str, Any], OptionsOf(Shape, optional=True, help=SHAPE_HELP, panel="Changes to the shape")],
    optimizer: Annotated[
        Literal["adamw", "muon"] | None, typer.Option(help="The optimizer.", show_default="that of RUN, or adamw")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps that are watched.")] = 5,
    tokens: Annotated[int, typer.Option(min=0, help="Tokens that are written, and watched; 0: none.")] = 32,
    one_core: Annotated[bool, typer.Option("--one-core", help="Let everything happen on one core.")] = False,
    write_json: Annotated[Path | None, typer.Option(help="Write all numbers to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the training step, as a PNG file.")] = None,
) -> None:
    """Show where the time goes, op by op, beside what this machine can do at best.

    A training step of the model in RUN or of a shape, forward, backward and optimizer; then the reading of a prompt of
    half a context, and the writing of tokens after it. All in this one process, on random tokens; nothing is changed.
    """
    console = Console(highlight=False)
    config, windows, kind = wanted(run, shape, changes)
    kind = optimizer or kind
    network = Transformer(config)
    base = None if run is None else Base.of_run(RunFolder(run))
    if base is not None and base.rank is not None:
        lora(network, base.rank)
    with console.status("Measuring what the machine can do"):
        peaks = measured_peaks(one_core=one_core)
    made = (AdamW if kind == "adamw" else Muon)(network)
    prompt = np.arange(max(1, config.context // 2)) % config.vocab_size
    tokens = min(tokens, config.context - len(prompt))  # beyond its context a model reads again, which is another story
    with thread_pool.on_this_core() if one_core else nullcontext():
        with console.status("Training"):
            training = profile_training(network, made, random_batches(config, windows), steps=steps)
        with console.status("Writing"):
            prefill, decoding = profile_generation(network, prompt, tokens)
    per_step, cores = windows * config.context, "one core" if peaks.cores == 1 else f"{peaks.cores} cores"
    say(console, training, peaks, 1, per_step, f"One training step of {per_step:,} tokens, the median of {steps}")
    if tokens:
        say(console, prefill, peaks, 1, len(prompt), f"Reading a prompt of {len(prompt):,} tokens")
        say(console, decoding, peaks, tokens, 1, f"Writing one token, mean of {tokens}")
    console.print(
        f"This machine at best, {cores}: {peaks.operations / 1e9:,.0f} GFLOP/s in matrix products, memory read at "
        f"{peaks.read / 1e9:,.1f} GB/s and copied at {peaks.copy / 1e9:,.1f} GB/s."
    )
    console.print(
        "All of it ran in this one process; training shares a batch among several where that pays. While nothing is "
        "measured, generation computes products of the same input as one, so it is a little faster."
    )
    if plot:
        draw(plot, training, peaks, config, windows)
    if write_json:
        record = {
            "config": config.to_dict(),
            "batch": windows,
            "optimizer": kind,
            "peaks": asdict(peaks),
            "training_step": training.to_dict(peaks),
        }
        if tokens:
            record |= {"prefill": prefill.to_dict(peaks), "written_token": decoding.to_dict(peaks, tokens)}
        atomic_write_bytes(write_json, json.dumps(record, indent=1).encode())


def wanted(run: Path | None, shape: str | None, changes: dict[str, Any]) -> tuple[TransformerConfig, int, str]:
    """What to profile: the config of the model, the windows of a batch, the kind of optimizer."""
    if run is not None:
        if shape is not None or changes.keys() - {"batch", "context"}:
            raise InputError("RUN says what model it is: leave out --shape and the sizes, or leave out RUN.")
        folder = RunFolder(run)
        context = folder.settings.context or folder.config.context
        config = folder.config.with_(context=changes.get("context", context))
        return config, changes.get("batch", folder.settings.batch), folder.settings.optimizer
    if shape is not None and shape not in SHAPES:
        raise InputError(f"shape must be one of {', '.join(SHAPES)}, it was {shape!r}.")
    sizes: Shape = replace(SHAPES[shape or "small"], **changes)
    return sizes.config, sizes.batch, "adamw"


def random_batches(config: TransformerConfig, windows: int) -> Batches:
    """Random tokens, in batches of so many windows."""
    count = config.context * max(EPOCH_WINDOWS, windows) + 1
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, count, dtype=np.int32)
    return Batches(tokens, windows, config.context, seed=0)


def say(console: Console, profiled: Profile, peaks: Peaks, rounds: int, tokens: int, title: str) -> None:
    """The table of `rounds` times the same work, on so many tokens each, and in a sentence what it comes to."""
    # Here, because a table is asked for only now and `tinygrad-llm --help` shall be quick.
    from tinygrad_llm.pictures.profile_table import profile_table

    whole = profiled.total()
    seconds, least = whole.seconds / rounds, whole.least_seconds(peaks) / rounds
    speed = whole.operations / whole.seconds
    console.print(profile_table(profiled, peaks, rounds, title))
    console.print(
        f"{tokens / seconds:,.0f} tokens/s at {speed / 1e9:,.0f} GFLOP/s, {speed / peaks.operations:.0%} of the peak. "
        f"At best it would take {1000 * least:,.2f} ms, which is {least / seconds:.0%} of {1000 * seconds:,.2f} ms.\n"
    )


def draw(path: Path, profiled: Profile, peaks: Peaks, config: TransformerConfig, windows: int) -> None:
    """The bars of a training step, as a PNG file."""
    # Here, because matplotlib takes half a second to load.
    from tinygrad_llm.pictures.learning_curve import save_picture
    from tinygrad_llm.pictures.profile_bars import profile_bars

    whole, tokens = profiled.total(), windows * config.context
    subtitle = (
        f"{num_parameters(config):,} parameters: {config.layers} layers of width {config.width}, {windows} windows of "
        f"{config.context}; {tokens / whole.seconds:,.0f} tokens/s, "
        f"{whole.least_seconds(peaks) / whole.seconds:.0%} of what the machine could do"
    )
    save_picture(profile_bars(profiled, peaks, "Where the time of a training step goes", subtitle), path)
