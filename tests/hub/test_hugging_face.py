"""Whole models in Hugging Face's layout and in GGUF: what is read beside the weights, and exports that are whole."""

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tiny_models import CONFIGS, logits, same_bytes, tiny_network

import tinygrad_llm as tg
from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.hub import gguf_model, hugging_face
from tinygrad_llm.text.chat import ChatTemplate
from tinygrad_llm.text.token_alphabets import visible
from tinygrad_llm.text.tokenizer import Tokenizer

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
CHAT = {"begin_token": 268, "stop_tokens": (269, 268), "chat_template": ChatTemplate(TEMPLATE, "<s>", "</s>")}


@pytest.fixture(scope="session")
def chat_words(words):
    """The tokenizer with a token that begins a text and one that ends it."""
    config = words.config
    tokens = {token: i for token, i in config.tokens.items() if i < 268}
    merges = tuple((left, right) for left, right in config.merges if left + right in tokens)
    return Tokenizer(replace(config, tokens=tokens, merges=merges, special_tokens={"<s>": 268, "</s>": 269}))


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_gives_back_the_model(tiny_model, tmp_path, name):
    model = tiny_model(name)
    assert tg.export(model, tmp_path / "deep" / "model") == tmp_path / "deep" / "model"
    again = tg.load(tmp_path / "deep" / "model")
    assert same_bytes(again.network, model.network)
    assert again.tokenizer.config.merges == model.tokenizer.config.merges
    assert again.generate("the", seed=1, max_tokens=10) == model.generate("the", seed=1, max_tokens=10)


@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_how_texts_begin_and_end_and_the_chat_template_come_along(chat_words, tmp_path, format):
    model = tg.LanguageModel(tiny_network("llama", 270), chat_words, **CHAT)
    again = tg.load(tg.export(model, tmp_path / "a", format))
    assert (again.begin_token, again.stop_tokens) == (268, (269, 268))
    assert again.chat_template == model.chat_template
    assert again.tokenizer.config.special_tokens == chat_words.config.special_tokens
    assert again.log_probabilities("the cat") == pytest.approx(model.log_probabilities("the cat"), abs=1e-6)


def test_where_the_tokens_that_begin_and_end_are_found(chat_words, tmp_path):
    """generation_config.json first, then config.json, then the tokenizer; tokenizer_config.json may say that no token
    begins a text."""
    folder = tg.export(tg.LanguageModel(tiny_network("llama", 270), chat_words, **CHAT), tmp_path / "a")
    change_json(folder / "config.json", eos_token_id=100)
    assert tg.load(folder).stop_tokens == (269, 268)
    (folder / "generation_config.json").unlink()
    assert tg.load(folder).stop_tokens == (100,)
    change_json(folder / "config.json", eos_token_id=None)
    change_json(folder / "tokenizer_config.json", eos_token={"content": "</s>"}, add_bos_token=False)
    assert (tg.load(folder).stop_tokens, tg.load(folder).begin_token) == ((269,), None)
    (folder / "tokenizer_config.json").unlink()
    plain = tg.load(folder)
    assert (plain.stop_tokens, plain.begin_token, plain.chat_template) == ((269,), 268, None)


def test_a_template_of_its_own_file_and_one_of_several(chat_words, tmp_path):
    folder = tg.export(tg.LanguageModel(tiny_network("llama", 270), chat_words, **CHAT), tmp_path / "a")
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    change_json(folder / "tokenizer_config.json", chat_template=named)
    assert tg.load(folder).chat_template.source == "yes"
    (folder / "chat_template.jinja").write_text("from its own file")
    assert tg.load(folder).chat_template.source == "from its own file"


@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_rows_without_a_token_are_never_a_text(words, tmp_path, format):
    """An embedding with more rows than the tokenizer has tokens, as most published models have."""
    folder = tg.export(tg.LanguageModel(tiny_network("qwen2", 270), words), tmp_path / "a")
    values = json.loads((folder / "tokenizer.json").read_text())
    values["model"]["merges"].pop()
    values["model"]["vocab"] = {token: i for token, i in values["model"]["vocab"].items() if i != 268}
    (folder / "tokenizer.json").write_text(json.dumps(values))
    model = tg.load(folder)
    assert model.tokenizer.vocab_size == 270 and model.tokenizer.decode([268]) == "[PAD268]"
    assert 268 not in model.tokenizer.encode("[PAD268]")
    again = tg.load(tg.export(model, tmp_path / "b", format))
    assert again.tokenizer.decode([268]) == "[PAD268]"
    if format == "hf":
        assert "[PAD268]" not in (tmp_path / "b" / "tokenizer.json").read_text()


