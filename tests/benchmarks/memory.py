"""The most memory that a process and its children hold at once, told by Linux; other systems do not tell.

Child processes share memory and libraries with their parent, so the sum of what each has resident would count it twice:

    Σ anonymous memory of each at its peak  +  Σ proportional share of shared memory  +  the libraries once

The peaks of the processes are added as if all fell into one moment, so the truth can only be lower.
"""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def peak_memory(process: int) -> int | None:
    """Bytes, of this process and all below it, since `forget_peaks`; None where the system does not tell."""
    members = [counts(member) for member in family(process)]
    if not members:
        return None
    own = sum(of["VmHWM"] - of["RssFile"] - of["RssShmem"] for of in members)
    return own + sum(of["Pss_Shmem"] for of in members) + max(of["RssFile"] for of in members)


def forget_peaks(process: int) -> None:
    """From here on the peaks are counted anew, from what is resident now."""
    for member in family(process):
        (PROC / str(member) / "clear_refs").write_text("5")


def counts(process: int) -> dict[str, int]:
    """What the kernel counts of one process, in bytes, by its names."""
    lines = [line for name in ("status", "smaps_rollup") for line in (PROC / str(process) / name).open()]
    return {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.rstrip().endswith(" kB")}


def family(process: int) -> list[int]:
    """The process and all that it started, and they in turn; nobody where there is no /proc."""
    parents = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            # The name of the program, in brackets, may hold anything; after it come the state and the parent.
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found = [process] if process in parents else []
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found
