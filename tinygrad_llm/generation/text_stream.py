"""Decodes ids to text as they come: whole characters only, and nothing of a stop string.

    id --StreamDecoder--> the characters it completes --StopFinder--> what may be shown

A stop string may begin in the middle of one token and end in the middle of another, and so may a character.

Builds on: `text.streaming`, which keeps the bytes of unfinished characters.
Used by: `generated_text`, which keeps the probabilities too; `continuations`.
"""

from collections.abc import Sequence

from tinygrad_llm.generation.arguments import stop_strings
from tinygrad_llm.text.streaming import StreamDecoder
from tinygrad_llm.text.tokenizer import Tokenizer


class StopFinder:
    """Lets text through up to the first stop string, which is not given out.

    The first is the one that is complete first, reading character by character; how the text is cut into pieces makes
    no difference. What may be the beginning of a stop string is held back until it is known not to be one.

    stop: one string, several or none. found: whether one of them has come; then the text is at its end.
    Raises InputError for an empty stop string.

    >>> finder = StopFinder(["not"])
    >>> [finder.push(piece) for piece in ("To be, ", "or no", "t to", " be")], finder.found
    (['To be, ', 'or ', '', ''], True)
    """

    def __init__(self, stop: str | Sequence[str] | None) -> None:
        self._stops = stop_strings(stop)
        self._waiting = ""
        self.found = False

    def push(self, piece: str) -> str:
        """What may be shown now that `piece` has come, maybe nothing."""
        if self.found:
            return ""
        waiting = self._waiting + piece
        ends = [(start + len(s), start) for s in self._stops if (start := waiting.find(s)) >= 0]
        if ends:
            self.found = True
            _, safe = min(ends)
            self._waiting = ""
        else:
            safe = len(waiting) - max((overlap(waiting, s) for s in self._stops), default=0)
            self._waiting = waiting[safe:]
        return waiting[:safe]

    def finish(self) -> str:
        """What was held back, now that nothing more comes."""
        rest, self._waiting = self._waiting, ""
        return rest


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`, but not all of it.

    >>> overlap("to be, or n", "not")
    1
    """
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextStream:
    """The text of ids that go on after a prompt, as far as it may be shown.

    A character that the ids end in the middle of is never shown.

    >>> tokenizer = Tokenizer.train("", vocab_size=256)
    >>> stream = TextStream(tokenizer, stop="!")
    >>> [stream.push(token) for token in "é!".encode()], stream.stopped
    (['', 'é', ''], True)
    """

    def __init__(self, tokenizer: Tokenizer, stop: str | Sequence[str] | None = ()) -> None:
        self._decoder, self._finder = StreamDecoder(tokenizer, continues=True), StopFinder(stop)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come; then the text is at its end."""
        return self._finder.found

    def push(self, token: int) -> str:
        """What may be shown now that `token` has come, maybe nothing."""
        return self._finder.push(self._decoder.push(token))

    def finish(self) -> str:
        """What was held back because it might have become a stop string."""
        return self._finder.finish()
