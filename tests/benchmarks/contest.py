"""Two or more contestants, each in a process of its own, taking turns at the same work.

Timing one after the other on a noisy machine compares two moods of the machine. Here every round lets each contestant
work once while the others sleep, and what is reported is the median of each and the median of the rounds' ratios.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from memory import forget_peaks, peak_memory

Work = Callable[[], dict[str, float]]  # does everything once; the seconds of each part, by name

TURN_SECONDS = 0.2  # short work is repeated for about so long in each turn, and the mean counts, unless told otherwise
PAUSE_SECONDS = 0.05  # before each turn, until the threads of the one before have gone to sleep
WARM_UP, WARM_SECONDS = 3, 2.0  # times that the work is done before it is measured; fewer when it takes so long

spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Result:
    """seconds: of each part of the work, one per round. peak_memory: bytes, None where the system does not tell."""

    seconds: dict[str, list[float]]
    peak_memory: int | None

    def median(self, part: str) -> float:
        return statistics.median(self.seconds[part])

    def speed_over(self, other: Result, part: str) -> float:
        """How many times faster than `other`: the median over rounds."""
        pairs = zip(self.seconds[part], other.seconds[part], strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


def contest(
    makers: dict[str, Callable[..., Work]], arguments: tuple, rounds: int, turn_seconds: float = TURN_SECONDS
) -> dict[str, Result]:
    """Let each contestant work once per round.

    makers: name -> a function of a module that makes, from `arguments`, the work of one turn. turn_seconds: how long a
    turn is at least; work that takes less is repeated.
    """
    contestants = {  # one warms up after the other
        name: Contestant(maker, arguments, turn_seconds) for name, maker in makers.items()
    }
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            time.sleep(PAUSE_SECONDS)
            turns[name].append(contestant.turn())
    peaks = {name: contestant.end() for name, contestant in contestants.items()}
    return {
        name: Result({part: [turn[part] for turn in seen] for part in seen[0]}, peaks[name])
        for name, seen in turns.items()
    }


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns; what it leaves in memory, or loads, ends with its process."""
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


class Contestant:
    """A process that works when it is told to. Made when it is ready and warm; raises what went wrong in there."""

    def __init__(self, maker: Callable[..., Work], arguments: tuple, turn_seconds: float) -> None:
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs, maker, arguments, turn_seconds), daemon=True)
        self.process.start()
        theirs.close()
        self.answer()
        assert self.process.pid is not None
        forget_peaks(self.process.pid)

    def turn(self) -> dict[str, float]:
        self.pipe.send("work")
        return self.answer()

    def end(self) -> int | None:
        """End the process; how much memory it and its children held at most."""
        assert self.process.pid is not None
        peak = peak_memory(self.process.pid)
        self.pipe.send("end")
        self.process.join()
        return peak

    def answer(self) -> dict[str, float]:
        said = self.pipe.recv()
        if isinstance(said, str):
            raise RuntimeError(said)
        return said


def serve(pipe: Connection, maker: Callable[..., Work], arguments: tuple, turn_seconds: float) -> None:
    """The life of a contestant: get ready, then work when told."""
    try:
        work = maker(*arguments)
        began = time.perf_counter()
        for _ in range(WARM_UP):
            start = time.perf_counter()
            work()
            took = time.perf_counter() - start
            if time.perf_counter() - began > WARM_SECONDS:
                break
        repetitions = max(1, round(turn_seconds / took))
        pipe.send({})
        while pipe.recv() == "work":
            done = [work() for _ in range(repetitions)]
            pipe.send({part: statistics.fmean(seconds[part] for seconds in done) for part in done[0]})
    except EOFError:  # the other side was interrupted
        pass
    except Exception:  # whatever it is, the other process shall see it
        pipe.send(traceback.format_exc())
