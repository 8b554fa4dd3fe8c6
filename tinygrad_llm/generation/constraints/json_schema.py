"""JSON Schema (draft 2020-12) as a constraint: the texts of JSON values that are valid under a schema.

    {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}

Whatever is generated under the constraint can be read by `json.loads` and is valid under the schema. The other way
round this is not so: of the many spellings of a value only one is allowed, that of
`json.dumps(value, ensure_ascii=False)`, with one space after each colon and comma and no others. Further:

- Properties come in the order of the schema. The required ones must be there, others may be, and none besides these.
- Numbers have at most 15 digits before the point and 15 behind it, and exponents two digits: every reader of JSON can
  hold them.
- Without a type, `properties` means an object, `items` an array, `pattern` and lengths a string. A schema that says
  nothing at all, {} or true, means any value.
- `pattern` is a regular expression as `regular_expressions` reads it, and may match anywhere in the string, unless it
  begins with ^ or ends with $.

What can be said: type (also several), properties, required, items, minItems, maxItems, pattern, minLength, maxLength,
enum, const, anyOf, and $ref to another place in the schema, which may contain itself to any depth. Notes for people
(title, description, default, examples, …) are skipped. Everything else is an error: no keyword is ignored that could
have made a value invalid.

Builds on: `characters`, `regular_expressions`. Used by: `automaton`, through `constraint`.
Left out on purpose: keywords that combine shapes by "and" or "not" (allOf, not, oneOf), and comparisons of numbers.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints.characters import ALL, json_text
from tinygrad_llm.generation.constraints.expressions import (
    Choice,
    Expression,
    Reference,
    Sequence,
    choice,
    literal,
    optional,
    repeated,
)
from tinygrad_llm.generation.constraints.regular_expressions import regular_expression

INTEGER = regular_expression("-?(0|[1-9][0-9]{0,14})")
NUMBER = Sequence((INTEGER, regular_expression(r"(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")))
QUOTE, COMMA, COLON = literal('"'), literal(", "), literal(": ")
NOTES = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"} | {
    "$schema", "$id", "$comment", "$defs", "definitions"
}  # fmt: skip
KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"pattern", "minLength", "maxLength"},
    "integer": set(),
    "number": set(),
    "boolean": set(),
    "null": set(),
}
DEEPEST = 100  # schemas within schemas, not counting references
SHOW = reprlib.Repr()  # values in errors: cut, and not deeper than six levels
SHOW.maxstring = SHOW.maxother = SHOW.maxlist = SHOW.maxdict = 60

Schema = Mapping[str, Any] | bool


def json_schema(schema: Schema) -> Expression:
    """The texts of JSON values that are valid under `schema`, as said above.

    Raises InputError for what is no schema, and for a keyword that is not supported; it says where in the schema.
    """
    compiler = _Compiler(schema)
    expression = compiler.value(schema, "#")
    compiler.fill_references()
    return expression


class _Compiler:
    """Turns the parts of one schema into expressions. `place` says where a part stands, as in a reference: #/items"""

    def __init__(self, schema: Schema) -> None:
        self.whole = schema
        self.references: dict[str, Reference] = {}  # by what they name
        self.empty: list[str] = []  # those that have no target yet

    def value(self, schema: Schema, place: str) -> Expression:
        if place.count("/") > 2 * DEEPEST:
            raise _error(place, f"schemas can be nested {DEEPEST} deep, not deeper")
        if schema is True:
            schema = {}
        if not isinstance(schema, Mapping):
            raise _error(place, f"a schema is an object or true, and this is {_shown(schema)}")
        _check_names(schema, "a schema", place)
        said = {keyword: schema[keyword] for keyword in schema if keyword not in NOTES}
        if "$ref" in said:
            return self.reference(_only("$ref", said, place), place)
        if "anyOf" in said:
            options = _only("anyOf", said, place)
            if not isinstance(options, list) or not options:
                raise _error(place, f"anyOf must be a list of schemas, at least one, and is {_shown(options)}")
            return choice([self.value(option, f"{place}/anyOf/{i}") for i, option in enumerate(options)])
        types = _types(said, place)
        if "enum" in said or "const" in said:
            return _one_of(said, types, place)
        unknown = said.keys() - {"type"} - set().union(*(KEYWORDS[one] for one in types or KEYWORDS))
        if unknown:
            raise _error(place, _unsupported(sorted(unknown), types))
        if not types:
            types = [one for one, keywords in KEYWORDS.items() if keywords & said.keys()]
        if not types:
            return self.anything()
        shapes: dict[str, Callable[[Mapping[str, Any], str], Expression]] = {
            "object": self.object,
            "array": self.array,
            "string": self.string,
            "integer": lambda said, place: INTEGER,
            "number": lambda said, place: NUMBER,
            "boolean": lambda said, place: choice([literal("true"), literal("false")]),
            "null": lambda said, place: literal("null"),
        }
        return choice([shapes[one](said, place) for one in types])

    def reference(self, target: Any, place: str) -> Expression:
        if not isinstance(target, str) or not (target == "#" or target.startswith("#/")):
            raise _error(
                place, f'$ref must name a place in this schema, as "#/$defs/name" does, and is {_shown(target)}'
            )
        if target not in self.references:
            self.at(target, place)  # so that the error about a missing one says where it was named
            self.references[target] = Reference()
            self.empty.append(target)
        return self.references[target]

    def fill_references(self) -> None:
        """Give every reference its target. Only now, because a target may refer to itself or to what contains it."""
        while self.empty:
            target = self.empty.pop()
            self.references[target].target = self.value(self.at(target, target), target)

    def at(self, target: str, place: str) -> Schema:
        """The part of the schema that a reference names: a JSON pointer (RFC 6901)."""
        part: Any = self.whole
        for name in target.split("/")[1:]:
            key = name.replace("~1", "/").replace("~0", "~")
            if isinstance(part, list) and key in map(str, range(len(part))):
                part = part[int(key)]
            elif isinstance(part, Mapping) and key in part:
                part = part[key]
            else:
                raise _error(place, f"$ref names {target}, where the schema has nothing")
        return part

    def object(self, said: Mapping[str, Any], place: str) -> Expression:
        """{"a": …, "b": …} in this order.

        Whether a comma stands before a property depends on whether any stands before it. So there are two expressions
        for the properties from the n-th on: `first` when none has been written yet, and `more` when some have.
        """
        properties, required = said.get("properties", {}), said.get("required", [])
        if not isinstance(properties, Mapping):
            raise _error(place, f"properties must be an object, and is {_shown(properties)}")
        _check_names(properties, "properties", place)
        if not isinstance(required, list) or not all(isinstance(name, str) and name in properties for name in required):
            raise _error(place, f"required must be a list of names that properties has, and is {_shown(required)}")
        additional = said.get("additionalProperties", False)
        if not isinstance(additional, bool | Mapping):
            raise _error(place, f"additionalProperties must be a schema, true or false, and is {_shown(additional)}")
        needed, source = set(required), f"properties at {_cut(place)} of the JSON schema"
        first: Expression = Sequence(())
        more: Expression = Sequence(())
        for name, schema in reversed(list(properties.items())):
            value = self.value(schema, f"{place}/properties/{_pointer(name)}")
            written = Sequence((_written(name, f"{place}/properties"), COLON, value))
            here = Sequence((written, more))
            first = here if name in needed else Choice((here, first), source)
            continued = Sequence((COMMA, written))
            more = Sequence((continued if name in needed else optional(continued, source), more))
        return Sequence((literal("{"), first, literal("}")))

    def array(self, said: Mapping[str, Any], place: str) -> Expression:
        least, most = _bounds(said, "minItems", "maxItems", place)
        item = self.value(said.get("items", True), f"{place}/items")
        return Sequence(
            (
                literal("["),
                _separated(item, least, most, f"the array at {_cut(place)} of the JSON schema"),
                literal("]"),
            )
        )

    def string(self, said: Mapping[str, Any], place: str) -> Expression:
        least, most = _bounds(said, "minLength", "maxLength", place)
        if "pattern" not in said:
            return _quoted(repeated(json_text(ALL), least, most, f"the string at {_cut(place)} of the JSON schema"))
        if "minLength" in said or "maxLength" in said:
            raise _error(place, "pattern and a length cannot be asked for together; say the length in the pattern")
        try:
            name = f"pattern at {_cut(place)} of the JSON schema"
            return _quoted(regular_expression(said["pattern"], json_text, False, name))
        except InputError as error:
            raise _error(place, f"pattern: {error}") from error

    def anything(self) -> Expression:
        """Any JSON value."""
        if "" not in self.references:
            value = self.references[""] = Reference()
            string = self.string({}, "")
            member = Sequence((string, COLON, value))
            value.target = Choice(
                (
                    Sequence((literal("{"), _separated(member, 0, None), literal("}"))),
                    Sequence((literal("["), _separated(value, 0, None), literal("]"))),
                    string,
                    NUMBER,
                    *(literal(word) for word in ("true", "false", "null")),
                )
            )
        return self.references[""]


