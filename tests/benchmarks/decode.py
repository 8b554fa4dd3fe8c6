"""Writing with a pretrained model, beside Transformers: loading, reading a prompt, one text, several at once, memory.

    python tests/benchmarks/decode.py --rounds 5 --write-json decode.json

Both read the same GGUF file into float32 and choose the likeliest token each time, with a key-value cache. Transformers
runs on PyTorch, uncompiled, with one thread or all cores, whichever is faster; without it only our side is timed.

Every token of one text needs every weight once, so memory sets a limit: the time that reading all weights takes at the
machine's measured peak. Several texts at once share that reading.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from contest import Result, Work, contest, in_a_process
from results import (
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
    import numpy as np

    from tinygrad_llm.kernels.peaks import Peaks

LOADING, READING, ONE, MANY = "loading", "reading the prompt", "one text, a token", "several texts, a token each"


def prompts(sizes: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """One prompt, (1, T), and several that are together as long. What the tokens are changes no time."""
    import numpy as np

    ids = np.random.default_rng(0).integers(0, sizes["vocab_size"], sizes["prompt"])
    each = sizes["prompt"] // sizes["texts"]
    return ids[None], ids[: sizes["texts"] * each].reshape(-1, each)


def ours(path: str, sizes: dict[str, int]) -> Work:
    start = time.perf_counter()
    import tinygrad_llm as tg

    model = tg.load(path).network
    loading = time.perf_counter() - start
    from tinygrad_llm.generation.cache import GrowingCache
    from tinygrad_llm.generation.generate import next_log_probabilities

    def write(ids: np.ndarray) -> tuple[float, float]:
        cache = GrowingCache(model.config)
        start = time.perf_counter()
        token = next_log_probabilities(model, ids, cache).argmax(axis=-1)[:, None]
        read = time.perf_counter()
        for _ in range(sizes["tokens"]):
            token = next_log_probabilities(model, token, cache).argmax(axis=-1)[:, None]
        return read - start, (time.perf_counter() - read) / sizes["tokens"]

    return turns(write, *prompts(sizes), loading)


def transformers(path: str, sizes: dict[str, int]) -> Work:
    start = time.perf_counter()
    import torch
    from torch_model import best_thread_count
    from transformers import AutoModelForCausalLM

    file = Path(path)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    loading = time.perf_counter() - start

    @torch.inference_mode()
    def write(ids: np.ndarray) -> tuple[float, float]:
        start = time.perf_counter()
        out = model(torch.tensor(ids), use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        read = time.perf_counter()
        for _ in range(sizes["tokens"]):
            out = model(token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        return read - start, (time.perf_counter() - read) / sizes["tokens"]

    best_thread_count(lambda: write(prompts(sizes)[0]))
    return turns(write, *prompts(sizes), loading)


def turns(
    write: Callable[[np.ndarray], tuple[float, float]], one: np.ndarray, several: np.ndarray, loading: float
) -> Work:
    """The work of a turn. write: reads prompts and goes on; seconds of the reading, and per token of each text.

    Loading was once, and is told in every turn.
    """

    def work() -> dict[str, float]:
        reading, alone = write(one)
        _, together = write(several)
        return {LOADING: loading, READING: reading, ONE: alone, MANY: together}

    return work


def show_profiles(path: str, sizes: dict[str, int], peaks: Peaks) -> None:
    """Where our time goes, op by op."""
    import tinygrad_llm as tg
    from tinygrad_llm.debugging.profile import Profile
    from tinygrad_llm.generation.cache import GrowingCache
    from tinygrad_llm.generation.generate import next_log_probabilities
    from tinygrad_llm.pictures.profile_table import profile_table

    model, console = tg.load(path).network, Console(highlight=False)
    for ids in prompts(sizes):
        next_log_probabilities(model, ids, GrowingCache(model.config))  # warm
        cache = GrowingCache(model.config)
        reading, writing = Profile(), Profile()
        with reading:
            token = next_log_probabilities(model, ids, cache).argmax(axis=-1)[:, None]
            reading.mark("(log-probabilities)")
        with writing:
            for _ in range(sizes["tokens"]):
                token = next_log_probabilities(model, token, cache).argmax(axis=-1)[:, None]
                writing.mark("(log-probabilities)")
        count, length = ids.shape
        console.print(profile_table(reading, peaks, 1, f"Reading {length} tokens; texts at once: {count}"))
        console.print(profile_table(writing, peaks, sizes["tokens"], f"Writing a token; texts at once: {count}"))


def model_sizes(path: str) -> dict[str, int]:
    import tinygrad_llm as tg

    network = tg.load(path).network
    return {"vocab_size": network.config.vocab_size, "parameters": network.num_parameters()}


def main(
    model: Annotated[str, typer.Option(help="smollm2-135m-instruct, gemma-3-270m, or a GGUF file.")] = (
        "smollm2-135m-instruct"
    ),
    prompt: Annotated[int, typer.Option(min=8, help="Tokens that are read first.")] = 512,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens that are written in each turn.")] = 24,
    texts: Annotated[int, typer.Option(min=2, help="How many are several.")] = 8,
    profile: Annotated[bool, typer.Option("--profile", help="Also show where our time goes, op by op.")] = False,
    rounds: Rounds = 5,
    ours_only: OursOnly = False,
    write_json: WriteJson = None,
    plot: Plot = None,
) -> None:
    """Time loading, reading and writing, ours beside Transformers', taking turns."""
    from tinygrad_llm.hub.assets import ASSETS, fetch

    surroundings = Surroundings()
    path = str(fetch(ASSETS[model]) if model in ASSETS else Path(model).absolute())
    sizes = {"prompt": prompt, "tokens": tokens, "texts": texts} | in_a_process(model_sizes, path)
    peaks = in_a_process(machine_peaks)
    makers = {OURS: ours} | rivals({EAGER: transformers}, ours_only, package="transformers")
    results = contest(makers, (path, sizes), rounds)
    limits = {ONE: 4 * sizes["parameters"] / peaks.read, MANY: 4 * sizes["parameters"] / peaks.read}
    limits[READING] = 2 * sizes["parameters"] * prompt / peaks.operations
    record = {name: numbers(result, results[OURS], sizes, limits) for name, result in results.items()}
    table = Table(title=f"{Path(path).name}: {sizes['parameters']:,} parameters in float32", title_justify="left")
    for column in ("what", "contestant", "ms", "tokens/s", "our speed over it", "at best"):
        table.add_column(column, justify="left" if column in ("what", "contestant") else "right")
    for part in (LOADING, READING, ONE, MANY):
        for name, of in record.items():
            table.add_row(part, name, *cells(of[part]))
        table.add_section()
    console = Console(highlight=False)
    memory = {name: of["peak_memory"] for name, of in record.items() if of["peak_memory"]}
    console.print(table, *(f"{name}: {peak / 1e6:,.0f} MB at most." for name, peak in memory.items()), sep="\n")
    console.print(peaks_in_words(peaks), surroundings.sentence(), sep="\n")
    if profile:
        in_a_process(show_profiles, path, sizes, peaks)
    if write_json:
        write_record(write_json, record | {"sizes": sizes}, surroundings, peaks)
    if plot:
        draw(record, plot)


