"""Files are whole or untouched, whatever happens while they are written."""

import errno
import os
import subprocess
import sys

import pytest

from tinygrad_llm import files
from tinygrad_llm.errors import InputError, MachineError


def test_a_new_file_and_an_old_one_replaced(tmp_path):
    path = tmp_path / "a.bin"
    files.atomic_write_bytes(path, b"one")
    assert path.read_bytes() == b"one"
    files.write_atomically(str(path), lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half of the ne")
        raise failure

    with pytest.raises(failure):
        files.write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full. Free some space"),
        (errno.EROFS, "no permission to write in .* Choose another folder"),
        (errno.EACCES, "no permission to write in .* Choose another folder"),
        (errno.EIO, "[Ii]nput/output error"),
    ],
)
def test_what_the_machine_refuses_is_said_in_one_sentence(tmp_path, number, message):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write(file):
        raise OSError(number, os.strerror(number))

    with pytest.raises(MachineError, match=message) as refused:
        files.write_atomically(path, write)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(MachineError, match="no permission"):
        files.atomic_write_bytes(tmp_path / "a.bin", b"new")
    assert os.listdir(tmp_path) == []


def test_paths_that_can_hold_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        files.atomic_write_bytes(tmp_path, b"")
    with pytest.raises(InputError, match="there is no folder"):
        files.atomic_write_bytes(tmp_path / "missing" / "a.bin", b"")


def test_a_killed_process_leaves_the_old_file_and_its_leftover_can_be_removed(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    program = (
        "import os, signal, sys; from tinygrad_llm.files import write_atomically\n"
        "def write(file): file.write(b'new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(sys.argv[1], write)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode != 0
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / ".hidden.tmp").write_bytes(b"somebody's")
    files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden.tmp", "a.bin"]


def test_reading_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("é\r\n".encode())
    assert files.read_text(path) == "é\r\n"
    path.write_bytes(b"ab\xff")
    with pytest.raises(InputError, match="byte 0xFF at position 2"):
        files.read_text(path)
    with pytest.raises(InputError, match="is a folder"):
        files.read_text(tmp_path)
    with pytest.raises(InputError, match="There is no file"):
        files.read_text(tmp_path / "b.txt")


def test_the_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor, real=os.fsync: (done.append("sync"), real(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths, real=os.replace: (done.append("rename"), real(*paths)))
    files.atomic_write_bytes(tmp_path / "a.bin", b"new")
    assert done[:2] == ["sync", "rename"]
