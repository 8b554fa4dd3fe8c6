"""kill -9 at twenty random moments: every resume works, nothing is lost but the steps since the last checkpoint."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.checkpoints import newest_checkpoint
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings
from tinygrad_llm.training.trainer import Trainer

KILLS, STEPS, CHECKPOINT_EVERY = 20, 400, 2
MOST_EVENTS = 12  # of a killed run: far too few to finish it, on a machine of any speed
MOMENTS = 0.01  # seconds after the last permission within which the kill comes

SCRIPT = """
import sys
import numpy as np
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.batches import validation_windows
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.trainer import Trainer

run = RunFolder(sys.argv[1])
tokens, lengths = np.load(sys.argv[2]), np.load(sys.argv[3])
validation = validation_windows(tokens[:400], 16, 6, lengths)
for event in Trainer(run, Transformer(run.config, run.settings.seed), tokens, validation).run():
    print(event, flush=True)
    if "killed" in sys.argv and not sys.stdin.readline():  # it goes on when it is allowed to
        break
"""


@pytest.mark.slow
def test_twenty_kills(tmp_path, world, tiny):
    config = tiny.gpt2(dropout=0.1)
    settings = TrainingSettings(
        steps=STEPS, batch=2, accumulate=2, lr=1e-2, eval_every=50, checkpoint_every=CHECKPOINT_EVERY
    )
    whole, killed = (
        RunFolder.create(tmp_path / name, config, settings, world.tokenizer) for name in ("whole", "killed")
    )
    np.save(tmp_path / "tokens.npy", world.tokens)
    np.save(tmp_path / "lengths.npy", world.lengths)
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(killed.path),
        str(tmp_path / "tokens.npy"),
        str(tmp_path / "lengths.npy"),
    ]

    rng = np.random.default_rng(0)
    for events in rng.integers(1, MOST_EVENTS + 1, KILLS):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([*command, "killed"], text=True, **pipes)
        for _ in range(events):
            process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
        time.sleep(rng.uniform(0.0, MOMENTS))  # so that the kill hits any part of what comes next
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        check_nothing_is_lost(killed)

    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    reference = Trainer(whole, Transformer(config, settings.seed), world.tokens, world.validation)
    for _ in reference.run():
        pass
    (_, resumed, damaged), (_, expected, _) = (newest_checkpoint(run.checkpoints) for run in (killed, whole))
    assert damaged == () and resumed.step == expected.step == STEPS
    for name, array in expected.arrays.items():
        assert np.array_equal(resumed.arrays[name], array), name
    assert [line["step"] for line in killed.metrics()] == [line["step"] for line in whole.metrics()]
    assert [line["loss"] for line in killed.metrics()] == [line["loss"] for line in whole.metrics()]
    assert not [path for path in killed.path.rglob("*") if path.name.endswith(".tmp")]


def check_nothing_is_lost(run):
    """Every checkpoint on the disk is whole, the weights can be loaded, and few steps are newer than the checkpoint."""
    _, checkpoint, damaged = newest_checkpoint(run.checkpoints)
    assert damaged == ()
    lines = (run.path / "metrics.jsonl").read_bytes().split(b"\n")[:-1]  # the last line may be cut
    steps_done = sum(b'"event": "step"' in line for line in lines)
    assert steps_done - (checkpoint.step if checkpoint else 0) <= CHECKPOINT_EVERY
    if (run.path / "model.safetensors").exists():
        run.load_model()
