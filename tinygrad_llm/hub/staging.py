"""A set of files that appear together or not at all.

They are written to a hidden folder, synced to the disk, and moved to their place by renaming.

Builds on: nothing here; `files` does the same for one file. Used by: the exports.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_llm.errors import MachineError


@contextmanager
def staged(folder: Path, stale: Callable[[], Iterable[Path]] = tuple) -> Iterator[Path]:
    """A new empty folder; when the block ends without an error, the files in it are moved to `folder`.

    They replace files of the same names. stale: files that do not belong with the new ones and are deleted, where the
    new ones have not replaced them. Folders above `folder` are made. Raises MachineError when the disk is full or
    cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # On the same disk, so that moving is renaming.
        place = folder if folder.exists() else folder.parent
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=place) as temporary:
            stage = Path(temporary) / "whole"
            stage.mkdir()
            yield stage
            for path in stage.iterdir():
                _sync(path)
            if not folder.exists():
                stage.rename(folder)
                return
            names = [path.name for path in stage.iterdir()]
            for name in names:
                (stage / name).replace(folder / name)
            for path in stale():
                if path.name not in names:
                    path.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(
            f"{folder} was not written: {error.strerror or error}. Check the disk, or choose another folder."
        ) from error


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
