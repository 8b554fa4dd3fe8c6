"""Writing files atomically, and reading files and JSON with clear errors.

A process can be killed while it writes. So a file is written under a temporary name in the same folder, synced to the
disk, and then renamed over the old one: a reader sees the old file or the new one, never half of one. Every file that
this project keeps (weights, tokenizers, checkpoints, downloads) is written so.

JSON from disk is limited in size and nesting, so that reading, comparing and printing the result cannot fail later;
`entries` checks the values by key.

Used by: `text`, `training`, `hub`, `cli`.
Left out on purpose: locks. When two processes write the same path, both succeed, and the last one wins.
"""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from tinygrad_llm.errors import InputError, MachineError

TEMPORARY_SUFFIX = ".tmp"
JSON_SIZE_LIMIT = 1 << 28  # bytes; the largest tokenizer.json published so far has about 2^25
JSON_NESTING_LIMIT = 64  # objects and arrays inside each other; a tokenizer.json has about 8


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

    Raises InputError when the file is missing, a folder or not UTF-8, and MachineError when it cannot be read.
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


def read_regular_file(path: str | Path, size_limit: int, advice: str = "Fetch it again.") -> bytes:
    """The bytes of a file that was made by a program: a regular file of at most `size_limit` bytes.

    advice: what to do about a file that is missing or wrong, a sentence; it ends the error. A pipe or a device is
    refused, because reading it might never end.

    Raises InputError when the file is missing, not a regular file or too large, and MachineError when it cannot be
    read.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "pipe or device"
            raise InputError(f"{path} is a {kind}, and a file was expected. {advice}")
        if status.st_size > size_limit:
            raise InputError(f"{path} has {status.st_size} bytes, and at most {size_limit} are read. {advice}")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"There is no file {path}. {advice}") from error
    except ValueError as error:  # a null character in the name
        raise InputError(f"{str(path)!r} cannot be the name of a file ({error}). {advice}") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise InputError(f"{path} is not a file: {error.strerror}. {advice}") from error
        raise MachineError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_json_object(path: str | Path, advice: str = "Fetch it again.") -> dict[str, Any]:
    """The object that a JSON file holds. `advice` is a sentence that ends the errors: what to do about such a file.

    Check its values with `entries.Entries(values, str(path))`.

    Raises InputError when the file is missing, too large, not JSON, nested too deeply, or its outermost value is not
    an object; MachineError when it cannot be read.
    """
    return parse_json_object(read_regular_file(path, JSON_SIZE_LIMIT, advice), str(path), advice)


def parse_json_object(data: bytes | str, source: str, advice: str = "Fetch it again.") -> dict[str, Any]:
    """The object that is written in `data`; `source` names it in errors. Raises InputError as `read_json_object` does.

    A key that occurs twice is an error, and so is half of a surrogate pair, which no text can be written with.
    """
    try:
        value = json.loads(data, object_pairs_hook=_without_repetition)
        _check_nesting(value)
        if "\\ud" in (data if isinstance(data, str) else data.decode("utf-8", "replace")).lower():
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{source} has half of a surrogate pair in a text. {advice}") from error
    except RecursionError as error:
        raise InputError(f"{source} is nested more than {JSON_NESTING_LIMIT} deep. {advice}") from error
    except ValueError as error:  # not JSON, not UTF-8, a number with too many digits
        raise InputError(f"{source} is not valid JSON ({error}). {advice}") from error
    if not isinstance(value, dict):
        raise InputError(f"{source} holds {json_type(value)}, and an object was expected. {advice}")
    return value


def json_type(value: Any) -> str:
    """What JSON calls a value: "an object", "an array", "a string", "a number", "true", "false" or "null"."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names: dict[type, str] = {dict: "an object", list: "an array", str: "a string"}
    return names.get(type(value), "a number")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return values


def _check_nesting(value: Any) -> None:
    """Raise RecursionError, as a deeper value does in the parser itself."""
    level = [value]
    for _ in range(JSON_NESTING_LIMIT + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise RecursionError


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
