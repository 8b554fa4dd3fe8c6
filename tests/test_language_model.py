"""Text in, text out: the object that most people hold in their hands."""

import json
import math
import re

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import (
    GrowingCache,
    SamplerChain,
    Temperature,
    TopK,
    generate_tokens,
    next_log_probabilities,
    score_tokens,
)
from tinygrad_llm.generation.logits_processors import sampling_distribution
from tinygrad_llm.generation.speculative import PromptLookup
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings

TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer 漢字 😀"


def make(tokenizer: Tokenizer, context: int = 32, seed: int = 0) -> tg.LanguageModel:
    config = tg.TransformerConfig.llama(
        vocab_size=tokenizer.vocab_size, context=context, layers=2, heads=2, width=16, tied=False
    )
    network = tg.Transformer(config, seed=seed)
    for parameter in network.parameters():
        parameter.data *= 5.0
    return tg.LanguageModel(network, tokenizer)


words = Tokenizer.train(TEXT, 290)
model = make(words)
byte_model = make(Tokenizer.train("", 256))


def test_the_same_seed_gives_the_same_text_and_none_another_each_time():
    assert model.generate("To be", seed=7) == model.generate("To be", seed=7)
    assert len({model.generate("To be") for _ in range(4)}) == 4
    assert model.generate("To be", seed=7) != model.generate("To be", seed=8)


def test_the_pieces_of_a_stream_are_the_text():
    pieces = list(model.stream("To be", seed=7))
    assert len(pieces) > 10 and all(pieces)
    assert "".join(pieces) == model.generate("To be", seed=7)


def test_the_prompt_is_not_repeated_and_the_text_is_as_long_as_asked():
    """At temperature 0 the first token is the likeliest one, and one token is one token."""
    likeliest = model.next_word("To be").top(1)[0].token
    assert model.generate("To be", max_tokens=1, temperature=0).encode() == likeliest
    assert model.generate("To be", max_tokens=0) == ""


def test_a_stop_string_may_begin_and_end_anywhere():
    whole = model.generate("To be", max_tokens=60, seed=3)
    for start in range(0, len(whole) - 3, 5):
        stop = whole[start : start + 3]
        assert model.generate("To be", max_tokens=60, seed=3, stop=stop) == whole[: whole.index(stop)]
    assert model.generate("To be", max_tokens=60, seed=3, stop=[whole[9:11], whole[4:6]]) in whole[:4]


def test_the_token_that_ends_a_text_ends_it_and_is_not_shown():
    ending = make(words)
    ending.network.head.weight.data[...] = 0.0
    bias = np.zeros_like(ending.network.head.weight.data)
    assert ending.generate("x", max_tokens=5, temperature=0) == "\x00" * 5  # all equal: the lowest id
    # The row of end-of-text is the final vector itself, so that it wins whatever the text is.
    hidden = ending.network.hidden(np.array([words.encode("x")])).numpy()[0, -1]
    bias[words.end_of_text] = hidden
    ending.network.head.weight.data[...] = bias
    assert ending.generate("x", temperature=0) == ""


def test_longer_than_the_context_it_goes_on():
    assert len(model.tokenizer.encode(model.generate("To be", max_tokens=100, seed=1))) > 50


def test_sampling_options_change_the_text():
    likeliest = model.generate("To be", temperature=0, max_tokens=20)
    for option in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        assert model.generate("To be", temperature=1.0, max_tokens=20, seed=5, **option) == likeliest
    assert model.generate("To be", temperature=1.0, max_tokens=20, seed=5) != likeliest


