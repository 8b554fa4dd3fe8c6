"""`tinygrad-llm train`: trains a model on a text and shows its progress.

    text -> tokenizer -> plan -> training -> loss.png, samples.txt

Everything that can be wrong with what was asked is found before the long work begins, and nothing in a folder is
touched before all of that has passed. What happens then is `training.trainer`; here it is followed and shown.

Builds on: `training.trainer`, `text.corpus`, `display`. Used by: `cli.main`, `cli.tune`.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from tinygrad_llm.backend import DEVICES, import_cupy
from tinygrad_llm.cli.arguments import (
    NETWORK_HELP,
    RUN,
    DeviceOption,
    KindOfModel,
    OverwriteOption,
    TextsArgument,
    option,
)
from tinygrad_llm.cli.display import QUIET, clock, training_display
from tinygrad_llm.cli.options import OptionsOf, expand_options, options_given
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.hub.assets import SHAKESPEARE, fetch
from tinygrad_llm.hub.base import Base
from tinygrad_llm.language_model import LanguageModel
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.describe import num_parameters
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import ValidationWindows, validation_windows
from tinygrad_llm.text.corpus import Corpus, Document, read_texts, shakespeare
from tinygrad_llm.text.special_tokens import split_at_names
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.training.evaluation import token_lengths
from tinygrad_llm.training.events import Evaluated, Finished
from tinygrad_llm.training.history import History
from tinygrad_llm.training.plan import gigabytes, make_plan
from tinygrad_llm.training.run_folder import RunFolder, check_free
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer

# --- The default run. Each value is the default of the option of the same name -------------------------------------

# Chosen by a sweep at equal arithmetic; the validation text is measured whole.
MODEL: KindOfModel = "llama"
SIZES = {"vocab_size": 1024, "context": 128, "layers": 4, "heads": 4, "width": 128, "dropout": 0.0}
TRAINING = TrainingSettings(
    minutes=4.0,
    batch=12,
    accumulate=1,
    optimizer="muon",
    lr=6e-3,
    min_lr=3e-4,
    schedule="cosine",
    warmup=0.02,
    weight_decay=0.1,
    clip=1.0,
    eval_every=250,
    eval_windows=None,
    seed=0,
)
PATTERN = "gpt4"
FOLDER = Path("runs")

# --- What is shown of the model's writing ---------------------------------------------------------------------------

SAMPLE_BYTES = 160  # of a sample at an evaluation
PAGE_BYTES = 2000  # of the page at the end
OPENING = 40  # characters at most that the proposed commands take from the user's text
TEMPERATURE = 0.8

KINDS = {"gpt2": TransformerConfig.gpt2, "llama": TransformerConfig.llama}
CHECKPOINTS_AT_ONCE = 3  # the two that are kept, and one that is being written
MAY_CHANGE_ON_RESUME = {"texts", "out", "resume", "steps", "minutes", "device"}
EXIT_INTERRUPTED = 130  # 128 + the number of the signal SIGINT, as shells count

NETWORK = "The model"


@expand_options
def train(
    command: typer.Context,
    texts: TextsArgument = None,
    *,
    out: Annotated[Path | None, option("Folder of the run.", RUN, default="runs/NAME-OF-TEXT")] = None,
    resume: Annotated[bool, option("Go on with the run in the folder, exactly where it was.", RUN, "--resume")] = False,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "cpu",
    model: Annotated[KindOfModel, option("The kind of network.", NETWORK)] = MODEL,
    sizes: Annotated[dict[str, Any], OptionsOf(TransformerConfig, defaults=SIZES, panel=NETWORK, help=NETWORK_HELP)],
    pattern: Annotated[str, option("How text is split: gpt2, gpt4, gpt4o or a regular expression.", NETWORK)] = PATTERN,
    training: Annotated[dict[str, Any], OptionsOf(TRAINING)],
) -> None:
    """Train a language model on TEXT, and watch it learn to write.

    Without TEXT it learns from Shakespeare's plays, which are downloaded once.
    """
    console = Console(highlight=False)
    folder = out or default_folder(texts or [])
    check_device(device)
    if resume:
        check_may_change(options_given(command))
        trainer, corpus = resumed_run(console, folder, texts or [], training, device)
    else:
        config = KINDS[model](**SIZES | sizes)
        settings = TRAINING.with_(**training)
        at_most = "vocab_size" not in sizes
        trainer, corpus = new_run(console, folder, texts or [], config, settings, pattern, at_most, device, overwrite)
    follow(console, trainer, corpus)


# --- What was asked -------------------------------------------------------------------------------------------------


def default_folder(texts: Sequence[Path]) -> Path:
    """runs/shakespeare, or runs/ and the name of the user's first file or folder."""
    return FOLDER / (texts[0].resolve().stem if texts else SHAKESPEARE.name)


