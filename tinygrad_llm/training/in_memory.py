"""Train a model in memory, in one call: `tg.train`.

    history = tg.train(model, tokens, steps=500, lr=3e-3, batch=16)

One step is `trainer.train_step`; a run with a folder, checkpoints and resuming is `trainer.Trainer`.

Builds on: `trainer`, `history`. Used by: `tg.train`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import ValidationWindows, validation_windows
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.training.evaluation import token_lengths
from tinygrad_llm.training.events import Event
from tinygrad_llm.training.history import History
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer

Ids = np.ndarray | Sequence[int]


def train(
    model: Transformer,
    tokens: Ids,
    settings: TrainingSettings | None = None,
    *,
    validation: Ids | None = None,
    tokenizer: Tokenizer | None = None,
    on_event: Callable[[Event], Any] | None = None,
    **changes: Any,
) -> History:
    """Train `model` in place on the token ids of a text; return the history of the run.

    tokens: (N,) integers, such as `tokenizer.encode_array(text)`. settings, changes: see `TrainingSettings`; as
    keywords for instance steps=500 (or minutes=2.0), lr=3e-3, batch=16, optimizer="muon". validation: (M,) ids of other
    text, on which the loss is measured every `eval_every` steps and at the end; tokenizer: needed then, for bits per
    byte. on_event: is called with each event (see `events`), for instance to print it.

    >>> history = train(model, tokens, steps=500, lr=3e-3)
    >>> history.losses[-1]

    Raises InputError naming the value that cannot be, and when the training diverges.
    """
    if isinstance(tokens, str):
        raise InputError("train: tokens must be ids and not text. Write tokenizer.encode_array(text).")
    settings = settings.with_(**changes) if settings is not None else TrainingSettings.from_dict(changes)
    context = settings.context or model.config.context
    windows = None if validation is None else held_out(np.asarray(validation), context, settings, tokenizer)
    history = History()
    for event in Trainer(None, model, np.asarray(tokens), windows, settings=settings).run():
        history.append(event)
        if on_event is not None:
            on_event(event)
    return history


def held_out(
    ids: np.ndarray, context: int, settings: TrainingSettings, tokenizer: Tokenizer | None
) -> ValidationWindows:
    """Windows of the held-out text. Raises InputError without a tokenizer."""
    if tokenizer is None:
        raise InputError("train: validation needs tokenizer=, to count the bytes of the held-out text.")
    return validation_windows(ids, context, settings.eval_windows, token_lengths(tokenizer), settings.begin_token)