def test_written_says_how_probable_each_token_was():
    """As the model says, and as it was drawn: at temperature 1 with no more samplers the two are the same."""
    written = model.generate("To be", max_tokens=20, seed=5, temperature=0.6, top_k=40)
    assert str(written) == written == model.generate("To be", max_tokens=20, seed=5, temperature=0.6, top_k=40)
    assert written.ids.shape == (20,) and written.ending == "max tokens"
    assert words.decode(written.ids).startswith(written)
    text = words.encode("To be")
    chain = SamplerChain((Temperature(0.6), TopK(40)))
    for token, log_p, sampled_log_p in zip(
        written.ids, written.log_probabilities, written.sampled_log_probabilities, strict=True
    ):
        raw = next_log_probabilities(model.network, text, GrowingCache(model.network.config))
        assert log_p == pytest.approx(raw[token], abs=1e-4)
        assert sampled_log_p == pytest.approx(sampling_distribution(chain, raw)[token], abs=1e-4)
        text.append(token)
    assert written.log_probability == pytest.approx(written.log_probabilities.sum())
    as_it_is = model.generate("To be", max_tokens=20, seed=5, temperature=1)
    assert as_it_is.log_probabilities == pytest.approx(as_it_is.sampled_log_probabilities)


def test_why_a_text_ends():
    text = model.generate("To be", max_tokens=20, seed=3)
    assert model.generate("To be", max_tokens=20, seed=3, stop=text[5:8]).ending == "stop string"
    ids = model.generate("To be", max_tokens=20, seed=3).ids
    stopping = tg.LanguageModel(model.network, words, stop_tokens=[int(ids[10])])
    assert stopping.generate("To be", max_tokens=20, seed=3).ending == "stop token"
    nothing = model.generate("To be", max_tokens=0)
    assert nothing == "" and nothing.ids.shape == nothing.log_probabilities.shape == (0,)


PROMPTS = ["To be", "", "whether 'tis nobler in the mind to", "漢", "To be"]


@pytest.mark.parametrize("options", [{"temperature": 0}, {"seed": 4}, {"seed": 11, "stop": ["e", "!"]}])
def test_many_texts_at_once_are_what_each_is_alone(options):
    """Past the context as well, and for each of them its own end."""
    alone = [
        model.generate(prompt, 60, **options | {"seed": options.get("seed", 0) + row})
        for row, prompt in enumerate(PROMPTS)
    ]
    together = model.generate_batch(PROMPTS, 60, **options)
    assert together == alone
    assert [one.ending for one in together] == [one.ending for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.prompt == other.prompt and (one.ids == other.ids).all()
        assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-3)
        assert one.sampled_log_probabilities == pytest.approx(other.sampled_log_probabilities, abs=1e-3)


def test_many_texts_need_no_seed_and_may_be_none():
    assert len(set(model.generate_batch(["To be"] * 4))) == 4
    assert model.generate_batch([]) == []


def test_a_chain_may_be_written_out_or_made():
    text = model.generate("To be", temperature=0.7, top_k=5, seed=1)
    assert model.generate("To be", sampler="temperature=0.7, top_k=5", seed=1) == text
    assert model.generate("To be", sampler=SamplerChain((Temperature(0.7), TopK(5))), seed=1) == text


def test_next_word_is_a_distribution_over_the_whole_vocabulary():
    distribution = model.next_word("To be")
    assert distribution.probabilities.shape == (290,)
    assert distribution.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    expected = next_log_probabilities(model.network, words.encode("To be"), GrowingCache(model.network.config))
    assert distribution.log_probabilities == pytest.approx(expected)
    assert "all 290 tokens" in repr(distribution)


def test_an_empty_prompt_begins_a_text():
    """After the token that ends a text, or after a line end where there is no such token."""
    assert words.end_of_text is not None and byte_model.tokenizer.end_of_text is None
    start = next_log_probabilities(model.network, [words.end_of_text], GrowingCache(model.network.config))
    assert model.next_word("").log_probabilities == pytest.approx(start)
    assert byte_model.next_word("").probabilities == pytest.approx(byte_model.next_word("\n").probabilities)
    assert byte_model.generate("", seed=1) == byte_model.generate("\n", seed=1)


