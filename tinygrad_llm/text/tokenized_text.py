"""The tokens of a text, as `Tokenizer.tokens` returns them.

Used by: `tokenizer`; drawn by `pictures.tokens`.
"""

from collections.abc import Iterable, Sequence

from tinygrad_llm.drawing.views import shown_by


class TokenizedText(list[bytes]):
    """The tokens of a text, in their order: a list of bytes that shows itself with colours in a notebook.

    ids: theirs, in the same order.
    """

    def __init__(self, tokens: Iterable[bytes], ids: Sequence[int]) -> None:
        super().__init__(tokens)
        self.ids = list(ids)

    _repr_html_ = shown_by("tinygrad_llm.pictures.tokens")
