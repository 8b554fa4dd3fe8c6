"""Generating text: `cache` keeps keys and values, logits processors shape the distribution, `generate` is the loop.

Read in this order: `generate.py` is the loop, `cache.py` makes it cheap, `logits_processors.py` holds the stages of the
sampler chain, `text_stream.py` decodes the ids as they come, `scoring.py` asks how probable a given text is. `beam.py`,
`best_of.py` and `tree.py` look at several continuations at once, `alternatives.py` at what was not chosen.
`speculative.py` generates several tokens per pass of the model; `constraints/`, which has a front page of its own,
lets only texts of a given shape come out.
"""

from tinygrad_llm.generation.alternatives import TokenAlternatives, step_alternatives, text_alternatives
from tinygrad_llm.generation.batch import generate_batch, generate_batch_steps
from tinygrad_llm.generation.beam import beam_search
from tinygrad_llm.generation.best_of import best_of_n
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.continuations import Continuation
from tinygrad_llm.generation.generate import (
    GenerationStep,
    generate_steps,
    generate_tokens,
    next_log_probabilities,
    next_logits,
)
from tinygrad_llm.generation.generated_text import GeneratedText, TextBuilder, text_pieces
from tinygrad_llm.generation.logits_processors import (
    LogitBias,
    MinP,
    SamplerChain,
    Temperature,
    TopK,
    TopP,
    Typical,
    sample,
)
from tinygrad_llm.generation.penalties import FrequencyPenalty, NoRepeatNgrams, PresencePenalty, RepetitionPenalty
from tinygrad_llm.generation.sampler_chain import format_sampler_chain, parse_sampler_chain
from tinygrad_llm.generation.sampling_config import SamplingConfig
from tinygrad_llm.generation.scoring import score_tokens
from tinygrad_llm.generation.speculative import DraftModel, PromptLookup, speculative_steps
from tinygrad_llm.generation.text_stream import StopFinder, TextStream
from tinygrad_llm.generation.tree import Node, continuation_tree

__all__ = [
    "Continuation",
    "DraftModel",
    "FrequencyPenalty",
    "GeneratedText",
    "GenerationStep",
    "GrowingCache",
    "LogitBias",
    "MinP",
    "NoRepeatNgrams",
    "Node",
    "PresencePenalty",
    "PromptLookup",
    "RepetitionPenalty",
    "SamplerChain",
    "SamplingConfig",
    "StopFinder",
    "Temperature",
    "TextBuilder",
    "TextStream",
    "TokenAlternatives",
    "TopK",
    "TopP",
    "Typical",
    "beam_search",
    "best_of_n",
    "continuation_tree",
    "format_sampler_chain",
    "generate_batch",
    "generate_batch_steps",
    "generate_steps",
    "generate_tokens",
    "next_log_probabilities",
    "next_logits",
    "parse_sampler_chain",
    "sample",
    "score_tokens",
    "speculative_steps",
    "step_alternatives",
    "text_alternatives",
    "text_pieces",
]
