"""From ids to text while they come: whole characters only, and nothing of a stop string.

    ids --whole_characters--> pieces of text --until_stop--> pieces that may be shown

Comes before: `text.streaming`, which keeps the bytes of unfinished characters; `generate`, which draws the ids.
Comes after: `language_model` and the terminal.
"""

from collections.abc import Iterable, Iterator, Sequence

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.streaming import StreamDecoder
from tinygrad_llm.text.tokenizer import Tokenizer


def whole_characters(ids: Iterable[int], tokenizer: Tokenizer) -> Iterator[str]:
    """The text of `ids`, piece by piece; joined, it is their text, less a character that they end in the middle of.

    >>> tokenizer = Tokenizer.train("", vocab_size=256)
    >>> list(whole_characters("é!".encode(), tokenizer))
    ['é', '!']
    """
    decoder = StreamDecoder(tokenizer)
    for token in ids:
        if piece := decoder.push(token):
            yield piece


def until_stop(pieces: Iterable[str], stop: str | Sequence[str]) -> Iterator[str]:
    """The text of `pieces` up to the first stop string, which is not given out.

    The first is the one that is complete first, reading character by character; how the text is cut into pieces makes
    no difference. What may be the beginning of a stop string is held back until it is known not to be one.
    Raises InputError for an empty stop string.

    >>> list(until_stop(["To be, ", "or no", "t to", " be"], stop=["not"]))
    ['To be, ', 'or ']
    """
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(s, str) and s for s in stops):
        raise InputError(f"stop must be strings of at least one character, it was {stop!r}.")
    return _until_stop(pieces, stops)


def _until_stop(pieces: Iterable[str], stops: list[str]) -> Iterator[str]:
    waiting = ""
    for piece in pieces:
        waiting += piece
        found = [(start + len(s), start) for s in stops if (start := waiting.find(s)) >= 0]
        if found:
            _, start = min(found)
            if start:
                yield waiting[:start]
            return
        safe = len(waiting) - max((_overlap(waiting, s) for s in stops), default=0)
        if safe:
            yield waiting[:safe]
            waiting = waiting[safe:]
    if waiting:
        yield waiting


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`, but not all of it."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
