"""From files to text: documents to learn from, and documents held out to measure with.

Text comes from Shakespeare's plays (fetched by `hub/assets.py`) or from the user's own files. Then `tokenizer.py` turns
it into token ids, and `batches.py` cuts those into batches.

Validation text is text that training never sees: whole plays, whole files, or the end of a file. It is never
a random choice of windows: those would share sentences, names and whole songs with their neighbours in the
training text, and the measured loss would be too good.

Used by: the commands `train` and `tune`. Left out on purpose: cleaning of web pages, removal of near-duplicates, other
encodings than UTF-8, and texts larger than memory. Line ends become "\\n", a leading byte order mark and blank lines at
both ends of a file go, and a file that is word for word the same as an earlier one is read once; nothing else of the
user's text is changed.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygrad_llm.errors import InputError
from tinygrad_llm.files import read_text
from tinygrad_llm.text.tokenizer_config import END_OF_TEXT

WORDS_PER_MINUTE = 238
"""Silent reading of English non-fiction by adults, mean of 190 studies (fiction: 260). Marc Brysbaert, "How
many words do we read per minute? A review and meta-analysis of reading rate", Journal of Memory and Language
109 (2019) 104047."""

READING_HOURS_PER_DAY = 8
HELD_OUT_PLAYS = ("Hamlet", "The Tempest")
HELD_OUT_SHARE = 0.1
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".tex")


@dataclass(frozen=True)
class Document:
    """One text with the name of the play or file that it came from."""

    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents to learn from, and documents to measure with. No text is in both."""

    train: tuple[Document, ...]
    validation: tuple[Document, ...]

    @property
    def train_text(self) -> str:
        """All training documents in order, a blank line between two."""
        return _joined(self.train)

    @property
    def validation_text(self) -> str:
        """All validation documents in order, a blank line between two."""
        return _joined(self.validation)

    def summary(self) -> str:
        """Three lines for the terminal: what is learned from, what is held out, how long reading it takes."""
        words = count_words(self.train_text)
        return (
            f"Training text: {_listed(self.train)}, {words:,} words, {_megabytes(self.train_text)}.\n"
            f"Held out, never trained on: {_listed(self.validation)}, "
            f"{count_words(self.validation_text):,} words, {_megabytes(self.validation_text)}.\n"
            f"{reading_time(words)}"
        )


def count_words(text: str) -> int:
    """How many words: runs of letters and digits, in which single apostrophes and hyphens may stand.

    `"Thou'rt to-night--gone"` has three. A script without spaces between words is counted by its runs.
    """
    return sum(1 for _ in re.finditer(r"\w+(?:['’-]\w+)*", text))


def reading_time(words: int, words_per_minute: float = WORDS_PER_MINUTE) -> str:
    """A sentence that says how long a person would read `words` words, silently, at `words_per_minute`.

    The default speed is from Brysbaert (2019), see `WORDS_PER_MINUTE`; a day has `READING_HOURS_PER_DAY`
    hours of reading. Raises `InputError` for a negative number of words or a speed that is not above zero.
    """
    if words < 0 or not words_per_minute > 0:
        raise InputError(
            f"reading_time: words is {words} and words_per_minute is {words_per_minute}; "
            "give words >= 0 and words_per_minute > 0."
        )
    minutes = words / words_per_minute
    days = minutes / 60 / READING_HOURS_PER_DAY
    if minutes < 60:
        return f"A person would read it in about {_counted(max(1, round(minutes)), 'minute')}."
    if days < 1:
        return f"A person would read it in about {_counted(round(minutes / 60), 'hour')}."
    duration = _counted(round(days), "day") if days < 365 else _counted(round(days / 365), "year")
    return f"A person reading {READING_HOURS_PER_DAY} hours a day would need about {duration}."


