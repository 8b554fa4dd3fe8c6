"""A whole model in a GGUF file: its network, its tokenizer, its chat template.

Builds on: `gguf`, `gguf_parts`, `gguf_config`, `architectures`, `text.tokenizer_gguf`.
Used by: `models`, `export`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.hub.architectures import Row, export_arrays, load_network, mapping
from tinygrad_llm.hub.gguf import GGUFFile, is_gguf
from tinygrad_llm.hub.gguf_config import ROTARY_FACTORS, config_from_gguf, config_to_gguf, rotary_factors
from tinygrad_llm.hub.gguf_parts import open_gguf
from tinygrad_llm.hub.pretrained import Pretrained, fitted
from tinygrad_llm.hub.staging import staged
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.tokenizer_gguf import chat_template_from_gguf, tokenizer_from_gguf, tokenizer_to_gguf

ALL_F32 = 0  # the value of general.file_type


def load_gguf(path: str | Path) -> Pretrained:
    """The model in a GGUF file, its weights as float32. For a model in several files, the path of any part.

    Raises InputError when a file is missing, damaged, or of a kind that is not supported here (which is named);
    MachineError when it cannot be read.
    """
    file = open_gguf(path)
    network = gguf_network(file)
    tokenizer = fitted(tokenizer_from_gguf(file.metadata), network.config.vocab_size, str(path))
    stop_tokens = [i for i in (tokenizer.end_of_text, tokenizer.end_of_turn) if i is not None]
    return Pretrained(
        network,
        tokenizer,
        chat_template_from_gguf(file.metadata),
        tuple(dict.fromkeys(stop_tokens)),
        tokenizer.begin_of_text,
    )


def gguf_network(file: GGUFFile) -> Transformer:
    """The network in a GGUF file. Raises as `load_gguf` does."""
    family, config = config_from_gguf(file)
    rows = mapping(config, "gguf", family)
    known = frozenset({ROTARY_FACTORS}) if family.name == "llama" else frozenset()  # `config` has what it says
    return load_network(config, rows, file, str(file.path), ignored=known)


def export_gguf(model: Pretrained, path: Path, force: bool = False) -> None:
    """Write the model to the GGUF file `path`, its weights as float32.

    force: replace the GGUF file that is there. Raises InputError when there is a file, or llama.cpp has no such model
    or tokenizer; MachineError when the disk fails. Afterwards the file is whole, or as it was before.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the name of a file.")
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"{path.parent} is a file. Give the name of a folder.")
    if path.exists() and not force:
        raise InputError(f"{path} exists. Choose another name, or replace it with --force.")
    if path.exists() and not is_gguf(path):
        raise InputError(f"{path} is not a GGUF file, so it is not replaced. Choose another name.")
    config = model.network.config
    metadata = config_to_gguf(config) | {"general.file_type": ALL_F32} | _text_metadata(model)
    rows = mapping(config, "gguf")
    with staged(path.parent) as stage:
        write_gguf(stage / path.name, metadata, model.network, rows)


def _text_metadata(model: Pretrained) -> dict[str, Any]:
    """The tokenizer, at which tokens texts begin and end, and the chat template."""
    metadata = tokenizer_to_gguf(model.tokenizer) | {"tokenizer.ggml.add_bos_token": model.begin_token is not None}
    begin = model.tokenizer.config.special_tokens.get(model.begin_name or "", model.begin_token)
    uses = {"bos": begin} | dict(zip(("eos", "eot"), model.stop_tokens, strict=False))
    metadata |= {f"tokenizer.ggml.{use}_token_id": i for use, i in uses.items() if i is not None}
    if model.chat_template is not None:
        metadata["tokenizer.chat_template"] = model.chat_template.source
    return metadata


def write_gguf(path: Path, metadata: dict[str, Any], network: Transformer, rows: list[Row]) -> None:
    """Write metadata and weights, one array after the other, so that there is never a second copy of the model."""
    from gguf import GGUFValueType, GGUFWriter  # here, because it is slow to import

    writer = GGUFWriter(path, str(metadata["general.architecture"]))
    try:
        for key, value in metadata.items():
            if isinstance(value, list):
                writer.add_array(key, value)
            elif key != "general.architecture":  # which the writer has written
                # Whole numbers are uint32 in this format and others float32, as its description has them.
                kind = GGUFValueType.UINT32 if type(value) is int else GGUFValueType.get_type(value)
                writer.add_key_value(key, value, kind)
        for name, array in _arrays(network, rows):
            writer.add_tensor_info(name, array.shape, array.dtype, array.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, array in _arrays(network, rows):
            writer.write_tensor_data(array)
    finally:
        writer.close()


def _arrays(network: Transformer, rows: list[Row]) -> Iterator[tuple[str, np.ndarray]]:
    """Everything that goes into the file, one array at a time: those that are no copies are made anew each time."""
    config = network.config
    if config.rotary_scaling is not None and config.rotary_scaling.kind == "llama3":
        factors = rotary_factors(config.rotary_scaling, config.head_dim, config.rotary_base)
        yield ROTARY_FACTORS, factors.astype(np.float32)
    yield from export_arrays(network, rows)
