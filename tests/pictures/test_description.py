"""The description as one sees it: in a terminal, in a notebook, in plain text."""

import doctest
import html
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import tinygrad_llm as tg
from tinygrad_llm.pictures import description as description_module
from tinygrad_llm.pictures.description import amount

GPT2 = tg.TransformerConfig.gpt2(vocab_size=50257, context=1024, layers=12, heads=12, width=768)
WINDOWS = tg.TransformerConfig.llama(
    vocab_size=96, context=64, layers=8, heads=4, kv_heads=2, width=32, window=8, full_attention_every=3
)


def test_equal_layers_share_a_line_and_the_sums_agree():
    lines = tg.describe(GPT2).lines()
    names = [line.name for line in lines]
    assert names[:4] == ["embedding", "position", "blocks.0", " attention_norm"] and names[-1] == "head"
    assert names.count(" mlp.up") == 1 and " 11 more like it" in names
    assert sum(row.parameters for line in lines for row in line.rows) == 124_439_808


def test_each_kind_of_layer_is_shown_once():
    description = tg.describe(WINDOWS)
    names = [line.name for line in description.lines()]
    kept = [name for name in names if "blocks" in name or "more" in name]
    assert kept == ["blocks.0", " 5 more like it", "blocks.2", " 1 more like it"]
    assert [line.shape for line in description.lines() if line.name == " attention"] == ["window 8", "all before"]


def test_all_layers_one_by_one():
    description = tg.describe(WINDOWS)
    lines = description.lines(all_layers=True)
    assert [line.name for line in lines if not line.rows] == [f"blocks.{layer}" for layer in range(8)]
    assert [row for line in lines for row in line.rows] == description.rows
    assert all(len(line.rows) <= 1 for line in lines)


def test_in_the_terminal_text_and_notebook_stand_the_same_cells():
    description = tg.describe(WINDOWS)
    text = repr(description)
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    console.print(description)
    coloured = re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue())
    assert [line.rstrip() for line in coloured.splitlines()] == text.splitlines()
    page = html.unescape(description._repr_html_()).replace("\u00a0", " ")
    for line in description.lines():
        for cell in description.cells(line):
            assert cell.strip() in text and cell in page
    for sentence in description.sentences():
        assert sentence in page
        assert sentence in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120


def test_numbers_stay_whole_in_a_narrow_terminal():
    console = Console(file=io.StringIO(), width=80)
    console.print(tg.describe(GPT2))
    text = console.file.getvalue()
    assert "124,439,808" in text and "38,597,376" in text and "…" not in text


def test_what_is_tied_or_frozen_is_said():
    model = tg.Transformer(WINDOWS)
    assert "Tied: head.weight is embedding.weight, counted once." in tg.describe(model).sentences()
    assert not any("Tied" in sentence for sentence in tg.describe(WINDOWS.with_(tied=False)).sentences())
    assert not any("Learned" in sentence for sentence in tg.describe(model).sentences())
    tg.lora(model, rank=1, parts=("query",))
    assert "Learned: 512 of the parameters; the others are frozen." in tg.describe(model).sentences()


@pytest.mark.parametrize(
    "number, words", [(999, "999"), (999_499, "999 k"), (999_501, "1.00 M"), (12_345, "12.3 k"), (10**15, "1,000 T")]
)
def test_amounts_in_three_digits(number, words):
    assert amount(number) == words


@given(st.integers(1, 10**15))
def test_an_amount_is_right_to_half_a_percent(number):
    shown, _, prefix = amount(number).partition(" ")
    exact = float(shown.replace(",", "")) * 1000 ** " kMGT".index(prefix or " ")
    assert abs(exact - number) <= 0.005 * number
    assert len(shown.replace(".", "").replace(",", "")) <= 4


def test_the_examples_in_the_docstrings():
    failed, tried = doctest.testmod(description_module)
    assert tried and not failed
