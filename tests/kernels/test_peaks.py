"""What the machine can do at best: measured, and what follows from it."""

import numpy as np
import pytest

from tinygrad_llm.kernels import peaks
from tinygrad_llm.kernels.peaks import Peaks, measured_peaks
from tinygrad_llm.kernels.threads import thread_pool


@pytest.mark.parametrize("one_core", [False, True])
def test_nothing_is_faster_than_the_peaks(monkeypatch, one_core):
    monkeypatch.setattr(peaks, "SECONDS", 0.02)
    monkeypatch.setattr(peaks, "STREAM_BYTES", 8_000_000)
    found = measured_peaks(one_core=one_core)
    assert found.cores == (1 if one_core else thread_pool.cores)
    assert 1e8 < found.operations < 1e15
    assert found.copy > 1e7 and found.read > 1e7
    x = np.ones((300, 300), np.float32)
    assert 2 * 300**3 / peaks.best_seconds(lambda: x @ x) < 5 * found.operations


def test_memory_and_cores_work_at_the_same_time():
    machine = Peaks(cores=2, operations=10.0, read=4.0, copy=5.0)
    assert machine.bandwidth == 5.0
    assert machine.least_seconds(100, 10) == 10.0
    assert machine.least_seconds(10, 100) == 20.0
    assert machine.least_seconds(0, 0) == 0.0
