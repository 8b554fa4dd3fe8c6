"""Data parallelism gives the gradients of the whole batch, the same bits every time, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinygrad_llm import Transformer, TransformerConfig
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.kernels.threads import thread_pool
from tinygrad_llm.nn.lora import lora
from tinygrad_llm.optim import AdamW
from tinygrad_llm.training import data_parallel
from tinygrad_llm.training.data_parallel import DataParallel
from tinygrad_llm.training.flat import FlatParameters

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory without a name is Linux's")
BATCH = 7


def a_model(dropout: float = 0.0, kind: str = "gpt2") -> Transformer:
    make = getattr(TransformerConfig, kind)
    return Transformer(make(vocab_size=31, context=16, layers=2, heads=2, width=32, dropout=dropout), seed=3)


def flat_of(model: Transformer) -> FlatParameters:
    return FlatParameters({name: p for name, p in model.named_parameters() if p.requires_grad})


def gradients_of(flat: FlatParameters) -> np.ndarray:
    flat.collect()
    return flat.gradients.copy()


def a_batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 31, (BATCH, 16)), rng.integers(-1, 31, (BATCH, 16))


def alone(kind: str) -> tuple[float, np.ndarray]:
    """Loss and gradients of two batches, by one process."""
    model = a_model(kind=kind)
    flat, total = flat_of(model), 0.0
    for seed in (1, 2):
        loss = model.loss(*a_batch(seed), reduction="sum")
        loss.backward()
        total += loss.item()
    return total, gradients_of(flat)


def together(parallel: DataParallel, steps: int = 1, rng_seed: int = 0) -> tuple[float, np.ndarray]:
    """The same by a parallel, after which it is ready for another step."""
    for _ in range(steps):
        rng = np.random.default_rng(rng_seed)
        parallel.flat.zero_grad()
        total = sum(parallel.backward(*a_batch(seed), rng) for seed in (1, 2))
        parallel.all_reduce()
    return total, gradients_of(parallel.flat)


@pytest.fixture
def parallel_on(monkeypatch):
    started = []

    def make(cores: int, **options) -> DataParallel:
        monkeypatch.setattr(thread_pool, "cores", cores)
        model = a_model(**options)
        started.append(DataParallel(model, flat_of(model), BATCH))
        return started[-1]

    yield make
    for parallel in started:
        parallel.close()


@pytest.mark.parametrize(("cores", "kind"), [(2, "gpt2"), (2, "llama"), (3, "gpt2"), (1, "llama")])
def test_shares_add_up_to_the_whole_batch(cores, kind, parallel_on):
    loss, g = alone(kind)
    shared_loss, shared_g = together(parallel_on(cores, kind=kind), steps=2)
    assert shared_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(shared_g, g, rtol=1e-4, atol=1e-5 * np.abs(g).max())


def test_the_order_and_the_names_in_the_flat_array_are_the_optimizers_own(monkeypatch):
    monkeypatch.setattr(thread_pool, "cores", 2)
    model = a_model()
    expected, _ = alone("gpt2")
    with DataParallel(model, AdamW(reversed(list(model.parameters()))).flat, BATCH) as parallel:
        assert together(parallel)[0] == pytest.approx(expected, rel=1e-6)


def test_the_same_bits_every_time(parallel_on):
    one, other = parallel_on(3, dropout=0.2), parallel_on(3, dropout=0.2)
    loss, g = together(one)
    for parallel in (one, other, one):
        again, other_g = together(parallel)
        assert again == loss
        assert np.array_equal(other_g, g)
    assert together(one, rng_seed=1)[0] != loss


def test_new_weights_are_seen_by_all(parallel_on):
    parallel = parallel_on(2)
    before = together(parallel)[0]
    parallel.flat.values *= 0.5
    model = a_model()
    for parameter in model.parameters():
        parameter.data = parameter.data * np.float32(0.5)
    expected = sum(model.loss(*a_batch(seed), reduction="sum").item() for seed in (1, 2))
    after = together(parallel)[0]
    assert after == pytest.approx(expected, rel=1e-6)
    assert after != before


def test_a_worker_that_dies_is_noticed(parallel_on):
    parallel = parallel_on(2)
    together(parallel)
    parallel.workers[0].kill()
    with pytest.raises(MachineError, match="Resume the run"):
        together(parallel)


def test_workers_go_when_it_is_closed(parallel_on):
    parallel = parallel_on(3)
    parallel.close()
    assert [worker.poll() for worker in parallel.workers] == [0, 0]
    parallel.close()


def test_workers_do_not_outlive_a_killed_process():
    program = (
        "import time, test_data_parallel as t; t.thread_pool.cores = 2;"
        "m = t.a_model(); c = t.DataParallel(m, t.flat_of(m), t.BATCH); t.together(c);"
        "print(c.workers[0].pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
    )
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(1000):
        if not is_running(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker is still running long after the process that started it was killed")


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not a dead one that nobody has asked about yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_windows_shorter_than_the_context(monkeypatch):
    monkeypatch.setattr(thread_pool, "cores", 2)
    model, (ids, targets) = a_model(), (x[:, :5] for x in a_batch(1))
    expected = model.loss(ids, targets, reduction="sum").item()
    with DataParallel(model, flat_of(model), BATCH, context=5) as parallel:
        assert parallel.backward(ids, targets) == pytest.approx(expected, rel=1e-5)


def test_a_model_with_frozen_parameters_gets_no_workers(monkeypatch):
    monkeypatch.setattr(thread_pool, "cores", 2)
    monkeypatch.setattr(data_parallel, "WORTH_OPERATIONS", 1e5)
    model = lora(a_model(), rank=2)
    assert not data_parallel.is_worth_it(model, BATCH)
    with pytest.raises(InputError, match="frozen"):
        DataParallel(model, flat_of(model), BATCH)


def test_small_batches_are_not_worth_it(monkeypatch):
    monkeypatch.setattr(thread_pool, "cores", 2)
    model = a_model()
    assert not data_parallel.is_worth_it(model, BATCH)
    monkeypatch.setattr(data_parallel, "WORTH_OPERATIONS", 1e5)
    assert data_parallel.is_worth_it(model, BATCH)
    assert not data_parallel.is_worth_it(model, 1)
    monkeypatch.setattr(data_parallel, "FEW_PARAMETERS", 1000)
    assert not data_parallel.is_worth_it(model, BATCH)  # 112 tokens
    assert not data_parallel.is_worth_it(model, 10 * BATCH, context=10)
    assert data_parallel.is_worth_it(model, 10 * BATCH)
    monkeypatch.setattr(thread_pool, "cores", 1)
    assert not data_parallel.is_worth_it(model, BATCH)
