"""Text -> tokens -> batches. The first chapter: no tensors in here.

Read in this order: `corpus.py` gathers the text, `patterns.py` cuts it into words, `bpe.py` learns which
bytes belong together, `tokenizer_json.py` is the file that keeps what was learned, `tokenizer.py` turns text
into ids and back, `streaming.py` does so as the ids come, `batches.py` cuts ids into what a model reads.
"""

from tinygrad_llm.text.streaming import StreamDecoder
from tinygrad_llm.text.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
