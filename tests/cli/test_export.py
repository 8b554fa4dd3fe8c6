"""`tinygrad-llm export`, and every command that takes a model: what it is called with may be any model."""

import pytest
from tiny_models import tiny_network
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli.main import app
from tinygrad_llm.errors import InputError
from tinygrad_llm.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = Tokenizer.train("the cat, the hat and the bat", 260)
    model = tg.LanguageModel(tiny_network("llama", 260), words)
    return tg.export(model, tmp_path_factory.mktemp("export") / "model")


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_what_is_exported_is_a_model_for_every_command(folder, tmp_path, format):
    said = run("export", folder, tmp_path / "other", "--format", format)
    path = tmp_path / "other" / "model.gguf" if format == "gguf" else tmp_path / "other"
    assert said.splitlines()[0] == f"Written: {path}" and str(path) in said.splitlines()[1]
    text = run("generate", path, "the", "--seed", 1, "--max-tokens", 5)
    assert text == run("generate", folder, "the", "--seed", 1, "--max-tokens", 5)
    assert "260" in run("next", path, "the")


def test_force_is_needed_to_replace(folder, tmp_path):
    run("export", folder, tmp_path / "other")
    with pytest.raises(InputError, match="not empty.*--force"):
        run("export", folder, tmp_path / "other")
    run("export", folder, tmp_path / "other", "--force")


def test_a_mistyped_model_and_format():
    with pytest.raises(InputError, match="Did you mean gemma-3-270m"):
        run("export", "gemma-270m", "somewhere")
    assert CliRunner().invoke(app, ["export", "x", "y", "--format", "onnx"]).exit_code == 2
