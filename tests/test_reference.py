"""The API reference: docstrings become lists, examples and headings; all of it is written without a warning."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pdoc = pytest.importorskip("pdoc", reason="pip install '.[docs]'")
SCRIPT = Path(__file__).parents[1] / "docs" / "reference.py"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_arguments_become_a_list(reference):
    text = reference.to_markdown("First.\n\nx, y: two (a: b) numbers.\nzero: 0. Not: this. **options: more.")
    assert text.splitlines()[2:] == [
        "- **x, y**: two (a: b) numbers.",
        "- **zero**: 0. Not: this.",
        "- **\\*\\*options**: more.",
    ]


def test_examples_and_numbers_at_the_start_of_lines(reference):
    assert reference.to_markdown(">>> 1 + 1\n2") == "```python\n>>> 1 + 1\n2\n```"
    assert reference.to_markdown("of at least\n0. And more") == "of at least\n0\\. And more"


def test_groups_of_names_become_a_heading_and_a_list(reference):
    text = reference.to_markdown("Tensors\n    zeros, ones    constants\n    eye            a matrix")
    assert text == "### Tensors\n\n- `zeros`, `ones`: constants\n- `eye`: a matrix"


def test_all_pages_are_written(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert done.returncode == 0, done.stderr[-1000:]
    page = (tmp_path / "tinygrad_llm.html").read_text(encoding="utf-8")
    assert "Tensors</h3>" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert "formula" in (tmp_path / "tinygrad_llm/nn/functional.html").read_text(encoding="utf-8")
