"""`tinygrad-llm next`: what comes next? The likeliest tokens as bars, and that all of them sum to 1.

With sampling options it is the distribution that they would be sampled from, with --stages all that happens on the way
there, and with --tree what may come after them.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tinygrad_llm.cli.arguments import PROMPT_HELP, ModelArgument
from tinygrad_llm.cli.options import OptionsOf, expand_options
from tinygrad_llm.drawing.svg import Picture
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.logits_processors import SamplerChain
from tinygrad_llm.generation.sampling_config import SamplingConfig
from tinygrad_llm.language_model import LanguageModel
from tinygrad_llm.pictures.distribution import SHOWN


@expand_options
def next_token(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help=PROMPT_HELP)],
    top: Annotated[int, typer.Option(min=1, help="How many tokens to show.")] = SHOWN,
    *,
    sampling: Annotated[dict[str, Any], OptionsOf(SamplingConfig(temperature=1.0))],
    stages: Annotated[
        bool, typer.Option("--stages", help="Show the distribution after each stage of the sampler chain.")
    ] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Show the likeliest continuations as a tree.")] = False,
    depth: Annotated[int, typer.Option(min=1, help="Of --tree: how many tokens deep.")] = 4,
    branches: Annotated[int, typer.Option(min=1, help="Of --tree: the most branches from one place.")] = 3,
    mass: Annotated[float, typer.Option(help="Of --tree: fewer branches, if they have this much together.")] = 0.9,
    least: Annotated[float, typer.Option(help="Of --tree: paths less probable than this are left out.")] = 0.01,
    save: Annotated[Path | None, typer.Option(help="Save --stages or --tree as a picture too: .svg or .html.")] = None,
) -> None:
    """Show the probability of the next token after PROMPT."""
    if tree and stages:
        raise InputError("--tree and --stages are two pictures: ask for one of them.")
    if save is not None and not tree and not stages:
        raise InputError("--save needs --stages or --tree, which are what can be saved.")
    loaded, console = LanguageModel.load(model), Console()
    if tree:
        show(loaded.tree(prompt, depth, branches, mass=mass, least=least, **sampling), console, save)
        return
    sampler = SamplingConfig.of(**sampling).chain(loaded.tokenizer, temperature=1.0) if sampling else SamplerChain()
    all_stages = loaded.next_token(prompt).stages(sampler, top)
    if stages:
        show(all_stages, console, save)
    else:
        console.print(all_stages.distributions[-1].as_table(top))


def show(picture: Picture, console: Console, save: Path | None) -> None:
    """Save the picture, if that was asked for, and print it; when it cannot be saved, that is all that is said."""
    if save is not None:
        picture.save(save)
    console.print(picture)