def shakespeare(folder: str | Path, held_out: Sequence[str] = HELD_OUT_PLAYS) -> Corpus:
    """The plays that `hub.assets.fetch(SHAKESPEARE)` left under `folder`, as plain text (`play_to_text`).

    `held_out` names the plays kept for validation by their titles (upper and lower case do not matter). Plays
    are in alphabetical order. Raises `InputError` when a title is not among the plays, or when none is left
    for one side.
    """
    plays = [play_to_text(_read(path), path.stem) for path in _files_under(Path(folder))]
    plays.sort(key=lambda play: play.name)
    titles = {play.name.casefold() for play in plays}
    wanted = {title.casefold() for title in held_out}
    unknown = [title for title in held_out if title.casefold() not in titles]
    if unknown:
        raise InputError(
            f"held_out: no play is called {', '.join(map(repr, unknown))}; the plays are "
            f"{'; '.join(play.name for play in plays)}."
        )
    train = tuple(play for play in plays if play.name.casefold() not in wanted)
    if not wanted or not train:
        raise InputError(
            f"held_out: {len(wanted)} of {len(plays)} plays are held out; "
            "hold out at least one to measure with, and leave at least one to learn from."
        )
    return Corpus(train, tuple(play for play in plays if play.name.casefold() in wanted))


def play_to_text(markdown: str, file_name: str) -> Document:
    """A play in Markdown as plain text, in the layout of a printed play.

    It begins with its title, made from `file_name` ("measure-for-measure") where the text has none. `#
    Title`, `## ACT`, `### SCENE` become lines of their own, `**SPEAKER**` becomes `SPEAKER:` above the
    speech, and stage directions, `_Exeunt_` or `_\\[Aside]_`, become `[Exeunt]` and `[Aside]`; directions
    that were wrapped over several lines become one. Escapes go, and both kinds of dash are written `--`. The
    words are not touched.
    """
    paragraphs = [] if markdown.startswith("# ") else [file_name.replace("-", " ").capitalize()]
    under_scene_heading = False
    for block in re.split(r"\n\s*\n", markdown.strip()):
        block = block.strip()
        if block.startswith("#"):
            paragraphs.append(block.lstrip("# "))
            under_scene_heading = "SCENE" in block
        elif under_scene_heading and block[0].isalnum():
            # Nobody has spoken yet: this is the wrapped end of the heading.
            paragraphs[-1] += " " + " ".join(block.split())
        else:
            paragraphs.append(_without_markup(block))
            under_scene_heading = False
    text = "\n\n".join(paragraphs).replace("& c.", "&c.").replace("—", "--")
    return Document(name=paragraphs[0], text=text)


SPEAKER = re.compile(r"\*\*(.+?)\*\*")
BRACKETS = re.compile(r"[_*]*\\?\[([^\]_*]*)[\]_*]+")
EMPHASIS = re.compile(r"([_*])(.+?)\1", re.DOTALL)
LONE_MARKS = re.compile(r"[_*\\]")  # escapes, and marks that lost their partner


def _without_markup(block: str) -> str:
    block = SPEAKER.sub(r"\1:", block)
    block = BRACKETS.sub(lambda match: _direction(match[1]), block)
    block = EMPHASIS.sub(lambda match: _direction(match[2]), block)  # every emphasis in the plays is a direction
    block = LONE_MARKS.sub("", block)
    return "\n".join(line.rstrip() for line in block.splitlines())


def _direction(words: str) -> str:
    """A stage direction on one line in brackets; nothing for the empty brackets that mark a gap in the
    source."""
    words = " ".join(words.split())
    words = re.sub(r"(?<=\w) '(?=[sS]?(?![A-Za-z]))", "'", words)  # "ROMEO 's tomb"
    words = re.sub(r"(?<=\w)- (?=\w)", "-", words)  # "Serving-" at the end of a line, "men" on the next
    return f"[{words}]" if words else ""


