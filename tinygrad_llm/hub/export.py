"""A model for other programs: one door to the writers of both formats.

Builds on: `hugging_face`, `gguf_model`. Used by: `language_model` and the command `tinygrad-llm export`.
Left out on purpose: quantising. llama.cpp's own tool makes smaller files of what is written here.
"""

from __future__ import annotations

from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.gguf_model import export_gguf
from tinygrad_llm.hub.hugging_face import export_hugging_face
from tinygrad_llm.hub.pretrained import Pretrained

FORMATS = ("hf", "gguf")
FILE = "model.gguf"


def export_model(model: Pretrained, path: str | Path, format: str, force: bool = False) -> Path:
    """Write the model; `LanguageModel.export` says how, and what is raised. Returns the path of what was written."""
    path = Path(path)
    if format not in FORMATS:
        raise InputError(f"format must be one of {FORMATS}, it was {format!r}.")
    if format == "hf":
        export_hugging_face(model, path, force)
        return path
    file = path if path.suffix == ".gguf" else path / FILE
    export_gguf(model, file, force)
    return file
