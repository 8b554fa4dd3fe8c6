"""Files that are either whole or untouched, and files that are read with a clear error.

Sooner or later a run is killed at the worst moment. So a file goes to a temporary name in the same folder
first, is synced to the disk, and only then renamed over the old one: a reader sees the old file or the new
one, never half of one. Every file this project keeps (weights, tokenizers, checkpoints, downloads) is meant
to be written so.

Left out on purpose: locks. Two processes that write the same path both succeed, and the last one wins.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tinygrad_llm.errors import InputError, MachineError

TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write(file)` on a new binary file, and put that file in the place of `path` once it is on the
    disk.

    If `write` fails or is interrupted, the temporary file is removed and whatever `path` held before is
    untouched.

    Raises InputError when `path` cannot name a file (its folder is missing, or it is a folder itself) and
    MachineError when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    # The process id keeps two writers of one path apart; the file's own name says what a leftover was to
    # become.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder. Give the name of a file in it.")
        if not path.parent.is_dir():
            raise InputError(f"{path} was not written: there is no folder {path.parent}. Create it first.")
        try:
            with open(temporary, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise MachineError(_why_not_written(path, error)) from error


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """`write_atomically` for bytes that are already in memory."""
    write_atomically(path, lambda file: file.write(data))


def remove_leftovers(folder: str | Path) -> None:
    """Delete the temporary files that killed processes left in `folder`.

    Only for a folder that nobody else is writing to at this moment, as when a run is resumed.
    """
    for leftover in Path(folder).glob(f".*.[0-9]*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, line ends as they are.

    Raises InputError when the file is missing, a folder or not UTF-8, and MachineError when it cannot be
    read.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, and a file was expected.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}. Check the path.") from error
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: byte 0x{data[error.start]:02X} at position {error.start} fits no "
            f"character. Convert the file to UTF-8."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut. Windows cannot open folders and syncs the rename on its
    own."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why_not_written(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path} was not written: the disk is full. Free some space, or choose another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} was not written: no permission to write in {path.parent}. Choose another folder."
    return f"{path} was not written: {error.strerror or error}. Check the disk, or choose another folder."
