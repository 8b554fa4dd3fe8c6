"""`tinygrad-llm generate`: the model continues the prompt, and the text appears token by token.

With --beam and --best-of a text is looked for, and appears when it has been found.
"""

import json
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tinygrad_llm.cli.arguments import PROMPT_HELP, ModelArgument
from tinygrad_llm.cli.options import OptionsOf, expand_options
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_text
from tinygrad_llm.generation.generated_text import GeneratedText
from tinygrad_llm.generation.sampling_config import PANEL, TEMPERATURE, SamplingConfig
from tinygrad_llm.language_model import LanguageModel


def choosing(help: str, **more: Any) -> Any:
    """An option that says how tokens are chosen, beside those of `SamplingConfig`."""
    return typer.Option(rich_help_panel=PANEL, help=help, **more)


def showing(help: str, *names: str, **more: Any) -> Any:
    """An option that says which texts are shown."""
    return typer.Option(*names, rich_help_panel="Which texts are shown", help=help, **more)


@expand_options
def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Argument(metavar="[PROMPT]", help=PROMPT_HELP)] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Stop after this many tokens.")] = 200,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same text.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this string. May be repeated.")] = None,
    draft: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Propose several tokens at a time, with a smaller model that has the same tokenizer, or with "
            "prompt-lookup: from what stands in the text. Changes the speed, and not how probable a text is.",
        ),
    ] = None,
    *,
    sampling: Annotated[dict[str, Any], OptionsOf(SamplingConfig(temperature=TEMPERATURE))],
    regex: Annotated[str | None, choosing("A regular expression that the whole text has to match.")] = None,
    json_schema: Annotated[
        Path | None, choosing("A JSON schema: the text is a JSON value that is valid under it.", metavar="FILE")
    ] = None,
    samples: Annotated[
        int, showing("How many texts; number i takes the seed plus i. Of --beam and --best-of the best.", min=1)
    ] = 1,
    beam: Annotated[
        int | None, showing("Search the most probable text with so many beams, instead of sampling one.", metavar="N")
    ] = None,
    length_penalty: Annotated[
        float, showing("Of --beam: 0 is for the most probable text, a short one; 0.6 to 1 makes up for that.")
    ] = 0.0,
    best_of: Annotated[
        int | None, showing("Sample so many texts, and show the one that is most probable per token.", metavar="N")
    ] = None,
    alternatives: Annotated[bool, showing("Show what else each token could have been.", "--alternatives")] = False,
) -> None:
    """Generate text after PROMPT with a trained model."""
    if beam is not None and best_of is not None:
        raise InputError("--beam searches for a text and --best-of samples some: give one of them.")
    if draft is not None and (beam is not None or best_of is not None):
        raise InputError(
            "--draft works with sampling one text after the other: leave it out with --beam and --best-of."
        )
    loaded = LanguageModel.load(model)
    first = secrets.randbelow(1_000_000) if seed is None else seed
    options: dict[str, Any] = sampling | {"stop": stop, "regex": regex}
    options["json_schema"] = None if json_schema is None else read_schema(json_schema)
    draft_model = None if draft is None else loaded.draft(draft)
    # All texts are begun before anything is printed, so that a mistake in the options is the only thing said.
    texts: Sequence[GeneratedText | Iterator[str]]
    if beam is not None:
        texts = loaded.beam_search(prompt, beam, max_tokens, length_penalty=length_penalty, **options)[:samples]
    elif best_of is not None:
        texts = loaded.best_of(prompt, best_of, max_tokens, seed=first, **options)[:samples]
    else:
        start: Callable[..., GeneratedText | Iterator[str]] = loaded.generate if alternatives else loaded.stream
        texts = [start(prompt, max_tokens, seed=first + i, draft=draft_model, **options) for i in range(samples)]
    if seed is None and beam is None and sampling.get("temperature") != 0:  # otherwise nothing is left to chance
        typer.secho(f"seed {first} (the same text again: --seed {first})", dim=True, err=True)
    for number, text in enumerate(texts):
        if len(texts) > 1:
            is_sampled = beam is None and best_of is None
            name = odds(text) if isinstance(text, GeneratedText) and not is_sampled else f"seed {first + number}"
            typer.secho(f"--- {number + 1} of {len(texts)}, {name} ---", dim=True)
        typer.secho(prompt, bold=True, nl=False)
        print_pieces([text] if isinstance(text, GeneratedText) else text)
        if alternatives and isinstance(text, GeneratedText) and len(text.ids):
            Console().print(loaded.alternatives(text))
    if draft_model is not None:
        typer.secho(str(draft_model.acceptance), dim=True, err=True)


def odds(text: GeneratedText) -> str:
    """How probable a text is, in words."""
    return f"log p {text.log_probability:.2f}, {text.log_probability / max(1, len(text.ids)):.3f} per token"


def read_schema(path: Path) -> Any:
    """The JSON schema in a file. Raises InputError when there is none."""
    text = read_text(path)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:  # no JSON, or brackets in brackets beyond all measure
        raise InputError(f"{path} is not JSON that can be read ({error}).") from error
    if schema is None:
        raise InputError(f"{path} holds null, and a JSON schema is an object.")
    return schema


def print_pieces(pieces: Iterable[str]) -> None:
    """Print the pieces as they come, then end the line. A terminal is shown control characters as signs (␛), because
    a model that has learned little writes any byte; a file gets them as they are."""
    for piece in pieces:
        sys.stdout.write(piece.translate(CONTROL_PICTURES) if sys.stdout.isatty() else piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
CONTROL_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), "\ufffd")
