"""`tinygrad-llm generate`: the model goes on where the prompt ends, and the text appears as it is drawn."""

import json
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygrad_llm.cli.arguments import PROMPT_HELP, ModelArgument
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_text
from tinygrad_llm.language_model import LanguageModel


def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(metavar="[PROMPT]", help=PROMPT_HELP)] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Stop after this many tokens.")] = 200,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token; 1: as the model says.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw only from this many likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw only from the likeliest with this much together.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Drop tokens below this share of the likeliest one's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed writes the same text.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many texts; number i takes the seed plus i.")] = 1,
    stop: Annotated[list[str] | None, typer.Option(help="End before this string. May be repeated.")] = None,
    regex: Annotated[str | None, typer.Option(help="A regular expression that the whole text has to match.")] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON schema: the text is a JSON value that is valid under it."),
    ] = None,
    draft: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Guess several tokens at a time, with a smaller model that has the same tokenizer, or with "
            "prompt-lookup: from what stands in the text. Changes the speed, and not how probable a text is.",
        ),
    ] = None,
) -> None:
    """Let a trained model go on writing after PROMPT."""
    loaded = LanguageModel.load(model)
    first = secrets.randbelow(1_000_000) if seed is None else seed
    # All of them are made before anything is written, so that a mistake in the options is the only thing said.
    guesses = None if draft is None else loaded.draft(draft)
    schema = None if json_schema is None else read_schema(json_schema)
    options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    options |= {"stop": stop or (), "regex": regex, "json_schema": schema, "draft": guesses}
    texts = [loaded.stream(prompt, max_tokens, **options, seed=first + sample) for sample in range(samples)]
    if seed is None and temperature > 0:  # at 0 nothing is left to chance
        typer.secho(f"seed {first} (the same text again: --seed {first})", dim=True, err=True)
    for sample, pieces in enumerate(texts):
        if samples > 1:
            typer.secho(f"--- {sample + 1} of {samples}, seed {first + sample} ---", dim=True)
        typer.secho(prompt, bold=True, nl=False)
        write(pieces)
    if guesses is not None:
        typer.secho(str(guesses.acceptance), dim=True, err=True)


def read_schema(path: Path) -> Any:
    """The JSON schema in a file. Raises InputError when there is none."""
    text = read_text(path)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:  # no JSON, or brackets in brackets beyond all measure
        raise InputError(f"{path} is not JSON that can be read ({error}).") from error
    if schema is None:
        raise InputError(f"{path} holds null, and a JSON schema is an object.")
    return schema


def write(pieces: Iterable[str]) -> None:
    """Print the pieces as they come, then end the line. A terminal is shown control characters as signs (␛), because
    a model that has learned little writes any byte; a file gets them as they are."""
    for piece in pieces:
        sys.stdout.write(piece.translate(CONTROL_PICTURES) if sys.stdout.isatty() else piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
CONTROL_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), "\ufffd")
