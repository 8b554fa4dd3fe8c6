"""What is the value of a line prints in a few lines that say what it is; nothing is `<… object at 0x…>`."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.nn import functional as F
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.training.settings import TrainingSettings

TEXT = "To be, or not to be, that is the question. " * 40
tokenizer = tg.Tokenizer.train(TEXT, vocab_size=270)
config = TransformerConfig.llama(vocab_size=270, context=32, layers=2, heads=2, width=16)
network = tg.Transformer(config, seed=0)
model = tg.LanguageModel(network, tokenizer)
batches = tg.Batches(tokenizer.encode_array(TEXT), batch=4, context=8, seed=0)
x = tg.Tensor([1.0, 2.0], requires_grad=True)

SAID = {
    "tensor": (lambda: x, "Tensor([1., 2.]"),
    "config": (lambda: config, "TransformerConfig(vocab_size=270, context=32, layers=2, heads=2, width=16, positions="),
    "network": (lambda: network, "├── blocks.0 … 1: 2 × Block"),
    "model": (lambda: model, f"LanguageModel({network.num_parameters():,} parameters, 2 layers"),
    "tokenizer": (lambda: tokenizer, "Tokenizer(vocab_size=270"),
    "tokens": (lambda: tokenizer.tokens("To be"), "b'T', b'o'"),
    "batches": (lambda: batches, "Batches(4 × 8 of"),
    "optimizer": (lambda: tg.AdamW(network.parameters(), lr=1e-3), "lr=0.001"),
    "schedule": (lambda: tg.optim.cosine_schedule(lr=1e-3, steps=10), "cosine"),
    "settings": (lambda: TrainingSettings(steps=10), "steps=10"),
    "gradcheck": (lambda: tg.gradcheck(lambda x: x * x, [np.ones(2)]), "gradients agree: 1 input, 2 elements"),
    "op": (lambda: tg.ops.tanh, "<op tanh>"),
    "fused op": (lambda: F.layer_norm, "<fused op layer_norm>"),
    "graph": (lambda: tg.graph((x * x).sum()), "3 tensors"),
    "steps": (lambda: tg.steps((x * x).sum()).forward(), "step 1 of 2: sum"),
    "distribution": (lambda: model.next_token("To"), "all 270 tokens"),
    "stages": (lambda: model.next_token("To").stages("top_k=2"), "top k 2"),
    "alternatives": (lambda: model.alternatives("To be"), "instead"),
    "tree": (lambda: model.tree("To"), "all ends together"),
    "sampler": (lambda: model.sampler(top_k=3), "TopK(k=3)"),
    "vocabulary": (lambda: model.vocabulary, "Vocabulary(270 tokens)"),
    "rotary": (lambda: network.blocks[0].attention.rotary, "RotaryEmbedding(8, base=10000"),
    "description": (lambda: tg.describe(model), "attention.query"),
    "mapping": (lambda: tg.describe_mapping("llama"), "in the file"),
}


@pytest.mark.parametrize("name", SAID)
def test_it_says_what_it_is(name):
    make, words = SAID[name]
    said = repr(make())
    assert words in said and " object at 0x" not in said and "<tinygrad_llm" not in said
    assert len(said.splitlines()) <= 30 and max(map(len, said.splitlines())) <= 200


def test_a_generated_text_is_a_string():
    text = model.generate("To be", max_tokens=5, seed=0)
    assert isinstance(text, str) and repr(text) == repr(str(text))


def test_a_conversation_prints_what_was_said():
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    chat = tg.ChatSession(tg.LanguageModel(network, tokenizer, template), max_tokens=2)
    list(chat.say("To be"))
    assert repr(chat).splitlines()[1].strip() == "user: To be"


@pytest.mark.parametrize(
    "config",
    [config, TransformerConfig.gpt2(vocab_size=9, context=8, layers=1, heads=4, width=8, kv_heads=2, dropout=0.1)],
)
def test_a_config_prints_the_call_that_makes_it(config):
    again = eval(repr(config))
    assert again == config and again.following == config.following
