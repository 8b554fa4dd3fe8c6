"""The file: saving and loading is the identity, and what is damaged or of another kind is refused by name."""

import copy
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.token_alphabets import byte_alphabet, from_visible, visible
from tinygrad_llm.text.tokenizer_json import from_json
from tinygrad_llm.text.tokenizer_json_writer import to_json

TEXT = "the cat, the hat, the bat. Was it the rat? They'd seen 12345 of them: été, où?\n\n"
configs = st.builds(
    lambda merges, special, pattern: (
        Tokenizer.train(TEXT, 256 + merges + len(special), pattern, special_tokens=special).config
    ),
    st.integers(0, 10),
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=2).map("<|{}|>".format),
        max_size=3,
        unique=True,
    ),
    st.sampled_from(["gpt2", "gpt4", r"\p{L}+|\d", "[^\n]*\n|'\"\\\\"]),
)
VALID = json.loads(to_json(Tokenizer.train(TEXT, 280).config))


@given(configs, st.sampled_from([None, "NFC", "NFKD"]), st.booleans())
def test_writing_and_reading_is_the_identity(config, normalization, ignore_merges):
    config = dataclasses.replace(config, normalization=normalization, ignore_merges=ignore_merges)
    assert from_json(to_json(config), "a file") == config


def test_a_saved_tokenizer_keeps_its_pattern_and_its_special_tokens(tmp_path):
    path = tmp_path / "tokenizer.json"
    saved = Tokenizer.train(TEXT, 280, pattern=r"[a-z ]+|.|\n", special_tokens=["<|début|>", "<|fin|>"])
    saved.save(path)
    loaded = Tokenizer.load(path)
    assert loaded.config == saved.config
    assert loaded.special_tokens == {"<|début|>": 278, "<|fin|>": 279}
    assert loaded.tokens("the cat, 1") == saved.tokens("the cat, 1")
    assert saved.tokens("the cat, 1") != Tokenizer.train(TEXT, 280).tokens("the cat, 1")


def test_the_byte_alphabet():
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256 and all(character.isprintable() for character in alphabet)
    assert visible(b" the\n\x00\xff") == "ĠtheĊĀÿ"
    assert all(from_visible(visible(bytes([byte]))) == bytes([byte]) for byte in range(256))


def broken(change):
    contents = copy.deepcopy(VALID)
    change(contents)
    return json.dumps(contents)


END = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}


def template(front, behind):
    special = {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [279], "tokens": ["<|endoftext|>"]}}
    single = [*front, {"Sequence": {"id": "A", "type_id": 0}}, *behind]
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special}


