"""Options made from a dataclass: names, types, defaults and explanations come from its fields."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from tinygrad_llm.cli.options import OptionsOf, expand_options, options_given
from tinygrad_llm.described import described


@dataclass(frozen=True)
class Brew:
    grams: float = described("Coffee, in grams.", 15.0, panel="Beans")
    method: Literal["filter", "press"] = described("How it is made.", "filter")
    cups: int | None = described("How many cups.", None, show_default="as many as guests", min=1)
    decaf: bool = described("Without caffeine.", False)
    guests: list[str] | None = described("Who drinks it.", None)
    note: str = "not an option"


def run(*arguments: str, marks: OptionsOf):
    """What the command receives from these arguments, or the output of its failure."""
    received = []

    def brew(place: str, options: Annotated[dict[str, Any], marks], loud: bool = False) -> None:
        """Brew coffee."""
        received.append((place, options, loud))

    app = typer.Typer()
    app.command()(expand_options(brew))
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120", "TERM": "dumb"})
    return received[0] if result.exit_code == 0 and received else result.output


def test_only_what_is_given_arrives_and_has_its_type():
    assert run("kitchen", marks=OptionsOf(Brew)) == ("kitchen", {}, False)
    line = "kitchen --grams 18 --method press --cups 2 --decaf --guests Ada --guests Alan --loud"
    given = {"grams": 18.0, "method": "press", "cups": 2, "decaf": True, "guests": ["Ada", "Alan"]}
    assert run(*line.split(), marks=OptionsOf(Brew)) == ("kitchen", given, True)
    assert Brew(**given).guests == ["Ada", "Alan"]


@pytest.mark.parametrize(
    "wrong", ["--grams much", "--method boil", "--cups 0", "--cups 1.5", "--note tea", "--no-decaf", "--decaf=yes"]
)
def test_wrong_values_and_fields_that_are_not_described_are_refused(wrong):
    assert wrong.split()[0].split("=")[0] in run("kitchen", *wrong.split(), marks=OptionsOf(Brew))


def test_the_help_page_shows_the_explanations_and_the_defaults():
    page = run("--help", marks=OptionsOf(Brew))
    assert "Beans" in page and "Brew coffee." in page
    assert "Coffee, in grams. [default: 15.0]" in page
    assert "How many cups. [default: (as many as guests)]" in page
    assert "filter|press" in page and "How it is made. [default: filter]" in page
    assert "default: False" not in page and "note" not in page


def test_a_field_without_a_default_is_required_and_a_command_may_ask_for_the_context():
    @dataclass
    class Guest:
        name: str = described("Who it is.")

    def greet(command: typer.Context, guest: Annotated[dict[str, Any], OptionsOf(Guest)], loud: bool = False) -> None:
        typer.echo(f"{guest} {sorted(options_given(command))}")

    app = typer.Typer()
    app.command()(expand_options(greet))
    assert "Missing option '--name'" in CliRunner().invoke(app, []).output
    assert CliRunner().invoke(app, ["--name", "Ada", "--loud"]).output == "{'name': 'Ada'} ['loud', 'name']\n"


def test_an_instance_gives_the_defaults_and_a_command_may_choose_and_explain():
    marks = OptionsOf(Brew(grams=20.0), only=("grams", "note"), panel="Chosen", help={"note": "What to say."})
    page = run("--help", marks=marks)
    assert "default: 20.0" in page and "What to say." in page and "Chosen" in page and "method" not in page
    assert run("kitchen", "--note", "hot", marks=marks) == ("kitchen", {"note": "hot"}, False)


def test_changes_have_no_defaults_and_none_is_required():
    @dataclass
    class Shape:
        layers: int
        heads: int = 2

    marks = OptionsOf(Shape, optional=True, help={"layers": "Layers.", "heads": "Heads."})
    assert run("kitchen", marks=marks) == ("kitchen", {}, False)
    assert run("kitchen", "--heads", "4", marks=marks) == ("kitchen", {"heads": 4}, False)
    assert "default: 2" not in run("--help", marks=marks)

    marks = OptionsOf(Shape, defaults={"layers": 3}, help={"layers": "Layers.", "heads": "Heads."})
    assert run("kitchen", marks=marks) == ("kitchen", {}, False)
    assert all(f"default: {number}" in run("--help", marks=marks) for number in (2, 3))
