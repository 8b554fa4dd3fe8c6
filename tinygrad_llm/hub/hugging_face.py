"""A whole model in a folder as Hugging Face's library Transformers reads and writes it.

    config.json              the architecture and its sizes
    model.safetensors        the weights, or shards and model.safetensors.index.json
    tokenizer.json           text <-> ids; for GPT-2 also vocab.json and merges.txt
    tokenizer_config.json    which token begins and ends a text, the chat template (or in chat_template.jinja)
    generation_config.json   at which tokens a text ends

Builds on: `config_json`, `safetensors`, `architectures`, `text.tokenizer`. Used by: `models`, `export`.
Left out on purpose: weights in pickles (pytorch_model.bin), because loading one runs code from the file; other
tokenizers without a tokenizer.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.files import read_json_object, read_text
from tinygrad_llm.hub.architectures import export_arrays, load_network, mapping
from tinygrad_llm.hub.config_json import config_from_json, config_to_json
from tinygrad_llm.hub.pretrained import Pretrained, fitted, without_unused
from tinygrad_llm.hub.safetensors import INDEX, SINGLE, SafetensorsFiles, write_safetensors
from tinygrad_llm.hub.staging import staged
from tinygrad_llm.nn.config import TransformerConfig
from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.text.tokenizer import Tokenizer
from tinygrad_llm.text.tokenizer_config import TokenizerConfig
from tinygrad_llm.text.tokenizer_json_writer import to_json

# Arrays that old files have beside the parameters: masks and angles, which are computed here.
BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
HEAD = "lm_head.weight"
EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight", "wte.weight")
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")


def is_hugging_face_folder(path: Path) -> bool:
    """Whether the folder has a config.json that names a model's type."""
    try:
        return "model_type" in read_json_object(path / "config.json")
    except (InputError, MachineError):
        return False


# --- reading ----------------------------------------------------------------------------------------------------------


def load_hugging_face(folder: str | Path) -> Pretrained:
    """The model in a folder, its weights as float32.

    Raises InputError when a file is missing, damaged, or of a kind that is not supported here (which is named);
    MachineError when one cannot be read.
    """
    folder = Path(folder)
    tokenizer_file = _tokenizer_file(folder)
    network = hugging_face_network(folder)
    settings = _optional(folder / "tokenizer_config.json")
    tokenizer = Tokenizer.load(tokenizer_file).with_added_tokens(settings.get("added_tokens_decoder"))
    tokenizer = fitted(tokenizer, network.config.vocab_size, str(folder))
    names = {use: _token_name(settings.get(f"{use}_token")) for use in ("bos", "eos")}
    return Pretrained(
        network,
        tokenizer,
        _chat_template(folder, settings, names),
        _stop_tokens(folder, tokenizer, names["eos"]),
        _begin_token(tokenizer, settings, names["bos"]),
    )


def hugging_face_network(folder: Path) -> Transformer:
    """The network in a folder. Raises as `load_hugging_face` does."""
    family, config = config_from_json(read_json_object(folder / "config.json"), str(folder / "config.json"))
    if not any((folder / name).is_file() for name in (SINGLE, INDEX)):
        raise InputError(f"{folder} has no {SINGLE} and no {INDEX}. Only weights in safetensors are read.")
    files = SafetensorsFiles.of_folder(folder)
    tie = _tie(config, files)
    if tie == "broken":
        config = config.with_(tied=False)
    rows = mapping(config, "hf", family)
    if not any(name.startswith("transformer.") for name in files.arrays):  # the first GPT-2 files leave that out
        rows = [row.renamed(row.file.removeprefix("transformer.")) for row in rows]
    if tie == "head only":
        rows = [row.renamed(HEAD) if row.ours == ("embedding.weight",) else row for row in rows]
    ignored = {name for name in files.arrays if name.endswith(BUFFERS)}
    if tie == "copied":
        ignored.add(HEAD)
    return load_network(config, rows, files, str(folder), frozenset(ignored))


def _tokenizer_file(folder: Path) -> Path:
    """tokenizer.json; for GPT-2, whose split pattern is known, vocab.json with merges.txt will do."""
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    is_gpt2 = _optional(folder / "config.json").get("model_type") == "gpt2"
    if is_gpt2 and (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return folder / "vocab.json"
    raise InputError(
        f"{folder} has no tokenizer.json. Where Transformers is installed, make one: "
        f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})."
    )


def _tie(config: TransformerConfig, files: SafetensorsFiles) -> Literal["none", "copied", "head only", "broken"]:
    """Where the matrix stands that embedding and head share, by what is in the files.

    "none": nothing special. "copied": in both places. "head only": only under the head's name. "broken": two different
    matrices, although config.json says that they are tied: the files are right then, as they are for Transformers 5.
    """
    if not config.tied or HEAD not in files.arrays:
        return "none"
    embedding = next((name for name in EMBEDDINGS if name in files.arrays), None)
    if embedding is None:
        return "head only"
    return "copied" if files.same_values(embedding, HEAD) else "broken"


