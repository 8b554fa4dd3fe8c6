"""The picture of a sampler at work: the right numbers in every column, bars on one scale, files that can be read."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from tinygrad_llm.drawing.colours import BLUE
from tinygrad_llm.drawing.svg import printable
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation import MinP, PresencePenalty, SamplerChain, Temperature, TopK, parse_sampler_chain
from tinygrad_llm.generation.logits_processors import sampling_distribution
from tinygrad_llm.pictures.distribution import Distribution
from tinygrad_llm.pictures.stages import Stages
from tinygrad_llm.text import Tokenizer

tokenizer = Tokenizer.train("", 256)
SVG = "{http://www.w3.org/2000/svg}"


def of(probabilities: dict[str, float], text: str = "") -> Distribution:
    p = np.full(256, (1.0 - sum(probabilities.values())) / (256 - len(probabilities)))
    for letter, value in probabilities.items():
        p[ord(letter)] = value
    return Distribution(np.log(p), tokenizer, tokenizer.encode(text))


some = of({"a": 0.5, "b": 0.25, "c": 0.125}, text="bb")
picture = some.stages("temperature=0.5, presence_penalty=1.0, top_k=2", count=3)


def numbers(text: str) -> list[list[float]]:
    """The probabilities of each line of tokens, None for what is not there."""
    lines = [line for line in text.splitlines() if re.match(r"'|\d+ others", line)]
    return [[float(x) for x in re.findall(r"\d\.\d{4}", line)] for line in lines]


def test_every_column_is_the_stage_applied_to_the_one_before():
    after = [some.log_probabilities]
    for stage in (Temperature(0.5), PresencePenalty(1.0), TopK(2)):
        after.append(sampling_distribution(stage, after[-1], tokenizer.encode("bb")))
    assert picture.names == ["the model", "temperature 0.5", "presence penalty 1.0", "top k 2"]
    for distribution, expected in zip(picture.distributions, after, strict=True):
        assert distribution.log_probabilities == pytest.approx(expected)
    a, b, c = (ord(x) for x in "abc")
    assert np.exp(after[2][b]) < np.exp(after[1][b])  # it has been there, so the penalty takes from it
    shown = numbers(picture.as_text())
    assert shown[0] == [round(float(np.exp(x[a])), 4) for x in after]
    assert shown[1] == [round(float(np.exp(x[b])), 4) for x in after]
    assert shown[2] == [round(float(np.exp(x[c])), 4) for x in after[:3]]  # then it is removed
    assert shown[3][3] == 0.0


def test_everything_together_is_one_in_every_column():
    text = picture.as_text(120)
    assert np.sum([row.probabilities for row in picture.rows()], axis=0) == pytest.approx(np.ones(4), abs=1e-12)
    assert text.splitlines()[-1].split() == ["sum", *["1.000000"] * 4]
    assert text.splitlines()[-3].split() == ["possible", "tokens", "256", "256", "256", "2"]


def test_a_token_is_shown_that_only_a_later_stage_makes_probable():
    tokens = [row.name for row in some.stages("logit_bias={122: 9.0}, temperature=0.5", 2).rows()]
    assert tokens == ["'a'", "'z'", "254 others"]


def test_a_chain_in_a_chain_is_shown_stage_by_stage():
    nested = some.stages(SamplerChain((SamplerChain((TopK(3), MinP(0.1))), Temperature(2.0))))
    assert nested.names[1:] == ["top k 3", "min p 0.1", "temperature 2.0"]
    assert some.stages(TopK(3)).names == ["the model", "top k 3"]
    assert some.stages("").names == ["the model"]


def test_in_a_narrow_terminal_the_stages_stand_below_each_other():
    wide, narrow = picture.as_text(120), picture.as_text(50)
    assert max(map(len, wide.splitlines())) <= 120 and max(map(len, narrow.splitlines())) <= 50
    assert wide.count("sum") == 1 and narrow.count("sum") == 2
    assert sorted(re.findall(r"\d\.\d{4}", wide)) == sorted(re.findall(r"\d\.\d{4}", narrow))


def test_what_a_stage_raises_is_green_and_what_it_lowers_red():
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(some.stages("temperature=0.5"))
    a, b = console.file.getvalue().splitlines()[1:3]
    assert "\x1b[32m0.7618" in a and "\x1b[31m0.1904" in b  # 0.25 and 0.0625 of 0.3282 together
    assert a.count("\x1b[36m") == 2 and "\x1b[39m0.5000" in a  # the bars alone are coloured where nothing has changed


def test_the_bars_of_the_picture_are_probabilities_on_one_scale():
    root = ElementTree.fromstring(some.stages("temperature=0.5", 3).svg())
    bars = {}
    for shape in root.iter(f"{SVG}rect"):
        if shape.get("fill") == BLUE and not shape.get("fill-opacity"):
            bars[shape.find(f"{SVG}title").text.rsplit(":")[0]] = float(shape.get("width"))
    first, second = bars["'a' after the model"], bars["'a' after temperature 0.5"]
    assert first / bars["'b' after the model"] == pytest.approx(2.0, rel=1e-3)
    assert second / first == pytest.approx(0.25 / 0.3282 / 0.5, rel=1e-3)


def test_the_picture_is_well_formed_whatever_the_tokens_are():
    strange = Distribution(np.log(np.full(256, 1 / 256)), tokenizer)
    root = ElementTree.fromstring(strange.stages("top_k=200, " * 9 + "top_k=200", 256).svg())
    said = {text.text for text in root.iter(f"{SVG}text")}
    assert {"'<'", "'&'", '"\'"', r"'\x00'", r"b'\xff'", "the model"} <= said
    assert printable("a\x00\ud800<") == "a\ufffd\ufffd&lt;"


def test_it_is_saved_as_svg_or_html_and_shown_in_a_notebook(tmp_path):
    picture.save(tmp_path / "stages.svg")
    picture.save(str(tmp_path / "stages.html"))
    assert ElementTree.parse(tmp_path / "stages.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "stages.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert picture._repr_html_() == picture.svg()
    assert repr(picture) == picture.as_text()
    with pytest.raises(InputError, match=r"must end in .svg or .html"):
        picture.save(tmp_path / "stages.png")
    with pytest.raises(InputError, match="count must be at least 1"):
        some.stages("", 0)


def test_a_sampler_is_a_chain_or_its_text():
    chain = parse_sampler_chain("min_p=0.1, temperature=1.5")
    assert some.stages(chain).as_text() == some.stages("min_p=0.1, temperature=1.5").as_text()
    assert some.stages("logit_bias={'a': -inf}").distributions[1].probability("a") == 0.0
    assert isinstance(some.stages(chain), Stages)
    with pytest.raises(InputError, match="there is no stage 'topk'"):
        some.stages("topk=3")
