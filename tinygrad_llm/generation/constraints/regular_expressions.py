r"""Regular expressions: the usual notation for simple shapes of text, as in r"\d{4}-\d\d-\d\d".

What can be written, everything with the meaning that it has in Python's `re` with the flag `re.ASCII`:

    a \. \n \x41 \u00e9 \U0001F600   a character, itself or escaped
    .                                any character but the line end
    [a-z_] [^"]                      one out of a class, or one that is not in it
    \d \w \s \D \W \S                digits, letters of words, white space; capital: any other character
    (…) (?:…)                        a group
    …|…                              alternatives
    ? * + {3} {3,} {3,5} {,5}        how often: at most once, any number of times, at least once, counted

The whole text has to match (`re.fullmatch`), so ^ at the beginning and $ at the end change nothing. Left out on
purpose: whatever looks around or back (\b, (?=…), \1), because a finite automaton cannot express it; lazy and
possessive repetition, which make no difference when the whole text has to match; flags.

Builds on: `characters`, `expressions`. Used by: `json_schema`, and `automaton` through `constraint`.
"""

from __future__ import annotations

from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.constraints.characters import ALL, Ranges, Spelling, common, union, utf8, without
from tinygrad_llm.generation.constraints.expressions import Expression, Sequence, choice, repeated

DIGITS: Ranges = ((0x30, 0x39),)
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE} | {
    name.upper(): without(ALL, ranges) for name, ranges in [("d", DIGITS), ("w", WORD), ("s", SPACE)]
}
NOT_LINE_END = without(ALL, ((0x0A, 0x0A),))
CONTROL_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}  # how many digits follow
DEEPEST = 100  # groups within groups
LONGEST_SHOWN = 40  # characters of a pattern in an error


def regular_expression(
    pattern: str, spelling: Spelling = utf8, anchored: bool = True, name: str = "regular expression"
) -> Expression:
    """The texts that match `pattern`.

    spelling: how a character is written in bytes (`characters.utf8`, `json_text`).
    anchored: the whole text has to match. Otherwise there may be any text before and after, as in `re.search`, except
    where ^ stands at the beginning of an alternative or $ at its end.
    name: what an error about a part that is too large calls the expression.

    Raises InputError for a pattern that is no regular expression, or one that is beyond the subset above; it names what
    cannot be read.
    """
    if not isinstance(pattern, str):
        raise InputError(f"a regular expression must be a string, and this is {type(pattern).__name__}.")
    return _Parser(pattern, spelling, anchored, name).parse()


