"""The README's programs run as they are printed and do what they say; its reading path is as long as it says."""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import MachineError

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
PACKAGE = Path(tg.__file__).parent
PATH = re.findall(r"^\| \[`[\w/.]+`\]\(tinygrad_llm/([\w/.]+)\) \|", TEXT, re.M)
MOST_LINES = 2500
# What a training step inside plain() runs beside the files of the path, and what for.
BESIDE = {
    "autograd/array_methods.py": "x.sum() is ops.sum(x)",
    "autograd/arguments.py": "arguments of ops given by name or by position",
    "autograd/changes.py": "was a value changed that a gradient needs?",
    "autograd/fused.py": "a formula with a fast kernel beside it",
    "autograd/op_errors.py": "did the rule return what it must?",
    "autograd/ops/activations.py": "ops that some models use",
    "autograd/ops/composite.py": "ops written with other ops",
    "backend.py": "NumPy or CuPy?",
    "kernels/segments.py": "sums of rows with equal ids, for the gradient of an embedding",
    "nn/token_ids.py": "are the ids of this vocabulary?",
    "nn/module.py": "calling a module",
    "nn/rotary.py": "the angles of the positions",
    "training/flat.py": "which parameters have gradients?",
    "training/gradient_norm.py": "the norm that a step returns",
    "training/optimizer.py": "parameter groups and clipping",
}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def block(*words: str) -> str:
    (found,) = [program for program in blocks() if all(word in program for word in words)]
    return found


def run(program: str, variables: dict | None = None) -> dict:
    variables = {"__name__": "readme"} if variables is None else variables
    exec(compile(program, "README.md", "exec"), variables)
    return variables


def test_the_program_about_the_tensor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(block("tg.steps"))
    assert "-0.72686" in capsys.readouterr().out  # the second derivative of tanh at 0.5
    assert (tmp_path / "graph.html").stat().st_size > 1000


def test_an_op_of_ones_own(capsys):
    run(block("softsign"))
    said = capsys.readouterr().out
    assert "gradients agree: 1 input, 3 elements, orders 1 and 2" in said
    assert f"Tensor({-2 / 1.5**3:.5f}" in said


def test_a_module_of_ones_own(capsys):
    variables = run(block("GatedAttention"))
    assert "2 × Block" in capsys.readouterr().out
    model = variables["model"]
    model.loss([list(range(9))]).backward()
    assert all(np.any(block.attention.gate.weight.grad.numpy() != 0.0) for block in model.blocks)
    text = tg.LanguageModel(model, tg.Tokenizer.train("", 256)).generate("ab", max_tokens=4, temperature=0)
    ids = np.frombuffer(b"ab", np.uint8)[None]
    for token in text.ids:  # with the cache it computes what it computes without
        assert model(ids).numpy()[0, -1].argmax() == token
        ids = np.append(ids, [[token]], axis=1)


def test_a_sampler_and_an_optimizer_of_ones_own(capsys):
    variables = run(block("SignSGD"))
    text = capsys.readouterr().out.rstrip("\n")
    assert text and all(a != b for a, b in zip("b" + text, text, strict=False))
    ids = variables["tokenizer"].encode("To be, or not to be")
    assert variables["network"].loss([ids]).item() < 2.0  # of log 256 = 5.5 at first


@pytest.mark.download
@pytest.mark.slow
def test_the_program_with_a_real_model(capsys):
    try:
        variables = run(block("ChatSession"))
    except MachineError as error:
        if "network" not in str(error):
            raise
        pytest.skip(f"offline: {error}")
    shown = capsys.readouterr().out
    assert shown.startswith(" Paris.\n") and shown.endswith("The capital of France is Paris.\n")
    parameters = variables["model"].network.named_parameters()
    learned = {name: p for name, p in parameters if p.requires_grad}
    assert learned and all(name.endswith((".A", ".B")) and p.grad is not None for name, p in learned.items())


@pytest.fixture
def my_text(tmp_path, monkeypatch):
    words = ["the cat sat on the mat", "the dog ran to the door", "a bird sang in the old tree"]
    (tmp_path / "my.txt").write_text("\n".join(words[i % 3] + f", {i % 7} times." for i in range(4000)))
    monkeypatch.chdir(tmp_path)


def test_the_program_from_scratch(my_text, capsys):
    program = block("optimizer.step()", "my.txt").replace("vocab_size=512", "vocab_size=290")
    variables = run(program.replace("range(300)", "range(101)"))
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[1]) for line in lines[:3]]
    assert losses[0] == pytest.approx(5.67, abs=0.15)  # log 290
    assert losses[2] < 1.5
    assert len(lines) > 3
    assert tg.Transformer.load("model.safetensors").config == variables["config"]


def test_the_program_with_a_run(my_text, capsys):
    """With the weights of the program from scratch in the place of Shakespeare's."""
    config = tg.TransformerConfig.llama(vocab_size=256, context=32, layers=1, heads=1, width=8)
    model = tg.LanguageModel(tg.Transformer(config), tg.Tokenizer.train("", 256))
    model.export("runs/shakespeare")
    run(block("tg.load", "runs/shakespeare"))
    assert len(capsys.readouterr().out) > 10


def test_every_program_has_a_test():
    assert len(blocks()) == 7


def test_the_command_lines_have_options_that_exist():
    from typer.main import get_command

    from tinygrad_llm.cli.main import app

    commands = get_command(app).commands
    for line in re.findall(r"^tinygrad-llm .*$", TEXT, re.M):
        name, *words = line.split("#")[0].split()[1:]
        options = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
        assert [word for word in words if word.startswith("--") and word not in options] == [], line


def test_links_lead_to_files():
    for path in re.findall(r"\]\(([\w/.]+)\)", TEXT):
        assert (README.parent / path).exists(), path


# --- the reading path -------------------------------------------------------------------------------------------


def test_the_reading_path_is_as_long_as_it_says():
    lines = sum(len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) for file in PATH)
    (said,) = re.findall(r"about ([\d,]+) lines in this order", TEXT)
    assert 10 <= len(PATH) <= 13 and lines <= MOST_LINES, lines
    assert abs(int(said.replace(",", "")) - lines) <= 100, f"README says {said} lines, it is {lines}"


def test_a_training_step_runs_in_the_files_of_the_reading_path():
    config = tg.TransformerConfig.llama(vocab_size=50, context=16, layers=2, heads=2, width=8)
    model = tg.Transformer(config, seed=0)
    optimizer = tg.AdamW(model.parameters(), lr=1e-3)
    executed: dict[str, set[int]] = {}

    def trace(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if PACKAGE not in path.parents:
            return None
        if event == "line":
            executed.setdefault(path.relative_to(PACKAGE).as_posix(), set()).add(frame.f_lineno)
        return trace

    with tg.plain():
        model.loss([[1, 2, 3, 4]]).backward()  # what is made once, such as the angles of positions, is there then
        optimizer.zero_grad()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            model.loss([[1, 2, 3, 4], [5, 6, 7, 8]]).backward()
            optimizer.step()
        finally:
            sys.settrace(before)
    assert set(executed) <= {*PATH, *BESIDE}, set(executed) - {*PATH, *BESIDE}
    on_path = sum(len(lines) for file, lines in executed.items() if file in PATH)
    assert on_path > 0.6 * sum(map(len, executed.values()))


def test_the_house_lists_every_folder():
    house = TEXT[TEXT.index("## The house") :]
    rooms = {path.name + "/" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if f"`{room}`" not in house} == set()


def test_programs_are_well_formed_python():
    for program in blocks():
        ast.parse(program)
