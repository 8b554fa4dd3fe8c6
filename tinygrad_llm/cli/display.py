"""What a person sees while a model learns: a quiet live view on a terminal, one line per evaluation anywhere else.

Both are told the trainer's events (`training.events`) and read the same figures off them (`Readings`); they decide
nothing about the training. On a terminal the evaluations with their samples scroll by, so that one watches letters
become words and words become speech; below them stand the bar and the figures of this moment.

Builds on: `training.events`. Used by: `cli.train`.
Left out on purpose: a screen of its own (what was shown shall still be there afterwards), and a thread that redraws
(the cores are for the training).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tinygrad_llm.cli.generate import CONTROL_PICTURES
from tinygrad_llm.training.events import Evaluated, Event, Finished, Resumed, Stepped

REDRAW_SECONDS = 0.2
SPEED_SECONDS = 10.0  # tokens per second are an average over about so long
LOSS_STEPS = 50  # the training loss is a mean over so many steps
SAMPLE_LINES = 6
SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 32
ACCENT, QUIET, VALUE, HELD_OUT = "cyan", "bright_black", "bold", "magenta"


class Readings:
    """The figures of a run at this moment, read off its events.

    step, total_steps: how far it is. loss: nats per token of the last steps. lr: the learning rate.
    evaluated: the last evaluation. losses: of every step.
    seconds_left: until the end of the run, at the pace of the whole run so far.
    """

    def __init__(self) -> None:
        self.step, self.total_steps = 0, 0
        self.loss, self.lr, self.seconds_left = 0.0, 0.0, 0.0
        self.evaluated: Evaluated | None = None
        self.losses: list[float] = []
        self._recent: deque[Stepped] = deque()
        self._recent_tokens, self._recent_seconds = 0, 0.0

    def take(self, event: Event) -> None:
        """Read an event; those that carry no figures are passed over."""
        match event:
            case Evaluated():
                self.evaluated = event
            case Stepped():
                self._take_step(event)

    def _take_step(self, step: Stepped) -> None:
        self.step, self.total_steps, self.lr = step.step, step.total_steps, step.lr
        self.losses.append(step.loss)
        last = self.losses[-LOSS_STEPS:]
        self.loss = sum(last) / len(last)
        self.seconds_left = step.elapsed / step.step * (step.total_steps - step.step)
        self._recent.append(step)
        self._recent_tokens += step.tokens
        self._recent_seconds += step.seconds
        while self._recent_seconds > SPEED_SECONDS and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._recent_tokens -= oldest.tokens
            self._recent_seconds -= oldest.seconds

    @property
    def tokens_per_second(self) -> float:
        """Of the steps of the last seconds, without evaluations."""
        return self._recent_tokens / self._recent_seconds if self._recent_seconds > 0 else 0.0


class Display(ABC):
    """Shows a run. While it trains, used in a `with`, so that the terminal is left in order however that ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.readings = Readings()

    def show(self, event: Event) -> None:
        """Something happened."""
        self.readings.take(event)
        if isinstance(event, Resumed):
            lines = [*(f"Passed over: {reason}" for reason in event.damaged), f"Going on after step {event.step:,}."]
            self.console.print(Text("\n".join(lines)), soft_wrap=True)
        self.redraw(event)

    @abstractmethod
    def redraw(self, event: Event) -> None:
        """Bring the screen up to date after `event`."""

    @abstractmethod
    def show_sample(self, prompt: str, text: str) -> None:
        """After an evaluation: the model went on from `prompt` with `text`."""

    @abstractmethod
    def show_end(self, event: Finished, prompt: str, page: str, what_next: Sequence[tuple[str, str]]) -> None:
        """After the last step: a page of text, the result, and what to do now, as pairs of an aim and a command."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def training_display(console: Console) -> Display:
    """The live view where the console is a terminal, else one line per evaluation."""
    return LiveDisplay(console) if console.is_terminal else LineDisplay(console)


class LineDisplay(Display):
    """One line per evaluation, for files, pipes and notebooks."""

    def redraw(self, event: Event) -> None:
        if not isinstance(event, Evaluated):
            return
        now = self.readings
        columns = [f"step {event.step:,}" + (f" of {now.total_steps:,}" if now.total_steps else "")]
        if event.train_loss is not None:
            columns.append(f"training loss {event.train_loss:.4f}")
        columns += [f"validation loss {event.loss:.4f}", f"{event.bits_per_byte:.4f} bits per byte"]
        if now.losses:
            columns += [
                f"learning rate {now.lr:.2e}",
                f"{now.tokens_per_second:,.0f} tokens per second",
                f"{clock(now.seconds_left)} left",
            ]
        self.console.print(Text(", ".join(columns)), soft_wrap=True)

    def show_sample(self, prompt: str, text: str) -> None:
        """Nothing: samples.txt has it."""

    def show_end(self, event: Finished, prompt: str, page: str, what_next: Sequence[tuple[str, str]]) -> None:
        lines = [" ".join(result(event)), *(f"{aim}: {command}" for aim, command in what_next)]
        self.console.print(Text("\n".join(lines)), soft_wrap=True)


class LiveDisplay(Display):
    """A bar and the figures of this moment at the bottom, the evaluations and samples above."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self.console.print()
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def redraw(self, event: Event) -> None:
        if isinstance(event, Resumed):
            self.console.print()
        if isinstance(event, Evaluated):
            self.console.print(evaluation_rule(event))
        elif time.monotonic() - self._drawn < REDRAW_SECONDS:
            return
        self._live.update(live_view(self.readings, self.console.width), refresh=True)
        self._drawn = time.monotonic()

    def show_sample(self, prompt: str, text: str) -> None:
        self.console.print(writing(prompt, "\n".join(text.split("\n")[:SAMPLE_LINES])))

    def show_end(self, event: Finished, prompt: str, page: str, what_next: Sequence[tuple[str, str]]) -> None:
        self.console.print(Rule(Text("a page", VALUE), align="left", style=QUIET))
        self.console.print(writing(prompt, page))
        table = Table.grid(padding=(0, 3))
        table.add_column(style=QUIET)
        for aim, command in what_next:
            table.add_row(aim, Text(command, VALUE))
        self.console.print(Panel(Group(Text("\n".join(result(event))), "", table), border_style=ACCENT, padding=(1, 2)))


