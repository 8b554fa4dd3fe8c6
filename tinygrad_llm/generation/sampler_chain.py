"""Logits processors by name: sampler chains in text form.

    parse_sampler_chain("min_p=0.1, temperature=1.5")     text -> chain, in any order
    format_sampler_chain(chain)                           chain -> text

The order matters. Temperature before min-p flattens the distribution first, and min-p then lets more tokens through;
after it, temperature changes only those that the model itself found probable.

Builds on: `logits_processors`, `penalties`. Used by: `sampling_config`, `pictures.stages`.
"""

from __future__ import annotations

import ast
import contextlib
import math
from dataclasses import fields
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.logits_processors import (
    LogitBias,
    LogitsProcessor,
    MinP,
    SamplerChain,
    Temperature,
    TopK,
    TopP,
    Typical,
)
from tinygrad_llm.generation.penalties import FrequencyPenalty, NoRepeatNgrams, PresencePenalty, RepetitionPenalty
from tinygrad_llm.text.tokenizer import Tokenizer

PROCESSORS: dict[str, Any] = {  # dataclasses, in the usual order
    "logit_bias": LogitBias,
    "repetition_penalty": RepetitionPenalty,
    "frequency_penalty": FrequencyPenalty,
    "presence_penalty": PresencePenalty,
    "no_repeat_ngrams": NoRepeatNgrams,
    "temperature": Temperature,
    "top_k": TopK,
    "typical": Typical,
    "top_p": TopP,
    "min_p": MinP,
}


def parse_sampler_chain(text: str, tokenizer: Tokenizer | None = None) -> SamplerChain:
    """The chain that is written as the keyword arguments of a call in Python, in the order of work.

    Names are those of `PROCESSORS`, and may be repeated. A stage with several numbers takes them in brackets:
    "repetition_penalty=(1.1, 64)" looks at the last 64 tokens. "logit_bias={' the': -2, 198: -inf}" takes tokens by
    their text, if there is a tokenizer to ask, or by their ids.

    >>> parse_sampler_chain("min_p=0.1, temperature=1.5")
    SamplerChain(processors=(MinP(p=0.1), Temperature(temperature=1.5)))

    Raises InputError when it cannot be read, for unknown names and for numbers that a stage does not take.
    """
    try:
        call = ast.parse(f"chain({text})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        settings = [(keyword.arg or "**", literal(keyword.value)) for keyword in call.keywords]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(
            f"sampler must be written like 'min_p=0.1, temperature=1.5', it was {text!r}. The stages are: "
            f"{', '.join(PROCESSORS)}."
        ) from error
    return SamplerChain(tuple(make_processor(name, value, tokenizer) for name, value in settings))


def literal(node: ast.expr) -> Any:
    """The value of a number, a string, a tuple or a dict that is written out; `inf` is a number too."""

    class Infinity(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return ast.copy_location(ast.Constant(math.inf), name) if name.id == "inf" else name

    return ast.literal_eval(Infinity().visit(node))


def make_processor(name: str, value: Any, tokenizer: Tokenizer | None = None) -> LogitsProcessor:
    """The stage of this name. value: its number, or a tuple of all its numbers; of a logit bias a dict, or its text."""
    if name not in PROCESSORS:
        raise InputError(f"sampler: there is no stage {name!r}. There are: {', '.join(PROCESSORS)}.")
    if name == "logit_bias":
        return LogitBias(token_ids(value, tokenizer))
    numbers = value if isinstance(value, tuple) else (value,)
    most = len(fields(PROCESSORS[name]))
    if not 1 <= len(numbers) <= most:
        raise InputError(f"{name} takes {most} number{'s' * (most > 1)}, and was given {value!r}.")
    return PROCESSORS[name](*numbers)


def token_ids(bias: Any, tokenizer: Tokenizer | None) -> dict[int, float]:
    """The dict of a logit bias, with tokens that were given by their text replaced by their ids."""
    if isinstance(bias, str):
        with contextlib.suppress(SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            bias = literal(ast.parse(bias.strip(), mode="eval").body)
    if not isinstance(bias, dict):
        raise InputError(f"logit_bias must be written like {{' the': -2, 198: -inf}}, it was {bias!r}.")
    result = {}
    for token, value in bias.items():
        if isinstance(token, str):
            if tokenizer is None:
                raise InputError(f"logit_bias: without a tokenizer tokens are given by their ids, not as {token!r}.")
            ids = tokenizer.encode(token, allowed_special="all")
            if len(ids) != 1:
                parts = tokenizer.tokens(token, allowed_special="all")
                raise InputError(f"logit_bias: {token!r} is not one token but {len(ids)}: {parts}. Take one of them.")
            (token,) = ids
        result[token] = value
    return result


def format_sampler_chain(stage: LogitsProcessor) -> str:
    """A chain, or one stage of it, as `parse_sampler_chain` reads it; stages of your own appear under their own name.

    >>> format_sampler_chain(SamplerChain((RepetitionPenalty(1.1, last=64), TopK(40))))
    'repetition_penalty=(1.1, 64), top_k=40'
    """
    if isinstance(stage, SamplerChain):
        return ", ".join(map(format_sampler_chain, stage.processors))
    for name, kind in PROCESSORS.items():
        if type(stage) is kind:
            values = [getattr(stage, field.name) for field in fields(PROCESSORS[name])]
            numbers = tuple(value for value in values if value is not None)
            return f"{name}={numbers[0] if len(numbers) == 1 else numbers}"
    return getattr(stage, "__name__", None) or repr(stage)
