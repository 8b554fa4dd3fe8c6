"""Texts of a given shape, and drafts, with the two real models: a byte-level and a SentencePiece-style vocabulary."""

import json
import re

import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import MachineError
from tinygrad_llm.generation import PromptLookup

pytestmark = [pytest.mark.download, pytest.mark.slow]


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma-3-270m"])
def model(request):
    try:
        return tg.load(request.param)
    except MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")


def test_json_along_a_schema(model):
    properties = {"name": {"type": "string"}, "born": {"type": "integer"}, "field": {"enum": ["physics", "chemistry"]}}
    schema = {"type": "object", "properties": properties, "required": ["name", "born", "field"]}
    for temperature in (0.0, 1.5):  # at 1.5 a text that is free falls apart
        text = model.generate("Marie Curie as JSON: ", 40, json_schema=schema, temperature=temperature, seed=1)
        value = json.loads(text)
        assert list(value) == ["name", "born", "field"] and json.dumps(value, ensure_ascii=False) == text


def test_characters_of_several_bytes(model):
    """Most of them are no single token here, so that tokens end in the middle of a character."""
    text = model.generate("Hieroglyphs: ", 50, regex=r"[\U00013000-\U0001342E]{4}, [à-ÿ]{3}", temperature=1.0, seed=2)
    assert re.fullmatch(r"[\U00013000-\U0001342E]{4}, [à-ÿ]{3}", text)


def test_a_draft_leaves_the_greedy_text_as_it_is(model):
    prompt = (
        "def area(width, height):\n    return width * height\n\ndef volume(width, height, depth):\n    return width"
    )
    draft = PromptLookup()
    assert model.generate(prompt, 24, temperature=0, draft=draft) == model.generate(prompt, 24, temperature=0)
    assert draft.acceptance.passes < 24