def result(event: Finished) -> list[str]:
    """How good the model is, in sentences."""
    sentences = [
        f"Trained {event.step:,} steps in {clock(event.elapsed)}.",
        f"On text it has never seen it needs {event.bits_per_byte:.3f} bits per byte; knowing nothing is 8.",
    ]
    if event.best_step < event.step:
        sentences += [
            f"It was best after step {event.best_step:,}, with {event.best_bits_per_byte:.3f} bits: "
            "since then it has learned its text by heart.",
            "Train it on more text, for a shorter time, or with dropout.",
        ]
    return sentences


def writing(prompt: str, text: str) -> Padding:
    """What the model wrote after `prompt`, indented; control characters as signs."""
    return Padding(Text.assemble((prompt, VALUE), text.translate(CONTROL_PICTURES)), (0, 2, 1, 2))


def evaluation_rule(event: Evaluated) -> Rule:
    """The heading of an evaluation: the step, and how well the model knows the held-out text."""
    title = Text.assemble(
        (f"step {event.step:,}", VALUE),
        "  validation loss ",
        (f"{event.loss:.3f}", HELD_OUT),
        " nats per token, ",
        (f"{event.bits_per_byte:.3f}", HELD_OUT),
        " bits per byte",
    )
    return Rule(title, align="left", style=QUIET)


def live_view(now: Readings, width: int) -> Group:
    """The lower part of a screen of `width` columns."""
    figures = Table.grid(padding=(0, 2))
    figures.add_column(style=QUIET)
    figures.add_column(justify="right", style=VALUE)
    figures.add_column()
    if now.losses:
        figures.add_row("training loss", f"{now.loss:.3f}", Text.assemble("nats per token  ", sparkline(now.losses)))
    if now.evaluated:
        held_out = Text.assemble("nats per token  ", (f"{now.evaluated.bits_per_byte:.3f}", HELD_OUT), " bits per byte")
        figures.add_row("validation loss", Text(f"{now.evaluated.loss:.3f}", HELD_OUT), held_out)
    if now.losses:
        figures.add_row("speed", f"{now.tokens_per_second:,.0f}", "tokens per second")
        figures.add_row("learning rate", f"{now.lr:.2e}", "")
    return Group(figures, progress_line(now, width)) if now.losses else Group(Text("First steps", QUIET))


def progress_line(now: Readings, width: int) -> Table:
    """The bar, the steps and the time that is left."""
    # At the right edge the terminal writes the "^C" of a Ctrl-C, which must not begin a new line of the view.
    line = Table.grid(padding=(0, 2))
    line.width = max(1, width - 1 - len("^C"))
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total=max(1, now.total_steps), completed=now.step, complete_style=ACCENT, finished_style=ACCENT)
    line.add_row(bar, f"step {now.step:,} of {now.total_steps:,}, {clock(now.seconds_left)} left")
    return line


def sparkline(values: Sequence[float], width: int = SPARK_WIDTH) -> Text:
    """`values` as a row of at most `width` blocks, each as high as the mean of its share of the values.

    The highest sixth is cut off at the top: a loss falls from so high that all the rest would look flat.
    """
    width = min(width, len(values))
    edges = [len(values) * i // width for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), sorted(means)[len(means) * 5 // 6]
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return Text("".join(SPARKS[round((min(mean, high) - low) * scale)] for mean in means), style=ACCENT)


def clock(seconds: float) -> str:
    """A duration as a clock shows it: 0:07, 12:30, 1:02:45."""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
