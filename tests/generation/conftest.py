"""Small models whose logits are not all alike: as initialised, a model hardly looks at its text."""

import numpy as np
import pytest

from tinygrad_llm import Transformer, TransformerConfig

SIZES = {"vocab_size": 50, "layers": 3, "heads": 4, "width": 32}
GEMMA3 = {  # two layers with a window, and one without
    "activation": "gelu_tanh",
    "head_dim": 16,
    "qk_norm": True,
    "post_norms": True,
    "norm_weight_plus_one": True,
    "embedding_scale": 32**0.5,
    "window": 4,
    "full_attention_every": 3,
    "local_rotary_base": 100.0,
}
CONFIGS = {
    "gpt2": lambda context: TransformerConfig.gpt2(context=context, **SIZES),
    "llama": lambda context: TransformerConfig.llama(context=context, kv_heads=2, tied=False, **SIZES),
    "gemma3": lambda context: TransformerConfig.llama(context=context, kv_heads=1, **SIZES, **GEMMA3),
}


def make(kind: str, context: int = 16, dtype: type = np.float64, seed: int = 0) -> Transformer:
    model = Transformer(CONFIGS[kind](context), seed=seed)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        noise = rng.standard_normal(parameter.shape)
        parameter.data = 6.0 * parameter.data + 0.05 * noise if parameter.ndim > 1 else parameter.data + 0.1 * noise
        parameter.data = parameter.data.astype(dtype)
    return model


@pytest.fixture(scope="session")
def make_model():
    """make_model(kind, context=16, dtype=float64, seed=0): a lively "gpt2", "llama" or "gemma3"."""
    return make


@pytest.fixture(params=list(CONFIGS))
def model(request) -> Transformer:
    """One of each kind, float64, context 16."""
    return make(request.param)
