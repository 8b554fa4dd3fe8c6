"""`tinygrad-llm tune`: a model that others trained learns from a text of one's own.

    model -> adapters on it -> training, as `tinygrad-llm train` does it -> a run folder with the tuned model

What is learned is small (see `nn.lora`), so a laptop can tune a model that it could never have trained. The run folder
is that of a run like any other: `generate`, `chat`, `export` take it, and `train --resume` goes on with it.

Comes before: `train`, whose parts it is made of, `hub.base`. Comes after: the person who has a text.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tinygrad_llm.cli.arguments import ModelArgument
from tinygrad_llm.cli.train import (
    BUDGET,
    CHECKPOINTS_AT_ONCE,
    LEARNING,
    RUN,
    check_device,
    check_disk,
    default_folder,
    follow,
    option,
    options_given,
    prepare,
    read_corpus,
    say,
)
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.base import Base
from tinygrad_llm.hub.models import lasting_name, load_pretrained
from tinygrad_llm.text.corpus import Corpus
from tinygrad_llm.training.plan import available_memory, make_plan
from tinygrad_llm.training.run_folder import RunFolder, check_free
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer

RANK, CONTEXT = 8, 256
LAST_RATE = 0.1  # of the largest learning rate
TUNING = TrainingSettings(
    steps=100,
    context=CONTEXT,
    batch=4,
    rate=1e-3,
    weight_decay=0.0,
    eval_every=25,
    eval_windows=16,
    checkpoint_minutes=5.0,  # the whole model is written each time
)


def tune(
    command: typer.Context,
    model: ModelArgument,
    texts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TEXT", help="Files or folders, in UTF-8.", show_default="Shakespeare's plays"),
    ] = None,
    out: Annotated[Path | None, option("Folder of the run.", RUN, default="runs/NAME-OF-TEXT-tuned")] = None,
    overwrite: Annotated[bool, option("Replace the run in the folder.", RUN, "--overwrite")] = False,
    device: Annotated[str, option("cpu, or cuda: an NVIDIA GPU.", RUN)] = "cpu",
    seed: Annotated[int, option("Of the adapters, and the order of the text.", RUN)] = TUNING.seed,
    steps: Annotated[int | None, option("Train for so many steps, however long they take.", BUDGET)] = TUNING.steps,
    minutes: Annotated[float | None, option("Train this long instead.", BUDGET)] = TUNING.minutes,
    eval_every: Annotated[int, option("Measure and show a sample every so many steps.", BUDGET)] = TUNING.eval_every,
    lora: Annotated[int, option("Rank of the adapters; 0: no adapters, all weights learn.", LEARNING)] = RANK,
    context: Annotated[int, option("Tokens of a window of the text.", LEARNING)] = CONTEXT,
    batch: Annotated[int, option("Windows that are computed together.", LEARNING)] = TUNING.batch,
    accumulate: Annotated[int, option("Batches per step.", LEARNING)] = TUNING.accumulate,
    rate: Annotated[float, option("Largest learning rate; without adapters about a tenth.", LEARNING)] = TUNING.rate,
) -> None:
    """Tune MODEL on TEXT with adapters (LoRA), and watch it learn.

    Go on with a run that was stopped: tinygrad-llm train --resume --out FOLDER.
    """
    given = options_given(command)
    if "minutes" in given and "steps" not in given:
        steps = None
    console = Console(highlight=False)
    folder = default_folder(texts or [])
    folder = out or folder.with_name(f"{folder.name}-tuned")
    check_device(device)
    settings = replace(
        TUNING,
        seed=seed,
        steps=steps,
        minutes=minutes,
        eval_every=eval_every,
        context=context,
        batch=batch,
        accumulate=accumulate,
        rate=rate,
        min_rate=LAST_RATE * rate,
    )
    trainer, corpus = new_tuning(console, folder, model, texts or [], lora or None, settings, device, overwrite)
    follow(console, trainer, corpus)


def new_tuning(
    console: Console,
    folder: Path,
    name: str,
    texts: list[Path],
    rank: int | None,
    settings: TrainingSettings,
    device: str,
    overwrite: bool,
) -> tuple[Trainer, Corpus]:
    """Everything up to the first step. The folder is not touched before all checks have passed."""
    check_free(folder, overwrite)
    free = available_memory(device)
    pretrained = load_pretrained(name)
    network, tokenizer = pretrained.network, pretrained.tokenizer
    config, settings = network.config, replace(settings, begin_token=pretrained.begin_token)
    if settings.context is not None and settings.context > config.context:
        raise InputError(
            f"context must be at most {config.context}, as far as {name} looks; it was {settings.context}."
        )
    base = Base.of(lasting_name(name), pretrained, rank)
    network = base.adapted(network, settings.seed)
    plan = replace(make_plan(config, settings, device=device, rank=rank), available=free)
    plan.check()
    check_disk(folder, plan.weights + CHECKPOINTS_AT_ONCE * plan.checkpoint)
    corpus = read_corpus(console, texts)
    tokens, validation = prepare(console, corpus, tokenizer, config, settings)
    windows = len(validation.inputs)
    plan = replace(make_plan(config, settings, eval_windows=windows, device=device, rank=rank), available=free)
    say(console, plan.summary())
    source = {"texts": [str(path.absolute()) for path in texts], **base.to_source()}
    run = RunFolder.create(folder, config, settings, tokenizer, source, overwrite=overwrite)
    return Trainer(run, network.to(device), tokens, validation), corpus
