"""Makes tokenizer_golden.json: what other libraries say about awkward text.

Run once from the root of the project, with tokenizers 0.23.3, tiktoken 0.14.0, sentencepiece 0.2.3, transformers 5.23.0
and gguf 0.19.0 installed beside it:

    PYTHONPATH=. python tests/golden/make_tokenizer_golden.py

The tests read the JSON and need none of these libraries.

- "trained": a tokenizer of this project for each named pattern, saved, and opened by `tokenizers`; and its
  tokens given to `tiktoken` with the pattern that tiktoken itself has for it, which is written differently.
- "foreign": small tokenizer.json files made by `tokenizers`, each in the form of a published family (order
  of ids, the pre-tokenizer, the normalizer, the age of the format), with the ids that `tokenizers` gives.
- "sentencepiece": a small model trained by `sentencepiece`, as the metadata of a GGUF file, with the ids that
  `sentencepiece` gives.
- "spaces": small SentencePiece-style tokenizer.json files made by `tokenizers`, one for each way in which families
  treat the space in front of a text, with the ids that `tokenizers` gives.
- "pretrained": the ids that Transformers gives for the two models that this project downloads.
"""

import io
import json
import tempfile
from pathlib import Path

import sentencepiece
import tiktoken
import tiktoken_ext.openai_public as openai_encodings
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Reference
from transformers import AutoTokenizer

from tinygrad_llm.hub.assets import GEMMA3, SMOLLM2, Asset, fetch
from tinygrad_llm.text import Tokenizer

TRAINING_TEXT = """\
The tokenizer reads this text and learns which bytes belong together. Bytes that often stand side by side
become one token; tokens that often stand side by side become a longer token. That is the whole idea, and it
is older than any language model: it was a way to make files smaller.

They'll say it isn't so. We've seen it, I'm sure, and you'd see it too: WE'VE, I'M, YOU'D. In 1994 it had 256
symbols, in 2016 it had 30000, in 2024 it had 128256.   Spaces   matter.	Tabs	too.
    if indented: return "code" + str(1234567)

Der Käfer läuft über die Straße. Où est l'été, où est la forêt? Привет, мир! Мир и привет.
今日は天気がいいです。明日も天気がいいです。 안녕하세요 안녕. שלום עולם.
مرحبا بالعالم ١٢٣. สวัสดีชาวโลก 😀😃😄 👩‍👩‍👧 café café
"""

TEXTS = [
    "",
    " ",
    "a",
    "The bytes often stand together.",
    "It is indented.",
    "They'll isn't WE'VE I'M you'd 'S 'ſ o'clock rock'n'roll ''s '",
    "1 12 123 1234 12345 1234567 3.14159 1,000,000 0x1F 2nd ½ ² Ⅷ ١٢٣٤ 一二三 x2y3",
    "   three before, three after   ",
    "tab\there\t\tand\t there\n\n\nlines\r\nand\r\n\r\nmore \n \n  x\n",
    "no\u00a0break\u2003em\u2028line\u2029para\u3000wide\u200bzero\ufeffmark\u180e.",
    "control \x00\x01\x1b\x1c\x1d\x1e\x1f\x7f\x85 end",
    'punct!!! (a[b]{c}) <d>&e; "f" -- --- ... /* g */ $%^ _h_ #i @j ~k `l`\n!!\n\n',
    "Käfer STRAẞE straße été forêt e\u0301te\u0301 a\u030a \u0301",
    "Привет, мир! 今日は天気がいいです。안녕하세요 שלום مرحبا สวัสดี नमस्ते",
    "😀😃 👩\u200d👩\u200d👧 🇫🇷🇩🇪 👍🏽 ❤\ufe0f",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0001f9ff \U0010fffd \ue000 \ufffd",
    "İstanbul ıssız K Å ﬁ ǅ ʼn ΐ",
    "    if x == 10:\n        return [1, 2, 3]  # comment\n",
    "<|endoftext|> and <|im_start|>user\nhi<|im_end|><|im_start|> <|endoftext|><|endoftext|",
    "-" * 100 + " " * 50 + "a" * 70 + "\n" * 20,
]

