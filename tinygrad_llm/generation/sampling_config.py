"""The sampling options: their names, defaults and meaning, in one place for Python and the command line.

    SamplingConfig(temperature=0.7, top_p=0.9).chain()

`LanguageModel.generate` and everything beside it take these options as keyword arguments, and the commands `generate`,
`next` and `chat` as options, which `cli.options` makes from the fields below.

Builds on: `sampler_chain`, which makes the logits processors. Used by: `language_model`, `cli`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from tinygrad_llm.described import described
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.logits_processors import LogitsProcessor, SamplerChain
from tinygrad_llm.generation.sampler_chain import PROCESSORS, make_processor, parse_sampler_chain
from tinygrad_llm.text.tokenizer import Tokenizer

TEMPERATURE = 0.8  # of a text, unless told otherwise: a little more careful than the model's own distribution

# What other libraries call it, and what to write here.
ELSEWHERE = {
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens, which does not count the prompt",
    "do_sample": "temperature=0 for the most probable token each time",
    "greedy": "temperature=0",
    "num_beams": "model.beam_search(prompt, beams=…)",
    "num_return_sequences": "model.generate_batch([prompt] * n)",
    "n": "model.generate_batch([prompt] * n)",
    "typical_p": "typical",
    "no_repeat_ngram_size": "no_repeat_ngrams",
    "stop_strings": "stop",
    "bad_words_ids": "logit_bias={id: -inf}",
    "logits_processor": "sampler",
    "streamer": "model.stream(prompt)",
}


PANEL = "How tokens are chosen"


@dataclass(frozen=True)
class SamplingConfig:
    """How tokens are chosen. None leaves an option out; `temperature` then has the default of who asks.

    The order of the fields is the order of the logits processors: first what forbids tokens or makes them less
    probable, then temperature, then what keeps the most probable of the result.

    sampler: instead of all others a chain of your own, or one in text form: "min_p=0.1, temperature=1.5".

    >>> SamplingConfig(temperature=0.7, top_k=40, no_repeat_ngrams=3).chain()
    SamplerChain(processors=(NoRepeatNgrams(n=3), Temperature(temperature=0.7), TopK(k=40)))
    """

    logit_bias: Mapping[int | str, float] | str | None = described(
        "Add to logits, such as \"{' the': -2, 198: -inf}\"; -inf forbids a token.", None, panel=PANEL, typed=str
    )
    repetition_penalty: float | None = described(
        "Divide the positive logits of tokens in the text by this, multiply the negative ones.", None, panel=PANEL
    )
    frequency_penalty: float | None = described(
        "Subtract this from a token's logit for each time it is in the text.", None, panel=PANEL
    )
    presence_penalty: float | None = described(
        "Subtract this from the logit of each token that is in the text.", None, panel=PANEL
    )
    no_repeat_ngrams: int | None = described("Repeat no n-gram of this length.", None, panel=PANEL)
    temperature: float | None = described(
        "0: always the most probable token; 1: the model's own distribution.", None, panel=PANEL
    )
    top_k: int | None = described("Sample only from this many most probable tokens; 0: from all.", None, panel=PANEL)
    typical: float | None = described(
        "Sample only from the least odd tokens with this much together.", None, panel=PANEL
    )
    top_p: float | None = described(
        "Sample only from the most probable tokens with this much together.", None, panel=PANEL
    )
    min_p: float | None = described(
        "Drop tokens below this share of the most probable one's probability.", None, panel=PANEL
    )
    sampler: LogitsProcessor | str | None = described(
        "Instead of all these: stages in an order of your own, such as 'min_p=0.1, temperature=1.5'.",
        None,
        panel=PANEL,
        typed=str,
    )

    @classmethod
    def of(cls, **options: Any) -> Self:
        """The config with these fields. Raises InputError for an unknown name, and says what it is called here."""
        names = [one.name for one in fields(cls)]
        for name in options:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1, 0.75)
                advice = ELSEWHERE.get(name) or (near[0] if near else None)
                hint = f"Write {advice}." if advice else f"The sampling options are: {', '.join(names)}."
                raise InputError(f"there is no option {name!r}. {hint}")
        return cls(**options)

    def given(self) -> dict[str, Any]:
        """The options that are not None."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}

    def chain(self, tokenizer: Tokenizer | None = None, temperature: float = TEMPERATURE) -> LogitsProcessor:
        """The logits processors. tokenizer: for a logit bias that names tokens by their text.

        temperature: the default where none is given. Raises InputError for values that a processor does not take, and
        when other options stand beside `sampler`.
        """
        options = self.given()
        sampler = options.pop("sampler", None)
        if sampler is None:
            values = {"temperature": temperature} | options
            return SamplerChain(
                tuple(make_processor(name, values[name], tokenizer) for name in PROCESSORS if name in values)
            )
        if options:
            raise InputError(
                f"sampler is the whole sampler chain, and {', '.join(options)} stands beside it. Put that into the "
                "chain, or leave the sampler out."
            )
        if isinstance(sampler, str):
            return parse_sampler_chain(sampler, tokenizer)
        if not callable(sampler):
            raise InputError(
                f"sampler must be a logits processor, a function of (logits, text), or a chain in text form such as "
                f"'min_p=0.1, temperature=1.5'; it was {type(sampler).__name__}."
            )
        return sampler
