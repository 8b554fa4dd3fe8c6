"""Modules, generated texts and runs in a notebook: complete, escaped, for light and dark pages."""

import re
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.generation import GeneratedText
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.layers import Linear
from tinygrad_llm.nn.module import Module
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.events import Evaluated, Stepped
from tinygrad_llm.training.history import History
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings

CONFIG = TransformerConfig.llama(vocab_size=30, context=8, layers=3, heads=2, width=8)


class Pair(Module):
    def __init__(self):
        self.left, self.right = Linear(2, 3), Linear(4, 5)
        self.scale = tg.Tensor(np.ones(7, np.float32), requires_grad=True)

    def forward(self, x):
        return self.left(x)


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "<run>", CONFIG, TrainingSettings(steps=9), Tokenizer.train("", 256))
    for step in range(1, 10):
        numbers = {"lr": 1e-3, "gradient_norm": 1.0, "tokens": 8, "seconds": 0.1, "elapsed": 0.1 * step}
        run.append_metrics({"event": "step", **asdict(Stepped(step, 9, 3.0 / step, **numbers))})
    run.append_metrics({"event": "evaluation", **asdict(Evaluated(0, 3.4, 5.0, None))})
    run.append_metrics({"event": "evaluation", **asdict(Evaluated(9, 0.5, 0.75, 1.0))})
    return run


@pytest.fixture
def text():
    numbers = {"log_probabilities": np.array([-0.5, -1.0]), "sampled_log_probabilities": np.zeros(2)}
    return GeneratedText(" <b>", prompt="a & b", ids=np.array([1, 2]), ending="max tokens", **numbers)


def test_a_module_is_a_tree_of_all_its_parts():
    page = Pair()._repr_html_()
    for words in ("Pair", "41 parameters", ">left<", ">right<", ">scale<", "(7,) float32", "(3,) float32"):
        assert words in page, words


def test_blocks_that_are_alike_share_a_line():
    page = tg.Transformer(CONFIG, seed=0)._repr_html_()
    assert "blocks.0 … blocks.2" in page and page.count("attention_norm") == 1


def test_a_generated_text_is_shown_after_its_prompt(text):
    page = text._repr_html_()
    assert page.index("a &amp; b") < page.index(" &lt;b&gt;")
    assert "2 tokens, log-probability -1.50 nats, ended by: max tokens" in page


def test_a_run_shows_its_learning_curve(run):
    page = run._repr_html_()
    told = "9 steps, the last loss 0.333; held-out text: 0.500 nats per token, 0.750 bits per byte"
    assert told in page and "<svg" in page and "&lt;run&gt;" in page and "RunFolder(" in repr(run)
    assert told in History.of_run(run)._repr_html_()


def test_a_run_without_steps(tmp_path):
    new = RunFolder.create(tmp_path / "new", CONFIG, TrainingSettings(steps=9), Tokenizer.train("", 256))
    assert "no steps yet" in new._repr_html_()


def test_tokens_are_coloured_one_by_one():
    tokenizer = Tokenizer.train("the cat the cat", 259)
    tokens = tokenizer.tokens("the <cat>\n\u20ac")
    page = tokens._repr_html_()
    assert page.count("<span") == len(tokens) and f"{len(tokens)} tokens, 13 bytes" in page
    assert "&lt;" in page and "⏎" in page and r"\xe2" in page and f"id {tokens.ids[0]}" in page
    grounds = re.findall(r"rgba\([\d,]+", page)
    assert all(a != b for a, b in pairwise(grounds))


def test_many_tokens_are_counted_instead():
    page = Tokenizer.train("", 256).tokens("a" * 5000)._repr_html_()
    assert page.count("<span") == 2000 and "3,000 more" in page


def test_every_view_suits_light_and_dark_and_loads_nothing(run, text):
    for thing in (
        Pair(),
        run,
        text,
        tg.Tensor(np.ones((20, 20))),
        Tokenizer.train("", 256).tokens("a"),
        tg.describe(CONFIG),
    ):
        page = thing._repr_html_()
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "") and "<script" not in page
        assert not re.search(r"(#fff\w*|white|black|#000\w*)[;'\"]", page)
