"""A training run in a notebook: what is trained on what, and its learning curve so far.

Builds on: `training.run_folder`, `history`. Used by: `RunFolder`, when a notebook shows it.
"""

from __future__ import annotations

from tinygrad_llm.drawing.html import box, title
from tinygrad_llm.pictures.history import curves
from tinygrad_llm.training.history import History
from tinygrad_llm.training.run_folder import RunFolder


def html(run: RunFolder) -> str:
    """The HTML form of a run."""
    config = run.config
    facts = f"{config.layers} layers", f"width {config.width}", f"{config.vocab_size:,} tokens"
    return box(title(f"Run {run.path}", *facts), *curves(History.of_run(run)))
