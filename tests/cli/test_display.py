"""What a run looks like: the figures are those of the events, a terminal is left in order, a file gets plain lines."""

import io

import pytest
from rich.console import Console

from tinygrad_llm.cli.display import LineDisplay, LiveDisplay, Readings, clock, result, sparkline, training_display
from tinygrad_llm.training.events import Evaluated, Finished, Resumed, Stepped


def step(number, loss=3.0, seconds=0.5, total=100):
    return Stepped(number, total, loss, 1e-3, 1.0, 1000, seconds, number * seconds)


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None, highlight=False)


def shown(display):
    return display.console.file.getvalue()


def test_readings_are_means_of_the_recent_past():
    now = Readings()
    for number in range(1, 61):
        now.take(step(number, loss=9.0 if number <= 10 else 2.0, seconds=1.0 if number <= 30 else 0.25))
    assert now.loss == 2.0  # the last fifty steps
    assert now.tokens_per_second == pytest.approx(1000 * 33 / 9.75, rel=0.1)  # the last ten seconds
    assert (now.step, now.total_steps, now.lr) == (60, 100, 1e-3)


def test_time_left_is_at_the_pace_of_the_whole_run():
    now = Readings()
    now.take(Stepped(25, 100, 3.0, 1e-3, 1.0, 1000, 0.1, 50.0))
    assert now.seconds_left == 150.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (3765, "1:02:45"), (-1, "0:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_sparkline_shows_the_fall_and_then_the_detail():
    assert sparkline([4.0, 3.0, 2.0, 1.0]).plain == "█▆▃▁"
    assert sparkline([1.0]).plain == "▁" and sparkline([2.0] * 5).plain == "▁▁▁▁▁"
    falling = sparkline([100.0] * 10 + [3.0 - i / 1000 for i in range(990)], width=20).plain
    assert falling[0] == "█" and falling[-1] == "▁" and len(set(falling)) > 4 and len(falling) == 20


def test_a_terminal_gets_the_live_view_and_a_file_gets_lines():
    assert isinstance(training_display(console(True)), LiveDisplay)
    assert isinstance(training_display(console(False)), LineDisplay)


def run_on(display):
    with display:
        display.show(Evaluated(0, 6.9, 4.1, None))
        display.show_sample("KING:", " first \x1b[2J[Exeunt]\nwords")
        for number in range(1, 51):
            display.show(step(number, 7.0 - number / 20))
        display.show(Evaluated(50, 4.5, 2.7, 5.5))
        display.show_sample("KING:", " second words")
    display.show_end(Finished(50, 25.0, 4.5, 2.7, 2.7, 50), "KING:", " a page", [("Write", "tinygrad-llm generate x")])
    return shown(display)


def test_a_file_gets_one_line_per_evaluation_and_no_samples():
    lines = run_on(LineDisplay(console(False))).splitlines()
    assert lines == [
        "step 0, validation loss 6.9000, 4.1000 bits per byte",
        "step 50 of 100, training loss 5.5000, validation loss 4.5000, 2.7000 bits per byte, learning rate 1.00e-03, "
        "2,000 tokens per second, 0:25 left",
        "Trained 50 steps in 0:25. On text it has never seen it needs 2.700 bits per byte; knowing nothing is 8.",
        "Write: tinygrad-llm generate x",
    ]


def test_a_terminal_gets_samples_figures_and_what_to_do_next():
    text = run_on(LiveDisplay(console(True)))
    for words in (
        "step 50",
        "4.500",
        "2.700",
        "second words",
        "a page",
        "tokens per second",
        "tinygrad-llm generate x",
    ):
        assert words in text
    assert "step 50 of 100, 0:25 left" in text


def test_what_a_model_writes_is_neither_markup_nor_control_characters():
    text = run_on(LiveDisplay(console(True)))
    assert "␛[2J[Exeunt]" in text and "\x1b[2J" not in text


def test_the_cursor_is_there_again_after_an_error():
    display = LiveDisplay(console(True))
    with pytest.raises(RuntimeError), display:
        display.show(step(1))
        raise RuntimeError
    hide, show_again = "\x1b[?25l", "\x1b[?25h"
    assert shown(display).rfind(show_again) > shown(display).rfind(hide) >= 0


def test_a_resumed_run_says_where_it_goes_on_and_what_was_damaged():
    display = LineDisplay(console(False))
    display.show(Resumed(40, path=None, damaged=("step-50 is damaged.",)))
    assert shown(display).splitlines() == ["Passed over: step-50 is damaged.", "Going on after step 40."]


def test_the_result_says_when_it_was_best():
    assert "best" not in " ".join(result(Finished(100, 60.0, 3.0, 2.2, 2.2, 100)))
    assert "best after step 70, with 2.100 bits" in " ".join(result(Finished(100, 60.0, 3.0, 2.2, 2.1, 70)))
