"""Adapters saved apart, in either format: a file of this project, or a folder of PEFT.

Builds on: `nn.adapter_file`, `peft`. Used by: the public API (`tg.save_adapters`, `tg.load_adapters`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.peft import CONFIG, is_peft_folder, load_peft, save_peft
from tinygrad_llm.nn import adapter_file
from tinygrad_llm.nn.lora import Model
from tinygrad_llm.training.run_folder import ADAPTERS


def save_adapters(model: Any, path: str | Path) -> None:
    """Write the adapters of a LanguageModel or Transformer to `path`.

    A name that ends in .safetensors: one file, which also holds a fingerprint of the model that the adapters are for.
    Any other name: a folder for Hugging Face's PEFT, adapter_config.json and adapter_model.safetensors.

    Raises InputError when the model has no adapters or the folder holds something else, MachineError when the disk is
    full or cannot be written; what was there before stays then.
    """
    if Path(path).suffix == ".safetensors":
        adapter_file.save_adapters(model, path)
    else:
        save_peft(model, path)


def load_adapters(model: Model, path: str | Path) -> Model:
    """Put the adapters in a file of `save_adapters`, or in a folder of PEFT, on `model`, in place; returns the model.

    All other parameters are frozen, as by `tg.lora`.

    Raises InputError when there are none, they are damaged, were made for another model or are of a kind that is not
    supported (which is named); MachineError when they cannot be read. The model is unchanged then.
    """
    path = Path(path)
    if is_peft_folder(path):
        return load_peft(model, path)
    if path.is_dir():
        run = path / ADAPTERS
        advice = f"Give {run}." if run.is_file() else "Give a folder of PEFT or a file of tg.save_adapters."
        raise InputError(f"{path} has no {CONFIG}. {advice}")
    if path.parent != path and path.suffix == ".safetensors" and is_peft_folder(path.parent):
        return load_peft(model, path.parent)
    return adapter_file.load_adapters(model, path)
