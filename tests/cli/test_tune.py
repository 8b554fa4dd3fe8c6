"""The command `tune`: a model of others learns from one's own text, and what comes out is a run like any other."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli import tune as tune_module
from tinygrad_llm.cli.main import app, main
from tinygrad_llm.hub.models import lasting_name
from tinygrad_llm.kernels import peaks
from tinygrad_llm.nn.lora import adapters, base_state
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.trainer import Trainer

SENTENCES = ("The ferry leaves at seven. ", "Nobody is on the quay.\n", "Rain again; the captain counts his ropes.\n")
TEXT = "".join(SENTENCES[i] for i in np.random.default_rng(0).integers(0, len(SENTENCES), 300))
CONTEXT = 12
OPTIONS = ["--lora", 2, "--steps", 6, "--batch", 3, "--context", CONTEXT, "--eval-every", 3, "--lr", 0.03]
FILES = {"config.json", "tokenizer.json", "model.safetensors", "adapters.safetensors", "metrics.jsonl", "samples.txt"}
FILES |= {"loss.png", "checkpoints"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinygrad_llm.training.plan.MEASURED_SECONDS", 0.001)
    monkeypatch.setattr(tune_module, "TUNING", replace(tune_module.TUNING, checkpoint_every=3))
    Path("sea.txt").write_text(TEXT, encoding="utf-8")


@pytest.fixture
def base():
    """A chat model in a folder of Hugging Face's kind, whose texts begin and end with a token of their own."""
    tokenizer = tg.Tokenizer.train(TEXT, 290)
    network = tg.Transformer(tg.TransformerConfig.llama(vocab_size=290, context=40, layers=2, heads=2, width=16))
    for parameter in network.parameters():
        parameter.data *= 1.0 if parameter.ndim == 1 else 4.0  # it has something to say
    end = tokenizer.end_of_text
    model = tg.LanguageModel(network, tokenizer, ChatTemplate("{{ messages[0].content }}"), (end, 7), begin_token=end)
    return str(model.export("base"))


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def logits(model):
    ids = np.arange(3 * 10).reshape(3, 10)
    with tg.no_grad():
        return model.network(ids).numpy()


def test_a_tuned_run_is_a_run_with_all_that_its_base_had(base):
    said = run("tune", base, "sea.txt", *OPTIONS)
    folder = Path("runs/sea-tuned")
    assert {path.name for path in folder.iterdir()} == FILES
    assert f"of which {tg.describe(tg.lora(tg.load(base), 2)).totals.learned:,} learn" in said
    before, tuned = tg.load(base), tg.load(folder)
    assert not adapters(tuned.network)
    assert tuned.chat_template == before.chat_template and tuned.chat_template is not None
    assert tuned.stop_tokens == before.stop_tokens == (before.tokenizer.end_of_text, 7)
    assert tuned.begin_token == before.begin_token is not None
    assert tuned.network.config == before.network.config
    assert tuned.tokenizer.encode("The ferry") == before.tokenizer.encode("The ferry")
    assert tuned.perplexity(TEXT[:300]) < 0.9 * before.perplexity(TEXT[:300])
    apart = tg.load_adapters(before, folder / "adapters.safetensors")
    np.testing.assert_allclose(logits(tuned), logits(apart), atol=1e-5)


def test_a_tuned_run_goes_on_as_a_run_does(base):
    run("tune", base, "sea.txt", *OPTIONS)
    tuned = tg.load("runs/sea-tuned")
    assert "Written" in run("export", "runs/sea-tuned", "exported")
    np.testing.assert_array_equal(logits(tg.load("exported")), logits(tuned))
    assert run("generate", "runs/sea-tuned", "The", "--seed", 1, "--max-tokens", 5).startswith("The")
    run("tune", "runs/sea-tuned", "sea.txt", *OPTIONS, "--out", "again")  # and can be tuned itself
    assert tg.load("again").begin_token == tuned.begin_token


