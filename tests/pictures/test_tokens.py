"""Tokens in a notebook: every token is there, nothing in them is markup, neighbours have different colours."""

import html
import re

from tinygrad_llm.pictures import tokens as view
from tinygrad_llm.text.tokenized_text import TokenizedText
from tinygrad_llm.text.tokenizer import Tokenizer

SPAN = re.compile(r"<span title='([^']*)' style='([^']*)'>(.*?)</span>", re.DOTALL)


def test_every_token_stands_there_with_its_id_and_a_colour_unlike_its_neighbours():
    tokenizer = Tokenizer.train("the cat <b>&amp;</b> the hat ", 280, at_most=True)
    tokens = tokenizer.tokens("the <b>cat</b> & 'hat' é語")
    spans = SPAN.findall(tokens._repr_html_())
    assert [html.unescape(text) for _, _, text in spans] == [view.readable(token) for token in tokens]
    assert [int(title.rsplit(" ", 1)[1]) for title, _, _ in spans] == tokens.ids
    assert all(left[1] != right[1] for left, right in zip(spans, spans[1:], strict=False))
    assert "<b>" not in "".join(text for _, _, text in spans)


def test_line_ends_are_seen_and_bytes_that_are_no_character_are_spelled():
    shown = TokenizedText([b"a\n", "é".encode()[:1], b"\x00"], [0, 1, 2])._repr_html_()
    assert [text for _, _, text in SPAN.findall(shown)] == ["a⏎\n", "\\xc3", "\\x00"]


def test_a_long_text_is_cut_and_an_empty_one_is_no_error():
    shown = TokenizedText([b"a"] * (view.SHOWN + 5), range(view.SHOWN + 5))._repr_html_()
    assert len(SPAN.findall(shown)) == view.SHOWN and "5 more" in shown
    assert "0 tokens, 0 bytes" in TokenizedText([], [])._repr_html_()
