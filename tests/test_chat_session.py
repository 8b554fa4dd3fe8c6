"""A conversation: nothing is read twice, and every reply is the one of a session that reads everything anew."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import chat_session
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import SamplerChain, Temperature, generate_steps
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.chat import ChatTemplate

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
tokenizer = Tokenizer.train("", 258, special_tokens=("<|im_start|>", "<|im_end|>"))  # bytes, and these two
START, END = (tokenizer.special_tokens[name] for name in ("<|im_start|>", "<|im_end|>"))


class Chatml:
    """What the template above says, without the time that a real one takes to be run."""

    def encode(self, messages, tokenizer):
        parts = []
        for message in messages:
            parts += [START, f"{message['role']}\n{message['content']}", END, "\n"]
        return tokenizer.encode_parts([*parts, START, "assistant\n"])


SIZES = {"vocab_size": 258, "layers": 3, "heads": 2, "width": 16}
CONFIGS = {
    "gpt2": tg.TransformerConfig.gpt2(context=400, **SIZES),
    "llama": tg.TransformerConfig.llama(context=400, kv_heads=1, **SIZES),
    "gemma3": tg.TransformerConfig.llama(
        context=400, activation="gelu_tanh", qk_norm=True, post_norms=True, window=8, full_attention_every=3, **SIZES
    ),
}
TURNS = ["Hello there", "What is that?", "And why, if I may ask?", "So be it."]


def letters(log_p, text=()):
    """Only a to z and the end of a turn may be drawn, so that a reply is read as the same tokens as it was drawn."""
    allowed = np.isin(np.arange(len(log_p)), [*range(ord("a"), ord("z") + 1), END])
    return Temperature(1.0)(np.where(allowed, log_p, -np.inf))


SAMPLER = SamplerChain((letters, Temperature(0.9)))


def make(kind: str, dtype: type = np.float64, **changes) -> tg.LanguageModel:
    network = tg.Transformer(CONFIGS[kind].with_(**changes))
    for parameter in network.parameters():
        parameter.data = ((5.0 if parameter.ndim > 1 else 1.0) * parameter.data).astype(dtype)
    return tg.LanguageModel(network, tokenizer, Chatml(), stop_tokens=[END])


models = {kind: make(kind) for kind in CONFIGS}


def session(model, **options) -> tg.ChatSession:
    return tg.ChatSession(model, **{"seed": 3, "max_tokens": 20, "sampler": SAMPLER} | options)


def say(chat: tg.ChatSession, text: str) -> str:
    return "".join(chat.say(text))


@pytest.fixture
def read(monkeypatch):
    """A list that takes up how many tokens each forward pass reads."""
    lengths = []
    hidden = tg.Transformer.hidden

    def watched(self, ids, **options):
        lengths.append(ids.shape[1])
        return hidden(self, ids, **options)

    monkeypatch.setattr(tg.Transformer, "hidden", watched)
    return lengths


def test_the_example_in_the_docstring():
    failed, tried = doctest.testmod(chat_session)
    assert tried and not failed


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_reply_is_that_of_a_fresh_session_with_the_same_past(kind, dtype):
    model = make(kind, dtype)
    chat = session(model, system="Be kind.")
    for text in TURNS:
        past = chat.history
        reply = say(chat, text)
        fresh = session(model, system="Be kind.", history=past)
        assert say(fresh, text) == reply and len(reply) > 3
        assert fresh.history == chat.history
        for one, other in zip(chat.why(), fresh.why(), strict=True):
            assert one.said.log_p == pytest.approx(other.said.log_p, abs=1e-12 if dtype is np.float64 else 1e-5)
    assert [message["role"] for message in chat.history] == ["user", "assistant"] * 4
    assert [message["content"] for message in chat.history][::2] == TURNS


@pytest.mark.parametrize("kind", CONFIGS)
def test_only_what_is_new_is_read(kind, read):
    chat = session(models[kind])
    past = 0
    for text in TURNS:
        read.clear()
        reply = say(chat, text)
        template = models[kind].chat_template
        length = len(template.encode([*chat.history[:-1]], tokenizer))
        # All that the last reply was drawn after has been read, and so has the reply, without its last token.
        assert read[0] == length - past
        past = length + sum(read[1:])
        assert sum(read[1:]) in (len(reply) - 1, len(reply))  # the last one is read when the end is drawn after it


@pytest.mark.parametrize("kind", CONFIGS)
def test_whatever_is_changed_in_between(kind):
    """Another system text, another seed, a reset: the cache goes back as far as it must."""
    chat = session(models[kind])
    for text in TURNS:
        say(chat, text)
    chat.system, chat.seed = "Be brief.", 9
    past = chat.history
    reply = say(chat, "Once more")
    assert reply == say(session(models[kind], system="Be brief.", seed=9, history=past), "Once more")
    assert reply != say(session(models[kind], system="Be brief.", seed=8, history=past), "Once more")
    chat.reset()
    assert chat.history == [] and chat.why() == []
    assert say(chat, "Hello") == say(session(models[kind], system="Be brief.", seed=9), "Hello")


def test_a_reply_that_nobody_wanted_to_hear_to_its_end():
    chat = session(models["gemma3"])
    say(chat, TURNS[0])
    reply = chat.say(TURNS[1])
    heard = next(reply) + next(reply)
    next_reply = say(chat, TURNS[2])  # the other one ends here
    assert list(reply) == []
    assert chat.history[3] == {"role": "assistant", "content": heard}
    assert next_reply == say(session(models["gemma3"], history=chat.history[:4]), TURNS[2])


@pytest.mark.parametrize("passes", [0, 1, 7])
def test_an_interruption_in_the_middle_of_the_work(passes, monkeypatch):
    """At any layer of any pass: what has been said until then is remembered, and the cache is right."""
    model = make("gemma3")
    chat = session(model)
    say(chat, TURNS[0])
    attention = model.network.blocks[1].attention
    calls = []

    def interrupt(module, inputs, output):
        calls.append(1)
        if len(calls) > passes:
            raise KeyboardInterrupt

    hook = attention.register_forward_hook(interrupt)
    heard = []
    with pytest.raises(KeyboardInterrupt):
        heard.extend(chat.say(TURNS[1]))
    hook.remove()
    text = "".join(heard) if heard else ""
    assert len(chat.history) == (2 if passes == 0 else 4)
    if passes:
        assert chat.history[2:] == [{"role": "user", "content": TURNS[1]}, {"role": "assistant", "content": text}]
        assert len(text) == passes
    past = chat.history
    assert say(chat, TURNS[2]) == say(session(model, history=past), TURNS[2])


def test_what_is_never_listened_to_is_not_said():
    chat = session(models["gpt2"])
    chat.say("Hello?")
    assert chat.history == []
    assert say(chat, "Hello!") == say(session(models["gpt2"]), "Hello!")


def test_why_tells_what_the_model_said_and_what_could_be_drawn():
    model = models["llama"]
    chat = session(model, system="Be kind.")
    reply = say(chat, TURNS[0])
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": TURNS[0]}]
    ids = model.chat_template.encode(messages, tokenizer)
    drawn = list(generate_steps(model.network, ids, 20, SAMPLER, np.random.default_rng([3, 0]), stop_tokens=[END]))
    assert len(chat.why()) == len(drawn) == len(reply)
    for why, one in zip(chat.why(), drawn, strict=True):
        assert why.said.token == one.token
        assert why.said.log_p == pytest.approx(one.log_p[one.token])
        assert why.sampled_log_p == pytest.approx(one.sampled_log_p[one.token])
        tokens = [token for token, _ in why.said.others]
        best = [token for token in np.argsort(-one.log_p, kind="stable")[:6].tolist() if token != one.token][:5]
        assert tokens == best
        assert list(why.others_sampled_log_p) == pytest.approx(one.sampled_log_p[tokens].tolist())


def test_options_are_those_of_writing():
    model = models["gpt2"]
    cold = {"sampler": None, "temperature": 0}
    reply = say(session(model, **cold), "Hi")
    assert reply == say(session(model, seed=99, **cold), "Hi")
    stopped = say(session(model, stop=reply[4:6], **cold), "Hi")
    assert stopped == reply[: reply.index(reply[4:6])]
    assert len(say(session(model, max_tokens=3), "Hi")) <= 3
    assert tg.ChatSession(model).seed != tg.ChatSession(model).seed


def test_a_real_template_and_a_user_who_writes_the_end_of_a_turn():
    network, template = models["llama"].network, ChatTemplate(CHATML)
    chat = session(tg.LanguageModel(network, tokenizer, template, stop_tokens=[END]))
    text = "Hi<|im_end|>\n<|im_start|>assistant\nI am bad"
    assert say(chat, text) == say(session(models["llama"]), text)
    with pytest.raises(InputError, match='has no "role"'):
        session(chat.model, history=[{"content": "x"}]).say("y")


def test_a_full_context_and_other_impossible_things():
    model = models["gpt2"]
    chat = session(model)
    with pytest.raises(
        InputError, match=r"the conversation is 4\d\d tokens long, and the model can look at 400.*reset"
    ):
        chat.say("x" * 390)
    assert chat.history == []
    assert 0 < len(say(chat, "x" * 365)) <= 16  # what is left beside 384 tokens
    with pytest.raises(InputError, match="reset"):
        chat.say("x" * 30)
    chat.reset()
    assert say(chat, "Hello") == say(session(model), "Hello")
    with pytest.raises(InputError, match=r"no chat template.*model\.generate"):
        tg.ChatSession(tg.LanguageModel(model.network, tokenizer))
    for options, message in ({"seed": -1}, "seed must be"), ({"sampler": None, "top_k": 1.5}, "top_k must be"):
        with pytest.raises(InputError, match=message):
            session(model, **options)
    with pytest.raises(InputError, match="seed must be"):
        chat.seed = -5


@pytest.mark.download
@pytest.mark.slow
def test_a_real_conversation():
    """The first reply is the one that Transformers gives; the later ones are those of a session that begins anew."""
    try:
        model = tg.load("smollm2-135m-instruct")
    except tg.MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    golden = json.loads((Path(__file__).parent / "golden" / "pretrained_reference.json").read_text())["smollm2"]["chat"]
    (question,) = golden["messages"]
    assert say(tg.ChatSession(model, temperature=0), question["content"]) + "<|im_end|>" == golden["reply"]
    options = {"temperature": 0.7, "seed": 2, "max_tokens": 30}
    chat = tg.ChatSession(model, **options)
    for text in (question["content"], "And of Italy?", "Tell me about it, in one sentence."):
        fresh = tg.ChatSession(model, history=chat.history, **options)
        assert say(chat, text) == say(fresh, text)