def _quoted(inside: Expression) -> Expression:
    return Sequence((QUOTE, inside, QUOTE))


def _separated(item: Expression, least: int, most: int | None, source: str = "") -> Expression:
    """So many items with commas between them."""
    if most == 0:
        return Sequence(())
    further = repeated(Sequence((COMMA, item)), max(least - 1, 0), None if most is None else most - 1, source)
    listed = Sequence((item, further))
    return listed if least else optional(listed)


def _one_of(said: Mapping[str, Any], types: list[str], place: str) -> Expression:
    """enum or const: the values themselves, as far as they are of the types."""
    keyword = "enum" if "enum" in said else "const"
    unknown = said.keys() - {"type", keyword}
    if unknown:
        raise _error(place, f"{', '.join(sorted(unknown))} cannot stand beside {keyword}")
    values = said[keyword] if keyword == "enum" else [said[keyword]]
    if not isinstance(values, list) or not values:
        raise _error(place, f"enum must be a list of values, at least one, and is {_shown(values)}")
    allowed = [value for value in values if not types or any(_is_of_type(value, one) for one in types)]
    if not allowed:
        raise _error(place, f"none of the values of {keyword} is of the type {' or '.join(types)}")
    return choice(_written(value, place) for value in allowed)


def _written(value: Any, place: str) -> Expression:
    """Exactly this value."""
    try:
        return literal(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise _error(place, f"{_shown(value)} is nothing that JSON can write ({error})") from error


def _is_of_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float):
        return name == "number" or (name == "integer" and value.is_integer())
    kinds = {"object": Mapping, "array": list, "string": str, "integer": int, "number": int, "null": type(None)}
    return name in kinds and isinstance(value, kinds[name])


