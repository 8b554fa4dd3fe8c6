"""A picture of "what comes next": the probability of every token, the likeliest as bars, and that they sum to 1.

    ' be'                  ██████████████████████████████  0.6423
    ' sleep'               ██▉                             0.0611
    the other 4,094 tokens                                 0.2966
    all 4,096 tokens                                       1.000000

Builds on: `generation.next_logits`, which computes it. Used by: `stages`, which shows what a sampler chain makes of it,
and `language_model.next_token`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tinygrad_llm.drawing import html
from tinygrad_llm.drawing.colours import BLUE
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.logits_processors import LogitsProcessor, normalized, ranked
from tinygrad_llm.generation.sampler_chain import parse_sampler_chain
from tinygrad_llm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.table import Table

    from tinygrad_llm.pictures.stages import Stages

SHOWN = 10  # tokens in a picture, unless asked for more
BAR_WIDTH = 30  # characters of the longest bar
LABEL_WIDTH = 24  # characters of a token; longer ones are cut
EIGHTHS = " ▏▎▍▌▋▊▉█"


class Candidate(NamedTuple):
    """A token that may come next."""

    id: int
    token: bytes
    probability: float


class Distribution:
    """The probability of every token of the vocabulary, and its picture.

    logits: (V,); log-probabilities are logits too. tokenizer: says what the V tokens are. text: the ids before, which
    some logits processors look at. log_probabilities: (V,), in nats, float64.

    Shows itself: as text when printed, in colour with rich, as a table in a notebook.
    """

    def __init__(self, logits: np.ndarray, tokenizer: Tokenizer, text: Sequence[int] = ()) -> None:
        self.logits = np.asarray(logits, np.float64)  # (V,)
        self.log_probabilities = normalized(self.logits)  # (V,)
        self.tokenizer, self.text = tokenizer, text

    @property
    def probabilities(self) -> np.ndarray:
        """p of every token: (V,), float64; they sum to 1."""
        return np.exp(self.log_probabilities)

    @property
    def entropy(self) -> float:
        """-Σ p log₂ p, in bits: how undecided the model is. 0 if it is certain, log₂ V if all tokens are equal."""
        p = self.probabilities
        return max(0.0, -float(p[p > 0] @ self.log_probabilities[p > 0]) / np.log(2.0))

    def probability(self, token: str) -> float:
        """p of one token, given as its text, such as " be". Raises InputError when that is not one token."""
        ids = self.tokenizer.encode(token, allowed_special="all")
        if len(ids) != 1:
            parts = self.tokenizer.tokens(token, allowed_special="all")
            raise InputError(f"token={token!r} is not one token but {len(parts)}: {parts}. Ask for one of them.")
        return float(self.probabilities[ids[0]])

    def top(self, count: int = SHOWN) -> list[Candidate]:
        """The `count` most probable tokens, the likeliest first, equals in the order of their ids."""
        if count < 1:
            raise InputError(f"count must be at least 1, it was {count}.")
        ids = ranked(self.log_probabilities, count)
        p = np.exp(self.log_probabilities[ids])
        return [Candidate(i, self.tokenizer.token_bytes(i), float(q)) for i, q in zip(ids.tolist(), p, strict=True)]

    def stages(self, sampler: LogitsProcessor | str, count: int = SHOWN) -> Stages:
        """What a sampler does to this distribution, stage by stage: a picture.

        sampler: a chain, or its text: distribution.stages("min_p=0.1, temperature=1.5"). count: tokens to show.
        """
        from tinygrad_llm.pictures.stages import Stages

        return Stages(
            self, parse_sampler_chain(sampler, self.tokenizer) if isinstance(sampler, str) else sampler, count
        )

    def as_text(self, count: int = SHOWN) -> str:
        """The picture in plain characters."""
        top = self.top(count)
        rows = [(label(c.token), bar(c.probability / top[0].probability), f"{c.probability:.4f}") for c in top]
        rows += [(name, "", value) for name, value in self._totals(top)]
        width = max(len(name) for name, _, _ in rows)
        return "\n".join(f"{name:{width}}  {bar:{BAR_WIDTH}}  {value}" for name, bar, value in rows)

    def as_table(self, count: int = SHOWN) -> Table:
        """The picture as a table of the library rich, which knows about colours and wide characters."""
        from rich.table import Table
        from rich.text import Text

        top = self.top(count)
        table = Table.grid(padding=(0, 2))
        for c in top:
            row = label(c.token), bar(c.probability / top[0].probability), f"{c.probability:.4f}"
            table.add_row(*map(Text, row, ("bold", "cyan", "")))
        for name, value in self._totals(top):
            table.add_row(Text(name, "dim"), Text(" " * BAR_WIDTH), Text(value, "dim"))
        return table

    def __repr__(self) -> str:
        return self.as_text()

    def __rich__(self) -> Table:
        return self.as_table()

    def _repr_html_(self) -> str:
        top = self.top()
        rows = []
        for c in top:
            length = 16 * c.probability / top[0].probability
            colour_bar = f"<div style='background:{BLUE};height:0.8em;margin-top:0.3em;width:{length:.2f}em'></div>"
            name = f"<span style='{html.MONO};white-space:pre'>{html.escape(label(c.token))}</span>"
            rows.append((name, colour_bar, f"{c.probability:.4f}"))
        rows += [(html.quiet(name), "", html.quiet(value)) for name, value in self._totals(top)]
        facts = f"{len(self.log_probabilities):,} tokens", f"entropy {self.entropy:.2f} bits"
        return html.box(html.title("Next token", *facts), html.table(rows, numbers=2))

    def _totals(self, top: list[Candidate]) -> list[tuple[str, str]]:
        """The last lines: what is not shown, and that everything together is 1."""
        p = self.probabilities
        others = len(p) - len(top)
        rest = float(np.delete(p, [c.id for c in top]).sum())
        totals = [(f"the other {others:,} tokens", f"{rest:.4f}")] if others else []
        return [*totals, (f"all {len(p):,} tokens", f"{p.sum():.6f}")]


def label(token: bytes) -> str:
    """A token as one would write it in Python: blanks and line ends can be seen, bytes of half a character too.

    >>> label(b" be"), label(bytes([0xE2]))
    ("' be'", "b'\\\\xe2'")
    """
    try:
        name = repr(token.decode("utf-8"))
    except UnicodeDecodeError:
        name = repr(token)
    return name if len(name) <= LABEL_WIDTH else name[: LABEL_WIDTH - 1] + "…"


def number(p: float) -> str:
    """A probability in six letters.

    >>> number(0.25), number(0.000012)
    ('0.2500', ' 1e-05')
    """
    return f"{p:.4f}" if p >= 0.00005 or p == 0.0 else f"{p:6.0e}"


def bar(fraction: float, width: int = BAR_WIDTH) -> str:
    """A bar of `fraction` times `width` characters, to an eighth of a character.

    >>> bar(0.05)
    '█▌'
    """
    eighths = round(8 * width * fraction)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
