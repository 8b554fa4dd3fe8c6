"""Checkpoints: they come back as they were, damage is noticed wherever it is, and two are kept."""

import errno
import json
import os
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.training.checkpoints import (
    Checkpoint,
    checksum,
    list_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    step_of,
    write_checkpoint,
)


def example(step=3):
    rng = np.random.default_rng(step)
    arrays = {
        "model/w": rng.standard_normal((3, 4)).astype(np.float32),
        "optimizer/steps": np.asarray(step, np.int64),
        "optimizer/first/w": rng.standard_normal((3, 4)),
        "empty": np.zeros((0,), np.float32),
    }
    return Checkpoint(step, arrays, {"rng": rng.bit_generator.state, "step": step, "text": 'é "quoted"\n'})


def same(a, b):
    return (
        a.step == b.step
        and a.state == b.state
        and a.arrays.keys() == b.arrays.keys()
        and all(np.array_equal(a.arrays[n], b.arrays[n]) and a.arrays[n].dtype == b.arrays[n].dtype for n in a.arrays)
    )


def test_it_comes_back_as_it_was(tmp_path):
    path = write_checkpoint(tmp_path, example())
    assert path == tmp_path / "step-00000003.safetensors"
    assert same(read_checkpoint(path), example())
    assert set(load_file(path)) == set(example().arrays)  # any reader of safetensors can look inside


def test_random_numbers_go_on_after_json(tmp_path):
    rng = np.random.Generator(np.random.PCG64(5))
    rng.random(3, dtype=np.float32)  # leaves half of a 64-bit number behind
    path = write_checkpoint(tmp_path, Checkpoint(1, {}, {"rng": rng.bit_generator.state}))
    other = np.random.Generator(np.random.PCG64(0))
    other.bit_generator.state = read_checkpoint(path).state["rng"]
    assert np.array_equal(other.random(5, dtype=np.float32), rng.random(5, dtype=np.float32))


def test_the_last_two_are_kept(tmp_path):
    for step in (5, 10, 90, 100):
        write_checkpoint(tmp_path, example(step))
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000100.safetensors",
        "step-00000090.safetensors",
    ]


def test_newer_ones_go_when_the_run_goes_on_from_an_older_one(tmp_path):
    for step in (100, 200):
        write_checkpoint(tmp_path, example(step))
    write_checkpoint(tmp_path, example(150))
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000150.safetensors",
        "step-00000100.safetensors",
    ]


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "notes.safetensors").write_bytes(b"mine")
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, example(step))
    assert (tmp_path / "notes.safetensors").read_bytes() == b"mine"


def test_every_flipped_bit_is_noticed(tmp_path):
    path = write_checkpoint(tmp_path, example())
    content = bytearray(path.read_bytes())
    for position in range(len(content)):
        for bit in range(8):
            content[position] ^= 1 << bit
            path.write_bytes(content)
            with pytest.raises(InputError, match="is damaged"):
                read_checkpoint(path)
            content[position] ^= 1 << bit


def test_a_truncated_file_is_noticed_at_every_length(tmp_path):
    path = write_checkpoint(tmp_path, example())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is damaged"):
            read_checkpoint(path)


def test_a_file_of_another_program_is_no_checkpoint(tmp_path):
    path = tmp_path / "step-00000001.safetensors"
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(path)


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path):
    assert newest_checkpoint(tmp_path) == (None, None, ())
    old, new = (write_checkpoint(tmp_path, example(step)) for step in (1, 2))
    assert newest_checkpoint(tmp_path)[0] == new
    new.write_bytes(new.read_bytes()[:-5])
    path, checkpoint, damaged = newest_checkpoint(tmp_path)
    assert path == old and same(checkpoint, example(1))
    assert len(damaged) == 1 and "step-00000002.safetensors is damaged" in damaged[0]
    old.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read: .*00000002.*00000001.*--overwrite"):
        newest_checkpoint(tmp_path)


def with_state(path, content: str, **metadata):
    """A file with this state, and the checksum that belongs to it."""
    arrays = example(2).arrays
    values = {"state": content, "sha256": checksum(arrays, content)} | metadata
    path.write_bytes(save(arrays, {key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", "the state in .*00000002.safetensors is damaged: it is not JSON"),
        ("[" * 100_000, "the state in .* is damaged: its JSON is nested too deeply"),
        ("3", "the state in .* is damaged: it holds an integer, not an object"),
        ('{"state": {}}', "the key 'step' is missing"),
        ('{"step": 2}', "the key 'state' is missing"),
        ('{"step": "2", "state": {}}', "'step' is a string, not an integer"),
        ('{"step": -2, "state": {}}', "'step' is -2"),
        ('{"step": 3, "state": {}}', "'step' is 3"),
        ('{"step": 2, "state": []}', "'state' is a list, not an object"),
        ('{"step": 2, "state": {"rng": 3}}', "the state in .* cannot be used: the key 'text' is missing"),
        ('{"step": 2, "state": {"rng": 3, "text": 1}}', "the state in .* cannot be used: .*subscriptable"),
    ],
)
def test_a_state_of_another_structure_falls_back_to_the_one_before(tmp_path, state, message):
    old = write_checkpoint(tmp_path, example(1))
    with_state(tmp_path / "step-00000002.safetensors", state)
    restored = []

    def restore(checkpoint):
        restored.append((checkpoint.state["text"], checkpoint.state["rng"]["state"], checkpoint.step))

    path, checkpoint, damaged = newest_checkpoint(tmp_path, restore)
    assert path == old and same(checkpoint, example(1)) and [step for _, _, step in restored] == [1]
    assert len(damaged) == 1 and re.search(message, damaged[0])


def test_metadata_of_another_structure_are_damage(tmp_path):
    path = write_checkpoint(tmp_path, example(2))
    for metadata in ({"state": None}, {"sha256": None}):
        with_state(path, "{}", **metadata)
        with pytest.raises(InputError, match=f"is damaged: the key '{next(iter(metadata))}' is missing"):
            read_checkpoint(path)
    path.write_bytes(save(example(2).arrays))
    with pytest.raises(InputError, match="is damaged: the key '__metadata__' is missing"):
        read_checkpoint(path)
    for header in (b"[" * 100_000, b'{"__metadata__": 3}', b'{"__metadata__": {"state": {}}}', b"\xff"):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(InputError, match="is damaged"):
            read_checkpoint(path)


def test_what_the_caller_refuses_is_no_damage(tmp_path):
    for step in (1, 2):
        write_checkpoint(tmp_path, example(step))

    def refuse(checkpoint):
        raise InputError("another text")

    with pytest.raises(InputError, match="another text"):
        newest_checkpoint(tmp_path, refuse)


def test_files_and_folders_with_similar_names_are_left_alone(tmp_path):
    (tmp_path / "step-best.safetensors").write_bytes(b"mine")
    (tmp_path / "step-00000007.safetensors").mkdir()
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, example(step))
    assert (tmp_path / "step-best.safetensors").read_bytes() == b"mine"
    assert newest_checkpoint(tmp_path)[1].step == 3
    for step in (99_999_999, 100_000_000):
        write_checkpoint(tmp_path, example(step))
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [100_000_000, 99_999_999]


def test_a_full_disk_leaves_the_older_ones_alone(tmp_path, monkeypatch):
    for step in (1, 2):
        write_checkpoint(tmp_path, example(step))

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="the disk is full"):
        write_checkpoint(tmp_path, example(3))
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-0000000{step}.safetensors" for step in (1, 2)]
    assert same(newest_checkpoint(tmp_path)[1], example(2))
