"""Letting the model write: `cache` remembers, `samplers` choose, `generate` repeats, `scoring` reads along.

Read in this order: `generate.py` is the loop, `cache.py` makes it cheap, `samplers.py` decides how daring it is,
`text_stream.py` turns the ids into text as they come, `scoring.py` asks how probable a given text is.
"""

from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.chains import chain_text, parse_chain, usual_chain
from tinygrad_llm.generation.generate import Drawn, draws, generate_tokens, next_log_probabilities
from tinygrad_llm.generation.penalties import FrequencyPenalty, NoRepeatNgrams, PresencePenalty, RepetitionPenalty
from tinygrad_llm.generation.samplers import Chain, LogitBias, MinP, Temperature, TopK, TopP, Typical, draw
from tinygrad_llm.generation.scoring import score_tokens
from tinygrad_llm.generation.text_stream import until_stop, whole_characters

__all__ = [
    "Chain",
    "Drawn",
    "FrequencyPenalty",
    "GrowingCache",
    "LogitBias",
    "MinP",
    "NoRepeatNgrams",
    "PresencePenalty",
    "RepetitionPenalty",
    "Temperature",
    "TopK",
    "TopP",
    "Typical",
    "chain_text",
    "draw",
    "draws",
    "generate_tokens",
    "next_log_probabilities",
    "parse_chain",
    "score_tokens",
    "until_stop",
    "usual_chain",
    "whole_characters",
]
