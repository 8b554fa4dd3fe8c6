"""Adding rows up by place: the ways to do it agree, and the order of the additions is fixed."""

import numpy as np
import pytest

from tinygrad_llm.kernels.segments import WIDE, add_rows, add_sorted_runs


@pytest.mark.parametrize("width", [0, 1, 3, WIDE - 1, WIDE, WIDE + 5])
@pytest.mark.parametrize("rows", [0, 1, 50])
def test_sorting_and_adding_one_by_one_agree(rows, width):
    rng = np.random.default_rng(0)
    x, places = rng.standard_normal((rows, width)), rng.integers(0, 7, rows)
    wanted = np.zeros((9, width))
    for place, row in zip(places, x, strict=True):
        wanted[place] += row
    assert np.array_equal(add_rows(x, places, 9), wanted)
    np.testing.assert_allclose(add_sorted_runs(x, places, 9), wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("way", [add_rows, add_sorted_runs])
def test_dtype_is_kept_and_every_run_gives_the_same_bits(way):
    rng = np.random.default_rng(0)
    x, places = rng.standard_normal((500, 3)).astype(np.float32), rng.integers(0, 7, 500)
    first = way(x, places, 7)
    assert first.dtype == np.float32
    assert np.array_equal(first, way(x, places, 7))


def test_reversed_and_broadcast_rows():
    x, places = np.arange(6.0).reshape(3, 2)[::-1], np.array([1, 1, 0])
    assert add_rows(x, places, 2).tolist() == [[0.0, 1.0], [6.0, 8.0]]
    assert add_rows(np.broadcast_to(np.ones(2), (3, 2)), places, 2).tolist() == [[1.0, 1.0], [2.0, 2.0]]