def check_device(device: str) -> None:
    """Raise InputError for an unknown device, MachineError when it is not there."""
    if device not in DEVICES:
        raise InputError(f"device must be one of {', '.join(DEVICES)}, it was {device!r}.")
    if device == "cuda":
        import_cupy()


def check_may_change(given: set[str]) -> None:
    """Raise InputError when an option was given that a resumed run cannot change."""
    fixed = [f"--{name.replace('_', '-')}" for name in sorted(given - MAY_CHANGE_ON_RESUME)]
    if fixed:
        raise InputError(
            f"{', '.join(fixed)}: a run that is resumed goes on as it began. Leave it out, or begin a new run with "
            "another --out."
        )


def check_disk(folder: Path, needed: int) -> None:
    """Raise MachineError unless `folder` can be made and written, with room for `needed` bytes.

    The nearest parent that exists decides.
    """
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if os.path.exists(parent))
    if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
        raise MachineError(f"{folder}: no permission to write in {place}. Choose another folder with --out.")
    disk = shutil.disk_usage(place)
    if disk.free < needed:
        raise MachineError(
            f"{folder}: the disk is full: {gigabytes(disk.free)} are free, and the run needs {gigabytes(needed)}. "
            "Free some space, or choose a folder on another disk with --out."
        )


# --- From text to a trainer -----------------------------------------------------------------------------------------


def new_run(
    console: Console,
    folder: Path,
    texts: Sequence[Path],
    config: TransformerConfig,
    settings: TrainingSettings,
    pattern: str,
    at_most: bool,
    device: str,
    overwrite: bool,
) -> tuple[Trainer, Corpus]:
    """Everything up to the first step. The folder is not touched before all checks have passed.

    at_most: where the text supports fewer tokens than the config's vocabulary has, the model gets as many as it does.
    """
    check_free(folder, overwrite)
    plan = make_plan(config, settings, device=device)
    plan.check()
    check_disk(folder, plan.weights + CHECKPOINTS_AT_ONCE * plan.checkpoint)
    corpus = read_corpus(console, texts)
    with console.status("Learning the vocabulary"):
        texts_to_learn = (document.text for document in corpus.train)
        tokenizer = Tokenizer.train(texts_to_learn, config.vocab_size, pattern, at_most=at_most)
    if tokenizer.vocab_size < config.vocab_size:
        say(
            console,
            f"Vocabulary: {tokenizer.vocab_size:,} tokens, the most that this text supports; the default is "
            f"{config.vocab_size:,}.",
        )
        config = config.with_(vocab_size=tokenizer.vocab_size)
    tokens, validation = prepare(console, corpus, tokenizer, config, settings)
    say(console, make_plan(config, settings, eval_windows=len(validation.inputs), device=device).summary())
    source = {"texts": [str(path.absolute()) for path in texts]}
    run = RunFolder.create(folder, config, settings, tokenizer, source, overwrite=overwrite)
    return Trainer(run, Transformer(config, settings.seed).to(device), tokens, validation), corpus


