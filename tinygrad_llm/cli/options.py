"""Command-line options made from the fields of a dataclass.

    @expand_options
    def train(
        text: Path,
        settings: Annotated[dict[str, Any], OptionsOf(TrainingSettings(steps=100))],
    ) -> None:
        run(TrainingSettings(steps=100).with_(**settings))

Typer sees one option for every described field: `--lr`, `--min-lr`, `--batch`, … with the field's type, explanation and
default. The function receives a dict of the values that stand on the command line; what is left out is not in it.

Builds on: `described`. Used by: the commands with many options.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

CONTEXT = "typer_context"  # the parameter by which Typer tells what stands on the command line


class OptionsOf:
    """Marks a parameter of type dict[str, Any] that receives the options made from a dataclass.

    source: a dataclass, or an instance of it whose values are shown as the defaults.
    only: the names of the fields that become options; None for every field that is described, or has a text in `help`.
    optional: whether no option is required and none has a default, for changes to something that is known later.
    defaults: by field name, in the place of the source's.
    panel: the heading of the help page for fields that name none themselves.
    help: explanations by field name, which take the place of the fields' own.
    """

    def __init__(
        self,
        source: Any,
        only: Collection[str] | None = None,
        *,
        optional: bool = False,
        defaults: Mapping[str, Any] | None = None,
        panel: str | None = None,
        help: Mapping[str, str] | None = None,
    ) -> None:
        self.source, self.only, self.optional, self.defaults = source, only, optional, defaults or {}
        self.panel, self.help = panel, help or {}

    def parameters(self) -> list[inspect.Parameter]:
        """One keyword-only parameter, annotated for Typer, for every field that becomes an option."""
        types = get_type_hints(self.source if isinstance(self.source, type) else type(self.source))
        types |= {field.name: typed for field in fields(self.source) if (typed := field.metadata.get("typed"))}
        return [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=self._default(field),
                annotation=Annotated[types[field.name] | None, self._option(field, types[field.name])],
            )
            for field in fields(self.source)
            if (field.name in self.only if self.only is not None else self._help(field) is not None)
        ]

    def _help(self, field: Field[Any]) -> str | None:
        return self.help.get(field.name, field.metadata.get("help"))

    def _default(self, field: Field[Any]) -> Any:
        if self.optional:
            return None
        if field.name in self.defaults:
            return self.defaults[field.name]
        default = field.default if isinstance(self.source, type) else getattr(self.source, field.name)
        return inspect.Parameter.empty if default is MISSING else default

    def _option(self, field: Field[Any], type_: Any) -> Any:
        names = [f"--{field.name.replace('_', '-')}"] if bool in (type_, *get_args(type_)) else []
        more = {"show_default": self._default(field) is not False, **field.metadata.get("option", {})}
        panel = field.metadata.get("panel") or self.panel
        return typer.Option(*names, help=self._help(field), rich_help_panel=panel, **more)


def expand_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same command for Typer, with a parameter for every option of its `OptionsOf` parameters.

    Options stand on the help page in the place of the parameter that they are made from.
    """
    groups: dict[str, list[str]] = {}
    expanded: list[inspect.Parameter] = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        marks = get_args(hints[name])[1:] if get_origin(hints[name]) is Annotated else ()
        mark = next((mark for mark in marks if isinstance(mark, OptionsOf)), None)
        made = [parameter.replace(annotation=hints[name])] if mark is None else mark.parameters()
        if mark is not None:
            groups[name] = [option.name for option in made]
        expanded += [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in made]
    context = next((name for name, hint in hints.items() if hint is typer.Context), None)
    if context is None:
        expanded.append(inspect.Parameter(CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        given = options_given(values[context] if context else values.pop(CONTEXT))
        for group, names in groups.items():
            options = {name: values.pop(name) for name in names}
            values[group] = {name: value for name, value in options.items() if name in given}
        return function(**values)

    vars(command)["__signature__"] = inspect.Signature(expanded)
    command.__annotations__ = {option.name: option.annotation for option in expanded}
    return command


def options_given(context: typer.Context) -> set[str]:
    """The names of the options that stand on the command line, in contrast to those that have their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
