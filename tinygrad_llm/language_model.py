"""Network and tokenizer together: text in, text out. This is what most people hold in their hands.

    import tinygrad_llm as tg
    model = tg.load("runs/shakespeare")
    model.next_word("To be, or not to")
    print(model.generate("ROMEO:", seed=1))

Builds on: `nn.transformer`, `text.tokenizer`, `generation`. Used by: the command line, `chat_session`.
Left out on purpose: anything that computes; each method says which function of `generation` it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.alternatives import text_alternatives
from tinygrad_llm.generation.arguments import check_integer, check_seed, check_text, stop_strings
from tinygrad_llm.generation.batch import generate_batch_steps
from tinygrad_llm.generation.beam import beam_search
from tinygrad_llm.generation.best_of import best_of_n
from tinygrad_llm.generation.cache import GrowingCache
from tinygrad_llm.generation.generate import GenerationStep, checked_ids, generate_steps, next_logits
from tinygrad_llm.generation.generated_text import GeneratedText, TextBuilder, text_pieces
from tinygrad_llm.generation.logits_processors import LogitsProcessor, SamplerChain
from tinygrad_llm.generation.sampling_config import SamplingConfig
from tinygrad_llm.generation.scoring import score_tokens
from tinygrad_llm.generation.speculative import Draft, DraftModel, PromptLookup, speculative_steps
from tinygrad_llm.generation.text_stream import TextStream
from tinygrad_llm.generation.tree import continuation_tree
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.other_names import SaysOtherNames
from tinygrad_llm.pictures.distribution import Distribution
from tinygrad_llm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tinygrad_llm.generation.constraints import Constraint, Schema, Vocabulary
    from tinygrad_llm.pictures.alternatives import Alternatives
    from tinygrad_llm.pictures.tree import Tree
    from tinygrad_llm.text.chat import ChatTemplate


class LanguageModel(SaysOtherNames):
    """A network and the tokenizer it was trained with.

    chat_template: how a conversation is written, for a model that was trained to hold one; else None.
    stop_tokens: ids at which the model's texts end; None: the token that ends a text, if the tokenizer has one.
    begin_token: an id that stands before every text, for a model that was trained so; else None.

    Without a begin_token texts begin after the token that ends a text, if the tokenizer has one, else after a line end:
    an empty prompt stands for just that, and the first token of a scored text is seen after it.

    Raises InputError when the two do not belong together: their vocabularies differ in size.
    """

    def __init__(
        self,
        network: Transformer,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate | None = None,
        stop_tokens: Collection[int] | None = None,
        begin_token: int | None = None,
    ) -> None:
        if network.config.vocab_size != tokenizer.vocab_size:
            raise InputError(
                f"the network knows {network.config.vocab_size} tokens and the tokenizer {tokenizer.vocab_size}: they "
                "do not belong together. Take both from the same run."
            )
        self.network, self.tokenizer, self.chat_template = network, tokenizer, chat_template
        self.begin_token = begin_token
        if stop_tokens is None:
            stop_tokens = () if tokenizer.end_of_text is None else (tokenizer.end_of_text,)
        self.stop_tokens = tuple(stop_tokens)
        self._constraint: tuple[str, Constraint] | None = None  # the one that was asked for last, and by which words

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """The model behind a name, ready to generate, to be looked into and to be trained; weights in float32.

        name: "smollm2-135m-instruct" or "gemma-3-270m", which are downloaded once; "hf:owner/name" of huggingface.co;
        the path of a GGUF file, of a run folder that `tinygrad-llm train` wrote, or of a folder in Hugging Face's
        layout (GPT-2, Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3).

        Raises InputError when there is no such model, or it is damaged or of a kind that is not supported here;
        MachineError when the disk or the network fails.
        """
        from tinygrad_llm.hub.models import load_pretrained  # here, because `import tinygrad_llm` must stay quick

        model = load_pretrained(name)
        return cls(model.network, model.tokenizer, model.chat_template, model.stop_tokens, model.begin_token)

    def export(self, path: str | Path, format: str = "hf", *, force: bool = False) -> Path:
        """Write the model for other programs. Returns the path of what was written.

        format: "hf" for a folder that AutoModelForCausalLM and AutoTokenizer of Transformers open, "gguf" for a file
        that llama.cpp opens (`path` itself if it ends in .gguf, else model.gguf in the folder `path`). force: replace
        an exported model that is there.

        Raises InputError when something is there, or the other program has no such model; MachineError when the disk
        fails. What was there before stays until all is written.
        """
        from tinygrad_llm.hub.export import export_model
        from tinygrad_llm.hub.pretrained import Pretrained

        parts = Pretrained(self.network, self.tokenizer, self.chat_template, self.stop_tokens, self.begin_token)
        return export_model(parts, path, format, force)

    def to(self, device: str) -> Self:
        """Move the network to "cpu" or "cuda"; returns itself."""
        self.network.to(device)
        return self

    def __repr__(self) -> str:
        config = self.network.config
        return (
            f"LanguageModel({self.network.num_parameters():,} parameters, {config.layers} layers, "
            f"width {config.width}, {config.vocab_size:,} tokens, context {config.context})"
        )

    # --- generating ----------------------------------------------------------------------------------------

    def next_token(self, prompt: str) -> Distribution:
        """How probable every token is as the next one after `prompt`: a distribution that shows its top ten.

        `next_word` is another name for it. Raises InputError when the prompt is longer than the context.
        """
        ids = checked_ids(self.network, self._prompt_ids(prompt))
        logits = next_logits(self.network, ids, GrowingCache(self.network.config))
        return Distribution(logits, self.tokenizer, ids)

    next_word = next_token

    def generate(self, prompt: str, max_tokens: int = 100, **options: Any) -> GeneratedText:
        """The text that the model generates after `prompt`, without the prompt: a string that knows its tokens.

        max_tokens: at most this many (`max_new_tokens` in Transformers); the text ends earlier when the model samples a
        stop token.
        options:
            seed: the same seed gives the same text; None gives another one each time.
            stop: a string or several; the text ends before the first of them.
            temperature, top_k, sampler, …: how tokens are chosen; see `sampler`.
            regex, json_schema: what the text has to look like; see `constraint`. It is finished within max_tokens.
            draft: a draft model proposes several tokens at a time, which makes it faster and leaves the distribution as
                it is; see `draft`. The same seed gives another text than without one, unless the temperature is 0.

        Raises InputError for a prompt that is longer than the context, and for values that an option cannot have.
        """
        builder, steps = self._begin(prompt, max_tokens, **options)
        for _ in text_pieces(builder, steps):
            pass
        return builder.result()

    def stream(self, prompt: str, max_tokens: int = 100, **options: Any) -> Iterator[str]:
        """As `generate`, but piece by piece while it is generated: whole characters, and nothing of a stop string."""
        return text_pieces(*self._begin(prompt, max_tokens, **options))

    def generate_batch(
        self,
        prompts: Sequence[str],
        max_tokens: int = 100,
        *,
        seed: int | None = None,
        stop: str | Sequence[str] | None = (),
        regex: str | None = None,
        json_schema: Schema | None = None,
        **sampling: Any,
    ) -> list[GeneratedText]:
        """What `generate` gives for each of the prompts, in their order, all generated at once: much faster.

        The text after prompt number i (from 0) is the one that it has alone with the seed plus i. So several texts
        after the same prompt are `model.generate_batch([prompt] * 5, seed=1)`. Everything else as in `generate`, but no
        draft.
        """
        if isinstance(prompts, str):
            raise InputError(f"prompts must be a list of texts, it was one: {prompts!r}. For one there is generate.")
        if not isinstance(prompts, Iterable):
            raise InputError(f"prompts must be a list of texts, it was {type(prompts).__name__}.")
        prompts = list(prompts)
        check_seed(seed)
        builders = [TextBuilder(prompt, self.tokenizer, max_tokens, stop) for prompt in prompts]
        ids = [self._prompt_ids(prompt) for prompt in prompts]
        sampler, constraint = self.sampler(**sampling), self.constraint(regex, json_schema)
        steps = generate_batch_steps(
            self.network,
            ids,
            max_tokens,
            [constrained(sampler, constraint, len(one), max_tokens) for one in ids],
            [seeded_generator(None if seed is None else seed + row) for row in range(len(prompts))],
            stop_tokens=self.stop_tokens,
            finished=lambda row: builders[row].stopped,
        )
        for row, step in steps:
            builders[row].append(step)
        for builder in builders:
            builder.finish()
        return [builder.result() for builder in builders]

    def sampler(self, **sampling: Any) -> LogitsProcessor:
        """The logits processor that the sampling options stand for.

        sampling: temperature (0 always takes the most probable token, 1 is the model's own distribution; 0.8 unless
        told otherwise), top_k, top_p, min_p, repetition_penalty and everything else in `SamplingConfig`; or sampler,
        a chain of your own, also in text form: "min_p=0.1, temperature=1.5".
        """
        return SamplingConfig.of(**sampling).chain(self.tokenizer)

    def constraint(self, regex: str | None = None, json_schema: Schema | None = None) -> Constraint | None:
        """What a text has to look like, so that only tokens remain with which it still can; None for anything.

        regex: a regular expression that the whole text matches, as `constraints.regular_expressions` reads it.
        json_schema: the shape of a JSON value, as a dict; see `constraints.json_schema`.
        The last one is remembered, with all that was looked up for it.

        Raises InputError for what cannot be read, and when no text of this model's tokens matches.
        """
        if regex is None and json_schema is None:
            return None
        if regex is not None and json_schema is not None:
            raise InputError(
                "regex and json_schema cannot be asked for together; a schema's strings may have a pattern."
            )
        from tinygrad_llm.generation import constraints  # here, because `import tinygrad_llm` must stay quick

        try:
            words = repr(regex) if regex is not None else json.dumps(json_schema, default=repr)
        except (TypeError, ValueError, RecursionError):  # no JSON: the compiler says what is wrong
            words = ""
        if not words or self._constraint is None or self._constraint[0] != words:
            if json_schema is not None:
                expression = constraints.json_schema(json_schema)
            elif regex is not None:
                expression = constraints.regular_expression(regex)
            self._constraint = words, constraints.Constraint(expression, self.vocabulary, self.stop_tokens)
        return self._constraint[1]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens as constraints look at them."""
        from tinygrad_llm.generation.constraints import Vocabulary

        return Vocabulary.of(self.tokenizer)

    def draft(self, draft: Draft | LanguageModel | str) -> Draft:
        """Something that guesses how a text of this model goes on.

        draft: "prompt-lookup", which looks for the last few tokens earlier in the text; a smaller model with the same
        tokenizer, or the name of one as in `load`; or one of `generation.speculative`, which stays as it is and counts
        how good it is in `draft.acceptance`.
        """
        if draft == "prompt-lookup":
            return PromptLookup()
        other = self.load(draft) if isinstance(draft, str) else draft
        if not isinstance(other, LanguageModel):
            return other
        if other.tokenizer.bytes_of_ids != self.tokenizer.bytes_of_ids:
            raise InputError("draft: it has other tokens than the model; a draft must have the same tokenizer.")
        return DraftModel(other.network)

    def _begin(
        self,
        prompt: str,
        max_tokens: int,
        *,
        seed: int | None = None,
        stop: str | Sequence[str] | None = (),
        regex: str | None = None,
        json_schema: Schema | None = None,
        draft: Draft | LanguageModel | str | None = None,
        **sampling: Any,
    ) -> tuple[TextBuilder, Iterator[GenerationStep]]:
        """The empty text and the steps that fill it. All arguments are checked here."""
        sampler, rng, ids = self.sampler(**sampling), seeded_generator(seed), self._prompt_ids(prompt)
        sampler = constrained(sampler, self.constraint(regex, json_schema), len(ids), max_tokens)
        if draft is None:
            steps = generate_steps(self.network, ids, max_tokens, sampler, rng, stop_tokens=self.stop_tokens)
        else:
            guesses = self.draft(draft)
            steps = speculative_steps(
                self.network, guesses, ids, max_tokens, sampler, rng, stop_tokens=self.stop_tokens
            )
        return TextBuilder(prompt, self.tokenizer, max_tokens, stop), steps

    # --- looking for texts ---------------------------------------------------------------------------------

    def best_of(
        self,
        prompt: str,
        count: int = 4,
        max_tokens: int = 100,
        *,
        by: Literal["mean", "sum"] = "mean",
        seed: int | None = None,
        stop: str | Sequence[str] | None = (),
        regex: str | None = None,
        json_schema: Schema | None = None,
        **sampling: Any,
    ) -> list[GeneratedText]:
        """`count` texts as `generate` samples them, all at once, the most probable one first.

        by: "mean" compares log p per token, "sum" that of whole texts, for which short ones are better. Text number i
        (from 0) is sampled with the seed plus i. All end where the context does. Everything else as in `generate`, but
        no draft. See `generation.best_of_n`.
        """
        ids = self._prompt_ids(prompt)
        room = self._room(ids, max_tokens)
        found = best_of_n(
            self.network,
            ids,
            count,
            room,
            constrained(self.sampler(**sampling), self.constraint(regex, json_schema), len(ids), room),
            [seeded_generator(None if seed is None else seed + i) for i in range(check_integer("count", count))],
            by=by,
            stop_tokens=self.stop_tokens,
            finished=self._finished(stop),
        )
        return [one.to_text(prompt, self.tokenizer, stop) for one in found]

    def beam_search(
        self,
        prompt: str,
        beams: int = 4,
        max_tokens: int = 100,
        *,
        length_penalty: float = 0.0,
        stop: str | Sequence[str] | None = (),
        regex: str | None = None,
        json_schema: Schema | None = None,
        **sampling: Any,
    ) -> list[GeneratedText]:
        """The most probable texts after `prompt` that `beams` beams find, the best first; nothing is random.

        length_penalty: 0 takes the most probable text, which is often a short one; 0.6 to 1 makes up for that.
        sampling: as in `sampler`, and changes what is probable: no_repeat_ngrams=3 for instance; without, it is what
        the model says. All texts end where the context does. stop, regex, json_schema: as in `generate`. See
        `generation.beam_search`.
        """
        ids = self._prompt_ids(prompt)
        room = self._room(ids, max_tokens)
        found = beam_search(
            self.network,
            ids,
            beams,
            room,
            length_penalty=length_penalty,
            sampler=constrained(
                self._sampler_or_identity(**sampling), self.constraint(regex, json_schema), len(ids), room
            ),
            stop_tokens=self.stop_tokens,
            finished=self._finished(stop),
        )
        return [one.to_text(prompt, self.tokenizer, stop) for one in found]

    def tree(
        self,
        prompt: str,
        depth: int = 4,
        branches: int = 3,
        *,
        mass: float = 0.9,
        least: float = 0.01,
        **sampling: Any,
    ) -> Tree:
        """Where the text may go from here: its likeliest continuations as a tree, which shows itself.

        depth: tokens. branches: the most from one place, fewer if they have `mass` together. least: the probability of
        a path that is still shown. sampling: as in `sampler`; without, it is what the model says.
        """
        from tinygrad_llm.pictures.tree import Tree  # here, because `import tinygrad_llm` must stay quick

        root = continuation_tree(
            self.network,
            self._prompt_ids(prompt),
            depth,
            branches,
            mass=mass,
            least=least,
            sampler=self._sampler_or_identity(**sampling),
            stop_tokens=self.stop_tokens,
        )
        return Tree(root, self.tokenizer, prompt)

    def _sampler_or_identity(self, **sampling: Any) -> LogitsProcessor:
        """The sampler chain of these options; without any, the model's own distribution."""
        return SamplingConfig.of(**sampling).chain(self.tokenizer, temperature=1.0)

    def _room(self, ids: Sequence[int], max_tokens: int) -> int:
        """How many tokens may follow, so that the last one is chosen with the whole text in view."""
        return min(check_integer("max_tokens", max_tokens, 0), self.network.config.context + 1 - len(ids))

    def _finished(self, stop: str | Sequence[str] | None) -> Callable[[tuple[int, ...]], bool]:
        """Whether the text of some tokens has come to a stop string."""

        def finished(tokens: tuple[int, ...]) -> bool:
            stream = TextStream(self.tokenizer, stop)
            for token in tokens:
                stream.push(token)
            return stream.stopped

        return finished if stop_strings(stop) else lambda tokens: False

    # --- reading -------------------------------------------------------------------------------------------

    def log_probabilities(self, text: str, allowed_special: str | Collection[str] = ()) -> np.ndarray:
        """log p of each token of `text` after those before it, in nats, (T,), in the order of `tokenizer.encode(text)`.

        Their sum is the log-probability of the text. allowed_special: the special tokens that it may contain, as for
        `tokenizer.encode`. Longer texts than the context: see `scoring.score_tokens`.
        Raises InputError for an empty text.
        """
        ids = self.tokenizer.encode_array(check_text("text", text), allowed_special)
        if len(ids) == 0:
            raise InputError("text is empty, and has no probability. Give a text of at least one character.")
        return score_tokens(self.network, np.concatenate([self._start_ids(), ids]))

    def alternatives(self, text: str | GeneratedText, prompt: str = "", count: int = 5) -> Alternatives:
        """What else `text` could have said: for each token how probable it was after those before it, and the others.

        text: any text, or one that the model generated, which brings its prompt with it. prompt: what stands before it.
        count: other tokens for each. Raises InputError for an empty text.
        """
        from tinygrad_llm.pictures.alternatives import Alternatives  # here, because `import tinygrad_llm` must be quick

        ids = text.ids if isinstance(text, GeneratedText) else self.tokenizer.encode_array(check_text("text", text))
        if len(ids) == 0:
            raise InputError("text is empty, and could have said anything. Give a text of at least one character.")
        before = self._prompt_ids(text.prompt if isinstance(text, GeneratedText) else prompt)
        choices = text_alternatives(self.network, np.concatenate([before, ids]), count, first=len(before))
        return Alternatives(choices, self.tokenizer)

    def perplexity(self, text: str) -> float:
        """exp(-mean log p) over the tokens: as undecided as if it chose among that many equally likely tokens."""
        return math.exp(-self.log_probabilities(text).mean())

    def bits_per_byte(self, text: str) -> float:
        """-Σ log₂ p divided by the bytes of the text in UTF-8: comparable between tokenizers; 8 is knowing nothing."""
        return -float(self.log_probabilities(text).sum()) / math.log(2.0) / len(text.encode())

    def _prompt_ids(self, prompt: str) -> list[int]:
        ids = self.tokenizer.encode(check_text("prompt", prompt))
        return ids if ids and self.begin_token is None else self._start_ids() + ids

    def _start_ids(self) -> list[int]:
        if self.begin_token is not None:
            return [self.begin_token]
        end = self.tokenizer.end_of_text
        return self.tokenizer.encode("\n") if end is None else [end]


def constrained(
    sampler: LogitsProcessor, constraint: Constraint | None, after: int, max_tokens: int
) -> LogitsProcessor:
    """The sampler behind the constraint, if there is one, for a text after a prompt of `after` ids."""
    return sampler if constraint is None else SamplerChain((constraint.processor(after, max_tokens), sampler))


def seeded_generator(seed: int | None) -> np.random.Generator:
    """NumPy's generator; with None a different one each time. Raises InputError for what is not a seed."""
    check_seed(seed)
    return np.random.default_rng(seed)


def load(name: str | Path) -> LanguageModel:
    """A model by its name or path: `LanguageModel.load`."""
    return LanguageModel.load(name)


def export(model: LanguageModel, path: str | Path, format: str = "hf", *, force: bool = False) -> Path:
    """Write a model for Transformers ("hf") or llama.cpp ("gguf"): `LanguageModel.export`."""
    return model.export(path, format, force=force)
