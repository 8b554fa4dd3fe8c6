"""The command `describe`, as a user sees it."""

import pytest
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli.main import app
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = Tokenizer.train("to be or not to be", 258)
    config = tg.TransformerConfig.llama(vocab_size=258, context=24, layers=3, heads=2, width=16)
    path = tmp_path_factory.mktemp("runs") / "small"
    RunFolder.create(path, config, TrainingSettings(steps=1), tokenizer).save_model(tg.Transformer(config).state_dict())
    return str(path)


def run(*arguments):
    result = CliRunner().invoke(app, ["describe", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_table_of_the_parts(folder):
    result = run(folder)
    assert result.exit_code == 0
    assert result.stdout == f"{tg.describe(tg.load(folder))}\n"
    assert "2 more like it" in result.stdout and "position 24" in result.stdout


def test_all_layers_and_another_position(folder):
    text = run(folder, "--layers", "all", "--position", 7).stdout
    assert text == tg.describe(tg.load(folder), 7).as_text(all_layers=True) + "\n"
    assert "blocks.2" in text and "position 7" in text


def test_what_cannot_be_is_said(folder):
    with pytest.raises(tg.InputError, match="from 1 to 24"):
        run(folder, "--position", 25)
    assert run(folder, "--layers", "some").exit_code == 2
