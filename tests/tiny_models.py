"""Tiny random models of every family, for the tests of files and of the command line."""

import numpy as np

import tinygrad_llm as tg
from tinygrad_llm.hub.architectures import FAMILIES
from tinygrad_llm.nn.rotary import RotaryScaling

CONFIGS = {name: family.example for name, family in FAMILIES.items()}
CONFIGS["llama3"] = CONFIGS["llama"].with_(rotary_scaling=RotaryScaling("llama3", 8.0, original_context=16))
CONFIGS["llama_bias"] = CONFIGS["llama"].with_(bias=True, tied=True)
CONFIGS["gemma3_linear"] = CONFIGS["gemma3"].with_(rotary_scaling=RotaryScaling("linear", 8.0), layers=7)
CONFIGS["gpt2_untied"] = CONFIGS["gpt2"].with_(tied=False)


def tiny_network(name: str, vocab_size: int = 96, seed: int = 0) -> tg.Transformer:
    """A small random network of a family, in which every parameter matters."""
    network = tg.Transformer(CONFIGS[name].with_(vocab_size=vocab_size), seed=seed)
    rng = np.random.default_rng(seed)
    for parameter in network.parameters():
        parameter.data += rng.standard_normal(parameter.shape, dtype=np.float32) * np.float32(0.2)
    return network


def logits(network: tg.Transformer, length: int = 30) -> np.ndarray:
    ids = np.arange(length)[None] * 7 % network.config.vocab_size
    with tg.no_grad():
        return network(ids).numpy()


def same_bytes(one: tg.Transformer, other: tg.Transformer) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)