def steps(contents):
    return contents["pre_tokenizer"]["pretokenizers"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("model"), "'model' is missing"),
        (lambda c: c.pop("added_tokens"), "'added_tokens' is missing"),
        (lambda c: c.pop("pre_tokenizer"), "'pre_tokenizer' is missing"),
        (lambda c: c.update(pre_tokenizer=None), "'pre_tokenizer' is of type NoneType"),
        (lambda c: c["model"].pop("vocab"), "'model.vocab' is missing"),
        (lambda c: c["model"].pop("merges"), "'model.merges' is missing"),
        (lambda c: c["model"].update(vocab={}), "'model.vocab' is empty"),
        (lambda c: c["model"].update(vocab=[]), "'model.vocab' is of type list"),
        (lambda c: c["model"]["vocab"].update(th="7"), "'th' has the id '7'"),
        (lambda c: c["model"]["vocab"].update(th=-1), "'th' has the id -1"),
        (lambda c: c["model"]["vocab"].update(th=2**31), "'th' has the id 2147483648"),
        (lambda c: c["model"]["vocab"].update({"": 999}), "tokens is empty"),
        (lambda c: c["added_tokens"].append({"content": "", "id": 999}), "tokens is empty"),
        (lambda c: c["added_tokens"].append({"content": "<|x|>", "id": -5}), "has the id -5"),
        (lambda c: c["model"]["vocab"].update(th=1), "have the same id, 1"),
        (lambda c: c["model"]["vocab"].pop("at"), "needs the token 'at', which is not in the vocabulary"),
        (lambda c: c["model"]["vocab"].update({"two words": 999}), "'two words' is not written"),
        (lambda c: c["model"]["merges"].append(["a"]), "not a pair"),
        (lambda c: c["model"]["merges"].append("a b c"), "not a pair"),
        (lambda c: c["model"]["merges"].append([1, 2]), "not a pair"),
        (lambda c: c["model"]["merges"].append(["a", "zzz"]), "needs the token 'zzz'"),
        (lambda c: c["model"].update(type="WordPiece"), "model is WordPiece"),
        (lambda c: c["model"].update(byte_fallback=True), "not supported together"),
        (lambda c: c["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix='</w>'"),
        (lambda c: c["model"].update(dropout=0.1), "dropout=0.1"),
        (lambda c: c["added_tokens"][0].pop("content"), "'added_tokens.content' is missing"),
        (lambda c: c["added_tokens"][0].update(id=5), "two ids, 279 and 5"),
        (lambda c: c["added_tokens"][0].update(lstrip=True), "lstrip"),
        (lambda c: c.update(normalizer={"type": "Lowercase"}), "normalizer .'Lowercase'. is not"),
        (
            lambda c: c.update(pre_tokenizer={"type": "Whitespace"}),
            "pre-tokenizer is Whitespace, which is not supported",
        ),
        (lambda c: steps(c).reverse(), "does not end in ByteLevel"),
        (lambda c: steps(c).clear(), "pre-tokenizer is empty"),
        (lambda c: steps(c)[-1].update(add_prefix_space=True), "add_prefix_space"),
        (lambda c: steps(c)[0].update(behavior="Removed"), "Removed"),
        (lambda c: steps(c)[0].update(invert=True), "not supported"),
        (lambda c: steps(c).insert(0, {"type": "Punctuation"}), "Punctuation"),
        (lambda c: c["added_tokens"][0].update(content="\ud800"), "half of a character"),
        (lambda c: c.update(post_processor={"type": "RobertaProcessing", "sep": ["</s>", 2]}), "RobertaProcessing"),
        (lambda c: c.update(post_processor=template([], [END, END])), "puts 2 tokens behind a text"),
        (lambda c: c.update(post_processor=template([END, END], [])), "puts 2 tokens in front of a text"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_by_name(change, message, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(broken(change))
    with pytest.raises(InputError, match=message) as refused:
        Tokenizer.load(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", to_json(Tokenizer.train(TEXT, 280).config)[:5000]])
def test_a_truncated_file_is_refused(text, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not complete JSON|must be a JSON object"):
        Tokenizer.load(path)


def test_what_a_post_processor_puts_around_a_text_begins_and_ends_one(tmp_path):
    path = tmp_path / "tokenizer.json"
    for front, behind in (([END], []), ([], [END]), ([], [])):
        path.write_text(broken(lambda c, around=(front, behind): c.update(post_processor=template(*around))))
        config = Tokenizer.load(path).config
        assert (config.begin_of_text, config.end_of_text) == (279 if front else None, 279 if behind else None)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_added_tokens_of_a_tokenizer_config():
    """Those that stand in tokenizer_config.json alone are found as well, and not spelled in letters."""
    tokenizer = Tokenizer.train("the cat, the hat <|im_start|>", vocab_size=262)
    decoder = {"300": {"content": "<|im_start|>", "special": True}, "301": {"content": "<think>", "special": False}}
    more = tokenizer.with_added_tokens(decoder)
    assert more.encode("<|im_start|>the<think>", allowed_special="all") == [300, *tokenizer.encode("the"), 301]
    assert more.encode("<|im_start|>") == tokenizer.encode("<|im_start|>")
    assert more.with_added_tokens(decoder) is more and tokenizer.with_added_tokens(None) is tokenizer
    for damaged in (
        [],
        {"300": 3},
        {"300": {"content": "<|endoftext|>"}},
        {"1": {"content": "<x>"}},
        {"300": {"content": {}}},
        {"300": {"content": "\ud800"}},
        {"300": {"special": True}},
        {"-1": {"content": "<x>"}},
        {"²": {"content": "<x>"}},
    ):
        with pytest.raises(InputError, match="added_tokens_decoder"):
            tokenizer.with_added_tokens(damaged)
