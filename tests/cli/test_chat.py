"""The command `chat`, from a pipe and in a terminal."""

import os
import select
import subprocess
import sys
import textwrap
import time

import pytest
from typer.testing import CliRunner

import tinygrad_llm as tg
from tinygrad_llm.cli.chat import COMMANDS
from tinygrad_llm.cli.main import app
from tinygrad_llm.text import Tokenizer

tokenizer = Tokenizer.train("", 258, special_tokens=("<|im_start|>", "<|im_end|>"))
START, END = 256, 257


class Template:
    def encode(self, messages, tokenizer):
        parts = [part for m in messages for part in (START, f"{m['role']}\n{m['content']}", END, "\n")]
        return tokenizer.encode_parts([*parts, START, "assistant\n"])


def make() -> tg.LanguageModel:
    """A model that can hold a conversation, if it is made to say nothing but a, b, c and the end of its turn."""
    config = tg.TransformerConfig.llama(vocab_size=258, context=300, layers=1, heads=2, width=16, tied=False)
    network = tg.Transformer(config)
    network.head.weight.data *= 10.0
    return tg.LanguageModel(network, tokenizer, Template(), stop_tokens=[END])


SAMPLER = "logit_bias={97: 20, 98: 20, 99: 20, 257: 17}, min_p=0.001, temperature=0.7"
OPTIONS = ["--seed", "5", "--max-tokens", "12", "--sampler", SAMPLER]


@pytest.fixture
def model(monkeypatch) -> tg.LanguageModel:
    model = make()
    monkeypatch.setattr(tg.LanguageModel, "load", lambda name: model)
    return model


def run(lines: str, *options: str):
    result = CliRunner().invoke(app, ["chat", "small", *options], input=lines, terminal_width=100)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def session(model, **options) -> tg.ChatSession:
    return tg.ChatSession(model, **{"seed": 5, "max_tokens": 12, "sampler": SAMPLER} | options)


def say(chat, text) -> str:
    return "".join(chat.say(text))


def test_from_a_pipe_only_the_replies_are_written(model):
    chat = session(model)
    replies = [say(chat, text) for text in ("Hello", "you there", "Bye")]
    assert len(set(replies)) == 3
    result = run("Hello\n  you there  \n\nBye", *OPTIONS)
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout == "".join(reply + "\n" for reply in replies)


def test_commands(model):
    chat = session(model, system="Be kind.")
    replies = [say(chat, "Hello")]
    chat.reset()
    chat.system, chat.seed = "Be brief, please.", 7
    replies.append(say(chat, "Hello"))
    lines = "Hello\n/system\n/reset\n/system  Be brief, please. \n/seed 7\n/seed\nHello\n/quit\nnever said\n"
    assert run(lines, "--system", "Be kind.", *OPTIONS).stdout.splitlines() == [
        replies[0],
        "system: Be kind.",
        "A new conversation.",
        "system: Be brief, please.",
        "seed 7",
        "seed 7",
        replies[1],
    ]
    assert all(command in run("/help").stdout for command in COMMANDS)
    assert "as the chat template says" in run("/system").stdout


def test_why_shows_each_token_and_what_else_could_have_been(model):
    reply, header, *table, caption = run("Hello\n/why\n", *OPTIONS).stdout.splitlines()
    assert header.split() == ["token", "p", "sampled", "instead"] and caption.startswith("p: ")
    chat = session(model)
    assert say(chat, "Hello") == reply and len(table) == len(reply)
    for row, why, letter in zip(table, chat.why(), reply, strict=True):
        name, *numbers = row.replace("█", " ").split()
        assert name == repr(letter)
        p, drawn = (float(number) for number in [part for part in numbers if part[0] in "01"][:2])
        assert p == pytest.approx(float(f"{2.718281828459045**why.said.log_p:.4f}"), abs=1e-4)
        assert drawn == pytest.approx(2.718281828459045**why.sampled_log_p, abs=1e-4)
        assert row.count("0.") >= 4  # beside the two at least two others


