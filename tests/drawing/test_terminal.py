"""Plain text of what rich prints, also inside a notebook, where rich would display it a second time."""

import rich.console
import rich.jupyter
from rich.table import Table

import tinygrad_llm as tg
from tinygrad_llm.drawing.terminal import plain_text

CONFIG = tg.TransformerConfig.gpt2(vocab_size=10, context=8, layers=1, heads=1, width=4)


def in_a_notebook(monkeypatch):
    """Let rich believe that it runs in a notebook; returns what it displays there."""
    displayed = []
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(rich.jupyter, "display", lambda segments, text: displayed.append(text))
    return displayed


def test_lines_have_no_blanks_at_their_ends():
    table = Table("a", "b")
    table.add_row("1", "")
    assert all(line == line.rstrip() for line in plain_text(table).splitlines())


def test_nothing_is_displayed_besides(monkeypatch):
    displayed = in_a_notebook(monkeypatch)
    rich.console.Console().print("this is what rich does there")
    assert len(displayed) == 1
    assert "embedding" in repr(tg.describe(CONFIG)) and len(displayed) == 1
