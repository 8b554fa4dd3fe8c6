r"""Split patterns in two dialects: Oniguruma's, which `tokenizer.json` uses, and that of the package `regex`.

They look alike, with these differences:

| | Oniguruma (Ruby's syntax) | `regex` |
|---|---|---|
| `^`, `$` | begin and end of every line | of the text; `$` also before a line end at its end |
| `\Z`, `\z` | end, or before a last line end; end | end; not known |
| `X{n,m}+` | X{n,m}, once or more often | X{n,m}, never given back |
| `X{n}?` | X n times or not at all | X n times |
| `(?m:…)` | the dot also matches line ends | `^` and `$` are those of lines; the former is `(?s:…)` |
| `\h`, `\H` | a hexadecimal digit, any other character | horizontal white space, any other character |
| `[a-z&&[^b]]`, `[a[b]]` | sets in sets | the same behind `(?V1)` |
| `(?i:\p{Lu})` | capital letters | letters of either case; so `(?-i:\p{Lu})`, and back `(?i:[\p{Lu}])` |

Reading and writing translate, so that a file gives the same pieces in both places. What has no counterpart is refused.

A pattern from a file may be hostile. `check_pattern` bounds its length, nesting and repetition before it is compiled;
`patterns.Splitter` bounds its time.

Left out on purpose, and refused: an intersection of sets inside `(?i:…)`, where the two treat the case of letters
differently.

Used by: `tokenizer_json` (both directions), `patterns` (the bounds).
Source: the documentation of Oniguruma 6.9 (doc/RE) and of `regex`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from tinygrad_llm.errors import InputError

LONGEST = 4_000  # characters of a pattern; those of real files stay below 1,000
DEEPEST = 40  # groups inside groups
REPEATED = 1_000  # times that counted repetitions, nested ones multiplied, may write a part out

COUNTED = re.compile(r"\{(\d*)(,?)(\d*)\}")
ESCAPE = re.compile(
    r"\\(?:[pP]\{[^}]*\}|[kgN](?:<[^>]*>|\{[^}]*\})|x\{[^}]*\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)", re.DOTALL
)
OPENING = re.compile(r"\(\?(?:<?[=!]|[>:|~&]|P?<\w+>|[\w-]+:|[\w-]+\))|\(")


class Part(NamedTuple):
    """A piece of a pattern. kind: "atom" (a character, an escape, a set), "open", "close", "bar" or "quantifier"."""

    kind: str
    text: str


def parts_of(pattern: str) -> list[Part]:
    """The pattern cut into its parts; joined, they are the pattern."""
    parts: list[Part] = []
    i = 0
    while i < len(pattern):
        parts.append(part_at(pattern, i))
        i += len(parts[-1].text)
    return parts


def part_at(pattern: str, i: int) -> Part:
    match pattern[i]:
        case "\\":
            escape = ESCAPE.match(pattern, i)
            return Part("atom", escape.group() if escape else "\\")
        case "[":
            return Part("atom", pattern[i : end_of_set(pattern, i)])
        case "(":
            opening = OPENING.match(pattern, i)
            text = opening.group() if opening else "("
            return Part("atom" if text.endswith(")") else "open", text)
        case ")":
            return Part("close", ")")
        case "|":
            return Part("bar", "|")
        case "*" | "+" | "?" as sign:
            return Part("quantifier", sign)
        case "{" if counted := COUNTED.match(pattern, i):
            return Part("quantifier", counted.group())
        case other:
            return Part("atom", other)


def end_of_set(pattern: str, start: int) -> int:
    """Behind the "]" of the set that begins at `start`."""
    depth, i = 0, start
    while i < len(pattern):
        if pattern[i] == "\\":
            i += 2
        elif depth and (named := re.compile(r"\[:\^?\w+:\]").match(pattern, i)):
            i = named.end()
        elif pattern[i] == "[":
            depth += 1
            i += 2 if pattern.startswith("^", i + 1) else 1
            i += pattern.startswith("]", i)  # the first one is a member
        elif pattern[i] == "]":
            depth, i = depth - 1, i + 1
            if depth == 0:
                return i
        else:
            i += 1
    raise InputError(f"the split pattern {pattern[:60]!r} has a set that is not closed")


def has_nested_sets(text: str) -> bool:
    """Whether a set holds other sets, or an intersection."""
    inside = re.sub(r"\\.|\[:\^?\w+:\]", "", text[1:], flags=re.DOTALL)
    return "[" in inside or "&&" in inside


CASED = re.compile(r"\\[pP]\{\^?(?:Lu|Ll|Lt|LC)\}")


def ignores_case(parts: list[Part]) -> bool:
    """Whether the pattern has a group in which case does not matter."""
    return any("i" in flags_of(part.text).partition("-")[0] for part in parts)


def check_intersections(parts: list[Part]) -> None:
    """Raise InputError for an intersection of sets where the case of letters does not matter."""
    ignored = [False]  # in each of the groups that are open
    for kind, text in parts:
        on, _, off = flags_of(text).partition("-")
        now = ("i" in on) or (ignored[-1] and "i" not in off)
        if kind == "open":
            ignored.append(now)
        elif kind == "close" and len(ignored) > 1:
            ignored.pop()
        elif text.startswith("(?"):  # (?i): for the rest of the group
            ignored[-1] = now
        elif text[0] == "[" and "&&" in text and ignored[-1]:
            raise InputError(f"the split pattern uses {text} where the case of letters does not matter (?i)")


def with_plain_signs(part: Part) -> Part:
    r"""A set in which "||", "~~" and "--" are no operations: behind (?V1) they are, in Oniguruma only "&&" is."""
    if part.kind != "atom" or part.text[0] != "[":
        return part
    return Part("atom", re.sub(r"\\.|([|~-])(?=\1)", lambda found: ("\\" if found[1] else "") + found[0], part.text))


# -- translating -----------------------------------------------------------------------------------------------------


def from_oniguruma(pattern: str) -> str:
    r"""The pattern of a tokenizer.json in the dialect of `regex`. Raises InputError for what has no counterpart.

    >>> print(from_oniguruma(r"\p{N}{1,3}+|\s+$"))
    (?:\p{N}{1,3})+|\s+(?m:$)
    """
    check_pattern(pattern)
    parts = parts_of(pattern)
    if ignores_case(parts):
        check_intersections(parts)
        parts = [Part("atom", f"(?-i:{part.text})") if CASED.fullmatch(part.text) else part for part in parts]
    if not any(part.kind == "atom" and part.text[0] == "[" and has_nested_sets(part.text) for part in parts):
        return translated(parts, atom_from_oniguruma, repeated_from_oniguruma)
    return "(?V1)" + translated(
        [with_plain_signs(part) for part in parts], atom_from_oniguruma, repeated_from_oniguruma
    )


def to_oniguruma(pattern: str) -> str:
    r"""A pattern in the dialect of `regex` for a tokenizer.json. Raises InputError for what has no counterpart.

    >>> print(to_oniguruma(r"\p{N}{1,3}+|\s+$"))
    (?>\p{N}{1,3})|\s+\Z
    """
    if pattern.startswith("(?V1)"):
        pattern = pattern.removeprefix("(?V1)")
    parts = parts_of(pattern.replace("(?m:$)", LINE_END))
    if ignores_case(parts):
        parts = [Part("atom", f"[{part.text}]") if CASED.fullmatch(part.text) else part for part in parts]
    return translated(parts, atom_to_oniguruma, repeated_to_oniguruma)


def translated(parts: list[Part], atom: Callable[[str], str], repeated: Callable[[str, list[str]], str]) -> str:
    """The parts put together again: each atom as `atom` writes it, what is repeated as `repeated` writes it."""
    levels: list[list[str]] = [[]]  # of the groups that are open, what stands in them so far
    openings: list[str] = []
    i = 0
    while i < len(parts):
        kind, text = parts[i]
        i += 1
        if kind == "open":
            openings.append(atom(text))
            levels.append([])
            continue
        if kind == "bar":
            levels[-1].append("|")
            continue
        if kind == "quantifier":
            raise InputError(f"the split pattern has {text!r} where nothing stands that could be repeated")
        if kind == "close" and not openings:
            raise InputError("the split pattern closes a group that was not opened")
        text = openings.pop() + "".join(levels.pop()) + ")" if kind == "close" else atom(text)
        repeats: list[str] = []
        while i < len(parts) and parts[i].kind == "quantifier":
            repeats.append(parts[i].text)
            i += 1
        levels[-1].append(repeated(text, repeats) if repeats else text)
    if openings:
        raise InputError("the split pattern opens a group that is not closed")
    return "".join(levels[0])


LINE_END = "\ue000"  # stands for (?m:$) while a pattern is translated
REFUSED = {r"\G", r"\K", r"\g", r"\m", r"\M", r"\L", r"\N"}  # calls of groups, and what only one of the two knows
FROM_ONIGURUMA = {
    "{": r"\{",  # where it begins no count: `regex` might read errors to be tolerated
    "^": r"(?:\A|(?<=\n)(?!\Z))",
    "$": "(?m:$)",
    r"\Z": r"(?=\n?\Z)",
    r"\z": r"\Z",
    r"\h": "[0-9A-Fa-f]",
    r"\H": "[^0-9A-Fa-f]",
}
TO_ONIGURUMA = {
    "^": r"\A",
    "$": r"\Z",
    r"\Z": r"\z",
    r"\h": r"[\t\p{Zs}]",
    r"\H": r"[^\t\p{Zs}]",
    LINE_END: "$",
}


def flags_of(text: str) -> str:
    """The letters of "(?im:" or "(?i)"; nothing for any other opening."""
    found = re.fullmatch(r"\(\?([\w-]+)[:)]", text)
    return found[1] if found else ""


def atom_from_oniguruma(text: str) -> str:
    flags = flags_of(text)
    if text[:2] in REFUSED or text.startswith(("(?~", "(?&")) or set(flags) - set("imx-"):
        raise InputError(f"the split pattern uses {text}, which is not supported")
    return text.replace("m", "s") if "m" in flags else FROM_ONIGURUMA.get(text, text)


def atom_to_oniguruma(text: str) -> str:
    flags = flags_of(text)
    if set(flags) - set("is-x"):
        raise InputError(f"the split pattern uses {text}, which a tokenizer.json cannot say")
    return text.replace("s", "m") if "s" in flags else TO_ONIGURUMA.get(text, text)


def repeated_from_oniguruma(atom: str, repeats: list[str]) -> str:
    text = atom + repeats[0]
    for before, one in pairwise(repeats):
        repeats_again = before[0] == "{" and (one == "+" or one[0] in "*{" or (one == "?" and "," not in before))
        text = f"(?:{text}){one}" if repeats_again else text + one
    return text


def repeated_to_oniguruma(atom: str, repeats: list[str]) -> str:
    if len(repeats) > 2:
        raise InputError(f"the split pattern repeats {atom} by {''.join(repeats)}, which a tokenizer.json cannot say")
    count, mode = repeats[0], "".join(repeats[1:])
    if count[0] == "{" and mode == "+":
        return f"(?>{atom}{count})"
    if count[0] == "{" and mode == "?" and "," not in count:
        return atom + count
    return atom + count + mode


# -- bounds ----------------------------------------------------------------------------------------------------------


def check_pattern(pattern: str) -> None:
    """Raise InputError for a pattern that could take too much memory or time to compile, naming what is too large."""
    if len(pattern) > LONGEST:
        raise InputError(f"a split pattern is {len(pattern):,} characters long; up to {LONGEST:,} are read")
    parts = parts_of(pattern)
    written_out = [1]  # for each open group, how often the counts inside it write a part of it out
    for n, (kind, text) in enumerate(parts):
        if kind == "open":
            written_out.append(1)
            if len(written_out) > DEEPEST + 1:
                raise InputError(f"a split pattern has groups nested deeper than {DEEPEST}")
        elif kind in ("atom", "close"):
            times = written_out.pop() if kind == "close" and len(written_out) > 1 else 1
            for repeat in parts[n + 1 :]:
                if repeat.kind != "quantifier":
                    break
                times *= count_of(repeat.text)
            if times > REPEATED:
                raise InputError(f"a split pattern repeats {text[:20]!r} {times:,} times; up to {REPEATED:,} are read")
            written_out[-1] = max(written_out[-1], times)


def count_of(quantifier: str) -> int:
    """How often a quantifier writes out what it repeats: 5 for {2,5}, 1 for *."""
    counted = COUNTED.fullmatch(quantifier)
    numbers = [counted[1], counted[3]] if counted else []
    return max([1, *(int(number[:9]) for number in numbers if number)])
