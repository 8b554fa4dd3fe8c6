"""Arguments that several commands share: the model, the prompt, the text, and the network's sizes."""

from pathlib import Path
from typing import Annotated, Any, Literal

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
TextsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="TEXT", help="Files or folders, in UTF-8.", show_default="Shakespeare's plays"),
]
KindOfModel = Literal["gpt2", "llama"]
# The sizes of a network, by the names of `TransformerConfig`.
NETWORK_HELP = {
    "vocab_size": "Tokens in the vocabulary; 256: bytes.",
    "context": "Tokens that it can look back at.",
    "layers": "Layers of attention and MLP.",
    "heads": "Attention heads per layer.",
    "kv_heads": "Key-value heads; fewer share keys.",
    "width": "Channels per token.",
    "dropout": "Share of channels dropped at random while it learns.",
}


def option(help: str, panel: str, *names: str, default: str | bool = True) -> Any:
    """An option in a panel of the help page. default: what is shown as its default, if not the value itself."""
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=default)


RUN = "The run"
OverwriteOption = Annotated[bool, option("Replace the run in the folder.", RUN, "--overwrite")]
DeviceOption = Annotated[str, option("cpu, or cuda: an NVIDIA GPU.", RUN)]
