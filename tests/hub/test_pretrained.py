"""The two real models beside what Transformers 5.23 (PyTorch, float32) answered, loaded from the same GGUF files."""

import json
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import MachineError
from tinygrad_llm.generation.generate import generate_tokens
from tinygrad_llm.generation.scoring import score_tokens

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "pretrained_reference.json").read_text())
NAMES = {"smollm2": "smollm2-135m-instruct", "gemma3": "gemma-3-270m"}
TOLERANCE = {"smollm2": 1e-4, "gemma3": 3e-4}  # nats; the file has five decimals

pytestmark = [pytest.mark.download, pytest.mark.slow]


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    try:
        model = tg.load(NAMES[request.param])
    except MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    return model, GOLDEN[request.param], TOLERANCE[request.param]


def begun(model, ids):
    return ids if model.begin_token is None else [model.begin_token, *ids]


def test_every_tokenisation_is_equal(case):
    model, golden, _ = case
    texts = golden["tokenization"] + [{"text": p["prompt"], "ids": p["ids"]} for p in golden["prompts"]]
    for entry in texts:
        assert begun(model, model.tokenizer.encode(entry["text"])) == entry["ids"], entry["text"]


def test_the_log_probabilities_are_equal(case):
    model, golden, tolerance = case
    for prompt in golden["prompts"]:
        found = score_tokens(model.network, prompt["ids"])
        assert np.abs(found - prompt["token_logprobs"]).max() < tolerance
        top = model.next_word(prompt["prompt"])
        assert np.abs(top.log_probabilities[prompt["top_ids"]] - prompt["top_logprobs"]).max() < tolerance
        assert np.argsort(-top.log_probabilities, kind="stable")[:10].tolist() == prompt["top_ids"]


def test_greedy_texts_are_equal(case):
    model, golden, _ = case
    for prompt in golden["prompts"]:
        written = model.generate(prompt["prompt"], max_tokens=24, temperature=0)
        assert written == model.tokenizer.decode(prompt["greedy"][len(prompt["ids"]) :])


def test_the_chat_turn_is_equal(case):
    model, golden, _ = case
    if golden["chat"] is None:
        assert model.chat_template is None
        return
    chat = golden["chat"]
    assert model.chat_template.render(chat["messages"]) == chat["text"]
    ids = model.chat_template.encode(chat["messages"], model.tokenizer)
    assert ids == chat["ids"]
    reply = list(generate_tokens(model.network, ids, 20, model.sampler(temperature=0), np.random.default_rng(0)))
    reply = reply[: reply.index(model.stop_tokens[0]) + 1]
    assert model.tokenizer.decode(reply) == chat["reply"]


def test_an_exported_model_is_the_same_model(case, tmp_path):
    """Gemma's norms are the one thing that is computed with on the way: 1 + w becomes w."""
    model, golden, _ = case
    again = tg.load(tg.export(model, tmp_path / "model"))
    assert (again.begin_token, again.stop_tokens) == (model.begin_token, model.stop_tokens)
    assert again.chat_template == model.chat_template
    state = model.network.state_dict()
    for name, array in again.network.state_dict().items():
        folded = "norm" in name and again.network.config.norm_weight_plus_one
        assert np.array_equal(array + 1 if folded else array, state[name]) or (
            folded and np.abs(array + 1 - state[name]).max() < 1e-7
        )
    for entry in golden["tokenization"]:
        assert again.tokenizer.encode(entry["text"]) == model.tokenizer.encode(entry["text"])
