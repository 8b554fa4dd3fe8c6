"""Text -> tokens -> batches. The first chapter: no tensors in here.

Read in this order: `corpus.py` gathers the text, `patterns.py` cuts it into words, `bpe.py` learns which
bytes belong together, `tokenizer_config.py` is what was learned, `tokenizer_json.py` the file that keeps it,
`spelling.py` says what merging starts from, `tokenizer.py` turns text into ids and back, `streaming.py` does so as
the ids come, `batches.py` cuts ids into what a model reads. For models of others: `tokenizer_gguf.py` and `chat.py`.
"""

from tinygrad_llm.text.streaming import StreamDecoder
from tinygrad_llm.text.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
