"""Measuring a model on text it has never seen: always the same windows, so that two measurements can be compared.

Comes before: `text.batches` (the windows). Comes after: `trainer`.
"""

from dataclasses import dataclass

from tinygrad_llm.autograd import no_grad
from tinygrad_llm.backend import to_device
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import ValidationWindows, bits_per_byte


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
