"""`tinygrad-llm score`: how well a model predicts a text, and which tokens surprise it most.

Perplexity is exp of the mean of -log p per token: it depends on the tokenizer. Bits per byte is the sum of -log2 p
divided by the bytes of the text, and can be compared between models. Special tokens in the text are tokens, as in
training, and stand for no bytes.
"""

import json
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinygrad_llm.cli.arguments import ModelArgument
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_text
from tinygrad_llm.language_model import LanguageModel
from tinygrad_llm.pictures.distribution import label, number
from tinygrad_llm.text.special_tokens import split_at_names
from tinygrad_llm.text.tokenizer import Tokenizer

CONTEXT_BEFORE, CONTEXT_AFTER = 30, 12  # characters that are shown around a token


def score(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The text, in UTF-8.")],
    top: Annotated[int, typer.Option(min=0, help="How many of the most surprising tokens to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Measure how well a model predicts a text: perplexity, bits per byte, the most surprising tokens."""
    text = read_text(file)
    if not text:
        raise InputError(f"{file} is empty, and has no probability. Give a text of at least one character.")
    loaded, console = LanguageModel.load(model), Console(highlight=False)
    special_tokens = loaded.tokenizer.special_tokens
    size = len("".join(split_at_names(text, special_tokens)[::2]).encode())
    if not size:
        raise InputError(f"{file} has nothing but special tokens. Give a text of at least one character.")
    log_p = loaded.log_probabilities(text, allowed_special="all")  # (T,)
    numbers = {
        "tokens": len(log_p),
        "bytes": size,
        "nats_per_token": -float(log_p.mean()),
        "perplexity": math.exp(min(-float(log_p.mean()), 700.0)),
        "bits_per_byte": -float(log_p.sum()) / math.log(2.0) / size,
    }
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    console.print(
        f"{len(log_p):,} tokens, {size:,} bytes\n"
        f"perplexity     {numbers['perplexity']:,.3f}  ({numbers['nats_per_token']:.4f} nats per token)\n"
        f"bits per byte  {numbers['bits_per_byte']:.4f}",
        soft_wrap=True,
    )
    if top:
        console.print(f"\nThe most surprising of them, of {len(log_p):,}:", style="dim")
        ids = loaded.tokenizer.encode_array(text, allowed_special="all")  # (T,)
        console.print(surprises_table(loaded.tokenizer, ids, log_p, top))


def surprises_table(tokenizer: Tokenizer, ids: np.ndarray, log_p: np.ndarray, count: int) -> Table:
    """The `count` tokens with the lowest log p, the most surprising first, in their context. ids, log_p: (T,)."""
    table = Table.grid(padding=(0, 2))
    for justify in ("right", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(name, "dim") for name in ("at", "bits", "p", "in the text")))
    for place in np.argsort(log_p, kind="stable")[:count].tolist():
        before = visible(tokenizer.decode(ids[max(0, place - CONTEXT_BEFORE) : place]))[-CONTEXT_BEFORE:]
        after = visible(tokenizer.decode(ids[place + 1 : place + 1 + CONTEXT_AFTER]))[:CONTEXT_AFTER]
        own = label(tokenizer.token_bytes(int(ids[place])))
        table.add_row(
            Text(f"{place:,}"),
            Text(f"{-log_p[place] / math.log(2.0):.1f}", "cyan"),
            Text(number(math.exp(log_p[place])).strip()),
            Text(f"{before:>{CONTEXT_BEFORE}} ", "dim").append(own, "bold yellow").append(f" {after}", "dim"),
        )
    return table


def visible(text: str) -> str:
    """The text in one line: white space and control characters as signs."""
    return "".join("⏎" if letter == "\n" else letter if letter.isprintable() else "·" for letter in text)
