"""A tiny world to train in: a text, a tokenizer, windows to measure on, and models of a few thousand numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.text.batches import validation_windows
from tinygrad_llm.text.tokenizer import Tokenizer

SENTENCES = (
    "The king sat by the fire and said no word. ",
    "No word was said, and the fire was the only light. ",
    "Then the queen came in, and the king rose from the fire. ",
)


@pytest.fixture(scope="session")
def world():
    """text, tokenizer, tokens (N,), validation windows of context 16."""
    rng = np.random.default_rng(0)
    text = "".join(SENTENCES[i] for i in rng.integers(0, len(SENTENCES), 120))
    tokenizer = Tokenizer.train(text, 280)
    tokens = tokenizer.encode_array(text)
    lengths = np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])
    return SimpleNamespace(
        text=text,
        tokenizer=tokenizer,
        tokens=tokens,
        lengths=lengths,
        validation=validation_windows(tokens[:400], 16, 6, lengths),
    )


def gpt2(**changes):
    return TransformerConfig.gpt2(**{"vocab_size": 280, "context": 16, "layers": 2, "heads": 2, "width": 16, **changes})


def llama(**changes):
    sizes = {"vocab_size": 280, "context": 16, "layers": 2, "heads": 2, "kv_heads": 1, "width": 16}
    return TransformerConfig.llama(**{**sizes, **changes})


@pytest.fixture(params=[gpt2, llama], ids=["gpt2", "llama"])
def config(request):
    """The two kinds of transformer, in turn."""
    return request.param()


@pytest.fixture
def tiny():
    """The two kinds by name, to be changed: tiny.gpt2(dropout=0.1)."""
    return SimpleNamespace(gpt2=gpt2, llama=llama)
