"""What is written along a schema is valid under it; what is valid and spelled as agreed can be written."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_shapes import accepts, vocabularies, write

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints import Constraint, json_schema
from tinygrad_llm.generation.constraints import automaton as automaton_module
from tinygrad_llm.generation.constraints.automaton import Automaton

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
TYPES["null"] = type(None)


def is_of_type(value, name) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def same(one, other) -> bool:
    return json.dumps(one) == json.dumps(other)  # unlike ==, this tells true from 1


def valid(value, schema, whole) -> bool:
    """JSON Schema's own meaning of the keywords, as plainly as it can be said."""
    if schema is True:
        return True
    if "$ref" in schema:
        target = whole
        for key in schema["$ref"].split("/")[1:]:
            target = target[key]
        return valid(value, target, whole)
    types = schema.get("type", list(TYPES))
    return all(
        [
            any(is_of_type(value, one) for one in ([types] if isinstance(types, str) else types)),
            "anyOf" not in schema or any(valid(value, option, whole) for option in schema["anyOf"]),
            "enum" not in schema or any(same(value, one) for one in schema["enum"]),
            "const" not in schema or same(value, schema["const"]),
            not isinstance(value, str)
            or (
                schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
                and re.search(schema.get("pattern", "").replace("$", r"\Z"), value, re.ASCII)
            ),
            not isinstance(value, list)
            or (
                schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
                and all(valid(item, schema.get("items", True), whole) for item in value)
            ),
            not isinstance(value, dict)
            or (
                set(schema.get("required", [])) <= set(value)
                and all(
                    valid(value[name], inner, whole)
                    for name, inner in schema.get("properties", {}).items()
                    if name in value
                )
                and (schema.get("additionalProperties", True) is True or set(value) <= set(schema["properties"]))
            ),
        ]
    )


def in_order(some: dict) -> dict:
    """Properties come in the order of the schema, which for the ones that are drawn is the alphabet's."""
    return dict(sorted(some.items()))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text('aé"\\\n', max_size=3), st.just(1.5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.text('aé"', max_size=2), inner, max_size=2).map(in_order),
    ),
    max_leaves=4,
)
lengths = st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda pair: (pair[0], sum(pair)))
leaves = st.one_of(
    st.sampled_from(["integer", "number", "boolean", "null", "string"]).map(lambda name: {"type": name}),
    lengths.map(lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[1]}),
    st.sampled_from(["^a+$", "é|^$", r'^["\\/\n]{1,3}$', "b.c", r"^\d{2}\.$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.lists(values, min_size=1, max_size=3).map(lambda some: {"enum": some}),
    values.map(lambda value: {"const": value, "title": "always this"}),
    st.just({"type": ["integer", "null"]}),
    st.just({"$ref": "#/$defs/tree"}),
)


@st.composite
def objects(draw, inner):
    properties = draw(st.dictionaries(st.text('aé"\\ ', max_size=2), inner, max_size=3).map(in_order))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def larger(inner):
    return st.one_of(
        objects(inner),
        st.tuples(inner, lengths).map(
            lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1][0], "maxItems": pair[1][1]}
        ),
        inner.map(lambda item: {"type": "array", "items": item}),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


