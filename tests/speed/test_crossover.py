"""Where an autoregressive decoder overtakes, and how sure that is."""

import math

import numpy as np
import pytest

from magnet_eval import speed
from magnet_eval.records import Timing
from magnet_eval.speed import crossover

FAMILIES = {"magnet": "masked", "musicgen": "autoregressive"}
STEADY = (0.99, 0.995, 1.0, 1.005, 1.01)


def timings(label, latencies, spread=STEADY, seconds=10.0, dtype="float32"):
    """Whole calls by batch size, each its latency times the spread."""
    return [
        Timing(label, "total", batch, seconds, tuple(value * s for s in spread), "cpu", dtype, 50, 100)
        for batch, value in latencies.items()
    ]


def found(*series, families=FAMILIES):
    rows = crossover.crossover([one for part in series for one in part], families, ("quick", 1))
    return [r for r in rows if r.metric == speed.SPEEDUP_VS], [r for r in rows if r.metric == speed.CROSSOVER_BATCH]


def test_crossing_is_exact_for_a_power_law():
    """A ratio of 7 / B falls below 1 at 7, wherever the batch sizes lie."""
    for batches in ([1, 2, 4, 8, 16], [1, 64], [3, 6, 9]):
        ratios = 7 / np.array(batches, dtype=float)
        assert crossover.crossing(batches, ratios[None])[0] == pytest.approx(7)


def test_crossing_outside_of_what_was_timed():
    at = crossover.crossing([1, 2, 4], np.array([[9.0, 5, 2], [0.5, 0.2, 0.1], [2, 1, 1], [2, 0.5, 3]]))
    assert at[0] == math.inf and at[1] == 0 and at[2] == math.inf
    assert at[3] == pytest.approx(math.sqrt(2))  # the first of several


def test_the_curve_and_its_crossing():
    curve, crossing = found(
        timings("magnet", {1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}), timings("musicgen", {1: 5.0, 2: 5.0, 4: 5.0, 8: 5.0})
    )
    assert [(row.params["batch"], round(row.value, 9)) for row in curve] == [(1, 5.0), (2, 2.5), (4, 1.25), (8, 0.625)]
    assert all(row.system == "magnet" and row.params["versus"] == "musicgen" and not row.versus for row in curve)
    assert all(row.low <= row.value <= row.high and row.better == "higher" for row in curve)
    (row,) = crossing
    assert row.value == pytest.approx(5) and row.low < 5 < row.high and row.high - row.low < 0.5
    assert row.params["batches"] == [1, 2, 4, 8] and row.n == 5


def test_no_crossing_has_no_row():
    slow = timings("musicgen", {1: 5.0, 4: 5.0})
    for magnet in ({1: 1.0, 4: 2.0}, {1: 6.0, 4: 30.0}):
        curve, crossing = found(timings("magnet", magnet), slow)
        assert len(curve) == 2 and crossing == []


def test_an_end_of_the_interval_beyond_the_sizes_timed_is_left_open():
    wide = (0.5, 0.8, 1.0, 1.2, 2.0)
    _, (row,) = found(timings("magnet", {1: 1.0, 4: 4.0}, wide), timings("musicgen", {1: 3.6, 4: 3.6}, wide))
    assert row.low is not None and row.high is None
    _, (row,) = found(timings("magnet", {1: 1.0, 4: 4.0}, wide), timings("musicgen", {1: 1.1, 4: 1.1}, wide))
    assert row.low is None and row.high is not None


def test_few_calls_have_no_interval():
    curve, (row,) = found(
        timings("magnet", {1: 1.0, 4: 4.0}, (1.0, 1.0)), timings("musicgen", {1: 2.0, 4: 2.0}, (1.0, 1.0))
    )
    assert row.low is None and row.high is None and curve[0].low is None and row.value == pytest.approx(2)


def test_only_like_is_compared_with_like():
    longer = timings("musicgen", {1: 5.0}, seconds=30.0)
    half = timings("musicgen", {1: 5.0}, dtype="bfloat16")
    assert found(timings("magnet", {1: 1.0}), longer, half) == ([], [])
    assert found(timings("magnet", {1: 1.0}), timings("musicgen", {2: 5.0})) == ([], [])


def test_a_peer_is_held_against_both():
    families = {"magnet": "masked", "musicgen": "autoregressive", "peer": "transformers", "real": "codec"}
    series = [timings(label, {1: value, 4: value}) for label, value in zip(families, (1.0, 4.0, 8.0, 0.1), strict=True)]
    curve, _ = found(*series, families=families)
    pairs = {(row.system, row.params["versus"]): row.value for row in curve if row.params["batch"] == 1}
    assert pairs == pytest.approx({("magnet", "musicgen"): 4, ("magnet", "peer"): 8, ("musicgen", "peer"): 2})
