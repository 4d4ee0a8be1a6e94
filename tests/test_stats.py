"""Intervals cover, tests keep their level, and worked examples come out."""

import numpy as np
import pytest

from magnet_eval import stats


def test_interval_of_a_mean_covers_about_95_percent():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        mean, low, high = stats.bootstrap_mean(rng.exponential(1.0, size=40), rng, n_resamples=300)
        assert low < mean < high
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 300 <= 0.98  # the percentile interval is a little short for skewed data


def test_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).normal(5, 2, size=400)
    mean, low, high = stats.bootstrap_mean(values, np.random.default_rng(1), n_resamples=5000)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    assert [low, high] == pytest.approx([mean - 1.96 * error, mean + 1.96 * error], abs=0.1 * error)


def test_interval_is_centred_on_the_value():
    """A biased bootstrap distribution lends its spread, not its place."""
    low, high = stats.interval(10.0, np.linspace(20, 30, 10_001))
    assert (low, high) == pytest.approx((10 - 4.75, 10 + 4.75))


def test_one_clip_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 clips, got 1"):
        stats.bootstrap_mean(np.ones(1), np.random.default_rng(0))


def test_resamples_count_to_n():
    for counts in stats.resampled_counts(7, 20, np.random.default_rng(0)):
        assert counts.shape == (7,) and counts.sum() == 7


def test_sign_flips_of_four_equal_differences():
    """All four differences 1: only 2 of the 16 sign patterns reach |mean| = 1, so p is 1/8."""
    p = stats.sign_flip_test(np.ones(4), np.random.default_rng(0), n_permutations=40_000)
    assert p == pytest.approx(1 / 8, abs=0.006)


def test_sign_flip_test_keeps_its_level():
    rng = np.random.default_rng(0)
    p_values = np.array([stats.sign_flip_test(rng.normal(size=12), rng, n_permutations=199) for _ in range(400)])
    assert 0.02 <= (p_values <= 0.05).mean() <= 0.09
    assert p_values.min() >= 1 / 200  # never 0


def test_permutation_p_counts_ties_and_itself():
    assert stats.permutation_p(2.0, np.array([0.0, -2.0, 2.0 * (1 - 1e-12), 1.0])) == 3 / 5
    assert stats.permutation_p(0.0, np.zeros(9)) == 1


def test_holm_example():
    """Holm (1979): .01, .04, .03, .005 times 3, 1, 2, 4, never falling: .03, .06, .06, .02."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.5]) == [1.0, 1.0]
    assert stats.holm([]) == []