TREE = {"type": "object", "properties": {"down": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/tree"}]}}}
TREE["additionalProperties"] = False
schemas = st.recursive(leaves, larger, max_leaves=5).map(lambda schema: {**schema, "$defs": {"tree": TREE}})

NESTED: list = []
for _ in range(5000):
    NESTED = [NESTED]


@given(schemas, vocabularies, st.integers(0, 10**6))
def test_what_is_written_is_valid_and_spelled_as_json_dumps_does(schema, vocabulary, seed):
    constraint = Constraint(json_schema(schema), vocabulary, stop_tokens=(0,))
    text = write(constraint, seed, max_tokens=int(constraint.tokens_to_finish(1)) + seed % 20)
    value = json.loads(text)
    assert valid(value, schema, schema), (text, schema)
    digits = re.compile(r"-?[0-9][0-9.eE+-]*")  # numbers may be spelled in other ways
    assert digits.sub("0", json.dumps(value, ensure_ascii=False)) == digits.sub("0", text)


@given(schemas, values)
def test_a_value_can_be_written_just_if_it_is_valid(schema, value):
    automaton = Automaton(json_schema(schema))
    assert accepts(automaton, json.dumps(value, ensure_ascii=False).encode()) == valid(value, schema, schema)


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"items": {"enum": ["a", "b"]}}},
    "required": ["age"],
}


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        (
            PERSON,
            ['{"age": 3}', '{"name": "x", "age": -1, "tags": ["a", "b"]}'],
            ["{}", '{"age": 3, "name": "x"}', '{"age":3}'],
        ),
        ({"properties": {}}, ["{}"], ["[]", "{ }"]),
        ({"type": "number"}, ["0", "-1.5e+10", "1E9"], ["01", "1.", ".5", "1e999", "+1", "NaN", "1" * 16]),
        ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
        ({}, ['{"a": [1, {"b": null}], "": "x"}', "[]", "true"], ["", "tru", "[1,2]", "{'a': 1}"]),
        ({"type": "string"}, ['"é\\n\\"😀\\\\\\u0001"'], ['"', '"\n"', '"\\u00e9"', '"\\x"']),
        ({"anyOf": [True, {"type": "null"}]}, ["null", "1"], ["none"]),
        ({"enum": [1, "1", None], "type": ["string", "null"]}, ['"1"', "null"], ["1"]),
    ],
)
def test_by_hand(schema, yes, no):
    automaton = Automaton(json_schema(schema))
    assert all(accepts(automaton, text.encode()) for text in yes)
    assert not any(accepts(automaton, text.encode()) for text in no)


def test_a_schema_may_contain_itself_to_any_depth():
    automaton = Automaton(json_schema({"properties": {"next": {"$ref": "#"}}}))
    assert accepts(automaton, b'{"next": ' * 500 + b"{}" + b"}" * 500)
    names = {str(n): {"items": {"$ref": f"#/$defs/{n + 1}"}, "maxItems": 1} for n in range(1000)}
    long_way = json_schema({"$ref": "#/$defs/0", "$defs": {**names, "1000": {"type": "null"}}})
    assert accepts(Automaton(long_way), b"[" * 1000 + b"null" + b"]" * 1000)


