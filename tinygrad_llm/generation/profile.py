"""Where the time of generation goes: first prefill, which reads the prompt at once, then decoding, token by token.

Builds on: `debugging.profile`, `generate`. Used by: `tinygrad-llm profile`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_llm.debugging.profile import Profile
from tinygrad_llm.generation.generate import generate_tokens
from tinygrad_llm.generation.logits_processors import SamplerChain
from tinygrad_llm.nn.transformer import Transformer

SAMPLING = "(choosing the token)"


def profile_generation(model: Transformer, ids: Sequence[int] | np.ndarray, tokens: int) -> tuple[Profile, Profile]:
    """The profile of reading the prompt `ids` up to the first token, and of the `tokens` after that, one by one.

    The key-value cache is no op: the time for keeping keys and values counts with the attention that reads them.
    """
    prefill, decoding = Profile(), Profile()
    generated = generate_tokens(model, ids, tokens + 1, SamplerChain(), np.random.default_rng(0))
    with prefill:
        next(generated)
        prefill.mark(SAMPLING)
    with decoding:
        for _ in generated:
            decoding.mark(SAMPLING)
    return prefill, decoding
