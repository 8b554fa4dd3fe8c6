"""Make dialects_golden.json: how the library `tokenizers` cuts text with patterns that mean something else in Python.

pip install tokenizers && python tests/golden/make_dialects_golden.py
"""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

PATTERNS = [
    r"\p{L}+$|\s+|\p{N}",
    r"^\p{L}+|\s+|\p{N}",
    r"\p{N}{1,3}+|\p{L}+",
    r"\p{N}{2}?\p{L}|\p{L}+",
    r"\p{L}++|\s*+|.+?",
    r"\h+|\H+",
    r"\s+\Z|\p{L}+|\s+\z",
    r"(?m:b.)|\p{L}+",
    r"[a-z&&[^aeiou]]+|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"[[:alpha:]]+|[^[:alpha:]\s]+",
    r"[a[e1||~~]]+|\p{L}",
    r"(?i:\p{Lu}b)|(?i:[\p{Lu}]o)|(?i:\p{Ll}+)",
    r"\w??|\s{2}",
    r"\B|[a-z]",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Ll}\p{Lm}\p{Lo}&&[^\p{Han}]]+(?i:'s|'t|'ll)?|\p{N}{1,3}|\s+(?!\S)|\s+",
]
BITS = [
    "to",
    "be",
    "don't",
    "'ll",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "1",
    "234",
    "56789",
    "é",
    "飛",
    "a|b",
    "aB",
    "Ab",
    "~",
    "||",
    "'T",
    "abc\n",
    "x\n\n",
    ".",
]


def sentencepiece() -> Tokenizer:
    """One that normalizes its special token along with the text."""
    vocabulary = {f"<0x{i:02X}>": i for i in range(256)}
    for word in ["▁", "a", "b", "▁a", "▁ab", "ab"]:
        vocabulary[word] = len(vocabulary)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[("▁", "a"), ("a", "b"), ("▁a", "b")], byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken("</s>", normalized=True), AddedToken("<s>", normalized=False)])
    return tokenizer


def byte_level(*added: str, add_prefix_space: bool = False) -> Tokenizer:
    """One of bytes alone, with added tokens that look like bytes."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(list(added))
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


def main() -> None:
    rng = random.Random(0)
    texts = ["".join(rng.choice(BITS) for _ in range(rng.randint(0, 12))) for _ in range(60)]
    pieces = []
    for pattern in PATTERNS:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        pieces.append([[piece for piece, _ in split.pre_tokenize_str(text)] for text in texts])
    whole = []
    for tokenizer, texts_of_it in (
        (
            sentencepiece(),
            ["ab </s> ab", "ab</s>ab", "</s>ab", "ab </s>", "a<s>b </s>a", "<s></s>", " </s>", "ab  </s> ab"],
        ),
        (byte_level(add_prefix_space=True), ["a", " a", "", "a<|end|>b", "<|end|> b", "\n"]),
        (byte_level("£", "|"), ["飛", "a|b", "£", "£5 | é"]),
    ):
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts_of_it]
        whole.append({"json": json.loads(tokenizer.to_str()), "texts": texts_of_it, "ids": ids})
    found = {
        "tokenizers": tokenizers.__version__,
        "patterns": PATTERNS,
        "texts": texts,
        "pieces": pieces,
        "whole": whole,
    }
    path = Path(__file__).with_name("dialects_golden.json")
    path.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