def _types(said: Mapping[str, Any], place: str) -> list[str]:
    """The types that are asked for; none means that nothing is said about them."""
    if "type" not in said:
        return []
    types = [said["type"]] if isinstance(said["type"], str) else said["type"]
    if not (isinstance(types, list) and types and all(isinstance(one, str) and one in KEYWORDS for one in types)):
        raise _error(place, f"type must be one of {', '.join(KEYWORDS)}, or a list of these, and is {_shown(types)}")
    return types


def _bounds(said: Mapping[str, Any], lower: str, upper: str, place: str) -> tuple[int, int | None]:
    least, most = said.get(lower, 0), said.get(upper)
    for name, number in ((lower, least), (upper, most)):
        if name in said and (not isinstance(number, int | float) or isinstance(number, bool) or not number >= 0):
            raise _error(place, f"{name} must be a whole number of at least 0, and is {_shown(number)}")
        if isinstance(number, float) and not number.is_integer():  # 3.0 is a whole number in JSON Schema
            raise _error(place, f"{name} must be a whole number of at least 0, and is {_shown(number)}")
    least, most = int(least), None if most is None else int(most)
    if most is not None and most < least:
        raise _error(place, f"{lower} is {least} and {upper} is {most}, so that no value is valid")
    return least, most


def _only(keyword: str, said: Mapping[str, Any], place: str) -> Any:
    """The value of a keyword beside which no other may stand."""
    others = sorted(said.keys() - {keyword})
    if others:
        raise _error(place, f"{', '.join(others)} cannot stand beside {keyword}; write it into the schemas it names")
    return said[keyword]


def _unsupported(unknown: list[str], types: list[str]) -> str:
    supported = sorted(set().union(*(KEYWORDS[one] for one in types or KEYWORDS)))
    what = f"supported here: type, enum, const, anyOf, $ref{''.join(', ' + name for name in supported)}"
    return f"{', '.join(unknown)} cannot be enforced; {what}"


def _check_names(values: Mapping[Any, Any], what: str, place: str) -> None:
    """Raise InputError unless all keys are strings, which those of a dict that was made in Python need not be."""
    for name in values:
        if not isinstance(name, str):
            raise _error(place, f"the names in {what} must be strings, and one is {_shown(name)}")


def _pointer(name: str) -> str:
    """A name as it stands in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _shown(value: Any) -> str:
    return _cut(SHOW.repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"


def _error(place: str, what: str) -> InputError:
    return InputError(f"JSON schema at {_cut(place)}: {what}.")