def test_a_begin_token_stands_before_every_text():
    begin = words.end_of_text
    beginning = tg.LanguageModel(model.network, words, begin_token=begin)
    ids = [begin, *words.encode("To be")]
    after = next_log_probabilities(model.network, ids, GrowingCache(model.network.config))
    assert (beginning.next_word("To be").log_probabilities == after).all()
    assert (beginning.next_word("").log_probabilities == model.next_word("").log_probabilities).all()
    assert (beginning.log_probabilities("To be") == model.log_probabilities("To be")).all()


def test_a_text_ends_at_any_of_the_stop_tokens():
    prompt, greedy = words.encode("To be"), Temperature(0.0)
    ids = list(generate_tokens(model.network, prompt, 30, greedy, np.random.default_rng(0)))
    for stop in {ids[3], ids[9]}:
        stopping = tg.LanguageModel(model.network, words, stop_tokens=[stop, 1])
        text, written = words.decode(ids[: ids.index(stop)]), stopping.generate("To be", temperature=0)
        assert written in (text, text[:-1])  # it may end with half a character, which is not shown


def test_the_probability_of_a_text_is_the_product_over_its_tokens():
    text = "To be, or"
    ids = words.encode(text)
    log_p = model.log_probabilities(text)
    assert log_p.shape == (len(ids),)
    before = [words.end_of_text, *ids]
    step_by_step = [
        next_log_probabilities(model.network, before[: t + 1], GrowingCache(model.network.config))[ids[t]]
        for t in range(len(ids))
    ]
    assert log_p == pytest.approx(step_by_step, abs=1e-5)


def test_perplexity_and_bits_per_byte():
    text = TEXT * 2  # longer than the context
    nats = -score_tokens(model.network, [words.end_of_text, *words.encode(text)])
    assert model.perplexity(text) == pytest.approx(math.exp(nats.mean()))
    assert model.bits_per_byte(text) == pytest.approx(nats.sum() / math.log(2) / len(text.encode()))


def test_a_model_that_knows_nothing_has_eight_bits_per_byte():
    nothing = make(Tokenizer.train("", 256))
    for parameter in nothing.network.parameters():
        parameter.data[...] = 0.0
    assert nothing.bits_per_byte("any text — 漢字") == pytest.approx(8.0, rel=1e-6)
    assert nothing.perplexity("any text") == pytest.approx(256.0, rel=1e-6)
    assert nothing.next_word("any").entropy == pytest.approx(8.0)