def resumed_run(
    console: Console, folder: Path, texts: Sequence[Path], budget: dict[str, Any], device: str
) -> tuple[Trainer, Corpus]:
    """The run in the folder, about to go on from its last checkpoint.

    texts: where its text is now, if it was moved. budget: "steps" and "minutes" of the whole run, if they change.
    """
    run = RunFolder(folder)
    if not texts and "texts" not in run.source:
        raise InputError(f"{folder} does not say where its text is. Name it: tinygrad-llm train TEXT --resume.")
    tokenizer = run.load_tokenizer()
    corpus = read_corpus(console, texts or [Path(text) for text in run.source["texts"]])
    tokens, validation = prepare(console, corpus, tokenizer, run.config, run.settings)
    if budget:
        run.change_budget(**({"steps": None, "minutes": None} | budget))
    return Trainer(run, start_of(run).to(device), tokens, validation), corpus


def start_of(run: RunFolder) -> Transformer:
    """The network as a run began with it: new, or that of the model that it tunes."""
    base = Base.of_run(run)
    if base is None:
        return Transformer(run.config, run.settings.seed)
    return base.adapted(LanguageModel.load(base.name).network, run.settings.seed)


def read_corpus(console: Console, texts: Sequence[Path]) -> Corpus:
    """The user's texts, or Shakespeare's plays if there are none; says what was read."""
    corpus = read_texts(texts) if texts else shakespeare(fetch(SHAKESPEARE, partial(say, console)))
    say(console, corpus.summary())
    return corpus


def prepare(
    console: Console, corpus: Corpus, tokenizer: Tokenizer, config: TransformerConfig, settings: TrainingSettings
) -> tuple[np.ndarray, ValidationWindows]:
    """The training text as ids (N,), and windows of the held-out text. Raises InputError for too little text."""
    with console.status("Reading"):
        tokens = token_stream(corpus.train, tokenizer)
        held_out = token_stream(corpus.validation, tokenizer)
    size = sum(len(document.text.encode()) for document in corpus.train)
    say(
        console,
        f"Tokenizer: {tokenizer.vocab_size:,} tokens of {size / max(1, len(tokens)):.2f} bytes on average; "
        f"the training text has {len(tokens):,} of them.",
    )
    context = settings.context or config.context
    for part, ids in (("training", tokens), ("held-out", held_out)):
        if len(ids) <= context:
            raise InputError(
                f"the {part} text has {len(ids)} tokens, and a context of {context} needs at least {context + 1}. "
                "Give more text, or a smaller --context."
            )
    lengths = token_lengths(tokenizer)
    return tokens, validation_windows(held_out, context, settings.eval_windows, lengths, settings.begin_token)


def token_stream(documents: Iterable[Document], tokenizer: Tokenizer) -> np.ndarray:
    """All documents as one row of ids (N,), after each the token that ends a text; a blank line if there is no such.

    Special tokens in a document are encoded as themselves: "<|endoftext|>" between two stories in one file ends the
    first, and the model learns to stop there. A document that ends with it gets no second one.
    """
    end = tokenizer.encode("\n\n") if tokenizer.end_of_text is None else [tokenizer.end_of_text]
    pieces: list[np.ndarray | list[int]] = []
    for document in documents:
        ids = tokenizer.encode_array(document.text, allowed_special="all")
        has_ended = len(ids) > 0 and ids[-1] == tokenizer.end_of_text
        pieces += [ids] if has_ended else [ids, end]
    return np.concatenate(pieces, dtype=np.int32)


# --- Following the training -----------------------------------------------------------------------------------------


class Prompts(NamedTuple):
    """What the model goes on from: in samples, and in the commands that are proposed at the end."""

    sample: str
    write: str
    ask: str