def test_references_find_any_place_in_the_schema():
    schema = {"anyOf": [{"const": 1}, {"items": {"$ref": "#/anyOf/0"}}, {"$ref": "#/$defs/a~1b~0%"}]}
    automaton = Automaton(json_schema({**schema, "$defs": {"a/b~%": {"const": "x"}}}))
    assert all(accepts(automaton, text) for text in (b"1", b"[1, 1]", b'"x"'))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "integer", "minimum": 3}, "at #: minimum cannot be enforced; supported here: type"),
        ({"items": {"type": "string", "format": "date"}}, "at #/items: format cannot be enforced"),
        ({"properties": {"a": {"oneOf": []}}}, "at #/properties/a: oneOf cannot be enforced"),
        ({"type": "text"}, "type must be one of object, array"),
        ({"type": []}, "type must be one of"),
        ({"required": ["a"]}, "required must be a list of names that properties has, and is ['a']"),
        ({"properties": [1]}, "properties must be an object"),
        ({"maxItems": -1}, "maxItems must be a whole number of at least 0, and is -1"),
        ({"minLength": True}, "minLength must be a whole number"),
        ({"minItems": 3, "maxItems": 2}, "minItems is 3 and maxItems is 2"),
        ({"pattern": "a(?=b)"}, "at #: pattern: regular expression"),
        ({"pattern": "a", "maxLength": 3}, "pattern and a length cannot be asked for together"),
        ({"enum": []}, "enum must be a list of values"),
        ({"enum": [1, 2], "type": "string"}, "none of the values of enum is of the type string"),
        ({"enum": [float("nan")]}, "nothing that JSON can write"),
        ({"const": {1, 2}}, "nothing that JSON can write"),
        ({"properties": {"\ud800": {}}}, "nothing that JSON can write"),
        ({"const": 1, "anyOf": [{}]}, "const cannot stand beside anyOf"),
        ({"enum": [1], "maximum": 3}, "maximum cannot stand beside enum"),
        ({"anyOf": []}, "anyOf must be a list of schemas"),
        ({"$ref": "other.json"}, "$ref must name a place in this schema"),
        ({"$ref": "#/$defs/a"}, "at #: $ref names #/$defs/a, where the schema has nothing"),
        (False, "a schema is an object or true, and this is False"),
        ([], "a schema is an object or true"),
        ({"type": 3}, "type must be one of"),
        ({"type": [["string"]]}, "type must be one of"),
        ({"required": 5}, "required must be a list of names"),
        ({"properties": {"a": {}}, "required": [[]]}, "required must be a list of names"),
        ({"properties": {"a": {}}, "additionalProperties": 3}, "additionalProperties must be a schema, true or false"),
        ({"properties": {1: {}}}, "the names in properties must be strings, and one is 1"),
        ({("a", "b"): 1, 3: 2}, "the names in a schema must be strings, and one is ('a', 'b')"),
        ({"minLength": None}, "minLength must be a whole number of at least 0, and is None"),
        ({"minLength": 1.5}, "minLength must be a whole number"),
        ({"minItems": float("nan")}, "minItems must be a whole number"),
        ({"items": {"pattern": 3}}, "at #/items: pattern: a regular expression must be a string"),
        ({"$ref": "#/anyOf/" + "9" * 5000, "$defs": {}}, "where the schema has nothing"),
        ({"$ref": "#/examples/²", "examples": [1, 2, 3]}, "where the schema has nothing"),
        ({"const": NESTED}, "nothing that JSON can write"),
        ({"type": NESTED}, "type must be one of"),
    ],
)
def test_what_cannot_be_done_is_named_with_its_place(schema, message):
    with pytest.raises(InputError, match=re.escape(message)):
        json_schema(schema)


def test_what_would_go_on_forever():
    endless = {"properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    deep: dict = {}
    for _ in range(300):
        deep = {"items": deep}
    with pytest.raises(InputError, match="no text matches"):
        Automaton(json_schema(endless))
    with pytest.raises(InputError, match="no text matches"):
        Automaton(json_schema({"$ref": "#"}))
    with pytest.raises(InputError, match="nested 100 deep"):
        json_schema(deep)
    slashes = "a/" * 300  # in a name they are no levels
    assert accepts(Automaton(json_schema({"properties": {slashes: {"const": 1}}})), f'{{"{slashes}": 1}}'.encode())


def test_a_part_that_is_too_large_is_named_by_its_place(monkeypatch):
    monkeypatch.setattr(automaton_module, "MOST_LISTS", 500)
    many = {"properties": {f"p{n}": {"type": "null"} for n in range(600)}}
    pattern = {"properties": {"s": {"pattern": "^(((a|aa){2,60}(ab?){2,80}){3,50})$"}}}
    with pytest.raises(InputError, match="properties at #/properties/a of the JSON schema is too large"):
        automaton = Automaton(json_schema({"properties": {"a": many}}))
        automaton.read(automaton.start, b'{"a": {"p0": null')
    with pytest.raises(InputError, match="at position .* of the pattern at #/properties/s of the JSON schema is too"):
        automaton = Automaton(json_schema(pattern))
        automaton.read(automaton.start, b'{"s": "' + b"a" * 200)


def test_lengths_may_be_written_with_a_point():
    automaton = Automaton(json_schema({"type": "string", "minLength": 2.0, "maxLength": 3.0}))
    assert [accepts(automaton, text) for text in (b'"a"', b'"ab"', b'"abc"', b'"abcd"')] == [False, True, True, False]
