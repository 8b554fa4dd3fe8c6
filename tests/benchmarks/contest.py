"""Two or more contestants, each in a process of its own, taking turns at the same work.

Timing one after the other on a noisy machine compares two moods of the machine. Here every round lets each contestant
work once while the others sleep, and what is reported is the median of each and the median of the rounds' ratios.
"""

from __future__ import annotations

import gc
import multiprocessing
import resource
import statistics
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class Result:
    """seconds: one per round. peak_memory: bytes resident at most, of the process and its largest helper."""

    seconds: list[float]
    peak_memory: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def speed_over(self, other: Result) -> float:
        """How many times faster than `other`: the median over rounds."""
        return statistics.median(theirs / ours for ours, theirs in zip(self.seconds, other.seconds, strict=True))


def contest(makers: dict[str, Callable[..., Callable[[], float]]], arguments: tuple, rounds: int) -> dict[str, Result]:
    """Let each contestant work once per round. makers: name -> a function of a module that makes, from `arguments`,
    the function to call once per turn, which returns the seconds it measured."""
    spawn = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name, maker in makers.items():
        pipes[name], theirs = spawn.Pipe()
        processes.append(spawn.Process(target=serve, args=(theirs, maker, arguments), daemon=True))
        processes[-1].start()
    for pipe in pipes.values():
        answer(pipe)  # ready, and warm
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send("work")
            seconds[name].append(answer(pipe))
    results = {}
    for name, pipe in pipes.items():
        pipe.send("end")
        results[name] = Result(seconds[name], answer(pipe))
    for process in processes:
        process.join()
    return results


def answer(pipe: Connection) -> Any:
    """What the contestant says; raises what went wrong there."""
    said = pipe.recv()
    if isinstance(said, str):
        raise RuntimeError(said)
    return said


def serve(pipe: Connection, maker: Callable[..., Callable[[], float]], arguments: tuple) -> None:
    """The life of a contestant: get ready, work when told, tell the peak memory at the end."""
    try:
        work = maker(*arguments)
        for _ in range(3):
            work()
        pipe.send(0.0)
        while pipe.recv() == "work":
            pipe.send(work())
        del work  # with all that it holds, such as processes of its own
        gc.collect()
        own, helpers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        pipe.send((own + helpers) * 1024)
    except Exception:  # whatever it is, the other process shall see it
        pipe.send(traceback.format_exc())
