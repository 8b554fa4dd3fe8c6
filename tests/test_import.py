"""`import tinygrad_llm` is quick: what only some programs need is loaded when they need it."""

import subprocess
import sys

LATER = ("rich", "typer", "matplotlib", "jinja2", "gguf", "safetensors", "huggingface_hub", "cupy", "multiprocessing")


def test_what_takes_long_to_load_is_left_for_later():
    code = f"import sys, tinygrad_llm; print([name for name in {LATER} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
