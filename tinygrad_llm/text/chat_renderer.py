"""A program of its own that fills in one chat template and ends: `chat.py` starts it for every conversation.

A template is a program in the language of Jinja, and comes with a model that a stranger made. Jinja's sandbox keeps it
away from Python, and bounds `range`. It does not bound loops in loops, "x" * 10**10, a list that holds itself twice
forty times over, or recursion, and no list of forbidden things would be complete. So there are two fences. The usual
ways to run away are counted or refused here, with an error that says which one it was: iterations of loops, products
and powers, the length of the text. And the template runs in a process that is limited in processor time and in memory;
whatever it does, nothing but this process ends. (Linux and macOS enforce the time, Linux the memory too; elsewhere a
thread watches the time, and `chat.py` the clock.)

What a template may use is what Transformers offers: blocks trimmed, `{% break %}` and `{% generation %}`, `tojson`,
`raise_exception` and `strftime_now`.

Input: a JSON object on standard input with `source`; `variables`; `tokens`, the names of those variables that are
special tokens; `marks`, name -> mark: wherever the template itself writes one of these names, the mark is written in
its place; and `longest`, the most characters of the text. Output: a JSON object with `text` or `error`.

This file imports nothing of the project, so that it starts quickly.
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 2  # of processor time; real templates need a hundredth of it
MEMORY = 1 << 30  # bytes of address space
MOST_ITERATIONS = 1_000_000  # of all loops together
LARGEST = 1 << 20  # characters or items of a product, and bits of a number
LOOP_FILTER = "counted iterations"  # with a blank in its name, so that no template can call it


class Generation(jinja2.ext.Extension):
    """`{% generation %}` … `{% endgeneration %}`, around what the model wrote: for training. Here only its content."""

    tags = {"generation"}  # noqa: RUF012  (the name and the kind that jinja2 asks for)

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which products and powers have an end."""

    intercepted_binops = frozenset(["*", "**", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > LARGEST:
                    raise jinja2.TemplateError(f"a product would have more than {LARGEST:,} characters or items")
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > LARGEST:
                raise jinja2.TemplateError(f"a number would have more than {LARGEST:,} bits")
        if operator == "%" and isinstance(left, str) and any(len(digits) > 6 for digits in re.findall("[0-9]+", left)):
            raise jinja2.TemplateError("a format asks for a width of a million characters or more")
        return super().call_binop(context, operator, left, right)


class Iterations:
    """Counts what all loops of a template go through."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.count += 1
            if self.count > MOST_ITERATIONS:
                raise jinja2.TemplateError(f"its loops take more than {MOST_ITERATIONS:,} iterations")
            yield value


def make_environment() -> Environment:
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    environment.filters[LOOP_FILTER] = Iterations()
    for unused in ("lipsum", "cycler", "joiner"):
        del environment.globals[unused]
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """As Jinja's, but nothing is escaped for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def render(source: str, variables: dict[str, Any], tokens: list[str], marks: dict[str, str], longest: int) -> str:
    environment = make_environment()
    tree = environment.parse(source)
    if marks:
        mark_names(tree, variables, tokens, marks)
    for loop in list(tree.find_all(jinja2.nodes.For)):
        loop.iter = jinja2.nodes.Filter(loop.iter, LOOP_FILTER, [], [], None, None, lineno=loop.lineno)
    pieces, length = [], 0
    for piece in environment.from_string(tree).generate(variables):
        pieces.append(piece)
        length += len(piece)
        if length > longest:
            raise jinja2.TemplateError(f"it makes a text of more than {longest:,} characters")
    return "".join(pieces)


def mark_names(
    tree: jinja2.nodes.Template, variables: dict[str, Any], tokens: list[str], marks: dict[str, str]
) -> None:
    """Put marks in the place of the names that the template writes, in its text, its strings, and its variables for
    special tokens."""
    compared = strings_to_compare(tree)
    texts = list(tree.find_all(jinja2.nodes.TemplateData))
    strings = [node for node in tree.find_all(jinja2.nodes.Const) if isinstance(node.value, str)]
    strings = [node for node in strings if node not in compared]
    written = "\0".join([*(x.data for x in texts), *(x.value for x in strings), *(variables[key] for key in tokens)])
    names = sorted((name for name in marks if name in written), key=len, reverse=True)  # no name cut short by another
    if not names:
        return
    find = re.compile("|".join(map(re.escape, names)))

    def mark(text: str) -> str:
        return find.sub(lambda match: marks[match[0]], text)

    for text in texts:
        text.data = mark(text.data)
    for string in strings:
        string.value = mark(string.value)
    for key in tokens:
        variables[key] = mark(variables[key])


COMPARING_FILTERS = {"select", "reject", "selectattr", "rejectattr", "replace", "trim"}


def strings_to_compare(tree: jinja2.nodes.Template) -> set[jinja2.nodes.Node]:
    """The strings that are compared with others, looked for or cut off: those must stay what they are."""
    users: list[jinja2.nodes.Node] = [*tree.find_all((jinja2.nodes.Compare, jinja2.nodes.Test))]
    uses: Any = tree.find_all((jinja2.nodes.Call, jinja2.nodes.Filter))
    for use in uses:
        if isinstance(use, jinja2.nodes.Filter):
            name = use.name if use.name in COMPARING_FILTERS else None
        else:
            name = use.node.attr if isinstance(use.node, jinja2.nodes.Getattr) else None  # a method, such as split
        if name:
            users += use.args[:1] if name == "replace" else use.args
    return {x for user in users for x in (user, *user.find_all(jinja2.nodes.Const))}


def limit_resources() -> None:
    """From here on this process is ended when it takes too much, and can write no file."""
    threading.Thread(target=end_after, args=(SECONDS,), daemon=True).start()
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {resource.RLIMIT_CPU: SECONDS, resource.RLIMIT_AS: MEMORY, resource.RLIMIT_FSIZE: 0}
    for what, most in wanted.items():
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):  # a system that does not know this limit, or has a lower one already
            continue


def end_after(seconds: float) -> None:
    """End this process when it has used so much processor time: for systems that do not do so themselves."""
    while time.process_time() < seconds + 1.0:
        time.sleep(0.1)
    os._exit(1)


def main() -> None:
    request = json.load(sys.stdin.buffer)
    limit_resources()
    try:
        answer = {"text": render(**request)}
    except MemoryError:
        answer = {"error": f"it needs more than {MEMORY >> 20} MB of memory"}
    except RecursionError:
        answer = {"error": "it calls itself too often"}
    except jinja2.TemplateSyntaxError as error:
        answer = {"error": f"line {error.lineno}: {error.message}"}
    except Exception as error:  # whatever a template does wrong is the template's mistake
        answer = {"error": str(error) or type(error).__name__}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