def test_an_adapted_model_is_exported_merged(base):
    model = tg.lora(tg.load(base), 2)
    for parameter in model.network.parameters():
        parameter.data += 0.1 if parameter.requires_grad else 0.0
    model.export("exported")
    np.testing.assert_allclose(logits(tg.load("exported")), logits(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [2, 0])
def test_resumed_equals_uninterrupted(base, rank):
    run("tune", base, "sea.txt", *OPTIONS, "--lora", rank, "--out", "whole")
    shutil.copytree("whole", "broken")
    Path("broken/checkpoints/step-00000006.safetensors").write_bytes(b"half a file")
    Path("broken/model.safetensors").unlink()
    said = run("train", "--out", "broken", "--resume")
    assert "step 3" in said
    for name in ("model.safetensors", *(["adapters.safetensors"] if rank else [])):
        assert Path("broken", name).read_bytes() == Path("whole", name).read_bytes()
    assert Path("whole/adapters.safetensors").exists() == bool(rank)
    assert RunFolder("whole").source["base"]["name"] == str(Path(base).absolute())
    assert lasting_name("smollm2-135m-instruct") == "smollm2-135m-instruct"


def test_a_checkpoint_holds_what_is_learned_and_nothing_else(base):
    run("tune", base, "sea.txt", *OPTIONS, "--out", "small")
    run("tune", base, "sea.txt", *OPTIONS, "--lora", 0, "--out", "large")
    small, large = (Path(name, "checkpoints/step-00000006.safetensors").stat().st_size for name in ("small", "large"))
    assert small < large / 2
    assert b".base.weight" not in Path("small/checkpoints/step-00000006.safetensors").read_bytes()


def test_a_tuned_run_is_profiled_as_it_was_tuned(base, monkeypatch):
    for name, small in (("SECONDS", 0.005), ("STREAM_BYTES", 1_000_000), ("SIDES", (64,))):
        monkeypatch.setattr(peaks, name, small)
    run("tune", base, "sea.txt", *OPTIONS, "--out", "tuned")
    run("profile", "tuned", "--steps", 1, "--write-json", "profile.json")
    record = json.loads(Path("profile.json").read_text())
    assert record["config"]["context"] == CONTEXT and record["batch"] == 3
    assert record["training_step"]["ops"]["lora_linear"]["backward"]["calls"] == 2 * 7
    assert "linear" not in record["training_step"]["ops"]


def test_another_base_under_the_same_name_is_noticed(base):
    run("tune", base, "sea.txt", *OPTIONS, "--out", "tuned")
    other = tg.load(base)
    other.network.embedding.weight.data += 0.01
    other.export(base, force=True)
    with pytest.raises(tg.InputError, match="its weights have changed"):
        run("train", "--out", "tuned", "--resume", "--steps", 8)
    tg.load("tuned")  # which needs no base


def test_windows_begin_as_the_texts_of_the_model_do(base, monkeypatch):
    seen = []
    train_one_step = Trainer._train_one_step

    def look(trainer):
        first = [set(ids[:, 0].tolist()) for ids in (trainer.batches.next()[0], trainer.validation.inputs)]
        seen.append((trainer.batches.next()[0].shape, *first))
        return train_one_step(trainer)

    monkeypatch.setattr(Trainer, "_train_one_step", look)
    run("tune", base, "sea.txt", *OPTIONS)
    begin = tg.load(base).begin_token
    assert seen == [((3, CONTEXT), {begin}, {begin})] * 6


def test_the_frozen_weights_are_those_of_the_base(base, monkeypatch):
    trainers = []
    monkeypatch.setattr(tune_module, "follow", lambda console, trainer, corpus: trainers.append(trainer))
    run("tune", base, "sea.txt", *OPTIONS)
    for _ in trainers[0].run():
        pass
    before = tg.load(base).network.state_dict()
    after = base_state(trainers[0].model)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--lora", 17], "rank must be a whole number from 1 to 16"),
        (["--context", 41], "at most 40"),
        (["--context", 0], "context must be a whole number"),
        (["--steps", 5, "--minutes", 1], "either steps or minutes"),
        (["--device", "abacus"], "device must be one of"),
        (["--out", "base"], "not empty"),
        (["--out", "base", "--overwrite"], "is not a run"),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(base, options, message, monkeypatch, capsys):
    before = sorted(Path().rglob("*"))
    monkeypatch.setattr(sys, "argv", ["tinygrad-llm", "tune", base, "sea.txt", *map(str, OPTIONS + options)])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith("Error: ") and message in said
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("change", [lambda entry: {}, lambda entry: entry | {"more": 1}, lambda entry: [entry]])
def test_a_damaged_entry_is_said(base, change):
    run("tune", base, "sea.txt", *OPTIONS, "--out", "tuned")
    values = json.loads(Path("tuned/config.json").read_text())
    values["source"]["base"] = change(values["source"]["base"])
    Path("tuned/config.json").write_text(json.dumps(values))
    with pytest.raises(tg.InputError, match="its entry 'base' cannot be read"):
        tg.load("tuned")
    assert RunFolder("tuned").settings.context == CONTEXT
