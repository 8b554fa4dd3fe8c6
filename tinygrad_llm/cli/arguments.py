"""Arguments that several commands share: the model, the prompt, and the sampling options.

The sampling options are not typed here: `with_sampling` makes them from the fields of `SamplingConfig`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tinygrad_llm.generation.sampling_config import TEMPERATURE, SamplingConfig

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="The folder of a trained model, such as runs/shakespeare; smollm2-135m-instruct or gemma-3-270m, which "
        "are downloaded once; a .gguf file; a folder in Hugging Face's layout; or hf:owner/name.",
    ),
]
NO_SAMPLING = SamplingConfig()
PROMPT_HELP = "The text so far. Empty: the beginning of a text."
SAMPLING_PANEL = "How tokens are chosen"
INTEGERS, TEXTS = ("top_k", "no_repeat_ngrams"), ("logit_bias", "sampler")


def sampling_option(help: str, **more: Any) -> Any:
    """An option about how tokens are chosen."""
    return typer.Option(rich_help_panel=SAMPLING_PANEL, help=help, **more)


def with_sampling(temperature: float = TEMPERATURE) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command: its parameter `sampling` becomes one option for each field of `SamplingConfig`.

    temperature: the default of this command, for its help.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            options = {one.name: values.pop(one.name) for one in fields(SamplingConfig)}
            command(**values, sampling=SamplingConfig(**options))

        parameters = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += sampling_parameters(temperature) if parameter.name == "sampling" else [parameter]
        del with_options.__wrapped__  # type: ignore[attr-defined]  # so that its own signature counts
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        return with_options

    return decorate


def sampling_parameters(temperature: float) -> list[inspect.Parameter]:
    """A parameter of a command for each field of `SamplingConfig`."""
    parameters = []
    for one in fields(SamplingConfig):
        kind: Any = int if one.name in INTEGERS else str if one.name in TEXTS else float
        shown = {"show_default": str(temperature)} if one.name == "temperature" else {}
        annotation = Annotated[kind | None, sampling_option(one.metadata["help"], **shown)]
        parameters.append(
            inspect.Parameter(one.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation)
        )
    return parameters


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
