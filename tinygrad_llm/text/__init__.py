"""Text -> tokens -> batches, without tensors.

Read in this order: `corpus.py` gathers the text, `patterns.py` splits it into words, `bpe.py` learns which bytes belong
together, `tokenizer_config.py` holds what was learned, `spelling.py` gives the symbols that merging starts from,
`tokenizer.py` turns text into ids and back, `batches.py` cuts ids into what a model reads.

Around them: `tokenizer_training.py` and `fast_bpe.py` do the work of `bpe.py` for large texts; `encode_stream.py`
encodes and `streaming.py` decodes piece by piece; `tokenizer_json.py`, `tokenizer_files.py` and `tokenizer_gguf.py`
read files; `chat.py` fills in the templates of chat models.
"""

from tinygrad_llm.text.streaming import StreamDecoder
from tinygrad_llm.text.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
