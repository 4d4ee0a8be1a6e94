"""The jackknife: right where the answer is known, and honest where groups say nothing."""

import numpy as np
import pytest
from scipy import stats

from magnet_eval.metrics import jackknife


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def mean(rows: np.ndarray) -> float:
    return float(rows.mean())


def test_of_a_mean_it_is_students_interval_and_test():
    """With as many groups as clips, the jackknife deviation of a mean is its standard error."""
    first, second = rng().standard_normal((2, jackknife.N_GROUPS, 1)) + [[[0.5]], [[0.0]]]
    value, low, high = jackknife.interval(mean, first, rng())
    expected = stats.t.interval(0.95, len(first) - 1, first.mean(), stats.sem(first[:, 0]))
    assert (low, high) == pytest.approx(expected) and value == pytest.approx(first.mean())
    found = jackknife.paired_difference(mean, first, second, rng())
    assert found[0] == pytest.approx(mean(first) - mean(second))
    assert found[3] == pytest.approx(stats.ttest_rel(first[:, 0], second[:, 0]).pvalue)


def test_intervals_cover_the_truth_of_a_ratio():
    """A score that is no mean: the ratio of two columns' means, 2 in truth."""

    def ratio(rows):
        return rows[:, 0].mean() / rows[:, 1].mean()

    draws = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        rows = draws.standard_normal((100, 2)) + [2.0, 1.0]
        _, low, high = jackknife.interval(ratio, rows, draws)
        inside += low <= 2 <= high
    assert 0.9 <= inside / 200 <= 0.99


def test_equal_systems_and_certain_differences():
    rows = rng().standard_normal((30, 2))
    assert jackknife.paired_difference(mean, rows, rows, rng()) == (0.0, 0.0, 0.0, 1.0)
    value, low, high, p_value = jackknife.paired_difference(mean, rows + 1, rows, rng())  # the same in every group
    assert value == pytest.approx(1) and low == pytest.approx(high) and p_value == pytest.approx(2.0**-19)
    few = jackknife.paired_difference(mean, rows[:6] + 1, rows[:6], rng())
    assert few[3] == pytest.approx(2.0**-5), "six clips cannot be surer than six signs"


def test_too_few_clips_or_other_ones_are_refused():
    with pytest.raises(ValueError, match="needs at least 2"):
        jackknife.interval(mean, np.zeros((1, 2)), rng())
    with pytest.raises(ValueError, match="same clips of both systems, got 3 and 4"):
        jackknife.paired_difference(mean, np.zeros((3, 1)), np.zeros((4, 1)), rng())