def read_texts(paths: str | Path | Iterable[str | Path]) -> Corpus:
    """The user's own files and folders as a corpus.

    A file is read whatever it is called. A folder is searched with all its subfolders, in alphabetical order,
    for files ending in one of `TEXT_SUFFIXES`, hidden ones excepted. All must be UTF-8.

    About a tenth of the text is held out for validation: whole files where that is possible (chosen by a hash
    of their text: the same ones each time, whatever the files are called), otherwise the last tenth of each
    file, cut at "<|endoftext|>" or at the end of a paragraph, a line or a word. One file is always cut.

    Raises `InputError` for a path that is missing, a folder without text, a file that is binary or not UTF-8,
    and for no text or too little of it; `MachineError` for a file that cannot be read.
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    files = [file for path in map(Path, paths) for file in _files_under(path)]
    documents: dict[str, Document] = {}  # by text, so that a copy of a file cannot be on both sides
    for file in files:
        text = _read(file).strip("\n")
        if text.strip():
            documents.setdefault(text, Document(str(file), text))
    if not documents:
        names = ", ".join(map(str, files)) or "no files"
        raise InputError(f"text: nothing to read in {names}; give a text file that is not empty.")
    return _hold_out(tuple(documents.values()))


def _hold_out(documents: tuple[Document, ...]) -> Corpus:
    target = HELD_OUT_SHARE * sum(len(document.text) for document in documents)
    held_out: set[str] = set()
    size = 0
    for document in sorted(documents, key=lambda document: hashlib.sha256(document.text.encode()).digest()):
        if size + len(document.text) <= target:
            held_out.add(document.name)
            size += len(document.text)
    if size < target / 2:  # few files, or one that is most of the text
        return _hold_out_ends(documents)
    return Corpus(
        train=tuple(document for document in documents if document.name not in held_out),
        validation=tuple(document for document in documents if document.name in held_out),
    )


def _hold_out_ends(documents: tuple[Document, ...]) -> Corpus:
    train, validation = [], []
    for document in documents:
        cut = _place_to_cut(document.text)
        beginning, end = document.text[:cut].strip("\n"), document.text[cut:].strip("\n")
        if beginning.strip() and end.strip():
            train.append(Document(f"{document.name} (beginning)", beginning))
            validation.append(Document(f"{document.name} (end)", end))
        else:
            train.append(document)
    if not validation:
        raise InputError(
            f"text: {documents[0].name} has {len(documents[0].text)} characters, "
            "too few to hold a tenth out for validation; give more text."
        )
    return Corpus(tuple(train), tuple(validation))


def _place_to_cut(text: str) -> int:
    """Where the last tenth begins: the first end of a text, else paragraph, line or word, less than a twentieth away.

    A text ends where "<|endoftext|>" stands.
    """
    aim = round((1 - HELD_OUT_SHARE) * len(text))
    slack = len(text) // 20
    for border in (END_OF_TEXT, "\n\n", "\n", " "):
        after = text.find(border, aim, aim + slack)
        before = text.rfind(border, aim - slack, aim)
        if max(after, before) >= 0:
            return (after if after >= 0 else before) + len(border)
    return aim


def _files_under(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"text: {path} does not exist; give a file or a folder of text.")
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() in TEXT_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not files:
        raise InputError(
            f"text: the folder {path} has no text files (names that end in {', '.join(TEXT_SUFFIXES)}); "
            "give another folder, or name the files."
        )
    return sorted(files, key=lambda file: file.relative_to(path).as_posix())


def _read(path: Path) -> str:
    text = read_text(path)
    if "\0" in text:
        raise InputError(f"text: {path} is a binary file (it has zero bytes); give plain text in UTF-8.")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _joined(documents: tuple[Document, ...]) -> str:
    return "\n\n".join(document.text for document in documents)


def _listed(documents: tuple[Document, ...]) -> str:
    names = ", ".join(document.name for document in documents[:3])
    return names if len(documents) <= 3 else f"{names} and {len(documents) - 3} more"


def _megabytes(text: str) -> str:
    return f"{len(text.encode()) / 1e6:.2f} MB"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
