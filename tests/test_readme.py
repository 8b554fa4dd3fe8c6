"""The README's program from scratch runs as it is printed, and the model it trains has learned something."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_program_about_the_tensor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program = next(block for block in python_blocks() if "gradcheck" in block)
    exec(compile(program, "README.md", "exec"), {})
    assert "-0.72686" in capsys.readouterr().out  # the second derivative of tanh at 0.5
    assert (tmp_path / "graph.html").stat().st_size > 1000


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