def test_mistakes_are_said_on_the_side_and_the_conversation_goes_on(model):
    result = run("/why\n/dance\n/seed -1\n/seed\nHello\n" + "x" * 300 + "\nHello\n", *OPTIONS)
    assert result.exit_code == 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert [
        any(word in error for word in words)
        for error, words in zip(
            errors,
            (["no reply yet"], ["no command /dance"], ["whole number of at least 0, it was '-1'"], ["tokens long"]),
            strict=True,
        )
    ] == [True] * 4
    chat = session(model)
    assert result.stdout.splitlines() == ["seed 5", say(chat, "Hello"), say(chat, "Hello")]


def test_what_cannot_be_asked_for_ends_the_program(model):
    assert run("", "--max-tokens", "0").exit_code == 2
    with pytest.raises(tg.InputError, match="top_p must be"):
        run("", "--top-p", "7")
    with pytest.raises(tg.InputError, match="beside it"):
        run("", "--sampler", SAMPLER, "--top-k", "7")
    model.chat_template = None
    with pytest.raises(tg.InputError, match="no chat template"):
        run("Hello")


def test_ctrl_c_ends_a_reply_and_not_the_conversation(model):
    """The fourth token is never drawn; what was said until then is remembered."""
    passes = []

    def interrupt(module, inputs, output):
        passes.append(1)
        if len(passes) == 4:
            raise KeyboardInterrupt

    model.network.register_forward_hook(interrupt)
    model.network.blocks[0].register_forward_hook(interrupt)
    interrupted, stopped, reply = run("Hello\nAnd?\n", *OPTIONS).stdout.splitlines()
    assert stopped == "(stopped)" and len(interrupted) == 3
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": interrupted}]
    assert say(session(model, history=history), "And?") == reply


# --- in a terminal ----------------------------------------------------------------------------------------------

PROGRAM = """
import sys, time
sys.path.insert(0, {folder!r})
from test_chat import make
import tinygrad_llm as tg
from tinygrad_llm.cli.main import main

model = make()
tg.LanguageModel.load = lambda name: model
model.network.blocks[0].register_forward_hook(lambda *_: time.sleep(0.05))  # so that there is something to interrupt
sys.argv = ["tinygrad-llm", "chat", "small", "--seed", "5", "--sampler", "logit_bias={{97: 60}}"]  # a, a, a, …
main()
"""


PATIENCE = 60.0  # seconds


class Terminal:
    """A program in a terminal of its own, and what it has shown so far."""

    def __init__(self, program: str) -> None:
        # The screen stays open here too: until the program has opened it, nobody else holds the terminal together.
        self.keyboard, self.screen = os.openpty()
        # A new session gets the terminal that it opens first: from then on Ctrl-C reaches the program.
        command = ["sh", "-c", f'exec "$0" -c "$1" < {os.ttyname(self.screen)} > {os.ttyname(self.screen)} 2>&1']
        self.process = subprocess.Popen([*command, sys.executable, program], start_new_session=True)
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def wait_for(self, text: str, *, pressing: str = "") -> str:
        """What was shown up to `text`, which is waited for. pressing: keys, again and again until it is shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            self.type(pressing)
            left = deadline - time.monotonic()
            there_is_more, _, _ = select.select([self.keyboard], [], [], min(left, 2.0) if pressing else left)
            assert there_is_more or (pressing and left > 0.0), f"waiting for {text!r}, there was {self.shown!r}"
            if there_is_more:
                self.shown += os.read(self.keyboard, 4096).decode()
        before, self.shown = self.shown.split(text, 1)
        return before


@pytest.fixture
def terminal():
    terminal = Terminal(textwrap.dedent(PROGRAM.format(folder=os.path.dirname(__file__))))
    yield terminal
    terminal.process.kill()
    terminal.process.wait()
    os.close(terminal.keyboard)
    os.close(terminal.screen)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_in_a_terminal(terminal):
    assert "seed 5" in terminal.wait_for("> ")
    terminal.type("Hello\n")
    terminal.wait_for("aaa")  # the reply is being written, a token each twentieth of a second
    terminal.type("\x03")
    terminal.wait_for("(stopped)")
    terminal.wait_for("> ")
    terminal.type("half a line")
    terminal.wait_for("half a line")
    # CPython notices a Ctrl-C that comes just before readline waits for keys only at the next one.
    terminal.wait_for("Ctrl-D or /quit ends", pressing="\x03")
    terminal.wait_for("> ")
    terminal.type("/why\n")
    terminal.wait_for("instead")
    terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.process.wait(PATIENCE) == 0
