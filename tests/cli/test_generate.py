"""The commands `generate` and `next`, as a user sees them."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli import main as main_module
from tinygrad_llm.cli.generate import CONTROL_PICTURES
from tinygrad_llm.cli.main import app, main
from tinygrad_llm.drawing.svg import on_paper
from tinygrad_llm.errors import InputError
from tinygrad_llm.generation.sampler_chain import PROCESSORS
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.training.run_folder import RunFolder
from tinygrad_llm.training.settings import TrainingSettings

TEXT = "ROMEO: O, she doth teach the torches to burn bright! JULIET: Good pilgrim, you do wrong your hand too much."


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    tokenizer = Tokenizer.train(TEXT, 290)
    config = tg.TransformerConfig.gpt2(vocab_size=290, context=24, layers=2, heads=2, width=16)
    network = tg.Transformer(config)
    for parameter in network.parameters():
        parameter.data *= 4.0
    path = tmp_path_factory.mktemp("runs") / "small"
    RunFolder.create(path, config, TrainingSettings(steps=1), tokenizer).save_model(network.state_dict())
    return str(path)


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_generate_writes_the_prompt_and_goes_on(folder):
    result = run("generate", folder, "ROMEO:", "--seed", 4, "--max-tokens", 30)
    assert result.exit_code == 0
    assert result.stdout == "ROMEO:" + tg.load(folder).generate("ROMEO:", max_tokens=30, seed=4) + "\n"
    assert result.stderr == ""


def test_options_reach_the_model(folder):
    options = ["--max-tokens", 20, "--temperature", 1.3, "--top-k", 30, "--top-p", 0.9, "--min-p", 0.01, "--seed", 2]
    same = {"temperature": 1.3, "top_k": 30, "top_p": 0.9, "min_p": 0.01, "seed": 2}
    text = tg.load(folder).generate("O", 20, **same)
    assert run("generate", folder, "O", *options).stdout == f"O{text}\n"
    first, second = text[8:10], text[4:6]
    stopped = run("generate", folder, "O", *options, "--stop", first, "--stop", second).stdout
    assert stopped == "O" + tg.load(folder).generate("O", 20, **same, stop=[first, second]) + "\n"
    assert len(stopped) < len(text)


def test_a_text_of_a_given_shape(folder, tmp_path):
    said = run("generate", folder, "O", "--regex", r"\d{4}-\d\d", "--samples", 2, "--seed", 1).stdout
    assert re.fullmatch(r"(--- . of 2, seed . ---\nO\d{4}-\d\d\n){2}", said)
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}')
    assert run("generate", folder, "O", "--json-schema", schema).stdout in ('O{"a": true}\n', 'O{"a": false}\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("null", "holds null"), ('{"minimum": 1}', "minimum")],
)
def test_a_file_that_is_no_schema(folder, tmp_path, content, message):
    schema = tmp_path / "schema.json"
    schema.write_text(content)
    with pytest.raises(InputError, match=message):
        run("generate", folder, "O", "--json-schema", schema)
    with pytest.raises(InputError, match="no file"):
        run("generate", folder, "O", "--json-schema", tmp_path / "none.json")


def test_a_draft_tells_on_the_side_how_good_it_was(folder):
    expected = run("generate", folder, "O", "--temperature", 0, "--max-tokens", 40)
    for draft in ("prompt-lookup", folder):
        result = run("generate", folder, "O", "--temperature", 0, "--max-tokens", 40, "--draft", draft)
        assert result.stdout == expected.stdout
        assert re.search(r"40 tokens in \d+ passes of the model, .* per pass; \d+ of \d+ proposals", result.stderr)


def test_without_a_seed_one_is_told_on_the_side_and_repeats_the_text(folder):
    result = run("generate", folder, "O")
    seed = result.stderr.split()[1]
    assert f"--seed {seed}" in result.stderr
    assert run("generate", folder, "O", "--seed", seed).stdout == result.stdout


def test_at_temperature_zero_there_is_no_seed_to_tell(folder):
    first, second = (run("generate", folder, "O", "--temperature", 0) for _ in range(2))
    assert first.stdout == second.stdout and first.stderr == ""


def test_several_samples_each_with_a_seed_of_its_own(folder):
    said = run("generate", folder, "O", "--samples", 3, "--seed", 10, "--max-tokens", 8).stdout
    texts = [run("generate", folder, "O", "--seed", 10 + i, "--max-tokens", 8).stdout for i in range(3)]
    assert said == "".join(f"--- {i + 1} of 3, seed {10 + i} ---\n{text}" for i, text in enumerate(texts))
    assert len(set(texts)) > 1


def test_an_empty_prompt_begins_a_text(folder):
    assert run("generate", folder, "--seed", 1).stdout == run("generate", folder, "", "--seed", 1).stdout


def test_pieces_are_shown_as_they_are_drawn(folder, monkeypatch):
    """Each piece is written and flushed before the next one is asked for."""
    flushed = []

    def stream(self, *args, **options):
        for piece in ("one ", "two"):
            yield piece
            flushed.append(sys.stdout.buffer.getvalue().decode())

    monkeypatch.setattr(tg.LanguageModel, "stream", stream)
    assert run("generate", folder, "P ", "--seed", 1).stdout == "P one two\n"
    assert flushed == ["P one ", "P one two"]


def test_control_characters_cannot_reach_a_terminal():
    assert "a\x1b[2J\x07\n\tb\x7f\x9b".translate(CONTROL_PICTURES) == "a␛[2J␇\n\tb��"


def test_next_shows_the_top_ten_and_that_all_sum_to_one(folder):
    lines = run("next", folder, "ROMEO:").stdout.splitlines()
    assert len(lines) == 12
    top = tg.load(folder).next_word("ROMEO:").top(10)
    assert [line.split()[-1] for line in lines[:10]] == [f"{c.probability:.4f}" for c in top]
    assert lines[10].startswith("the other 280 tokens")
    assert lines[11].startswith("all 290 tokens") and lines[11].split()[-1] == "1.000000"


EVERY_OPTION = {
    "logit_bias": "{'O': -2, 66: -inf}",
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "no_repeat_ngrams": 3,
    "temperature": 1.3,
    "top_k": 100,
    "typical": 0.95,
    "top_p": 0.9,
    "min_p": 0.001,
}


def test_every_stage_is_an_option_and_all_together_are_the_usual_chain(folder):
    options = [word for name, value in EVERY_OPTION.items() for word in (f"--{name.replace('_', '-')}", value)]
    said = run("generate", folder, "O", "--seed", 2, "--max-tokens", 20, *options).stdout
    assert said == "O" + tg.load(folder).generate("O", 20, seed=2, **EVERY_OPTION) + "\n"
    chain = ", ".join(f"{name}={value}" for name, value in EVERY_OPTION.items())
    assert run("generate", folder, "O", "--seed", 2, "--max-tokens", 20, "--sampler", chain).stdout == said
    assert list(EVERY_OPTION) == list(PROCESSORS)


def test_the_stages_of_a_sampler_work_in_their_order(folder):
    """The likeliest of all tokens, or the likeliest of those that temperature lets win."""
    greedy = run("generate", folder, "O", "--temperature", 0, "--max-tokens", 9).stdout
    for chain in ("top_k=1, temperature=5", "min_p=1, temperature=5"):
        assert run("generate", folder, "O", "--sampler", chain, "--max-tokens", 9, "--seed", 1).stdout == greedy


def test_a_beam_shows_the_most_probable_texts_and_how_probable_they_are(folder):
    found = tg.load(folder).beam_search("O", 4, 9)
    assert run("generate", folder, "O", "--beam", 4, "--max-tokens", 9).stdout == f"O{found[0]}\n"
    lines = run("generate", folder, "O", "--beam", 4, "--max-tokens", 9, "--samples", 2)
    assert lines.stderr == ""  # nothing was drawn
    for number, one in enumerate(found[:2], start=1):
        log_p = one.log_probability
        assert f"--- {number} of 2, log p {log_p:.2f}, {log_p / 9:.3f} per token ---\nO{one}\n" in lines.stdout
    long = run("generate", folder, "O", "--beam", 4, "--length-penalty", 1.0, "--no-repeat-ngrams", 1)
    (best, *_) = tg.load(folder).beam_search("O", 4, 200, length_penalty=1.0, no_repeat_ngrams=1)
    assert long.stdout == f"O{best}\n" and len(best.ids) == 24


def test_the_best_of_several(folder):
    said = run("generate", folder, "O", "--best-of", 5, "--seed", 3, "--max-tokens", 9, "--top-k", 50)
    assert said.stdout == "O" + tg.load(folder).best_of("O", 5, 9, seed=3, top_k=50)[0] + "\n"
    without_seed = run("generate", folder, "O", "--best-of", 5, "--max-tokens", 9)
    seed = without_seed.stderr.split()[1]
    assert run("generate", folder, "O", "--best-of", 5, "--max-tokens", 9, "--seed", seed).stdout == without_seed.stdout


def test_what_else_each_token_could_have_been(folder):
    said = run("generate", folder, "O", "--seed", 4, "--max-tokens", 6, "--alternatives").stdout
    written = tg.load(folder).generate("O", 6, seed=4)
    assert said.startswith(f"O{written}\n")
    lines = said[len(f"O{written}\n") :].splitlines()
    assert lines[0].split() == ["token", "p", "rank", "instead"] and len(lines) == 7
    table = tg.load(folder).alternatives(written).as_text(80).splitlines()
    assert [line.split() for line in lines] == [line.split() for line in table]
    ended = tg.load(folder).tokenizer.end_of_text
    nothing = run("generate", folder, "O", "--seed", 4, "--alternatives", "--logit-bias", f"{{{ended}: 1000}}")
    assert nothing.stdout == "O\n" and nothing.exit_code == 0
    both = run("generate", folder, "O", "--beam", 2, "--max-tokens", 3, "--alternatives").stdout
    assert "instead" in both


def test_next_behind_a_sampler(folder):
    lines = run("next", folder, "ROMEO:", "--sampler", "temperature=2, top_k=3").stdout.splitlines()
    top = tg.load(folder).next_word("ROMEO:").stages("temperature=2, top_k=3").distributions[-1].top(3)
    assert [line.split()[-1] for line in lines[:3]] == [f"{c.probability:.4f}" for c in top]
    assert "0.0000" in lines[3] and "1.000000" in lines[4]


def test_next_stage_by_stage(folder, tmp_path):
    arguments = ["next", folder, "ROMEO:", "--sampler", "min_p=0.1, temperature=1.5", "--stages", "--top", 4]
    said = run(*arguments, "--save", tmp_path / "stages.svg").stdout
    picture = tg.load(folder).next_word("ROMEO:").stages("min_p=0.1, temperature=1.5", 4)
    assert [line.rstrip() for line in said.splitlines()] == picture.as_text(80).splitlines()
    assert (tmp_path / "stages.svg").read_text(encoding="utf-8") == on_paper(picture.svg()) + "\n"


def test_next_as_a_tree(folder, tmp_path):
    options = ["--tree", "--depth", 2, "--branches", 2, "--mass", 0.5, "--least", 1e-6]
    said = run("next", folder, "ROMEO:", *options, "--save", tmp_path / "tree.html").stdout
    tree = tg.load(folder).tree("ROMEO:", 2, 2, mass=0.5, least=1e-6)
    assert [line.rstrip() for line in said.splitlines()] == tree.as_text().splitlines()
    assert tree.svg() in (tmp_path / "tree.html").read_text(encoding="utf-8")
    greedy = run("next", folder, "ROMEO:", *options, "--sampler", "temperature=0").stdout.splitlines()
    assert len(greedy) == 4 and "others" not in "".join(greedy)


def test_next_shows_as_many_as_asked(folder):
    assert len(run("next", folder, "ROMEO:", "--top", 3).stdout.splitlines()) == 5


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "-1"], "temperature must be"),
        (["--top-p", "1.5"], "top_p must be"),
        (["--min-p", "2"], "min_p must be"),
        (["--stop", ""], "stop must be"),
        (["--typical", "2"], "typical must be"),
        (["--logit-bias", "O"], "logit_bias must be written like"),
        (["--sampler", "topk=3"], "sampler: there is no stage 'topk'"),
        (["--sampler", "top_k=3", "--top-k", "3"], "sampler is the whole sampler chain"),
        (["--beam", "0"], "beams must be an integer of at least 1"),
        (["--best-of", "0"], "count must be an integer of at least 1"),
        (["--beam", "2", "--best-of", "2"], "--beam searches for a text and --best-of samples some"),
        (["--beam", "2", "--draft", "prompt-lookup"], "--draft works with sampling one text"),
    ],
)
def test_values_that_cannot_be_are_all_that_is_said(folder, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tinygrad-llm", "generate", folder, "O", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.err.startswith(f"Error: {message}") and said.err.count("\n") == 1 and said.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stages", "--tree"], "--tree and --stages are two pictures"),
        (["--save", "x.svg"], "--save needs --stages or --tree"),
        (["--stages", "--save", "x.png"], "save: path must end in .svg or .html"),
        (["--tree", "--least", "0"], "least must be above 0"),
        (["--tree", "--depth", "99"], "depth: 1 tokens and then 99"),
        (["--sampler", "temperature=-1"], "temperature must be"),
    ],
)
def test_pictures_that_cannot_be_are_all_that_is_said(folder, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tinygrad-llm", "next", folder, "O", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.err.startswith(f"Error: {message}") and said.err.count("\n") == 1 and said.out == ""


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--max-tokens", "0"], ["--samples", "0"], ["--top-k", "x"]])
def test_values_that_are_refused_by_the_command_line_itself(folder, arguments):
    assert run("generate", folder, "O", *arguments).exit_code == 2


def broken(folder, tmp_path, name, data):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (tmp_path.__class__(folder) / file).read_bytes()
        if file == name:
            content = data(content)
        if content is not None:
            (copy / file).write_bytes(content)
    return str(copy)


DAMAGE = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "rubbish": lambda content: b"\xff" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("command", ["generate", "next"])
def test_a_damaged_run_ends_in_one_sentence(folder, tmp_path, name, damage, command, monkeypatch, capsys):
    path = broken(folder, tmp_path, name, DAMAGE[damage])
    monkeypatch.setattr(sys, "argv", ["tinygrad-llm", command, path, "O"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.err.startswith("Error: ") and len(said.err.splitlines()) == 1 and said.out == ""


def test_brackets_in_an_error_are_shown_as_they_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tinygrad-llm", "next", "runs/[bold]", "O"])
    with pytest.raises(SystemExit):
        main_module.main()
    assert "runs/[bold]" in capsys.readouterr().err


def command(*arguments, **options):
    code = "from tinygrad_llm.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, timeout=60, check=False, **options
    )


def test_as_a_process_of_its_own(folder):
    done = command("generate", folder, "ROMEO:", "--seed", "4", "--max-tokens", "30")
    assert done.returncode == 0
    assert done.stdout.decode() == "ROMEO:" + tg.load(folder).generate("ROMEO:", max_tokens=30, seed=4) + "\n"


def test_a_mistake_as_a_process_of_its_own(folder):
    done = command("generate", "no/such/folder", "ROMEO:")
    assert done.returncode == 2
    assert b"Error: there is no folder no/such/folder" in done.stderr and b"Traceback" not in done.stderr


def test_a_terminal_that_knows_no_bars_is_no_error(folder):
    done = command("next", folder, "ROMEO:", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert b"?" in done.stdout and b"1.000000" in done.stdout
