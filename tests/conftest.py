"""Options of the whole test suite, and the directory itself on the path: tests share `ops_table` and `strict_array`."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples every time, and no clock: a slow machine is not a mistake.
settings.register_profile("suite", max_examples=60, derandomize=True, deadline=None)
settings.load_profile("suite")

sys.path.append(str(Path(__file__).parent))

os.environ["COLUMNS"] = "80"  # tables are as wide as the terminal, and are compared with what they were at this width


def pytest_addoption(parser):
    parser.addoption(
        "--array", choices=("numpy", "cupy"), default="numpy", help="the arrays that the tests of the ops run on"
    )


def pytest_configure(config):
    if config.getoption("--array") == "cupy" and importlib.util.find_spec("cupy") is None:
        raise pytest.UsageError("--array=cupy needs the package cupy: pip install 'tinygrad_llm[cuda]'")


@pytest.fixture(scope="session")
def to_array(request):
    """A function that makes a NumPy array (or those in a tuple, list or dict) the kind of array under test."""
    asarray = np.array
    if request.config.getoption("--array") == "cupy":
        import cupy

        asarray = cupy.asarray

    def convert(x):
        if isinstance(x, np.ndarray):
            return asarray(x)
        if isinstance(x, tuple | list):
            return type(x)(map(convert, x))
        if isinstance(x, dict):
            return {key: convert(value) for key, value in x.items()}
        return x

    return convert