def numbers(result: Result, us: Result, sizes: dict[str, int], limits: dict[str, float]) -> dict[str, Any]:
    """All that is said of one contestant; "share_of_limit": the least possible time over the time it took."""
    counts = {READING: sizes["prompt"], ONE: 1, MANY: sizes["texts"]}
    of: dict[str, Any] = {"peak_memory": result.peak_memory}
    for part in result.seconds:
        seconds = result.median(part)
        of[part] = {"seconds": seconds, "our_speed_over_it": us.speed_over(result, part)}
        if part in counts:
            of[part] |= {"tokens_per_second": counts[part] / seconds, "share_of_limit": limits[part] / seconds}
    return of


def cells(of: dict[str, float]) -> tuple[str, ...]:
    """The last columns of the table."""
    speed = f"{of['tokens_per_second']:,.1f}" if "tokens_per_second" in of else ""
    share = f"{of['share_of_limit']:.0%}" if "share_of_limit" in of else ""
    return f"{1000 * of['seconds']:,.1f}", speed, f"{of['our_speed_over_it']:.2f}×", share


def draw(record: dict[str, dict[str, Any]], path: Path) -> None:
    """Tokens per second."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    for axes, part in zip(figure.subplots(3, 1), (READING, ONE, MANY), strict=True):
        groups_of_bars(
            axes, {part: {name: of[part]["tokens_per_second"] for name, of in record.items()}}, "{:,.1f}".format
        )
    figure.suptitle("Tokens per second", x=0.01, ha="left", fontsize=11)
    add_legend(figure, figure.axes[0])
    save_figure(figure, path)


if __name__ == "__main__":
    typer.run(main)
