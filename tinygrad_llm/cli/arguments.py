"""Arguments that several commands share."""

from typing import Annotated

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="The folder of a trained model, such as runs/shakespeare; smollm2-135m-instruct or gemma-3-270m, which "
        "are downloaded once; a .gguf file; a folder in Hugging Face's layout; or hf:owner/name.",
    ),
]
PROMPT_HELP = "The text so far. Empty: the beginning of a text."
SAMPLER_HELP = "stages in an order of your own, such as 'min_p=0.1, temperature=1.5'."
