"""Letting the model write: `cache` remembers, `samplers` choose, `generate` repeats, `scoring` reads along.

Read in this order: `generate.py` is the loop, `cache.py` makes it cheap, `samplers.py` decides how daring it is,
`text_stream.py` turns the ids into text as they come, `scoring.py` asks how probable a given text is. `beam.py`,
`best_of.py` and `tree.py` look at several continuations at once, `alternatives.py` at what was not chosen.
`speculative.py` writes several tokens per pass of the model; `constraints/`, which has a front page of its own, lets
only texts of a given shape come out.
"""

from tinygrad_llm.generation.alternatives import Choice, drawn_alternatives, text_alternatives
from tinygrad_llm.generation.batch import draws_together, generate_batch
from tinygrad_llm.generation.beam import beam_search
from tinygrad_llm.generation.best_of import best_of_n
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.chains import chain_text, parse_chain, usual_chain
from tinygrad_llm.generation.continuations import Continuation
from tinygrad_llm.generation.generate import Drawn, draws, generate_tokens, next_log_probabilities
from tinygrad_llm.generation.penalties import FrequencyPenalty, NoRepeatNgrams, PresencePenalty, RepetitionPenalty
from tinygrad_llm.generation.samplers import Chain, LogitBias, MinP, Temperature, TopK, TopP, Typical, draw
from tinygrad_llm.generation.scoring import score_tokens
from tinygrad_llm.generation.speculative import DraftModel, PromptLookup, speculative_draws
from tinygrad_llm.generation.text_stream import StopFinder, TextStream
from tinygrad_llm.generation.tree import Node, continuation_tree
from tinygrad_llm.generation.written import Writing, Written, written_pieces

__all__ = [
    "Chain",
    "Choice",
    "Continuation",
    "DraftModel",
    "Drawn",
    "FrequencyPenalty",
    "GrowingCache",
    "LogitBias",
    "MinP",
    "NoRepeatNgrams",
    "Node",
    "PresencePenalty",
    "PromptLookup",
    "RepetitionPenalty",
    "StopFinder",
    "Temperature",
    "TextStream",
    "TopK",
    "TopP",
    "Typical",
    "Writing",
    "Written",
    "beam_search",
    "best_of_n",
    "chain_text",
    "continuation_tree",
    "draw",
    "drawn_alternatives",
    "draws",
    "draws_together",
    "generate_batch",
    "generate_tokens",
    "next_log_probabilities",
    "parse_chain",
    "score_tokens",
    "speculative_draws",
    "text_alternatives",
    "usual_chain",
    "written_pieces",
]
