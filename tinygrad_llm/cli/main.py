"""The command line as a whole: which commands there are, and how failures end.

Exit codes: 0 done, 1 the machine failed (disk, network), 2 the user asked for something that cannot be done.
"""

import io
import sys
from typing import Annotated

import typer

from tinygrad_llm.cli.chat import chat
from tinygrad_llm.cli.describe import describe_model
from tinygrad_llm.cli.export import export
from tinygrad_llm.cli.generate import generate
from tinygrad_llm.cli.messages import show_error
from tinygrad_llm.cli.next import next_token
from tinygrad_llm.cli.profile import profile
from tinygrad_llm.cli.score import score
from tinygrad_llm.cli.train import train
from tinygrad_llm.cli.tune import tune
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.version import __version__

app = typer.Typer(
    name="tinygrad-llm",
    help="Train a language model, look inside it, and let it write.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tinygrad-llm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """What can be said before the command; typer shows the help of `app`."""


app.command()(train)
app.command()(tune)
app.command()(generate)
app.command("next")(next_token)
app.command()(score)
app.command()(chat)
app.command("describe")(describe_model)
app.command()(profile)
app.command()(export)


def main() -> None:
    """Run the command line; turn the two kinds of failure into a sentence and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows "?" for it
            stream.reconfigure(errors="replace")
    try:
        app()
    except (InputError, MachineError) as error:
        show_error(error)
        sys.exit(2 if isinstance(error, InputError) else 1)
