"""Measuring a model on text it has never seen: always the same windows, so that two measurements can be compared.

Builds on: `text.batches` (the windows). Used by: `trainer`.
"""

from dataclasses import dataclass

import numpy as np

from tinygrad_llm.autograd import no_grad
from tinygrad_llm.backend import to_device
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import ValidationWindows, bits_per_byte
from tinygrad_llm.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Evaluation:
    """loss: cross-entropy in nats per token. bits_per_byte: the same in bits per byte of the text."""

    loss: float
    bits_per_byte: float


def evaluate(model: Transformer, windows: ValidationWindows, batch: int = 32) -> Evaluation:
    """The loss over all targets of `windows`, without dropout and without recording anything.

    batch: how many windows are computed at once. Their summed losses are added in float64.
    """
    device = model.unembedding.device
    total = 0.0
    with no_grad():
        for start in range(0, len(windows.inputs), batch):
            here = slice(start, start + batch)
            ids, targets = to_device(windows.inputs[here], device), to_device(windows.targets[here], device)
            total += model.loss(ids, targets, reduction="sum").item()
    return Evaluation(total / windows.targets.size, bits_per_byte(total, windows.target_bytes))


def token_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of text each id stands for, (V,); a special token stands for none."""
    special = set(tokenizer.special_tokens.values())
    return np.array([0 if i in special else len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])
