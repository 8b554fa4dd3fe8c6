"""A training step inside plain() can be followed in a debugger: it runs through few files of `nn`, and no kernel."""

import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm as tg

PACKAGE = Path(tg.__file__).parent
FILES = {"attention", "functional", "layers", "mlp", "module", "token_ids", "transformer"}
SIZES = dict(vocab_size=19, context=12, layers=2, heads=4, width=32)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_files_of_a_training_step(kind):
    model = tg.Transformer(getattr(tg.TransformerConfig, kind)(**SIZES))
    ids, seen = np.arange(12)[None], set()

    def trace(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            seen.add(path.relative_to(PACKAGE).with_suffix("").as_posix())

    with tg.plain():
        sys.settrace(trace)
        try:
            model.loss(ids, ids).backward()
        finally:
            sys.settrace(None)
    in_nn = {name.removeprefix("nn/") for name in seen if name.startswith("nn/")}
    assert in_nn == FILES | ({"rotary"} if kind == "llama" else set())
    assert not any(name.startswith("kernels/cpu") for name in seen)
    lines = sum(len((PACKAGE / "nn" / f"{name}.py").read_text(encoding="utf-8").splitlines()) for name in FILES)
    assert lines <= 1000
