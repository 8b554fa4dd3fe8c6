"""JSON from disk: every file that is not what was expected is one sentence, and the entries are checked by key."""

import json
import math
import os

import pytest

from tinygrad_llm.entries import Entries
from tinygrad_llm.errors import InputError
from tinygrad_llm.files import JSON_NESTING_LIMIT, parse_json_object, read_json_object


def nested(depth: int) -> bytes:
    """An object in which arrays are nested so that there are `depth` containers inside each other."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not valid JSON"),
        (b"nul", "not valid JSON"),
        (b"\xff\xfe\xfd", "not valid JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b'{"a":1,"a":2}', "the key 'a' occurs twice"),
        (b'{"a":{"b":1,"b":1}}', "the key 'b' occurs twice"),
        (b"[1]", "holds an array, and an object was expected"),
        (b'"a"', "holds a string"),
        (b"1.5", "holds a number"),
        (b"null", "holds null"),
        (b"true", "holds true"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (nested(JSON_NESTING_LIMIT + 2), "nested more than 64 deep"),
        (rb'{"a": "\ud83d"}', "half of a surrogate pair"),
        (rb'{"\uDE00": 1}', "half of a surrogate pair"),
    ],
)
def test_what_is_not_an_object_is_one_sentence(tmp_path, data, message):
    path = tmp_path / "some.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_json_object(path, "Do this.")
    assert str(path) in str(caught.value) and str(caught.value).endswith("Do this.")


def test_what_is_an_object_is_read_as_it_is(tmp_path):
    values = {"text": "飛 \N{GRINNING FACE}", "numbers": [1, 2.5, -3], "none": None, "yes": True, "within": {"a": {}}}
    for ascii_only in (True, False):
        (tmp_path / "some.json").write_text(json.dumps(values, ensure_ascii=ascii_only), encoding="utf-8")
        assert read_json_object(tmp_path / "some.json") == values
    assert parse_json_object(nested(JSON_NESTING_LIMIT), "here")["a"]
    assert parse_json_object('{"a": "\\\\ud83d"}', "here") == {"a": "\\ud83d"}  # an escaped backslash, no surrogate


def test_what_is_not_a_file_is_one_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("{}")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("folder", "is a folder, and a file was expected"),
        ("nowhere", "There is no file"),
        ("dangling", "There is no file"),
        ("file/within", "There is no file"),
        ("ring", "is not a file"),
        ("pipe", "is a pipe or device"),
        ("x" * 5000, "is not a file"),
        ("null\0character", "cannot be the name of a file"),
    ):
        with pytest.raises(InputError, match=message):
            read_json_object(tmp_path / name)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "some.json", "wb") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises(InputError, match="at most 268435456 are read"):
        read_json_object(tmp_path / "some.json")


VALUES = {
    "one": 1,
    "minus": -1,
    "zero": 0,
    "float": 1.0,
    "huge": 10**400,
    "nan": math.nan,
    "infinite": math.inf,
    "yes": True,
    "null": None,
    "text": "a",
    "long": list(range(99)),
    "within": {"a": 1},
}


def test_entries_of_the_right_type():
    entries = Entries(VALUES, "file.json")
    assert entries.integer("one") == 1 and entries.integer("zero", minimum=0) == 0
    assert entries.integer("null", 7) == entries.integer("absent", 7) == 7
    assert entries.number("one") == 1.0 and type(entries.number("one")) is float
    assert entries.number("zero", minimum=0) == 0 and entries.number("minus", minimum=-2) == -1
    assert entries.boolean("yes") is True and entries.boolean("absent", False) is False
    assert entries.text("text") == "a" and len(entries.array("long")) == 99
    assert entries.object("within").integer("a") == 1
    assert entries.optional_integer("null") is None and entries.optional_integer("one") == 1
    assert entries.optional_number("null", 2.0) is None and entries.optional_number("absent", 2.0) == 2.0
    assert entries.optional_object("absent") is None
    assert "one" in entries and "null" not in entries and "absent" not in entries
    entries.refuse_unless("yes", (True,), True)
    entries.refuse_unless("absent", (True,), True)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda e: e.integer("absent"), "file.json has no absent. Advice."),
        (lambda e: e.integer("null"), "file.json has no null"),
        (lambda e: e.integer("zero"), "zero must be an integer of at least 1, and is 0. Advice."),
        (lambda e: e.integer("one", minimum=2, maximum=3), "one must be an integer from 2 to 3, and is 1"),
        (lambda e: e.integer("yes"), "yes must be an integer of at least 1, and is true"),
        (lambda e: e.integer("float"), "float must be an integer of at least 1, and is 1.0"),
        (lambda e: e.integer("huge", maximum=5), "huge must be an integer from 1 to 5, and is 1000000000"),
        (lambda e: e.number("zero"), "zero must be a number above 0, and is 0"),
        (lambda e: e.number("minus", minimum=0), "minus must be a number of at least 0, and is -1"),
        (lambda e: e.number("huge"), "huge must be a number above 0"),
        (lambda e: e.number("nan"), "nan must be a number above 0, and is nan"),
        (lambda e: e.number("infinite"), "infinite must be a number above 0, and is inf"),
        (lambda e: e.number("yes"), "yes must be a number above 0, and is true"),
        (lambda e: e.boolean("one"), "one must be true or false, and is 1"),
        (lambda e: e.text("one"), "one must be a string, and is 1"),
        (lambda e: e.array("within"), "within must be an array, and is an object"),
        (lambda e: e.object("long"), "long must be an object, and is an array of 99"),
        (lambda e: e.object("within").text("a"), "file.json, within: a must be a string"),
        (
            lambda e: e.refuse_unless("one", (True, "b"), True),
            "one is 1, which is not supported. Supported: true, 'b'",
        ),
    ],
)
def test_each_error_names_file_key_and_value(read, message):
    with pytest.raises(InputError, match="^file.json") as caught:
        read(Entries(VALUES, "file.json", "Advice."))
    assert message in str(caught.value) and len(str(caught.value)) < 200
