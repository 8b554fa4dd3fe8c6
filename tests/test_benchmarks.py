"""The benchmark commands: each runs with our side alone and leaves a table, JSON and a picture. No figure is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_llm as tg

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("train_step", ["tiny"], ["tokens/s", "of the peak", "at best", "The machine at best"]),
        ("ops", ["--shape", "tiny"], ["linear_cross_entropy", "backward", "adamw_step", "attention, window"]),
        ("scaling", ["layers", "--shape", "tiny", "--factors", "1/4"], ["layers", "tokens/s"]),
        (
            "decode",
            ["--model", "small.gguf", "--prompt", "16", "--tokens", "2", "--profile"],
            ["loading", "one text, a token", "Writing a token; texts at once: 8"],
        ),
    ],
)
def test_a_benchmark_runs_without_pytorch(command, arguments, words, tmp_path):
    if command == "decode":
        config = tg.TransformerConfig.llama(vocab_size=260, context=32, layers=1, heads=2, width=32)
        model = tg.LanguageModel(tg.Transformer(config), tg.Tokenizer.train("to be or not to be", 260))
        model.export(tmp_path / "small.gguf", "gguf")
    numbers, picture = tmp_path / "numbers.json", tmp_path / "picture.png"
    options = ["--ours-only", "--rounds", "1", "--write-json", str(numbers), "--plot", str(picture)]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{command}.py", *arguments, *options],
        env={**os.environ, "COLUMNS": "140", "PYTHONPATH": str(BENCHMARKS.parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for word in ["tinygrad_llm" if command != "ops" else "ours", *words]:
        assert word in done.stdout
    record = json.loads(numbers.read_text())
    assert record["versions"]["numpy"] and record["processor"]
    assert all(seconds > 0 for seconds in found(record["results"], "seconds", "tinygrad_llm"))
    if sys.platform == "linux":
        assert record["surroundings"].keys() == {"others", "stolen"} and "Meanwhile other programs" in done.stdout
        assert all(0.0 <= share <= 1.0 for share in record["surroundings"].values())
    if sys.platform == "linux" and command != "ops":
        # At least what the interpreter and NumPy hold; far less than a machine has.
        assert all(20e6 < peak < 4e9 for peak in found(record["results"], "peak_memory"))
    assert picture.read_bytes().startswith(b"\x89PNG")


def found(record, *names):
    """Every number under one of the names, at any depth; there is at least one."""
    values = []
    for key, value in record.items():
        if isinstance(value, dict):
            values += found(value, *names)
        elif key in names:
            values += value if isinstance(value, list) else [value]
    return values


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of processes is told by Linux alone")
def test_memory_that_processes_share_counts_once(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from memory import forget_peaks, peak_memory

    program = """if True:
        import mmap, os, sys, time
        shared = mmap.mmap(-1, 80_000_000)
        shared.write(bytes(80_000_000))
        print("ready", flush=True)
        sys.stdin.readline()
        reading, writing = os.pipe()
        if os.fork() == 0:
            shared.find(b"x")  # looks at all of it
            own = b"x" * 40_000_000
            del own
            os.write(writing, b"!")
            time.sleep(60)
        os.read(reading, 1)
        print("done", flush=True)
        sys.stdin.readline()
        os.killpg(0, 9)
    """
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        forget_peaks(process.pid)
        alone = peak_memory(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        together = peak_memory(process.pid)
        process.stdin.close()  # and so it ends, with its child
    assert 80e6 < alone < 120e6
    assert 40e6 < together - alone < 60e6
