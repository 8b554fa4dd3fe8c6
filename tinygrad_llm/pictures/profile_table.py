"""A profile as a table in the terminal: what each op took, how fast that was, and how fast the machine could be.

Comes before: `debugging.profile`. Comes after: `tinygrad-llm profile`.
"""

from __future__ import annotations

from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tinygrad_llm.debugging.profile import Profile, Work
from tinygrad_llm.kernels.peaks import Peaks

BAR_WIDTH = 12  # at most; a narrow terminal makes it shorter


def profile_table(profile: Profile, peaks: Peaks, rounds: int, title: str) -> Table:
    """One line per op, the costliest first; times are per round, `rounds` of the same work were watched.

    GFLOP/s: of matrix products. GB/s: of what has to be read and written at least. at best: the share of the time that
    the machine, at its peaks, could not do without (`Peaks.least_seconds`); above 100 % where data came from a cache.
    """
    table = Table(title=title, title_justify="left", title_style="bold", show_footer=True, box=SIMPLE_HEAD, padding=0)
    whole = profile.total()
    directions = {"forward": profile.forward, "backward": profile.backward} if profile.backward else {}
    sums = {name: sum((work.seconds for work in works.values()), 0.0) for name, works in directions.items()}
    footers = {name: milliseconds(seconds / rounds) for name, seconds in sums.items()}
    table.add_column("op", footer="together", no_wrap=True)
    numbers = {"calls": f"{whole.calls / rounds:,.0f}"}
    numbers |= {f"{name}\nms": footers[name] for name in directions}
    numbers |= {"ms": milliseconds(whole.seconds / rounds), "share": ""}
    for name, footer in numbers.items():
        table.add_column(name, justify="right", footer=footer, no_wrap=True)
    table.add_column(max_width=BAR_WIDTH)
    for name, footer in zip(("GFLOP/s", "GB/s", "at\nbest"), rates(whole, peaks), strict=True):
        table.add_column(name, justify="right", footer=footer, no_wrap=True)
    for name in profile.names:
        work = profile.total(name)
        share = work.seconds / whole.seconds
        parts = [works[name].seconds / rounds if name in works else 0.0 for works in directions.values()]
        table.add_row(
            name,
            f"{work.calls / rounds:,.0f}",
            *map(milliseconds, parts),
            milliseconds(work.seconds / rounds),
            f"{share:.1%}",
            Bar(1.0, 0.0, share, color="cyan"),
            *rates(work, peaks),
        )
    return table


def milliseconds(seconds: float) -> str:
    """Empty for nothing."""
    return f"{1000 * seconds:,.2f}" if seconds else ""


def rates(work: Work, peaks: Peaks) -> tuple[str, str, str]:
    """GFLOP/s, GB/s and the share that had to be; empty where the work has none."""
    if not work.seconds:
        return "", "", ""
    rate, speed = work.operations / work.seconds / 1e9, work.moved / work.seconds / 1e9
    least = work.least_seconds(peaks) / work.seconds
    return (f"{rate:,.0f}" if rate else "", f"{speed:,.1f}" if speed else "", f"{least:.0%}" if least else "")
