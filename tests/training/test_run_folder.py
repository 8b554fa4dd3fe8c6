"""The folder of a run: nothing of the user's is overwritten, and everything that can be wrong with it is said."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.run_folder import RunFolder, check_free
from tinygrad_llm.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=10, seed=3)


@pytest.fixture
def run(tmp_path, world, tiny):
    return RunFolder.create(tmp_path / "run", tiny.llama(), SETTINGS, world.tokenizer, {"texts": ["a.txt"]})


def test_a_new_folder_can_be_opened_again(run, world, tiny):
    again = RunFolder(run.path)
    assert again.config == tiny.llama()
    assert again.settings == SETTINGS
    assert again.source == {"texts": ["a.txt"]}
    assert again.load_tokenizer().encode(world.text) == world.tokenizer.encode(world.text)


def test_the_model_comes_back_with_its_tokenizer(run):
    model = Transformer(run.config, seed=5)
    run.save_model(model.state_dict())
    loaded, tokenizer = run.load_model()
    assert tokenizer.vocab_size == run.config.vocab_size
    for name, parameter in model.named_parameters():
        assert np.array_equal(loaded.state_dict()[name], parameter.data)


def test_parents_are_made_and_an_empty_folder_is_fine(tmp_path, world, tiny):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "a" / "b"):
        assert RunFolder.create(path, tiny.gpt2(), SETTINGS, world.tokenizer).path == path


def test_a_folder_that_is_not_empty_is_refused(run, world, tiny):
    before = sorted(path.name for path in run.path.rglob("*"))
    with pytest.raises(InputError, match=r"is not empty.*--resume.*--overwrite"):
        RunFolder.create(run.path, tiny.gpt2(), SETTINGS, world.tokenizer)
    assert sorted(path.name for path in run.path.rglob("*")) == before
    assert RunFolder(run.path).config == tiny.llama()


def test_overwrite_deletes_the_files_of_the_run_and_no_others(run, world, tiny):
    run.save_model(Transformer(run.config).state_dict())
    run.append_metrics({"step": 1})
    (run.checkpoints / "step-00000001.safetensors").write_bytes(b"old")
    (run.path / "loss.png").write_bytes(b"old")
    (run.path / "notes.txt").write_text("mine")
    (run.path / "checkpoints" / "notes.txt").write_text("mine too")
    new = RunFolder.create(run.path, tiny.gpt2(), SETTINGS, world.tokenizer, overwrite=True)
    left = sorted(str(path.relative_to(new.path)) for path in new.path.rglob("*") if path.is_file())
    assert left == ["checkpoints/notes.txt", "config.json", "notes.txt", "tokenizer.json"]
    assert new.config == tiny.gpt2()


@pytest.mark.parametrize("content", [None, "{}", '{"model_type": "gpt2"}', "no json", "[1]"])
def test_overwrite_leaves_a_folder_alone_that_is_no_run(tmp_path, world, tiny, content):
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="is not a run of this program, so --overwrite leaves it alone"):
        RunFolder.create(tmp_path, tiny.gpt2(), SETTINGS, world.tokenizer, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


def test_overwrite_takes_a_run_of_another_version(run, world, tiny):
    change_config(run, format=99)
    RunFolder.create(run.path, tiny.gpt2(), SETTINGS, world.tokenizer, overwrite=True)
    assert RunFolder(run.path).config == tiny.gpt2()


def test_a_file_is_no_folder(tmp_path, world, tiny):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        RunFolder.create(tmp_path / "file", tiny.gpt2(), SETTINGS, world.tokenizer, overwrite=True)
    with pytest.raises(InputError, match="there is no folder"):
        RunFolder(tmp_path / "file")
    check_free(tmp_path / "new", overwrite=False)


def test_the_budget_can_be_changed(run):
    run.change_budget(steps=20)
    assert RunFolder(run.path).settings == dataclasses.replace(SETTINGS, steps=20)
    run.change_budget(minutes=1.5)
    assert RunFolder(run.path).settings == dataclasses.replace(SETTINGS, steps=None, minutes=1.5)
    assert RunFolder(run.path).source == {"texts": ["a.txt"]}
    with pytest.raises(InputError, match="either steps or minutes"):
        run.change_budget()


def change_config(run, **changes):
    path = run.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folders_that_cannot_be_opened_say_why(run, tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        RunFolder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no config.json in it"):
        RunFolder(tmp_path)
    change_config(run, format=2, version="9.1")
    with pytest.raises(InputError, match=r"made by version 9.1 .* another format"):
        RunFolder(run.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {}}, "the entry 'model' cannot be used"),
        ({"model": {"vocab_size": "many"}}, "the entry 'model' cannot be used"),
        ({"training": {"steps": 10, "speed": 1}}, r"the entry 'training' cannot be used: .*\['speed'\]"),
        ({"training": {"steps": 10, "rate": None}}, "the entry 'training' cannot be used"),
        ({"model": 3}, "'model' is an integer, not an object"),
        ({"source": [["a", 1]]}, "'source' is a list, not an object"),
        ({"source": None}, "'source' is null, not an object"),
    ],
)
def test_a_config_of_another_structure_names_file_and_key(run, changes, message):
    change_config(run, **changes)
    with pytest.raises(InputError, match=f"config.json.*{message}.*train again"):
        RunFolder(run.path)


@pytest.mark.parametrize("name", ["layers", "vocab_size", "width", "hidden", "heads", "context", "head_dim"])
def test_a_config_that_is_far_larger_than_the_weights_allocates_nothing(run, name, tiny):
    run.save_model(Transformer(run.config).state_dict())
    model = tiny.gpt2().to_dict() | {name: 2**40}
    if name == "heads":
        model |= {"width": 2**40, "kv_heads": 2**40}
    change_config(run, model=model)
    with pytest.raises(InputError, match=r"model.safetensors is damaged \(.* in config.json|config.json says"):
        RunFolder(run.path).load_model()


@pytest.mark.parametrize("key", ["model", "training", "source"])
def test_a_missing_entry_of_the_config_is_named(run, key):
    path = run.path / "config.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    with pytest.raises(InputError, match=f"config.json is damaged: the key '{key}' is missing"):
        RunFolder(run.path)


@pytest.mark.parametrize("content", ["[" * 100_000, "3", '"' + "x" * 9, '{"kind": ' + "9" * 5000 + "}", "\xff"])
def test_a_config_that_is_no_object_is_damaged(run, content, world, tiny):
    (run.path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="config.json is damaged"):
        RunFolder(run.path)
    with pytest.raises(InputError, match="is not a run of this program"):
        RunFolder.create(run.path, tiny.gpt2(), SETTINGS, world.tokenizer, overwrite=True)


def test_a_truncated_config_is_an_input_error(run):
    path = run.path / "config.json"
    whole = path.read_bytes()
    for length in range(len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged"):
            RunFolder(run.path)


def test_a_missing_or_truncated_model_says_what_to_do(run):
    with pytest.raises(InputError, match=r"has no model.safetensors yet.*--resume"):
        run.load_model()
    run.save_model(Transformer(run.config).state_dict())
    path = run.path / "model.safetensors"
    for length in (0, 5, 100, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:length] if length else b"")
        with pytest.raises(InputError, match=r"model.safetensors is damaged"):
            run.load_model()
        run.save_model(Transformer(run.config).state_dict())
    run.save_model(Transformer(run.config.with_(width=32)).state_dict())
    with pytest.raises(InputError, match=r"model.safetensors is damaged .*embedding.weight"):
        run.load_model()
    (run.path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer.json"):
        run.load_model()


def test_a_folder_that_cannot_be_written_is_a_failure_of_the_machine(tmp_path, world, tiny, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MachineError, match=r"run: Permission denied.*choose another folder"):
        RunFolder.create(tmp_path / "run", tiny.gpt2(), SETTINGS, world.tokenizer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_is_a_failure_of_the_machine(run):
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(MachineError, match=r"metrics.jsonl: No space left on device"):
        run.append_metrics({"step": 1})


def test_logs_grow_and_can_be_taken_back(run):
    assert run.metrics() == []
    assert run.sync_logs() == {}
    run.append_metrics({"event": "step", "step": 1})
    run.append_sample(1, "To be,\nor nöt")
    lengths = run.sync_logs()
    run.append_metrics({"event": "step", "step": 2})
    run.append_sample(2, "to be.")
    run.cut_logs(lengths)
    assert run.metrics() == [{"event": "step", "step": 1}]
    assert (run.path / "samples.txt").read_text(encoding="utf-8") == "--- after 1 steps ---\nTo be,\nor nöt\n\n"
    run.cut_logs({"metrics.jsonl": 10_000})
    assert run.metrics() == [{"event": "step", "step": 1}]  # shorter than remembered: left as it is
    assert (run.path / "samples.txt").read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3", "it holds an integer, not an object"),
        ("{}", "the key 'event' is missing"),
        ('{"event": 3, "step": 1}', "'event' is an integer, not a string"),
        ('{"event": "step", "step": true}', "'step' is true, not an integer"),
        ("[" * 100_000, "its JSON is nested too deeply"),
        ('{"step": ' + "9" * 5000 + "}", "it is not JSON"),
    ],
)
def test_a_line_of_another_structure_is_named(run, line, message):
    (run.path / "metrics.jsonl").write_text(f'{{"event": "step", "step": 1}}\n{line}\n')
    with pytest.raises(InputError, match=f"line 2 of .*metrics.jsonl is damaged: {message}"):
        run.metrics()


def test_half_a_line_in_the_log_is_named(run):
    run.append_metrics({"event": "step", "step": 1})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    with pytest.raises(InputError, match=r"line 2 of .*metrics.jsonl is damaged.*Delete the line"):
        run.metrics()
