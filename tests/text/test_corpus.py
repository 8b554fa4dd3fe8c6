"""Corpus: plays without markup, validation that training never sees, clear words about unreadable files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError
from tinygrad_llm.text.corpus import (
    Corpus,
    Document,
    count_words,
    play_to_text,
    read_texts,
    reading_time,
    shakespeare,
)

PLAY = r"""# A Small Play

## ACT I

### SCENE I. A room in ANNA'S house: a chair
by the window.

_Enter ANNA and the Serving-
men, with BRUNO 's dog_

**ANNA**  
Good morrow,'\--  
or good night?


**First Lord**  
_\[Aside to ANNA]_  
Nay; and ever _\[ ]_  
oft—I pray you, & c.

*Exit, with
music.*

__\[Sings]_
1\. Heigh-ho!  

**BRUNO**  
[Within]_  
*[Reads.]*  
Who's there?  

_Burthen _\[within_

## EPILOGUE  

Spoken by all.
"""

TEXT = """A Small Play

ACT I

SCENE I. A room in ANNA'S house: a chair
by the window.

[Enter ANNA and the Serving-men, with BRUNO's dog]

ANNA:
Good morrow,'--
or good night?

First Lord:
[Aside to ANNA]
Nay; and ever
oft--I pray you, &c.

[Exit, with music.]

[Sings]
1. Heigh-ho!

BRUNO:
[Within]
[Reads.]
Who's there?

Burthen [within]

EPILOGUE

Spoken by all."""


def test_a_play_loses_its_markup_and_keeps_its_words():
    assert play_to_text(PLAY, "unused") == Document("A Small Play", TEXT)


def test_a_scene_heading_that_goes_on_in_the_next_paragraph_is_joined():
    play = play_to_text("# P\n\n### SCENE II. The\n\nhall. Two men\nasleep.\n\n**A**  \nHo!\n\nHo!", "p")
    assert play.text == "P\n\nSCENE II. The hall. Two men asleep.\n\nA:\nHo!\n\nHo!"


def test_a_play_without_a_title_takes_it_from_its_file():
    assert play_to_text("## ACT I\n\n**A**  \nHo!", "as-it-was").text == "As it was\n\nACT I\n\nA:\nHo!"


@pytest.fixture
def plays(tmp_path):
    folder = tmp_path / "plays"
    for kind, title in (
        ("dark", "Hamlet"),
        ("odd", "The Tempest"),
        ("dark", "Macbeth"),
        ("odd", "Cymbeline"),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{title.lower()}.md").write_text(f"# {title}\n\n**A**  \nI am {title}.")
    return folder


def names(documents):
    return [document.name for document in documents]


def test_hamlet_and_the_tempest_are_held_out_whole(plays):
    corpus = shakespeare(plays)
    assert names(corpus.train) == ["Cymbeline", "Macbeth"]
    assert names(corpus.validation) == ["Hamlet", "The Tempest"]
    assert corpus.train_text == "Cymbeline\n\nA:\nI am Cymbeline.\n\nMacbeth\n\nA:\nI am Macbeth."
    assert corpus.validation_text.count("Hamlet") == 2


def test_other_plays_can_be_held_out(plays):
    corpus = shakespeare(plays, held_out=["macbeth"])
    assert names(corpus.validation) == ["Macbeth"]
    assert names(corpus.train) == ["Cymbeline", "Hamlet", "The Tempest"]


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        (["Faust"], "no play is called 'Faust'; the plays are Cymbeline; Hamlet; Macbeth; The Tempest"),
        ([], "0 of 4 plays are held out"),
        (["Hamlet", "Macbeth", "Cymbeline", "The Tempest"], "4 of 4 plays are held out"),
    ],
)
def test_held_out_plays_that_make_no_sense_are_refused(plays, held_out, message):
    with pytest.raises(InputError, match=message):
        shakespeare(plays, held_out)


def test_the_end_of_a_single_file_is_held_out_at_the_end_of_a_paragraph(tmp_path):
    paragraphs = [f"Paragraph {i}\nhas two lines." for i in range(100)]
    (tmp_path / "book.txt").write_text("\n\n".join(paragraphs))
    corpus = read_texts(tmp_path / "book.txt")
    assert f"{corpus.train_text}\n\n{corpus.validation_text}" == "\n\n".join(paragraphs)
    assert 0.08 < len(corpus.validation_text) / (100 * 30) < 0.12
    assert corpus.validation_text.startswith("Paragraph 9")
    assert names(corpus.validation) == [f"{tmp_path / 'book.txt'} (end)"]


@pytest.mark.parametrize("separator", ["\n", " ", ""])
def test_a_file_without_paragraphs_is_cut_at_the_best_place_there_is(tmp_path, separator):
    words = [f"w{i:03}" for i in range(500)]
    (tmp_path / "book.txt").write_text(separator.join(words))
    corpus = read_texts([tmp_path / "book.txt"])
    assert corpus.train_text.rstrip() + separator + corpus.validation_text == separator.join(words)
    assert corpus.validation_text.startswith("w")
    assert 0.05 <= len(corpus.validation_text) / len(separator.join(words)) <= 0.15


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1))
def test_no_character_of_a_single_file_is_lost_or_on_both_sides(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("one") / "file"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        corpus = read_texts(path)
    except InputError as error:
        assert re.search("nothing to read|too few", str(error))
        return
    kept = corpus.train_text.replace("\n", "") + corpus.validation_text.replace("\n", "")
    assert kept == text.removeprefix("\ufeff").replace("\n", "")
    assert corpus.train_text.strip() and corpus.validation_text.strip()


def write_files(folder, sizes):
    for i, size in enumerate(sizes):
        path = folder / f"part{i % 3}" / f"{i:02}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"File {i}. " + f"word{i} " * (size // 6))


def test_of_many_files_whole_ones_are_held_out_the_same_each_time(tmp_path):
    write_files(tmp_path, [1000] * 30)
    corpus = read_texts([tmp_path])
    assert len(corpus.validation) == 3
    assert len(corpus.train) == 27
    assert names(corpus.train) == sorted(names(corpus.train))
    assert not set(names(corpus.train)) & set(names(corpus.validation))
    assert read_texts([tmp_path]) == corpus

    (tmp_path / "part0").rename(tmp_path / "renamed")
    texts = {document.text for document in read_texts([tmp_path]).validation}
    assert texts == {document.text for document in corpus.validation}


@pytest.mark.parametrize("sizes", [[5000, 5000], [100_000, 300, 300], [3000, 4000, 5000, 6000]])
def test_of_few_files_the_ends_are_held_out(tmp_path, sizes):
    write_files(tmp_path, sizes)
    corpus = read_texts([tmp_path])
    assert len(corpus.train) == len(corpus.validation) == len(sizes)
    assert 0.05 < len(corpus.validation_text) / sum(sizes) < 0.15


def test_copies_of_a_file_are_read_once(tmp_path):
    for name in ("a.txt", "b.txt", "c/d.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("The same text, " * 50 + name[:0])
    corpus = read_texts([tmp_path, tmp_path / "a.txt", tmp_path])
    assert len(corpus.train) == len(corpus.validation) == 1


def test_a_folder_is_searched_for_text_only_and_a_named_file_is_always_read(tmp_path):
    for name in (
        "b.txt",
        "a.MD",
        "deep/er/c.text",
        "code.py",
        ".hidden.txt",
        ".git/d.txt",
        "empty.txt",
        "NOTES",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name == "empty.txt" else f"This is {name}. " * 20)
    corpus = read_texts([tmp_path, tmp_path / "NOTES"])
    read = [name.removesuffix(" (beginning)") for name in names(corpus.train)]
    assert read == [str(tmp_path / name) for name in ("a.MD", "b.txt", "deep/er/c.text", "NOTES")]


def test_line_ends_and_byte_order_marks_are_made_one(tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"\xef\xbb\xbf" + b"one\r\ntwo\rthree\n" * 30)
    corpus = read_texts([str(tmp_path / "dos.txt")])
    assert corpus.train_text + "\n" + corpus.validation_text == ("one\ntwo\nthree\n" * 30).strip()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "nothing to read in .*file.txt"),
        (b" \n\n\t", "nothing to read in .*file.txt"),
        (b"caf\xe9 " * 50, "file.txt is not UTF-8 .*0xE9 at position 3 .*UTF-8"),
        ("text".encode("utf-16"), "file.txt is not UTF-8 .*0xFF at position 0"),
        (b"abc\x00def" * 50, "file.txt is a binary file"),
        (b"x", "file.txt has 1 characters, too few to hold a tenth out"),
    ],
)
def test_files_that_cannot_be_learned_from_are_named(tmp_path, content, message):
    (tmp_path / "file.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_texts([tmp_path / "file.txt"])


def test_missing_paths_and_empty_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_texts([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"has no text files \(names that end in .txt"):
        read_texts([tmp_path])
    with pytest.raises(InputError, match="no files"):
        read_texts([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n--[ ]", 0),
        ("Thou'rt to-night--gone", 3),
        ("[Exeunt]\n\nHAMLET:\n'Tis now struck twelve;", 6),
        ("naïve café’s 10 добрый", 4),
    ],
)
def test_words_are_counted_as_a_reader_would(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (0, "in about 1 minute."),
        (238 * 30, "in about 30 minutes."),
        (238 * 60, "in about 1 hour."),
        (238 * 60 * 7, "in about 7 hours."),
        (238 * 60 * 8, "8 hours a day would need about 1 day."),
        (238 * 60 * 8 * 59, "8 hours a day would need about 59 days."),
        (238 * 60 * 8 * 365 * 12, "8 hours a day would need about 12 years."),
    ],
)
def test_reading_time_is_a_sentence_with_a_fitting_unit(words, sentence):
    assert reading_time(words).endswith(sentence)


def test_reading_time_depends_on_the_speed_and_refuses_nonsense():
    assert reading_time(6000, words_per_minute=100).endswith("1 hour.")
    for words, speed in ((-1, 238), (10, 0), (10, float("nan"))):
        with pytest.raises(InputError, match="words_per_minute"):
            reading_time(words, speed)


def test_the_summary_says_what_is_learned_from_and_what_is_held_out():
    train = tuple(Document(name, "one two three") for name in ("A", "B", "C", "D", "E"))
    summary = Corpus(train, (Document("Z", "four five"),)).summary()
    assert summary == (
        "Training text: A, B, C and 2 more, 15 words, 0.00 MB.\n"
        "Held out, never trained on: Z, 2 words, 0.00 MB.\n"
        "A person would read it in about 1 minute."
    )


def test_a_file_of_several_texts_is_cut_between_two(tmp_path):
    stories = [f"Story {i}.\n\nA second part. {'And a few words. ' * (i % 3)}<|endoftext|>\n" for i in range(60)]
    (tmp_path / "stories.txt").write_text("".join(stories))
    corpus = read_texts(tmp_path / "stories.txt")
    assert corpus.train_text.endswith("<|endoftext|>")
    assert corpus.validation_text.startswith("Story ")