def follow(console: Console, trainer: Trainer, corpus: Corpus) -> None:
    """Train to the end, or to Ctrl-C; show it, and leave the learning curve and a page of text in the folder."""
    run, validation = trainer.run_folder, trainer.validation
    assert run is not None and validation is not None, "the command line trains in a folder"
    model = LanguageModel(trainer.model, run.load_tokenizer(), begin_token=run.settings.begin_token)
    bytes_per_token = max(1.0, validation.target_bytes / validation.targets.size)
    proposed = prompts(run, corpus)
    prompt = proposed.sample
    if len(model.tokenizer.encode(prompt)) > run.config.context:
        prompt = ""

    def write(size: int, seed: int) -> str:
        return model.generate(prompt, round(size / bytes_per_token), temperature=TEMPERATURE, seed=seed)

    display = training_display(console)
    for earlier in History.of_run(run).events:
        display.readings.take(earlier)
    try:
        with display:
            for event in trainer.run():
                display.show(event)
                if isinstance(event, Evaluated):
                    text = write(SAMPLE_BYTES, seed=0)
                    run.append_sample(event.step, prompt + text)
                    display.show_sample(prompt, text)
    except KeyboardInterrupt:
        trainer.save()
        say(console, f"Stopped and saved after step {trainer.step:,}. Go on with:")
        say(console, f"  {shell('train', '--out', str(run.path), '--resume')}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    assert isinstance(event, Finished), "a run that was not stopped ends with Finished"
    with console.status("Writing a page, drawing the learning curve"):
        page = write(PAGE_BYTES, seed=1)
        run.append_sample(event.step, prompt + page)
        draw_learning_curve(run, event)
    display.show_end(event, prompt, page, what_next(run, proposed))


def prompts(run: RunFolder, corpus: Corpus) -> Prompts:
    """For Shakespeare famous ones, for the user's text the beginning of a text."""
    if run.source.get("texts") == []:
        # Without the colon on the command line: ":\n" is one token to most tokenizers, and ":" alone starts no speech.
        return Prompts(sample="ROMEO:\n", write="ROMEO", ask="To be, or not to")
    documents = split_at_names(corpus.validation_text, run.load_tokenizer().special_tokens)[::2]
    opening = " ".join(next(filter(str.strip, documents), "")[:OPENING].split()[:4])
    return Prompts(sample="", write=opening, ask=opening)


def draw_learning_curve(run: RunFolder, finished: Finished) -> None:
    """Write loss.png."""
    # Here, because matplotlib takes half a second to load and `tinygrad-llm --help` shall be quick.
    from tinygrad_llm.pictures.learning_curve import learning_curve, save_picture

    config = run.config
    subtitle = (
        f"{num_parameters(config):,} parameters: {config.layers} layers of width {config.width}, context "
        f"{config.context}, {config.vocab_size:,} tokens in the vocabulary; trained in {clock(finished.elapsed)}"
    )
    figure = learning_curve(
        History.of_run(run).events, f"Learning curve of {run.path.resolve().name}", subtitle, config.vocab_size
    )
    save_picture(figure, run.path / "loss.png")


def what_next(run: RunFolder, prompts: Prompts) -> list[tuple[str, str]]:
    """What the model is good for now: pairs of an aim, and a command or a file."""
    path = str(run.path)
    return [
        ("Let it write", shell("generate", path, prompts.write)),
        ("Ask what comes next", shell("next", path, prompts.ask)),
        ("The learning curve", str(run.path / "loss.png")),
        ("What it wrote on the way", str(run.path / "samples.txt")),
    ]


def shell(*arguments: str) -> str:
    """A command of this program as one types it."""
    return shlex.join(["tinygrad-llm", *arguments])


def say(console: Console, text: str) -> None:
    """Print text, what stands before a colon in quiet colour; lines are broken for a terminal only."""
    words = Text(text)
    words.highlight_regex(r"(?m)^[^:.]+:", QUIET)
    console.print(words, soft_wrap=not console.is_terminal)
