"""The learning curve shows what the run wrote down, in both units, and is a whole PNG file or none."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import InputError, MachineError
from tinygrad_llm.pictures.learning_curve import learning_curve, save_picture, smoothed
from tinygrad_llm.training.events import Evaluated, Stepped

PNG = b"\x89PNG\r\n\x1a\n"


def step(number, loss):
    return Stepped(number, 40, loss, 1e-3, 1.0, 64, 0.1, 0.1 * number)


def events():
    steps = [step(n, 5.0 / n**0.2) for n in range(1, 41)]
    return [
        Evaluated(0, 5.6, 4.2, None),
        *steps[:20],
        Evaluated(20, 3.0, 2.25, 3.4),
        *steps[20:],
        Evaluated(40, 2.8, 2.1, 2.6),
    ]


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_both_curves_are_what_the_events_say():
    drawn = lines(learning_curve(events(), "a run").axes[0])
    held_out = drawn["held-out text, never trained on"]
    np.testing.assert_array_equal(held_out.get_xdata(), [0, 20, 40])
    np.testing.assert_array_equal(held_out.get_ydata(), [5.6, 3.0, 2.8])
    training = drawn["training text, smoothed"]
    np.testing.assert_array_equal(training.get_xdata(), np.arange(1, 41))
    np.testing.assert_array_equal(training.get_ydata(), smoothed([5.0 / n**0.2 for n in range(1, 41)]))


def test_the_axis_on_the_right_is_bits_per_byte_of_the_same_curve():
    figure = learning_curve(events(), "a run")
    figure.canvas.draw()
    left, (right,) = figure.axes[0], figure.axes[0].child_axes
    assert left.get_ylabel() == "nats per token" and right.get_ylabel() == "bits per byte"
    np.testing.assert_allclose(right.get_ylim(), np.array(left.get_ylim()) * 2.1 / 2.8, rtol=1e-12)


def test_words_say_where_it_ended_and_what_knowing_nothing_costs():
    figure = learning_curve(events(), "a run", "4 parameters", vocab_size=300)
    assert "2.80 nats per token\n2.10 bits per byte" in words(figure)
    assert f"knowing nothing: ln 300 = {math.log(300):.2f}" in words(figure)
    assert figure.axes[0].get_title(loc="left") == "a run" and "4 parameters" in words(figure)


def test_a_model_that_others_trained_begins_far_below_ignorance():
    """And the held-out text may be easier than the training text: every point is inside the axes."""
    tuned = [Evaluated(0, 3.6, 1.8, None), *(step(n, 4.1) for n in range(1, 9)), Evaluated(8, 3.3, 1.65, 4.1)]
    figure = learning_curve(tuned, "a tuned run", vocab_size=49_152)
    low, high = figure.axes[0].get_ylim()
    assert 2.9 < low < 3.3 < 4.1 < high < 4.5
    assert not any("knowing nothing" in word for word in words(figure))


def test_a_run_that_was_never_evaluated_has_one_axis():
    axes = learning_curve([step(1, 5.0), step(2, 4.0)], "a run").axes[0]
    assert not axes.child_axes and "held-out text, never trained on" not in lines(axes)


def test_a_loss_that_explodes_leaves_the_rest_visible():
    axes = learning_curve([step(1, 5.0), step(2, 4.0), step(3, 900.0)], "a run").axes[0]
    assert axes.get_ylim()[1] < 7


def test_no_steps_is_a_mistake():
    with pytest.raises(InputError, match="no steps"):
        learning_curve([Evaluated(0, 5.6, 4.2, None)], "a run")


def test_the_file_is_a_png_and_there_was_no_window(tmp_path):
    save_picture(learning_curve(events(), "a run", "4 parameters", 300), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_the_same_run_gives_the_same_picture(tmp_path):
    for name in ("one", "two"):
        save_picture(learning_curve(events(), "a run"), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_disk_that_is_full_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MachineError, match="disk is full"):
        save_picture(learning_curve(events(), "a run"), path)
    assert path.read_bytes() == b"old"


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=300))
def test_smoothing_stays_among_the_losses_and_begins_with_the_first(losses):
    result = smoothed(losses)
    assert result.shape == (len(losses),)
    assert result[0] == pytest.approx(losses[0], rel=1e-9)
    assert result.min() >= min(losses) - 1e-9 and result.max() <= max(losses) + 1e-9


@given(st.integers(1, 400), st.floats(-1.0, 1.0))
def test_smoothing_does_not_lag_behind_a_straight_line(count, slope):
    line = 5.0 + slope * np.arange(count)
    reach = round(0.02 * count)
    inner = slice(0, count - reach)
    np.testing.assert_allclose(smoothed(line)[inner], line[inner], rtol=1e-9, atol=1e-9)
