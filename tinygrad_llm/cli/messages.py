"""What the command line says about itself, on the side (stderr), so that the output stays clean."""

from rich.console import Console
from rich.markup import escape


def show_error(error: Exception) -> None:
    """The sentence of an error."""
    message = f"[bold red]Error:[/] {escape(str(error))}"
    Console(stderr=True, highlight=False).print(message, markup=True, soft_wrap=True)
