"""The front page: `import tinygrad_llm` is quick, and offers what it says, no more and no less."""

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_llm as tg

LATER = (
    "numpy",
    "regex",
    "rich",
    "typer",
    "matplotlib",
    "jinja2",
    "gguf",
    "safetensors",
    "huggingface_hub",
    "cupy",
    "multiprocessing",
)
MODULES = [m.name for m in pkgutil.walk_packages(tg.__path__, "tinygrad_llm.") if not m.name.endswith("__main__")]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_what_takes_long_to_load_is_left_for_later():
    code = f"import sys, tinygrad_llm; print([name for name in {LATER} if name in sys.modules])"
    assert run(code) == "[]"


def test_a_tensor_needs_numpy_alone():
    code = "import sys, tinygrad_llm as tg; tg.Tensor([1.0]); print([n for n in sys.modules if n.startswith(PACKAGES)])"
    packages = tuple(name for name in LATER if name not in ("numpy", "multiprocessing")) + tuple(
        f"tinygrad_llm.{name}" for name in ("nn", "text", "training", "generation", "hub", "pictures", "cli")
    )
    assert run(code.replace("PACKAGES", repr(packages))) == "[]"


def test_every_name_can_be_used_and_dir_lists_them_all():
    for name in tg.__all__:
        assert getattr(tg, name) is getattr(tg, name)
    assert set(dir(tg)) == {*tg.__all__, "__doc__", "__version__"}
    everything = {}
    exec("from tinygrad_llm import *", everything)
    assert set(tg.__all__) <= set(everything)


def test_the_page_names_exactly_what_is_offered():
    told = {word for name in re.findall(r"^    (\S.*?)(?:  |$)", tg.__doc__, re.M)[1:] for word in name.split(", ")}
    beside = {word for word in re.findall(r"\w+", tg.__doc__) if word in tg.__all__}
    assert told <= set(tg.__all__), told - set(tg.__all__)
    assert beside == set(tg.__all__), set(tg.__all__) - beside
    assert max(map(len, tg.__doc__.splitlines())) <= 116  # wide enough for a terminal


def test_editors_are_told_the_same_names_from_the_same_modules():
    stub = ast.parse(Path(tg.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [
        (node.module, name.asname) for node in stub.body if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    homes = {("tinygrad_llm" + ("." + home if home else ""), name) for name, home in tg._HOME.items()}
    assert set(imports) == homes | {("tinygrad_llm.version", "__version__")}


@pytest.mark.parametrize(
    ("name", "line"), [("matmul", "tg.ops.matmul"), ("cat", "ops.concatenate"), ("manual_seed", "seed=0")]
)
def test_other_names_say_what_to_write(name, line):
    with pytest.raises(AttributeError, match=re.escape(line)):
        getattr(tg, name)


def test_names_that_mean_nothing_are_ordinary_errors():
    assert not hasattr(tg, "no_such_name") and not hasattr(tg, "__wrapped__")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_offers_what_it_says_it_does(name):
    module = importlib.import_module(name)
    assert [key for key in getattr(module, "__all__", ()) if not hasattr(module, key)] == []


@pytest.mark.parametrize("name", [m for m in MODULES if ".drawing" in m or ".pictures" in m])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
