"""`tinygrad-llm describe`: every part of a model, its shape, its parameters, its arithmetic, its memory."""

from typing import Annotated, Literal

import typer
from rich.console import Console

from tinygrad_llm.cli.arguments import ModelArgument
from tinygrad_llm.language_model import LanguageModel
from tinygrad_llm.pictures.description import describe


def describe_model(
    model: ModelArgument,
    layers: Annotated[
        Literal["alike", "all"], typer.Option(help="all: every layer. alike: those that are alike in one line.")
    ] = "alike",
    position: Annotated[
        int | None, typer.Option(help="Count attention for the token at this position; else for the last one.")
    ] = None,
) -> None:
    """Show what a model consists of, and what each part costs."""
    description, console = describe(LanguageModel.load(model), position), Console(highlight=False)
    if console.is_terminal:
        console.print(description.as_table(layers == "all"))
    else:
        typer.echo(description.as_text(layers == "all"))
