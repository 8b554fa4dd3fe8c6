"""The command line as a whole: which commands there are, and how failures end.

Exit codes: 0 done, 1 the machine failed (disk, network), 2 the user asked for something that cannot be done.
"""

import sys

import typer
from rich.console import Console

from tinygrad_llm.errors import InputError, MachineError

app = typer.Typer(
    name="tinygrad-llm",
    help="Train a language model, look inside it, and let it write.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; turn the two kinds of failure into a sentence and an exit code."""
    try:
        app()
    except (InputError, MachineError) as error:
        Console(stderr=True, highlight=False).print(f"[bold red]Error:[/] {error}", markup=True, soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