def _optional(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.exists() else {}


def _token_name(entry: Any) -> str | None:
    """A token is named by its text, or by an object with its text in it."""
    name = entry.get("content") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else None


def _id_of(tokenizer: Tokenizer, name: str | None) -> int | None:
    config = tokenizer.config
    return None if name is None else config.special_tokens.get(name, config.added_tokens.get(name))


def _begin_token(tokenizer: Tokenizer, settings: dict[str, Any], name: str | None) -> int | None:
    match settings.get("add_bos_token"):
        case True:
            return _id_of(tokenizer, name)
        case False:
            return None
    return tokenizer.begin_of_text


def _stop_tokens(folder: Path, tokenizer: Tokenizer, name: str | None) -> tuple[int, ...]:
    for file in ("generation_config.json", "config.json"):
        ids = _optional(folder / file).get("eos_token_id")
        ids = ids if isinstance(ids, list) else [ids]
        known = tuple(i for i in ids if type(i) is int and 0 <= i < tokenizer.vocab_size)
        if known:
            return known
    end = _id_of(tokenizer, name)
    return tuple(i for i in (tokenizer.end_of_text if end is None else end,) if i is not None)


def _chat_template(folder: Path, settings: dict[str, Any], names: dict[str, str | None]) -> ChatTemplate | None:
    source, file = settings.get("chat_template"), "tokenizer_config.json"
    if (folder / "chat_template.jinja").is_file():
        source, file = read_text(folder / "chat_template.jinja"), "chat_template.jinja"
    if isinstance(source, list):  # several templates with names
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    named = {key: _token_name(entry) for key, entry in settings.items() if key.endswith("_token")}
    special = {str(key): name for key, name in named.items() if name and key not in ("bos_token", "eos_token")}
    return ChatTemplate(source, names["bos"], names["eos"], special, f"the chat template in {folder.name}/{file}")


# --- from the hub -----------------------------------------------------------------------------------------------------


def fetch_from_hub(name: str) -> Path:
    """The folder of the model `name` ("owner/name", or "owner/name@revision") of huggingface.co, downloaded once.

    Raises InputError when the package huggingface_hub is not installed or there is no such model, MachineError when it
    cannot be reached.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise InputError(
            f"'hf:{name}' needs the package huggingface_hub, which is not installed: "
            "pip install 'tinygrad_llm[hub]'. Or download the model in another way and give the path of its folder."
        ) from error
    repository, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors", "*.jinja"]
    try:
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=wanted, ignore_patterns=["*/*"]
        )
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise InputError(f"'hf:{name}' was not found on huggingface.co: {error}") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise MachineError(
            f"'hf:{name}' could not be fetched: {error}. Connect to the network and try again."
        ) from error
    return Path(folder)


# --- writing ----------------------------------------------------------------------------------------------------------


def export_hugging_face(model: Pretrained, folder: Path, force: bool = False) -> None:
    """Write the model to `folder`, for AutoModelForCausalLM and AutoTokenizer of Transformers.

    force: replace the model that is there. Raises InputError when the folder is not empty, or holds something else, or
    no family that Transformers knows computes what this model does; MachineError when the disk fails. The folder is
    whole afterwards, or as it was before.
    """
    config = model.network.config
    values = config_to_json(config)
    _check_free(folder, force)
    rows = mapping(config, "hf")
    with staged(folder, stale=lambda: _files_of_a_model(folder)) as stage:
        write_safetensors(stage / SINGLE, dict(export_arrays(model.network, rows)))
        (stage / "tokenizer.json").write_text(to_json(_tokenizer_config(model)), encoding="utf-8")
        end = model.stop_tokens[0] if model.stop_tokens else None
        tokens = {"bos_token_id": model.begin_token, "eos_token_id": end}
        ends = {"eos_token_id": list(model.stop_tokens)} if len(model.stop_tokens) > 1 else {}
        settings: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.context,
            "clean_up_tokenization_spaces": False,
            "add_bos_token": model.begin_token is not None,
            "bos_token": model.begin_name,
            "eos_token": model.end_name,
        }
        if model.chat_template is not None:
            settings |= {"chat_template": model.chat_template.source, **model.chat_template.special_tokens}
        _write_json(stage / "tokenizer_config.json", settings)
        _write_json(stage / "generation_config.json", tokens | ends)
        _write_json(stage / "config.json", values | tokens)


def _tokenizer_config(model: Pretrained) -> TokenizerConfig:
    """What tokenizer.json has to say: nothing of ids without a token, but where texts begin and end."""
    config = without_unused(model.tokenizer.config)
    end = model.stop_tokens[0] if model.stop_tokens else None
    return replace(config, begin_of_text=model.begin_token, end_of_text=end)


def _check_free(folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file. Give the name of a folder.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not force:
        raise InputError(f"{folder} is not empty. Choose another folder, or replace the model in it with --force.")
    if not is_hugging_face_folder(folder):
        raise InputError(f"{folder} holds something else than an exported model. Choose another folder.")


def _files_of_a_model(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in FILES)
    yield from folder.glob("model*.safetensors*")


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
