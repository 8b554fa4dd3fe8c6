"""Makes tokenizer_golden.json: what the libraries `tokenizers` and `tiktoken` say about awkward text.

Run once from the root of the project, with tokenizers 0.23.3 and tiktoken 0.14.0 installed beside it:

    PYTHONPATH=. python tests/golden/make_tokenizer_golden.py

The tests read the JSON and need neither library.

- "trained": a tokenizer of this project for each named pattern, saved, and opened by `tokenizers`; and its
  tokens given to `tiktoken` with the pattern that tiktoken itself has for it, which is written differently.
- "foreign": small tokenizer.json files made by `tokenizers`, each in the form of a published family (order
  of ids, the pre-tokenizer, the normalizer, the age of the format), with the ids that `tokenizers` gives.
"""

import json
import tempfile
from pathlib import Path

import tiktoken
import tiktoken_ext.openai_public as openai_encodings
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Reference

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
    }
    path = Path(__file__).with_name("tokenizer_golden.json")
    path.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
