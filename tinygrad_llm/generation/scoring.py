"""How probable the model finds a given text: the log-probability of each of its tokens.

Cross-entropy, perplexity and bits per byte are made of these numbers.

Builds on: `nn.transformer`. Used by: `language_model`, `alternatives`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_llm.autograd import no_grad
from tinygrad_llm.backend import to_device
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.transformer import Transformer

LOGITS_BYTES = 64_000_000  # what the logits that are there at the same time may take
READ = 2048  # tokens that are read at once


def score_tokens(model: Transformer, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """log p(ids[t] | the tokens before it) in nats for t = 1 … T-1: ids (T,) -> (T-1,), float64.

    A text longer than the context is read in windows that overlap by half, and every token is scored in the first
    window that holds it: so it is seen after at least half a context, or after all there is.

    Raises InputError when there are less than two ids: the first one has nothing before it.
    """
    ids = np.asarray(ids)
    if len(ids) < 2:
        raise InputError(f"score_tokens: ids holds {len(ids)} tokens; at least 2 are needed, the first is not scored.")
    inputs, targets = ids[:-1], ids[1:]
    starts = window_starts(len(inputs), model.config.context)
    windows = starts[:, None] + np.arange(min(model.config.context, len(inputs)))  # (W, T): positions in the text
    together = max(1, READ // windows.shape[1])  # windows that are read at once
    scores = np.empty(len(targets))
    # From the last window to the first: where two overlap, the earlier one is written later and stays.
    for end in range(len(windows), 0, -together):
        some = windows[max(0, end - together) : end]  # (w, T)
        losses = token_losses(model, inputs[some], targets[some])  # (w, T)
        for window, loss in zip(reversed(some), reversed(losses), strict=True):
            scores[window] = -loss
    return scores


def window_starts(length: int, context: int) -> np.ndarray:
    """Where windows of `context` positions begin: half a context apart, the last one ending with the text."""
    last = max(0, length - context)
    return np.append(np.arange(0, last, max(1, context // 2)), last)


def token_losses(model: Transformer, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log p(target) of every position, on the host. (B, T), (B, T) -> (B, T).

    Long texts are read in pieces, and the logits of a piece are made for a few positions at a time: with a vocabulary
    of a quarter of a million those of a whole text would be larger than the model.
    """
    device = model.embedding.weight.device
    B, T = inputs.shape
    inputs, targets = to_device(inputs, device), to_device(targets, device)
    losses = np.empty((B, T))
    piece, few = max(1, READ // B), max(1, LOGITS_BYTES // (4 * model.config.vocab_size * B))
    cache = None if piece >= T else GrowingCache(model.config)
    with no_grad():
        for start in range(0, T, piece):
            hidden = model.hidden(inputs[:, start : start + piece], cache=cache)  # (B, t, C)
            for first in range(0, hidden.shape[1], few):
                logits = model.logits(hidden[:, first : first + few])  # (B, n, V)
                here = slice(start + first, start + first + logits.shape[1])
                losses[:, here] = F.token_losses(logits, targets[:, here]).numpy()
    return losses