SPACES = ["", " ", "a", " a", "  two ", "<s>a", "<s> a<b>b</b> c", "a<s>", "<s>", "\u2581", "a\u2581b", "\n\n\n a\t\n"]

GPT4_OF_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4_OF_LLAMA = GPT4_OF_QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def trained(pattern: str, encoding: str) -> dict:
    tokenizer = Tokenizer.train(TRAINING_TEXT, 400, pattern)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder) / "tokenizer.json")
        reference = Reference.from_file(str(Path(folder) / "tokenizer.json"))
    reference.encode_special_tokens = True
    ordinary = [reference.encode(text).ids for text in TEXTS]
    reference.encode_special_tokens = False
    with_special = [reference.encode(text).ids for text in TEXTS]

    # The pattern of tiktoken itself; the tokens it would download for it are not needed.
    openai_encodings.load_tiktoken_bpe = lambda *args, **kwargs: {}
    openai_encodings.data_gym_to_mergeable_bpe_ranks = lambda *args, **kwargs: {}
    theirs = tiktoken.Encoding(
        "golden",
        pat_str=openai_encodings.ENCODING_CONSTRUCTORS[encoding]()["pat_str"],
        mergeable_ranks=dict(tokenizer.config.tokens),
        special_tokens=tokenizer.special_tokens,
    )
    assert ordinary == [theirs.encode_ordinary(text) for text in TEXTS]
    assert with_special == [theirs.encode(text, allowed_special="all") for text in TEXTS]
    return {"vocab_size": tokenizer.vocab_size, "ordinary": ordinary, "with_special": with_special}


def foreign(pre_tokenizer, first=(), last=(), alphabet=True, normalizer=None, model=None, older=False) -> dict:
    """`first` and `last` are special tokens: first in the vocabulary, or after it and outside."""
    reference = Reference(models.BPE(**(model or {})))
    reference.pre_tokenizer = pre_tokenizer
    reference.decoder = decoders.ByteLevel()
    if normalizer:
        reference.normalizer = normalizer
    reference.train_from_iterator(
        [TRAINING_TEXT],
        trainers.BpeTrainer(
            vocab_size=380,
            special_tokens=list(first),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
            show_progress=False,
        ),
    )
    file = json.loads(reference.to_str())
    if file["model"]["ignore_merges"]:
        # A token that no merge makes, as in Llama 3: only a piece that is equal to it becomes it.
        file["model"]["vocab"]["Ġindented"] = len(file["model"]["vocab"])
        reference = Reference.from_str(json.dumps(file))
    reference.add_special_tokens(list(last))
    file = json.loads(reference.to_str())
    if older:
        # As files were written years ago: merges as text, and none of the options that came later.
        file["model"]["merges"] = [" ".join(merge) for merge in file["model"]["merges"]]
        for option in ("type", "byte_fallback", "ignore_merges"):
            del file["model"][option]
    reference = Reference.from_str(json.dumps(file))
    with_special = [reference.encode(text, add_special_tokens=False).ids for text in TEXTS]
    decoded = [reference.decode(ids, skip_special_tokens=False) for ids in with_special]
    reference.encode_special_tokens = True
    ordinary = [reference.encode(text, add_special_tokens=False).ids for text in TEXTS]
    return {"file": file, "ordinary": ordinary, "with_special": with_special, "decoded": decoded}


def sentencepiece_model() -> dict:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING_TEXT.splitlines()),
        model_writer=written,
        model_type="bpe",
        vocab_size=520,
        character_coverage=0.98,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=["<b>"],
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    ids = range(model.vocab_size())
    kinds = [(model.is_unknown, 2), (model.is_control, 3), (model.is_unused, 5), (model.is_byte, 6)]
    types = [next((kind for is_kind, kind in kinds if is_kind(i)), 1) for i in ids]
    types[model.piece_to_id("<b>")] = 4
    metadata = {
        "model": "llama",
        "tokens": [model.id_to_piece(i) for i in ids],
        "scores": [model.get_score(i) for i in ids],
        "token_type": types,
        "bos_token_id": model.bos_id(),
        "eos_token_id": model.eos_id(),
        "unknown_token_id": model.unk_id(),
    }
    texts = [text for text in TEXTS if "\0" not in text]  # sentencepiece takes "\0" for an end
    return {"metadata": metadata, "texts": texts, "ids": [model.encode(text) for text in texts]}