class _Parser:
    """Reads a pattern from left to right; every method reads one kind of thing at `self.place` and moves on."""

    def __init__(self, pattern: str, spelling: Spelling, anchored: bool, name: str) -> None:
        self.pattern, self.spelling, self.anchored, self.name = pattern, spelling, anchored, name
        self.place = 0
        self.depth = 0

    def parse(self) -> Expression:
        expression = self.alternatives()
        if self.place < len(self.pattern):  # alternatives end at the end or at a closing bracket
            raise self.error("a closing bracket without its opening one; a bracket in the text is written \\)")
        return expression

    def alternatives(self) -> Expression:
        options = [self.alternative()]
        while self.take("|"):
            options.append(self.alternative())
        return choice(options)

    def alternative(self) -> Expression:
        parts: list[Expression] = []
        outermost = self.depth == 0
        begins, ends = outermost and self.take("^"), False
        while self.next not in ("", "|", ")"):
            if outermost and self.next == "$" and self.pattern[self.place + 1 : self.place + 2] in ("", "|"):
                self.place += 1
                ends = True
            else:
                parts.append(self.repeated())
        if outermost and not self.anchored:
            anything = repeated(self.spelling(ALL), 0, None)
            parts = [*([] if begins else [anything]), *parts, *([] if ends else [anything])]
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self) -> Expression:
        start = self.place
        part, before = self.atom(), self.place
        bounds = self.bounds()
        if bounds is None:
            return part
        least, most = bounds
        if most is not None and most < least:
            self.place = before
            raise self.error("it asks for at least more than it allows at most")
        if self.next in ("?", "+", "*", "{"):
            raise self.error("a repetition of a repetition, or a lazy or possessive one; use brackets for the first")
        return repeated(part, least, most, self.source(start))

    def source(self, start: int) -> str:
        """What was read since `start`, for an error about it."""
        text = self.pattern[start : self.place]
        shown = text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN // 2] + "…" + text[-LONGEST_SHOWN // 2 :]
        return f"{shown!r} at position {start} of the {self.name}"

    def bounds(self) -> tuple[int, int | None] | None:
        """How often, if this is said here: (least, most)."""
        if self.take("?"):
            return 0, 1
        if self.take("*"):
            return 0, None
        if self.take("+"):
            return 1, None
        if not self.take("{"):
            return None
        end = self.pattern.find("}", self.place)
        first, comma, second = self.pattern[self.place : max(end, self.place)].partition(",")
        if end < 0 or not all(number == "" or _is_number(number) for number in (first, second)) or first + second == "":
            self.place -= 1
            raise self.error("not a number of repetitions such as {3} or {3,5}; a brace in the text is written \\{")
        self.place = end + 1
        least = int(first or 0)
        return least, (int(second) if second else None) if comma else least

    def atom(self) -> Expression:
        if self.take("("):
            return self.group()
        if self.take("["):
            return self.characters(self.character_class())
        if self.take("."):
            return self.characters(NOT_LINE_END)
        if self.next == "\\":
            return self.characters(self.escape())
        if self.next in ("?", "*", "+", "{"):
            raise self.error(f"nothing stands before it to be repeated; in the text it is written \\{self.next}")
        if self.next in ("^", "$"):
            raise self.error(
                f"it may stand only at the beginning (^) or end ($) of the outermost alternatives; in the text it is "
                f"written \\{self.next}"
            )
        return self.characters(_single(self.one()))

    def group(self) -> Expression:
        opening = self.place - 1
        if self.next == "?" and not self.take("?:"):
            self.place -= 1
            raise self.error("groups are (…) or (?:…); names, flags and looking around are not supported", 3)
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"groups can be nested {DEEPEST} deep, not deeper")
        inside = self.alternatives()
        self.depth -= 1
        if not self.take(")"):
            self.place = opening
            raise self.error("a group that is not closed; a bracket in the text is written \\(")
        return inside

    def character_class(self) -> Ranges:
        """Behind "[": the characters that are meant, up to the closing bracket."""
        opening = self.place - 1
        negated = self.take("^")
        members: list[Ranges] = []
        while self.next != "]" or not members:  # "]" as the first one is itself, as in `re`
            if self.next == "":
                self.place = opening
                raise self.error("a class that is not closed; a bracket in the text is written \\[")
            start = self.place
            low = self.class_member()
            if self.next == "-" and self.pattern[self.place + 1 : self.place + 2] not in ("", "]"):
                self.place += 1
                high = self.class_member()
                if not (_is_single(low) and _is_single(high) and low <= high):
                    length, self.place = self.place - start, start
                    raise self.error("not a range from one character to a later one", length)
                low = ((low[0][0], high[0][0]),)
            members.append(low)
        self.place += 1
        return without(ALL, union(*members)) if negated else union(*members)

    def class_member(self) -> Ranges:
        return self.escape() if self.next == "\\" else _single(self.one())

    def escape(self) -> Ranges:
        """At a backslash: the characters that are meant."""
        start = self.place
        self.place += 1
        name = self.one()
        if name in CLASSES:
            return CLASSES[name]
        if name in CONTROL_ESCAPES:
            return _single(CONTROL_ESCAPES[name])
        if name in HEX_ESCAPES:
            digits = self.pattern[self.place : self.place + HEX_ESCAPES[name]]
            if len(digits) == HEX_ESCAPES[name] and all(digit in "0123456789abcdefABCDEF" for digit in digits):
                self.place += len(digits)
                if int(digits, 16) <= ALL[-1][1]:
                    return ((int(digits, 16), int(digits, 16)),)
        elif name.isascii() and not name.isalnum() and name:
            return _single(name)
        self.place = start
        raise self.error("an escape that is not supported", 2)

    def characters(self, ranges: Ranges) -> Expression:
        if not common(ranges, ALL):
            raise self.error("no character matches what stands before this")
        return self.spelling(ranges)

    @property
    def next(self) -> str:
        """The character at this place; at the end, nothing."""
        return self.pattern[self.place : self.place + 1]

    def one(self) -> str:
        self.place += 1
        return self.pattern[self.place - 1 : self.place]

    def take(self, expected: str) -> bool:
        """Move over `expected` if it stands here."""
        found = self.pattern.startswith(expected, self.place)
        self.place += len(expected) * found
        return found

    def error(self, what: str, length: int = 1) -> InputError:
        here = self.pattern[self.place : self.place + length]
        where = f"{here!r} at position {self.place}" if here else "its end"
        pattern = self.pattern if len(self.pattern) <= 200 else self.pattern[:200] + "…"
        return InputError(f"regular expression {pattern!r}: {where}: {what}.")


def _single(character: str) -> Ranges:
    return ((ord(character), ord(character)),)


def _is_single(ranges: Ranges) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _is_number(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 9
