"""A crew of processes gives the gradients of the whole batch, the same bits every time, and leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinygrad_llm import Transformer, TransformerConfig
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.kernels.threads import workers
from tinygrad_llm.nn.lora import lora
from tinygrad_llm.training import parallel
from tinygrad_llm.training.flat import FlatParameters
from tinygrad_llm.training.parallel import Crew

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory without a name is Linux's")
BATCH = 7


def a_model(dropout: float = 0.0, kind: str = "gpt2") -> Transformer:
    make = getattr(TransformerConfig, kind)
    return Transformer(make(vocab_size=31, context=16, layers=2, heads=2, width=32, dropout=dropout), seed=3)


def a_batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 31, (BATCH, 16)), rng.integers(-1, 31, (BATCH, 16))


def alone(kind: str) -> tuple[float, np.ndarray]:
    """Loss and gradients of two batches, by one process."""
    model = a_model(kind=kind)
    flat, total = FlatParameters(model), 0.0
    for seed in (1, 2):
        loss = model.loss(*a_batch(seed), reduction="sum")
        loss.backward()
        total += loss.item()
    return total, flat.collect_gradients().copy()


def together(crew: Crew, steps: int = 1, rng_seed: int = 0) -> tuple[float, np.ndarray]:
    """The same by a crew, after which it is ready for another step."""
    for _ in range(steps):
        rng = np.random.default_rng(rng_seed)
        crew.flat.zero_grad()
        total = sum(crew.add_gradients(*a_batch(seed), rng) for seed in (1, 2))
        crew.finish()
    return total, crew.flat.collect_gradients().copy()


@pytest.fixture
def crew_of(monkeypatch):
    crews = []

    def make(cores: int, **options) -> Crew:
        monkeypatch.setattr(workers, "cores", cores)
        model = a_model(**options)
        crews.append(Crew(model, FlatParameters(model), BATCH))
        return crews[-1]

    yield make
    for crew in crews:
        crew.close()


@pytest.mark.parametrize(("cores", "kind"), [(2, "gpt2"), (2, "llama"), (3, "gpt2"), (1, "llama")])
def test_shares_add_up_to_the_whole_batch(cores, kind, crew_of):
    loss, g = alone(kind)
    shared_loss, shared_g = together(crew_of(cores, kind=kind), steps=2)
    assert shared_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(shared_g, g, rtol=1e-4, atol=1e-5 * np.abs(g).max())


def test_the_same_bits_every_time(crew_of):
    one, other = crew_of(3, dropout=0.2), crew_of(3, dropout=0.2)
    loss, g = together(one)
    for crew in (one, other, one):
        again, other_g = together(crew)
        assert again == loss
        assert np.array_equal(other_g, g)
    assert together(one, rng_seed=1)[0] != loss


def test_new_weights_are_seen_by_all(crew_of):
    crew = crew_of(2)
    before = together(crew)[0]
    crew.flat.values *= 0.5
    model = a_model()
    for parameter in model.parameters():
        parameter.data = parameter.data * np.float32(0.5)
    expected = sum(model.loss(*a_batch(seed), reduction="sum").item() for seed in (1, 2))
    after = together(crew)[0]
    assert after == pytest.approx(expected, rel=1e-6)
    assert after != before


def test_a_helper_that_dies_is_noticed(crew_of):
    crew = crew_of(2)
    together(crew)
    crew.helpers[0].kill()
    with pytest.raises(MachineError, match="Resume the run"):
        together(crew)


def test_helpers_go_when_the_crew_is_closed(crew_of):
    crew = crew_of(3)
    crew.close()
    assert [helper.poll() for helper in crew.helpers] == [0, 0]
    crew.close()


def test_helpers_do_not_outlive_a_killed_process():
    program = (
        "import time, test_parallel as t; from tinygrad_llm.kernels.threads import workers; workers.cores = 2;"
        "m = t.a_model(); c = t.Crew(m, t.FlatParameters(m), t.BATCH); t.together(c);"
        "print(c.helpers[0].pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
    )
    helper = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(100):
        if not is_running(helper):
            return
        time.sleep(0.1)
    pytest.fail("the helper is still running ten seconds after the process that started it was killed")


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not a dead one that nobody has asked about yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_windows_shorter_than_the_context(monkeypatch):
    monkeypatch.setattr(workers, "cores", 2)
    model, (ids, targets) = a_model(), (x[:, :5] for x in a_batch(1))
    expected = model.loss(ids, targets, reduction="sum").item()
    with Crew(model, FlatParameters(model), BATCH, context=5) as crew:
        assert crew.add_gradients(ids, targets) == pytest.approx(expected, rel=1e-5)


def test_a_model_with_frozen_parameters_gets_no_crew(monkeypatch):
    monkeypatch.setattr(workers, "cores", 2)
    monkeypatch.setattr(parallel, "WORTH_A_CREW", 1e5)
    model = lora(a_model(), rank=2)
    assert not parallel.is_worth_a_crew(model, BATCH)
    with pytest.raises(InputError, match="frozen"):
        Crew(model, FlatParameters(model), BATCH)


def test_small_batches_are_not_worth_a_crew(monkeypatch):
    monkeypatch.setattr(workers, "cores", 2)
    model = a_model()
    assert not parallel.is_worth_a_crew(model, BATCH)
    monkeypatch.setattr(parallel, "WORTH_A_CREW", 1e5)
    assert parallel.is_worth_a_crew(model, BATCH)
    assert not parallel.is_worth_a_crew(model, 1)
    monkeypatch.setattr(parallel, "FEW_PARAMETERS", 1000)
    assert not parallel.is_worth_a_crew(model, BATCH)  # 112 tokens
    assert not parallel.is_worth_a_crew(model, 10 * BATCH, context=10)
    assert parallel.is_worth_a_crew(model, 10 * BATCH)
    monkeypatch.setattr(workers, "cores", 1)
    assert not parallel.is_worth_a_crew(model, BATCH)
