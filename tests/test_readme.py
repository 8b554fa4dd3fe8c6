"""The README's programs run as they are printed, and do what they say."""

import re
from pathlib import Path

import pytest

from tinygrad_llm.errors import MachineError

README = Path(__file__).parents[1] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_program_about_the_tensor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program = next(block for block in python_blocks() if "gradcheck" in block)
    exec(compile(program, "README.md", "exec"), {})
    assert "-0.72686" in capsys.readouterr().out  # the second derivative of tanh at 0.5
    assert (tmp_path / "graph.html").stat().st_size > 1000


@pytest.mark.download
@pytest.mark.slow
def test_the_program_with_a_real_model(capsys):
    program = next(block for block in python_blocks() if "ChatSession" in block)
    variables = {}
    try:
        exec(compile(program, "README.md", "exec"), variables)
    except MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    shown = capsys.readouterr().out
    assert shown.startswith(" Paris.\n") and shown.endswith("The capital of France is Paris.\n")
    learned = {name: p for name, p in variables["model"].network.named_parameters() if p.requires_grad}
    assert learned and all(name.endswith((".A", ".B")) and p.grad is not None for name, p in learned.items())


def test_the_program_from_scratch(tmp_path, monkeypatch, capsys):
    words = ["the cat sat on the mat", "the dog ran to the door", "a bird sang in the old tree"]
    (tmp_path / "my.txt").write_text("\n".join(words[i % 3] + f", {i % 7} times." for i in range(4000)))
    monkeypatch.chdir(tmp_path)
    program = next(block for block in python_blocks() if "optimizer.step()" in block)
    program = program.replace("vocab_size=512", "vocab_size=290").replace("range(300)", "range(101)")
    exec(compile(program, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[1]) for line in lines[:3]]
    assert losses[0] == pytest.approx(5.67, abs=0.15)  # log 290
    assert losses[2] < 1.5
    assert len(lines) > 3
