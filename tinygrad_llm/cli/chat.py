"""`tinygrad-llm chat`: a conversation in the terminal. Replies appear token by token; `/why` shows the alternatives.

What begins with a slash is for this program, everything else for the model. From a pipe it works too: a line of input
is a turn, and only the replies are printed.
"""

import contextlib
import io
import math
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinygrad_llm.chat_session import ChatSession, Why
from tinygrad_llm.cli.arguments import ModelArgument
from tinygrad_llm.cli.generate import print_pieces
from tinygrad_llm.cli.messages import show_error
from tinygrad_llm.cli.options import OptionsOf, expand_options
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.sampling_config import TEMPERATURE, SamplingConfig
from tinygrad_llm.language_model import LanguageModel
from tinygrad_llm.pictures.distribution import bar, label, number
from tinygrad_llm.text.tokenizer import Tokenizer

COMMANDS = {
    "/why": "what each token of the last reply could have been instead",
    "/reset": "begin a new conversation",
    "/system TEXT": "tell the model what part it plays; without TEXT: what it was told",
    "/seed N": "other replies, or the same again; without N: the present one",
    "/help": "this list",
    "/quit": "end; so does Ctrl-D. Ctrl-C ends a reply only",
}
BAR_WIDTH = 8  # characters of a bar in the table of `/why`


@expand_options
def chat(
    model: ModelArgument,
    system: Annotated[str | None, typer.Option(help="What the model is told about its part.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest reply.")] = 1000,
    *,
    sampling: Annotated[dict[str, Any], OptionsOf(SamplingConfig(temperature=TEMPERATURE))],
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed and the same words: the same replies.")] = None,
) -> None:
    """Talk with a model that was trained to hold a conversation."""
    session = ChatSession(LanguageModel.load(model), system, seed=seed, max_tokens=max_tokens, **sampling)
    console = Console(highlight=False)
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text are no reason to end
    if is_terminal:
        console.print(f"seed {session.seed} · /help shows what else can be asked, Ctrl-D ends", style="dim")
    while (line := next_line(is_terminal)) is not None:
        try:
            if line.startswith("/"):
                if not obey(line, session, console):
                    return
            elif line:
                print_pieces(session.say(line))
        except KeyboardInterrupt:
            console.print("\n(stopped)", style="dim")
        except InputError as error:
            show_error(error)


def next_line(is_terminal: bool) -> str | None:
    """What was typed, without blanks around it; None at the end of the input."""
    if is_terminal:
        with contextlib.suppress(ImportError):  # there is none on Windows
            import readline  # noqa: F401  # input() then knows the arrow keys and what was typed before
    while True:
        try:
            return input("\001\033[1m\002> \001\033[0m\002" if is_terminal else "").strip()
        except EOFError:
            if is_terminal:
                print()
            return None
        except KeyboardInterrupt:
            print("\n(Ctrl-D or /quit ends)")


def obey(line: str, session: ChatSession, console: Console) -> bool:
    """Do what the command says. False when it says to end."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "/quit":
            return False
        case "/help":
            for name, meaning in COMMANDS.items():
                console.print(Text(f"{name:14}", "bold"), Text(meaning), sep="")
        case "/reset":
            session.reset()
            console.print("A new conversation.", style="dim")
        case "/system":
            if rest:
                session.system = rest
            console.print(Text(f"system: {session.system or 'as the chat template says'}", "dim"))
        case "/seed":
            if rest:
                session.seed = whole_number(rest)
            console.print(f"seed {session.seed}", style="dim")
        case "/why":
            if not session.why():
                raise InputError("/why: there is no reply yet. Say something first.")
            console.print(why_table(session.why(), session.model.tokenizer, console.width))
            console.print("p: of the model; sampled: after the sampler chain; dim: what it left out", style="dim")
        case _:
            raise InputError(f"there is no command {command}. /help shows all of them.")
    return True


def whole_number(text: str) -> int:
    """The number. Raises InputError when it is none."""
    if not text.isdecimal():
        raise InputError(f"/seed must be followed by a whole number of at least 0, it was {text!r}.")
    return int(text)


def why_table(whys: list[Why], tokenizer: Tokenizer, width: int) -> Table:
    """Each token of a reply, how probable it was, and as many others as fit into `width` characters."""
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(name, "dim") for name in ("token", "p", "sampled", "instead")))
    names = [label(tokenizer.token_bytes(why.said.token)) for why in whys]
    room = width - max(map(len, [*names, "token"])) - (BAR_WIDTH + len(" 0.1234")) - len("0.1234") - 3 * 2
    for name, why in zip(names, whys, strict=True):
        p, others = math.exp(why.said.log_p), Text()
        for (token, log_p), sampled_log_p in zip(why.said.others, why.others_sampled_log_p, strict=True):
            other = f"{'   ' if others else ''}{label(tokenizer.token_bytes(token))} {number(math.exp(log_p)).strip()}"
            if len(others) + len(other) > room:
                break
            others.append(other, "" if sampled_log_p > -math.inf else "dim")
        table.add_row(
            Text(name, "bold" if why.said.rank == 1 else "bold yellow"),
            Text(f"{bar(p, BAR_WIDTH):{BAR_WIDTH}} ", "cyan").append(number(p), "default"),
            Text(number(math.exp(why.sampled_log_p))),
            others,
        )
    return table
