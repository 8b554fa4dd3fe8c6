"""Streaming: printing a text while its ids are still being sampled.

A token may end in the middle of a character: the four bytes of an emoji are often four tokens. Printed token
by token such a character would show as replacement characters. So bytes wait here until their character is
whole.

Before this: `tokenizer.py` knows the bytes of each id, `generation/` samples ids. After this: the terminal.
"""

import codecs

from tinygrad_llm.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes id by id: what `push` and `finish` return, joined, is `tokenizer.decode(ids)`.

    Never more than three bytes wait: a byte that cannot continue its character comes out as U+FFFD at once.

    >>> tokenizer = Tokenizer.train("", vocab_size=256)
    >>> stream = StreamDecoder(tokenizer)
    >>> [stream.push(i) for i in tokenizer.encode("é!")] + [stream.finish()]
    ['', 'é', '!', '']
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The characters this id completes, maybe none. Raises InputError for an id not in the vocabulary."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """What is left: nothing, or U+FFFD for a character that was not completed. Then begin anew."""
        return self._decoder.decode(b"", final=True)
