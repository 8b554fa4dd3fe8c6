"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RunFolderArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a trained model, such as runs/shakespeare.")
]
PROMPT_HELP = "The text so far. Empty: the beginning of a text."