def spaces(family: str) -> dict:
    """A SentencePiece-style file. Its merges cross words, since nothing cuts the text before them."""
    replace = normalizers.Replace(" ", "\u2581")
    reference = Reference(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    reference.normalizer = replace
    byte_names = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=special + byte_names, limit_alphabet=60, show_progress=False
    )
    reference.train_from_iterator([TRAINING_TEXT], trainer)
    file = json.loads(reference.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if token["content"] in special]
    reference = Reference.from_str(json.dumps(file))
    reference.add_tokens([AddedToken(name, normalized=False) for name in ("<b>", "</b>", "\n", "\n\n")])
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if family == "gemma":
        reference.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    elif family == "llama2":
        reference.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace])
    else:
        reference.normalizer = None
        scheme = {"mistral": "first", "llama2 of later": "always"}[family]
        reference.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme=scheme, split=False)
    if family != "gemma":
        steps.append(decoders.Strip(" ", 1, 0))
    reference.decoder = decoders.Sequence(steps)
    ids = [reference.encode(text, add_special_tokens=False).ids for text in TEXTS + SPACES]
    decoded = [reference.decode(each, skip_special_tokens=False) for each in ids]
    return {"file": json.loads(reference.to_str()), "texts": TEXTS + SPACES, "ids": ids, "decoded": decoded}


AWKWARD = [
    "Hello,  world!\n\tTabs and   spaces",
    "naïve café — déjà vu 😀 漢字",
    "def f(x):\n    return x**2  # comment",
]
MORE_AWKWARD = [
    "<b>bold</b> <unused7> > </li>",
    " " * 40 + "x" + "\t" * 35 + "\n" * 33,
    "\u2581\u2581 a\u2581b",
    "㐂𠀀 q̈",
]
CHAT = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": " Paris. "},
    {"role": "user", "content": "naïve — 漢字?"},
]


def pretrained(asset: Asset) -> dict:
    path = fetch(asset)
    reference = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    if asset is SMOLLM2:  # Transformers overlooks that this model's digits stand alone
        backend = reference.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), backend.pre_tokenizer])
    texts = AWKWARD + MORE_AWKWARD + TEXTS
    found = {"texts": texts, "ids": [reference.encode(text, add_special_tokens=False) for text in texts]}
    if reference.chat_template:
        found["messages"] = CHAT
        found["chat_text"] = reference.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
        found["chat_ids"] = reference.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    return found


def main() -> None:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level_gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    llama = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(GPT4_OF_LLAMA), "isolated"), byte_level])
    qwen = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(GPT4_OF_QWEN), "isolated"), byte_level])
    smollm = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level_gpt2])
    chat = [AddedToken(name, special=True) for name in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    end = [AddedToken("<|end_of_text|>", special=True)]
    golden = {
        "training_text": TRAINING_TEXT,
        "texts": TEXTS,
        "trained": {"gpt2": trained("gpt2", "gpt2"), "gpt4": trained("gpt4", "cl100k_base")},
        "foreign": {
            "gpt2": foreign(byte_level_gpt2, last=chat[:1], older=True),
            "llama3": foreign(llama, last=end, model={"ignore_merges": True}),
            "qwen": foreign(qwen, last=chat, normalizer=normalizers.NFC()),
            "smollm": foreign(smollm, first=chat, alphabet=False),
        },
        "sentencepiece": sentencepiece_model(),
        "spaces": {family: spaces(family) for family in ("gemma", "llama2", "llama2 of later", "mistral")},
        "pretrained": {"smollm2": pretrained(SMOLLM2), "gemma3": pretrained(GEMMA3)},
    }
    path = Path(__file__).with_name("tokenizer_golden.json")
    path.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
