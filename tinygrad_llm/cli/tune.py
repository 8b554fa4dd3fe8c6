"""`tinygrad-llm tune`: fine-tunes a pretrained model on a text.

    model -> adapters on it -> training, as `tinygrad-llm train` does it -> a run folder with the tuned model

What is learned is small (see `nn.lora`), so a laptop can tune a model that it could never have trained. The run folder
is that of a run like any other: `generate`, `chat`, `export` take it, and `train --resume` goes on with it.

Builds on: `cli.train`, whose functions it shares, and `hub.base`. Used by: `cli.main`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from tinygrad_llm.cli.arguments import RUN, DeviceOption, ModelArgument, OverwriteOption, TextsArgument, option
from tinygrad_llm.cli.options import OptionsOf, expand_options
from tinygrad_llm.cli.train import (
    CHECKPOINTS_AT_ONCE,
    check_device,
    check_disk,
    default_folder,
    follow,
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
from tinygrad_llm.training.settings import LEARNING, TrainingSettings
from tinygrad_llm.training.trainer import Trainer

RANK, CONTEXT = 8, 256
TUNING = TrainingSettings(
    steps=100,
    context=CONTEXT,
    batch=4,
    lr=1e-3,
    weight_decay=0.0,
    eval_every=25,
    eval_windows=16,
    checkpoint_minutes=5.0,  # the whole model is written each time
)

OPTIONS = (
    "steps",
    "minutes",
    "eval_every",
    "context",
    "batch",
    "accumulate",
    "optimizer",
    "lr",
    "min_lr",
    "warmup",
    "schedule",
    "weight_decay",
    "clip",
    "seed",
)
HELP = {
    "minutes": "Train this long instead.",
    "context": "Tokens of a window of the text.",
    "lr": "Largest learning rate; without adapters about a tenth.",
    "seed": "Of the adapters, and the order of the text.",
}


@expand_options
def tune(
    model: ModelArgument,
    texts: TextsArgument = None,
    *,
    out: Annotated[Path | None, option("Folder of the run.", RUN, default="runs/NAME-OF-TEXT-tuned")] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "cpu",
    lora: Annotated[int, option("Rank of the adapters; 0: no adapters, all weights learn.", LEARNING)] = RANK,
    training: Annotated[dict[str, Any], OptionsOf(TUNING, OPTIONS, help=HELP, panel=LEARNING)],
) -> None:
    """Tune MODEL on TEXT with adapters (LoRA), and watch it learn.

    Go on with a run that was stopped: tinygrad-llm train --resume --out FOLDER.
    """
    console = Console(highlight=False)
    folder = default_folder(texts or [])
    folder = out or folder.with_name(f"{folder.name}-tuned")
    check_device(device)
    settings = TUNING.with_(**training)
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