def test_special_tokens_beyond_the_embedding_are_left_out_and_ordinary_ones_refused(words, tmp_path):
    folder = tg.export(tg.LanguageModel(tiny_network("llama", 270), words), tmp_path / "a")
    values = json.loads((folder / "tokenizer.json").read_text())
    image = values["added_tokens"][0] | {"id": 270, "content": "<image>"}
    values["added_tokens"].append(image)
    (folder / "tokenizer.json").write_text(json.dumps(values))
    assert "<image>" not in tg.load(folder).tokenizer.special_tokens
    values["model"]["vocab"] |= {"zz": 271}
    (folder / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="ids up to 271, and the embedding has 270 rows"):
        tg.load(folder)


def test_the_first_gpt2_files_have_shorter_names_and_masks(tiny_model, tmp_path):
    from safetensors.numpy import load_file, save_file

    model = tiny_model("gpt2")
    folder = tg.export(model, tmp_path / "a")
    arrays = load_file(folder / "model.safetensors")
    old = {name.removeprefix("transformer."): array for name, array in arrays.items()}
    old |= {f"h.{layer}.attn.bias": np.tril(np.ones((1, 1, 64, 64), np.uint8)) for layer in range(2)}
    save_file(old, folder / "model.safetensors")
    assert same_bytes(tg.load(folder).network, model.network)


def test_gpt2_as_it_was_published_has_a_vocab_json_and_merges(tiny_model, tmp_path):
    model = tiny_model("gpt2")
    folder = tg.export(model, tmp_path / "a")
    (folder / "tokenizer.json").unlink()
    config = model.tokenizer.config
    vocabulary = {visible(token): i for token, i in config.tokens.items()} | dict(config.special_tokens)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("".join(f"{visible(left)} {visible(right)}\n" for left, right in config.merges))
    loaded = tg.load(folder)
    assert loaded.tokenizer.encode("the cat") == model.tokenizer.encode("the cat")
    assert loaded.tokenizer.end_of_text == model.tokenizer.end_of_text
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"model_type": "llama"}))  # whose pattern would be another
    with pytest.raises(InputError, match="has no tokenizer.json"):
        tg.load(folder)


@pytest.mark.parametrize("name", ["gpt2", "llama_bias", "gemma3"])
def test_where_embedding_and_head_are_tied_the_arrays_of_the_file_decide(tiny_model, tmp_path, name):
    """As in Transformers 5: a head of its own is used, in spite of tie_word_embeddings; a lone head is both."""
    from safetensors.numpy import load_file, save_file

    model = tiny_model(name)
    folder = tg.export(model, tmp_path / "a")
    arrays = load_file(folder / "model.safetensors")
    embedding = next(array for array in hugging_face.EMBEDDINGS if array in arrays)

    def loaded(**changes):
        changed = {name: x for name, x in (arrays | changes).items() if x is not None}
        save_file(changed, folder / "model.safetensors")
        return tg.load(folder).network

    assert same_bytes(loaded(**{"lm_head.weight": arrays[embedding]}), model.network)
    assert same_bytes(loaded(**{"lm_head.weight": arrays[embedding], embedding: None}), model.network)
    head = np.random.default_rng(0).standard_normal(arrays[embedding].shape, np.float32)
    network = loaded(**{"lm_head.weight": head})
    assert not network.config.tied
    assert np.array_equal(network.embedding.weight.numpy(), arrays[embedding])
    assert np.array_equal(network.head.weight.numpy(), head)
    assert np.abs(logits(network) - logits(model.network)).max() > 0.1
    with pytest.raises(InputError, match="lm_head.weight has the shape"):
        loaded(**{"lm_head.weight": head[:5].copy()})
    with pytest.raises(InputError, match="has no array"):
        loaded(**{embedding: None})


def test_what_is_missing_in_a_folder_is_named(tiny_model, tmp_path):
    folder = tg.export(tiny_model("llama"), tmp_path / "a")
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    with pytest.raises(InputError, match="has no tokenizer.json.*AutoTokenizer.from_pretrained"):
        tg.load(folder)
    (folder / "tokenizer.model").rename(folder / "tokenizer.json")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no model.safetensors and no .*Only weights in safetensors are read"):
        tg.load(folder)


# --- exports are whole, and take nothing away -------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_nothing_is_overwritten_unless_asked_for(tiny_model, tmp_path, format):
    one, other = tiny_model("llama"), tiny_model("qwen3")
    tg.export(one, tmp_path / "a", format)
    before = files_of(tmp_path / "a")
    with pytest.raises(InputError, match="--force"):
        tg.export(other, tmp_path / "a", format)
    assert files_of(tmp_path / "a") == before
    (tmp_path / "a" / "README.md").write_text("mine")
    (tmp_path / "a" / "model-00001-of-00002.safetensors").write_text("of the model that was here")
    path = tg.export(other, tmp_path / "a", format, force=True)
    assert same_bytes(tg.load(path).network, other.network)
    left = files_of(tmp_path / "a")
    assert left["README.md"] == b"mine" and ("model-00001-of-00002.safetensors" in left) == (format == "gguf")


