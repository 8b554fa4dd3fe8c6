"""The command `profile`, as a user sees it."""

import json

import pytest
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli.main import app
from tinygrad_llm.errors import InputError
from tinygrad_llm.kernels import peaks
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings

SMALL = ["--shape", "tiny", "--layers", 2, "--width", 16, "--heads", 2, "--context", 12, "--vocab-size", 30]


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(peaks, "SECONDS", 0.005)
    monkeypatch.setattr(peaks, "STREAM_BYTES", 1_000_000)
    monkeypatch.setattr(peaks, "SIDES", (64,))


def run(*arguments):
    result = CliRunner().invoke(app, ["profile", *map(str, arguments)], env={"COLUMNS": "140"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def test_a_shape_as_table_json_and_picture(tmp_path):
    text = run(*SMALL, "--batch", 3, "--steps", 3, "--write-json", tmp_path / "p.json", "--plot", tmp_path / "p.png")
    assert "One training step of 36 tokens" in text and "GFLOP/s" in text and "this one process" in text
    assert "Reading a prompt of 6 tokens" in text and "Writing one token" in text
    record = json.loads((tmp_path / "p.json").read_text())
    step = record["training_step"]
    assert step["ops"]["linear"]["forward"]["calls"] == step["ops"]["linear"]["backward"]["calls"] == 12
    matrices = 2 * 12 * 16 * 16
    both = step["ops"]["linear"].values()
    assert sum(part["operations"] for part in both) == 6 * matrices * 36
    seconds = sum(part["seconds"] for parts in step["ops"].values() for part in parts.values())
    assert seconds == pytest.approx(step["together"]["seconds"], rel=1e-6)
    assert record["written_token"]["ops"]["linear"]["forward"]["operations"] == 2 * (matrices + 16 * 30)
    assert record["config"]["layers"] == 2 and record["batch"] == 3 and record["peaks"]["operations"] > 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_profiled_as_it_is_trained_and_left_alone(tmp_path):
    tokenizer = Tokenizer.train("to be or not to be", 258)
    config = tg.TransformerConfig.llama(vocab_size=258, context=10, layers=1, heads=2, width=8)
    RunFolder.create(tmp_path / "run", config, TrainingSettings(steps=1, batch=4, optimizer="muon"), tokenizer)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir())
    run(tmp_path / "run", "--steps", 1, "--tokens", 0, "--one-core", "--write-json", tmp_path / "p.json")
    record = json.loads((tmp_path / "p.json").read_text())
    assert (record["batch"], record["optimizer"], record["peaks"]["cores"]) == (4, "muon", 1)
    assert record["config"] == config.to_dict()
    assert "rms_norm" in record["training_step"]["ops"] and "written_token" not in record
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "run").iterdir())


@pytest.mark.parametrize("option", ["--model=bert", "--optimizer=sgd", "--layers=few"])
def test_what_the_command_line_itself_refuses(option):
    result = CliRunner().invoke(app, ["profile", option])
    assert result.exit_code == 2 and option.split("=")[0] in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "huge"], "shape must be one of tiny, small"),
        (["--width", 10], "heads must divide the width"),
        (["nowhere"], "there is no folder nowhere"),
        (["nowhere", "--layers", 3], "RUN says what model it is"),
    ],
)
def test_what_cannot_be_profiled(arguments, message):
    with pytest.raises(InputError, match=message):
        run(*arguments)