def test_special_tokens_are_not_made_by_accident():
    assert model.next_word("<|endoftext|>").log_probabilities != pytest.approx(model.next_word("").log_probabilities)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model.generate("x" * 40), "40 tokens long, and the model can look at 32"),
        (lambda: model.next_word("x" * 40), "40 tokens long"),
        (lambda: model.stream("x", temperature=-1), "temperature must be"),
        (lambda: model.stream("x", top_k="all"), "top_k must be"),
        (lambda: model.stream("x", top_p=2), "top_p must be"),
        (lambda: model.stream("x", min_p=-1), "min_p must be"),
        (lambda: model.stream("x", seed=-1), "seed must be"),
        (lambda: model.stream("x", max_tokens=-1), "max_tokens must be"),
        (lambda: model.stream("x", stop=[""]), "stop must be"),
        (lambda: model.stream("\ud800"), "lone surrogate"),
        (lambda: model.stream("x", sampler="top_k=0.5"), "top_k must be"),
        (lambda: model.stream("x", sampler="top_k=3", temperature=0.5, top_p=1), "temperature, top_p stands beside"),
        (lambda: model.stream("x", hotness=3), "there is no option 'hotness'"),
        (lambda: model.generate_batch("x"), "list of texts"),
        (lambda: model.generate_batch(["y", "x" * 40]), "40 tokens long"),
        (lambda: model.perplexity(""), "text is empty"),
        (lambda: tg.LanguageModel(model.network, byte_model.tokenizer), "290 tokens and the tokenizer 256"),
    ],
)
def test_what_cannot_be_is_an_error_at_once(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_it_is_loaded_from_a_run_folder(tmp_path):
    run = RunFolder.create(tmp_path / "run", model.network.config, TrainingSettings(steps=1), words)
    run.save_model(model.network.state_dict())
    loaded = tg.load(tmp_path / "run")
    assert isinstance(loaded, tg.LanguageModel)
    assert loaded.generate("To be", seed=7) == model.generate("To be", seed=7)
    assert "context 32" in repr(loaded) and "290 tokens" in repr(loaded)


def test_a_run_folder_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        tg.load(tmp_path / "nothing")


def test_a_text_of_a_given_shape():
    for seed in range(3):
        text = model.generate("To be", max_tokens=12, regex=r"(be|not|\d+) [^a-z]{1,3}!", seed=seed)
        assert re.fullmatch(r"(be|not|\d+) [^a-z]{1,3}!", text)
    schema = {"properties": {"to": {"type": "string"}, "be": {"type": "integer"}}, "required": ["to", "be"]}
    for row, written in enumerate(model.generate_batch(["To be", "or", "漢字"], 40, json_schema=schema, seed=1)):
        value = json.loads(written)
        assert isinstance(value["to"], str) and isinstance(value["be"], int)
        assert written == model.generate(written.prompt, 40, json_schema=schema, seed=1 + row)
    assert model.generate("To be", regex="x", seed=0) == "x"


def test_the_constraint_that_was_asked_for_last_is_remembered():
    one = model.constraint(regex="a*")
    assert model.constraint(regex="a*") is one
    assert model.constraint(json_schema={"type": "string"}) is not one
    assert model.constraint() is None
    with pytest.raises(InputError, match="regex and json_schema cannot be asked for together"):
        model.generate("To be", regex="a", json_schema={})
    with pytest.raises(InputError, match="max_tokens is 2, and the shortest text"):
        model.generate("To be", max_tokens=2, regex="x{9}")
    with pytest.raises(InputError, match="a constrained text needs a token that says that it is complete"):
        byte_model.generate("To be", regex="x")


def test_a_draft_changes_the_speed_only():
    plain = model.generate("To be, or not to be", max_tokens=40, temperature=0)
    smaller = make(words, seed=1)
    for draft in ("prompt-lookup", smaller, model.draft(smaller), PromptLookup(3)):
        assert model.generate("To be, or not to be", max_tokens=40, temperature=0, draft=draft) == plain
        assert "".join(model.stream("To be, or not to be", max_tokens=40, temperature=0, draft=draft)) == plain
    draft = model.draft(model)
    written = model.generate("To be", max_tokens=40, seed=1, draft=draft, regex="[a-z ]*", top_k=20)
    assert draft.acceptance.tokens == len(written.ids) and draft.acceptance.rate == 1.0
    with pytest.raises(InputError, match="it has other tokens than the model"):
        model.generate("To be", draft=byte_model)


# --- texts that are looked for ----------------------------------------------------------------------------------


def total(written) -> float:
    """log p of a text as the model reads it: by its ids, since another text may have the same letters."""
    before = words.encode("To be")
    end = [words.end_of_text] * (written.ending == "stop token")
    ids = np.array([*before, *written.ids, *end])
    return float(score_tokens(model.network, ids)[len(before) - 1 :].sum())


def test_best_of_are_the_texts_of_their_seeds_the_best_first():
    found = model.best_of("To be", 5, 12, seed=3, top_k=20)
    assert set(found) == {model.generate("To be", 12, seed=3 + i, top_k=20) for i in range(5)}
    means = [total(one) / (len(one.ids) + (one.ending == "stop token")) for one in found]
    assert means == sorted(means, reverse=True) and means[0] > means[-1]
    sums = [total(one) for one in model.best_of("To be", 5, 12, seed=3, by="sum")]
    assert sums == sorted(sums, reverse=True)


def test_the_best_of_texts_with_a_stop_string():
    stop = model.best_of("To be", 3, 12, seed=3)[0][4:6]
    found = model.best_of("To be", 3, 12, seed=3, stop=stop)
    assert set(found) == {model.generate("To be", 12, seed=3 + i, stop=stop) for i in range(3)}
    assert "stop string" in {one.ending for one in found}


def test_a_beam_finds_more_probable_texts_than_greedy():
    (greedy,) = model.beam_search("To be", 1, 12)
    assert greedy == model.generate("To be", 12, temperature=0)
    found = model.beam_search("To be", 8, 12)
    totals = [total(one) for one in found]
    assert totals == sorted(totals, reverse=True) and len(found) == 8
    assert totals[0] >= total(greedy) - 1e-6
    assert len(model.beam_search("To be", 8, 12, regex="[a-z]{2}")[0]) == 2


def test_a_beam_under_a_sampler_searches_what_is_left():
    found = model.beam_search("To be", 3, 9, no_repeat_ngrams=1)
    for one in found:
        assert len(set(one.ids.tolist()) | set(words.encode("To be"))) == len(one.ids) + len(words.encode("To be"))
    assert found[0].sampled_log_probabilities.sum() > found[0].log_probability
    assert model.beam_search("To be", 1, 9, sampler="top_k=1")[0].sampled_log_probabilities.sum() == 0.0


def test_texts_that_are_looked_for_end_where_the_context_does():
    length = len(words.encode("To be"))
    for found in (model.beam_search("To be", 2, 100), model.best_of("To be", 2, 100, seed=0)):
        assert max(len(one.ids) for one in found) == 33 - length


def test_the_tree_shows_the_likeliest_next_tokens_first():
    tree = model.tree("To be", depth=2, branches=4, mass=1.0, least=1e-6)
    top = model.next_word("To be").top(4)
    assert [child.token for child in tree.root.children] == [candidate.id for candidate in top]
    assert tree.total == pytest.approx(1.0, abs=1e-9)
    after = model.next_word("To be" + top[0].token.decode()).top(1)[0]
    assert tree.root.children[0].children[0].token == after.id
    assert len(model.tree("To be", sampler="temperature=0").root.children) == 1
    assert "To be" in repr(tree)


def test_alternatives_of_a_text_and_of_one_that_was_written():
    choices = model.alternatives("or not", "To be, ", count=3).choices
    assert [one.token for one in choices] == words.encode("or not")
    expected = score_tokens(model.network, words.encode("To be, ") + words.encode("or not"))[-len(choices) :]
    assert [one.log_p for one in choices] == pytest.approx(expected, abs=1e-5)
    assert {len(one.others) for one in choices} == {3}
    assert sum(x.log_p for x in model.alternatives(TEXT).choices) == pytest.approx(model.log_probabilities(TEXT).sum())
    written = model.generate("To be", 9, seed=1)
    choices = model.alternatives(written).choices
    assert [one.token for one in choices] == written.ids.tolist()
    assert [one.log_p for one in choices] == pytest.approx(written.log_probabilities, abs=1e-5)


def test_the_stages_of_a_sampler_see_the_prompt():
    picture = model.next_word("To be").stages("no_repeat_ngrams=1")
    out = set(words.encode("To be"))
    assert {i for i, p in enumerate(picture.distributions[1].probabilities) if p == 0} == out


def test_a_bias_names_tokens_by_their_text():
    (token,) = words.encode("Q")
    assert set(model.generate("To be", 5, seed=0, logit_bias={"Q": 1000.0}).ids.tolist()) == {token}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model.beam_search("x", 0), "beams must be an integer of at least 1"),
        (lambda: model.beam_search("x", 2, stop=""), "stop must be"),
        (lambda: model.beam_search("x" * 40), "40 tokens long"),
        (lambda: model.best_of("x", 0), "count must be an integer of at least 1"),
        (lambda: model.best_of("x", 2, -1), "max_tokens must be an integer of at least 0"),
        (lambda: model.best_of("x", 2, topk=3), "there is no option 'topk'. Write top_k"),
        (lambda: model.tree("x", 99), "at most 32 fit"),
        (lambda: model.alternatives(""), "text is empty"),
        (lambda: model.alternatives("x", count=0), "count must be an integer of at least 1"),
    ],
)
def test_what_cannot_be_looked_for(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model.generate("x", 1.5), "max_tokens must be an integer of at least 0, it was 1.5"),
        (lambda: model.generate("x", None), "max_tokens must be an integer of at least 0, it was None"),
        (lambda: model.generate("x", True), "max_tokens must be an integer"),
        (lambda: model.stream("x", "5"), "max_tokens must be an integer of at least 0, it was '5'"),
        (lambda: model.generate("x", stop=3), "stop must be strings of at least one character, it was 3"),
        (lambda: model.generate("x", stop=["a", None]), "stop must be strings"),
        (lambda: model.generate("x", stop=b"a"), "stop must be strings"),
        (lambda: model.generate("x", seed=1.5), "seed must be an integer of at least 0, it was 1.5"),
        (lambda: model.generate("x", seed="1"), "seed must be an integer of at least 0, it was '1'"),
        (lambda: model.generate(3), "prompt must be a string, it was int"),
        (lambda: model.generate(["x"]), "prompt must be a string, it was list. For several texts write generate_batch"),
        (lambda: model.next_token(None), "prompt must be a string, it was NoneType"),
        (lambda: model.generate_batch([3]), "prompt must be a string, it was int"),
        (lambda: model.generate_batch(3), "prompts must be a list of texts, it was int"),
        (lambda: model.generate_batch(["x"], seed=-1), "seed must be an integer of at least 0, it was -1"),
        (lambda: model.generate_batch(["x"], 2.0), "max_tokens must be an integer"),
        (lambda: model.beam_search("x", 1.5), "beams must be an integer of at least 1, it was 1.5"),
        (lambda: model.beam_search("x", 2, 1.5), "max_tokens must be an integer"),
        (lambda: model.beam_search("x", length_penalty=-1), "length_penalty must be a number of at least 0"),
        (lambda: model.best_of("x", "2"), "count must be an integer of at least 1, it was '2'"),
        (lambda: model.best_of("x", 2, seed=0.5), "seed must be an integer"),
        (lambda: model.tree("x", 2.5), "depth must be an integer of at least 1, it was 2.5"),
        (lambda: model.tree("x", mass=math.nan), "mass must be above 0 and at most 1, it was nan"),
        (lambda: model.alternatives("x", count=1.5), "count must be an integer"),
        (lambda: model.generate("x", top_k=1.5), "top_k must be an integer, it was 1.5"),
        (lambda: model.generate("x", top_p=2), "top_p must be 0 to 1, it was 2"),
        (lambda: model.generate("x", temperature="hot"), "temperature must be a number of at least 0, it was 'hot'"),
        (lambda: model.generate("x", json_schema={(1, 2): 3}), "the names in a schema must be strings"),
        (lambda: model.log_probabilities(3), "text must be a string, it was int"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_none_means_not_given():
    given = {"stop": None, "seed": 1, "top_k": None, "temperature": None, "regex": None, "draft": None, "sampler": None}
    assert model.generate("To be", 12, **given) == model.generate("To be", 12, seed=1)
    assert model.generate("To be", np.int64(12), seed=np.int64(1)) == model.generate("To be", 12, seed=1)
    everything_kept = model.generate("To be", 12, seed=1, top_k=0, top_p=1, min_p=0, repetition_penalty=1.0)
    assert everything_kept == model.generate("To be", 12, seed=1)
    assert model.generate("To be", 12, top_p=0, seed=5) == model.generate("To be", 12, temperature=0)
