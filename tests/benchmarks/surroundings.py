"""How quiet the machine was while something was measured, told by Linux; other systems do not tell.

Two things disturb a measurement: other programs that compute meanwhile, and, on a rented machine, a host that gives
the processor to somebody else. Both hurt the most where threads wait for each other. A benchmark that says how much of
them there was can be believed, or done again.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

STAT = Path("/proc/stat")
TICKS = 100.0  # per second, in /proc/stat, on every Linux that one meets


class Surroundings:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self.start = counters()

    def shares(self) -> dict[str, float]:
        """Of all cores' time since: "others", used by other programs; "stolen", by the host. Empty where not known.

        Processes of this program count when they have ended and were waited for.
        """
        if self.start is None:
            return {}
        wall, busy, stolen, own = (now - then for now, then in zip(counters() or (), self.start, strict=True))
        return {"others": max(0.0, busy - own) / wall, "stolen": stolen / wall}

    def sentence(self) -> str:
        shares = self.shares()
        if not shares:
            return ""
        others, stolen = shares["others"], shares["stolen"]
        return f"Meanwhile other programs used {others:.0%} of the cores, and the host took {stolen:.0%} away."


def counters() -> tuple[float, float, float, float] | None:
    """Seconds, of all cores together: passed, busy, stolen; and those that this program was busy."""
    if not STAT.exists():
        return None
    lines = STAT.read_text().splitlines()
    cores = sum(line.startswith("cpu") for line in lines) - 1
    user, nice, system, _, _, irq, soft_irq, stolen = (int(count) / TICKS for count in lines[0].split()[1:9])
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    used = sum(of.ru_utime + of.ru_stime for of in own)
    return cores * time.monotonic(), user + nice + system + irq + soft_irq, stolen, used
