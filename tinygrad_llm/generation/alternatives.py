"""What could have stood there instead: for each token of a text, the most probable other tokens.

    ids (T,) -> for each token after the first: its log p, its rank, and the most probable others

Builds on: `scoring`, which gives the log p alone; `generate`, whose steps carry the distributions.
Used by: `pictures.alternatives`, `chat_session`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinygrad_llm.autograd import no_grad
from tinygrad_llm.backend import to_device, to_numpy
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.arguments import check_integer
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.generate import GenerationStep
from tinygrad_llm.generation.logits_processors import ranked
from tinygrad_llm.generation.scoring import LOGITS_BYTES, READ, window_starts
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.transformer import Transformer

COUNT = 5  # others, unless asked for more


class TokenAlternatives(NamedTuple):
    """A token where it stands, and what else might have stood there.

    log_p: in nats. rank: 1 when no token was more probable. others: (token, log p) of the most probable other ones,
    the best first.
    """

    token: int
    log_p: float
    rank: int
    others: tuple[tuple[int, float], ...]


def text_alternatives(
    model: Transformer, ids: Sequence[int] | np.ndarray, count: int = COUNT, first: int = 1
) -> list[TokenAlternatives]:
    """The choices that were made at tokens `first` … T-1 of a text: ids (T,) -> T - first of them.

    A text longer than the context is read in windows, as in `scoring.score_tokens`.
    Raises InputError for `first` below 1, since the first token has nothing before it, or above T-1.
    """
    ids = np.asarray(ids)
    if not 1 <= first < len(ids):
        raise InputError(
            f"text_alternatives: first must be 1 to {len(ids) - 1} in a text of {len(ids)} tokens, it was {first}; "
            "before token 0 there was nothing to choose by."
        )
    check_count(count)
    distributions = text_distributions(model, ids[:-1], first - 1)
    return [
        token_alternatives(log_p, token, count)
        for log_p, token in zip(distributions, ids[first:].tolist(), strict=True)
    ]


def step_alternatives(
    steps: Iterable[GenerationStep], count: int = COUNT, sampled: bool = False
) -> list[TokenAlternatives]:
    """The same of a text while it is generated, at no extra cost. sampled: after the sampler chain."""
    check_count(count)
    return [token_alternatives(step.sampled_log_p if sampled else step.log_p, step.token, count) for step in steps]


def token_alternatives(log_p: np.ndarray, token: int, count: int) -> TokenAlternatives:
    """What `token` was chosen from: log_p (V,). Tokens that could not have come are no alternatives."""
    best = [i for i in ranked(log_p, count + 1).tolist() if i != token and log_p[i] > -np.inf]
    others = tuple((i, float(log_p[i])) for i in best[:count])
    return TokenAlternatives(token, float(log_p[token]), 1 + int(np.count_nonzero(log_p > log_p[token])), others)


def text_distributions(model: Transformer, ids: np.ndarray, first: int = 0) -> Iterator[np.ndarray]:
    """log p of every possible token after tokens `first` … T-1 of a text: ids (T,) -> (V,) each, float64, on the host.

    One at a time: for a large vocabulary all of them together are far larger than the model.
    """
    context, device = model.config.context, model.embedding.weight.device
    few = max(1, LOGITS_BYTES // (4 * model.config.vocab_size))
    done = first
    for start in window_starts(len(ids), context).tolist():
        end, cache = min(start + context, len(ids)), GrowingCache(model.config)
        if end <= done:
            continue
        for piece in range(start, end, READ):
            read = ids[piece : min(piece + READ, end)]
            with no_grad():
                hidden = model.hidden(to_device(read[None], device), cache=cache)[0]  # (t, C)
            for here in range(max(0, done - piece), len(read), few):
                with no_grad():  # closed again before anything is given out: what the reader computes is recorded
                    logits = to_numpy(model.logits(hidden[here : here + few]).data)  # (n, V)
                for row in logits:
                    yield F.log_softmax(row.astype(np.float64))
        done = end


def check_count(count: int) -> None:
    check_integer("count", count)
