"""log π(reply | prompt): how probable a model finds a reply. All methods of this folder are made of these numbers.

    log π(y | x) = Σ_t log π(y_t | x, y_<t)

It is a sum over the tokens of the reply, not their mean: a mean would be the probability of no text, and a method that
compares two of them would prefer long replies that are mediocre throughout. Where a paper divides by the length (ORPO,
SimPO), its own file does so.

Used by: `dpo` and its kin (sums), `ppo` and `grpo` (single tokens).
"""

from __future__ import annotations

from typing import Any

from tinygrad_llm.autograd import Tensor
from tinygrad_llm.feedback.masks import masked_sum
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.transformer import Transformer


def token_log_probabilities(model: Transformer, ids: Any, rng: Any = None) -> Tensor:
    """log π(ids[t] | ids[<t]) of every token but the first, in nats. (N, T) -> (N, T-1): place t is that of token t+1.

    rng: draws dropout; None means no dropout.
    """
    return -F.cross_entropy(model(ids[:, :-1], rng=rng), ids[:, 1:], reduction="none")  # (N, T-1)


def sequence_log_probabilities(model: Transformer, ids: Any, mask: Any, rng: Any = None) -> Tensor:
    """log π(reply | prompt) of every row, in nats: the sum over the tokens of the reply. (N, T), (N, T) -> (N,).

    mask: True for the tokens of the reply. The first token of a row is never predicted, so it never counts.
    """
    return masked_sum(token_log_probabilities(model, ids, rng), mask[:, 1:], axis=-1)  # (N,)