@pytest.mark.parametrize("format", ["hf", "gguf"])
def test_force_leaves_alone_what_is_no_exported_model(tiny_model, tmp_path, format):
    (tmp_path / "a").mkdir()
    for name in ("config.json", "model.gguf"):
        (tmp_path / "a" / name).write_text('{"kind": "tinygrad_llm run"}')
    with pytest.raises(InputError, match="something else than an exported model|is not a GGUF file"):
        tg.export(tiny_model("llama"), tmp_path / "a", format, force=True)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        tg.export(tiny_model("llama"), tmp_path / "file", format)


@pytest.mark.parametrize(
    ("format", "writer"), [("hf", (hugging_face, "_write_json")), ("gguf", (gguf_model, "_arrays"))]
)
@pytest.mark.parametrize("exists", [False, True])
def test_after_a_full_disk_everything_is_as_before(tiny_model, tmp_path, monkeypatch, format, writer, exists):
    model = tiny_model("llama")
    if exists:
        tg.export(model, tmp_path / "a", format)
    before = files_of(tmp_path)
    folders = sorted(tmp_path.rglob("*"))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*writer, full)
    with pytest.raises(MachineError, match="was not written: No space left on device"):
        tg.export(model, tmp_path / "a", format, force=True)
    assert files_of(tmp_path) == before and sorted(tmp_path.rglob("*")) == folders


def test_the_file_of_an_export_may_have_any_name(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_model("llama")
    assert str(tg.export(model, "mine.gguf", "gguf")) == "mine.gguf"
    assert np.array_equal(logits(tg.load("mine.gguf").network), logits(model.network))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.gguf"]


def test_what_cannot_be_exported_says_so_before_anything_is_made(words, tmp_path):
    config = CONFIGS["llama"].with_(vocab_size=270, norm="layer_norm")
    for format in ("hf", "gguf"):
        with pytest.raises(InputError, match="norm 'layer_norm' in place of 'rms_norm'"):
            tg.export(tg.LanguageModel(tg.Transformer(config), words), tmp_path / "a", format)
    with pytest.raises(InputError, match="format must be one of"):
        tg.export(tg.LanguageModel(tiny_network("llama", 270), words), tmp_path / "a", "onnx")
    own = Tokenizer.train("abc abc", 259, pattern=r"\S+|\s+")
    model = tg.LanguageModel(tiny_network("llama", own.vocab_size), own)
    with pytest.raises(InputError, match="GGUF has no name for that"):
        tg.export(model, tmp_path / "a", "gguf")
    assert list(tmp_path.iterdir()) == []


# --- huggingface.co ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the package huggingface_hub. `answer` is what its download returns or raises."""
    errors = ModuleType("huggingface_hub.errors")
    for name in ("HfHubHTTPError", "LocalEntryNotFoundError"):
        setattr(errors, name, type(name, (OSError,), {}))
    for name in ("HFValidationError", "RepositoryNotFoundError", "RevisionNotFoundError"):
        setattr(errors, name, type(name, (ValueError,), {}))
    state = SimpleNamespace(answer=None, asked=[], errors=errors)

    def snapshot_download(repository, **options):
        state.asked.append((repository, options["revision"]))
        if isinstance(state.answer, Exception):
            raise state.answer
        return state.answer

    package = ModuleType("huggingface_hub")
    package.snapshot_download, package.errors = snapshot_download, errors
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return state


def test_a_model_of_the_hub_is_a_folder_that_it_downloads(hub, tiny_model, tmp_path):
    model = tiny_model("qwen3")
    hub.answer = str(tg.export(model, tmp_path / "a"))
    assert same_bytes(tg.load("hf:somebody/something").network, model.network)
    tg.load("hf:somebody/something@v2")
    assert hub.asked == [("somebody/something", None), ("somebody/something", "v2")]


def test_what_goes_wrong_with_the_hub_is_named(hub, monkeypatch):
    hub.answer = hub.errors.RepositoryNotFoundError("404")
    with pytest.raises(InputError, match="'hf:a/b' was not found on huggingface.co: 404"):
        tg.load("hf:a/b")
    hub.answer = hub.errors.LocalEntryNotFoundError("offline")
    with pytest.raises(MachineError, match="'hf:a/b' could not be fetched: offline. Connect"):
        tg.load("hf:a/b")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"needs the package huggingface_hub.*pip install 'tinygrad_llm\[hub\]'"):
        tg.load("hf:a/b")
