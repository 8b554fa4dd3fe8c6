"""What the tests of models share: a small tokenizer, and models of every family around it."""

import pytest
from tiny_models import tiny_network

import tinygrad_llm as tg
from tinygrad_llm.text.tokenizer import Tokenizer

TEXT = "the cat, the hat and the bat: 12 cats, 345 hats! naïve 漢字 😀"


@pytest.fixture(scope="session")
def words() -> Tokenizer:
    return Tokenizer.train(TEXT, 270)


@pytest.fixture(scope="session")
def tiny_model(words):
    """A function that makes a language model of a family around the tokenizer `words`."""

    def make(name: str, **fields) -> tg.LanguageModel:
        return tg.LanguageModel(tiny_network(name, words.vocab_size), words, **fields)

    return make
