"""Decoding ids one by one, to print a text while it is generated.

A token may end in the middle of a character: the four bytes of an emoji are often four tokens. Printed token by token,
such a character would show as replacement characters. So bytes are kept until their character is complete.

Builds on: `tokenizer`. Used by: `generation`.
"""

import codecs

from tinygrad_llm.text.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes id by id: what `push` and `finish` return, joined, is `tokenizer.decode(ids)`.

    Never more than three bytes wait: a byte that cannot continue its character comes out as U+FFFD at once.

    continues: the ids go on after others, as an answer after its prompt. It makes a difference for tokenizers that
    put a space in front of a text (Llama 2): decoding takes it away at the start of a text, and only there.

    >>> tokenizer = Tokenizer.train("", vocab_size=256)
    >>> stream = StreamDecoder(tokenizer)
    >>> [stream.push(i) for i in tokenizer.encode("é!")] + [stream.finish()]
    ['', 'é', '!', '']
    """

    def __init__(self, tokenizer: Tokenizer, continues: bool = False) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._continues = continues

    def push(self, token_id: int) -> str:
        """The characters this id completes, maybe none. Raises InputError for an id not in the vocabulary."""
        tokenizer = self._tokenizer
        data = tokenizer.token_bytes(token_id) if self._continues else tokenizer.decode_bytes([token_id])
        self._continues = True
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What is left: nothing, or U+FFFD for a character that was not completed. Then begin a new text."""
        self._continues = False
        return self._decoder.decode(b"", final=True)
