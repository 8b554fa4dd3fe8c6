"""`tinygrad-llm next`: what comes next? The likeliest tokens as bars, and that all of them sum to 1."""

from typing import Annotated

import typer
from rich.console import Console

from tinygrad_llm.cli.arguments import PROMPT_HELP, ModelArgument
from tinygrad_llm.language_model import LanguageModel
from tinygrad_llm.pictures.distribution import SHOWN


def next_token(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help=PROMPT_HELP)],
    top: Annotated[int, typer.Option(min=1, help="How many tokens to show.")] = SHOWN,
) -> None:
    """Show the probability of the next token after PROMPT."""
    Console().print(LanguageModel.load(model).next_word(prompt).as_table(top))
