"""The command `score`, as a user sees it."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli.main import app
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings

TEXT = "ROMEO: O, she doth teach the torches to burn bright!\nIt is the east, é 😀.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    tokenizer = Tokenizer.train(TEXT * 3, 270)
    config = tg.TransformerConfig.gpt2(vocab_size=270, context=24, layers=1, heads=2, width=16)
    network = tg.Transformer(config)
    network.embedding.weight.data *= 20.0
    path = tmp_path_factory.mktemp("runs") / "small"
    RunFolder.create(path, config, TrainingSettings(steps=1), tokenizer).save_model(network.state_dict())
    return str(path)


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_numbers_are_those_of_the_model(folder, tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    model = tg.load(folder)
    numbers = json.loads(run("score", folder, tmp_path / "text.txt", "--json").stdout)
    assert numbers["perplexity"] == pytest.approx(model.perplexity(TEXT))
    assert numbers["bits_per_byte"] == pytest.approx(model.bits_per_byte(TEXT))
    assert numbers["bytes"] == len(TEXT.encode()) and numbers["tokens"] == len(model.tokenizer.encode(TEXT))
    assert numbers["nats_per_token"] == pytest.approx(math.log(numbers["perplexity"]))
    said = run("score", folder, tmp_path / "text.txt").stdout
    assert f"perplexity     {model.perplexity(TEXT):,.3f}" in said
    assert f"bits per byte  {model.bits_per_byte(TEXT):.4f}" in said


def test_the_most_surprising_tokens_come_first_with_their_context(folder, tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    model = tg.load(folder)
    log_p = model.log_probabilities(TEXT)
    lines = run("score", folder, tmp_path / "text.txt", "--top", 4).stdout.splitlines()[-4:]
    places = np.argsort(log_p, kind="stable")[:4].tolist()
    ids = model.tokenizer.encode(TEXT)
    for line, place in zip(lines, places, strict=True):
        at, bits, *_ = line.split()
        assert int(at) == place and float(bits) == pytest.approx(-log_p[place] / math.log(2), abs=0.05)
        before = model.tokenizer.decode(ids[:place])
        if before.isascii() and before.isprintable():
            assert before[-8:].strip() in line
    assert run("score", folder, tmp_path / "text.txt", "--top", 0).stdout.count("\n") == 3


def test_special_tokens_are_tokens_that_stand_for_no_bytes(folder, tmp_path):
    (tmp_path / "two.txt").write_text("O, she.<|endoftext|>It is.")
    model = tg.load(folder)
    numbers = json.loads(run("score", folder, tmp_path / "two.txt", "--json").stdout)
    assert numbers["bytes"] == len("O, she.It is.")
    assert numbers["tokens"] == len(model.tokenizer.encode("O, she.")) + 1 + len(model.tokenizer.encode("It is."))
    log_p = model.log_probabilities("O, she.<|endoftext|>It is.", allowed_special=["<|endoftext|>"])
    assert numbers["nats_per_token"] == pytest.approx(-log_p.mean())
    (tmp_path / "end.txt").write_text("<|endoftext|>")
    with pytest.raises(InputError, match="nothing but special tokens"):
        run("score", folder, tmp_path / "end.txt")


def test_what_cannot_be_scored(folder, tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.bin").write_bytes(b"\xff\xfe\x00")
    for name, message in (
        ("empty.txt", "empty.txt is empty, and has no probability"),
        ("binary.bin", "is not UTF-8 text"),
        ("missing.txt", "There is no file"),
        ("", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            run("score", folder, tmp_path / name)
    with pytest.raises(InputError):
        run("score", tmp_path / "no-model", __file__)
