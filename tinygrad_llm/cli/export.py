"""`tinygrad-llm export`: a model that was trained or tuned here, for Transformers or llama.cpp."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tinygrad_llm.cli.arguments import ModelArgument
from tinygrad_llm.language_model import LanguageModel

NEXT_STEPS = {
    "hf": "Open it in Python: AutoModelForCausalLM.from_pretrained({path!r}), AutoTokenizer.from_pretrained({path!r}).",
    "gguf": "Open it with llama.cpp: llama-cli -m {path}",
}


def export(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or for gguf a new .gguf file.")],
    format: Annotated[
        Literal["hf", "gguf"], typer.Option(help="hf: for Transformers. gguf: for llama.cpp and its kin.")
    ] = "hf",
    force: Annotated[bool, typer.Option("--force", help="Replace an exported model that is there.")] = False,
) -> None:
    """Write a model in the format of another program, with its tokenizer. The weights are float32."""
    path = LanguageModel.load(model).export(folder, format, force=force)
    typer.echo(f"Written: {path}")
    typer.echo(NEXT_STEPS[format].format(path=str(path)))
