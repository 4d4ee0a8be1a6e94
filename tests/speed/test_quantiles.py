"""What a number of calls can say of a quantile."""

import numpy as np
import pytest

from magnet_eval.speed.quantiles import is_shown, is_supported, median_interval, upper_bound


@pytest.mark.parametrize(("quantile", "n"), [(0.9, 64), (0.99, 662)])
def test_the_fewest_calls_are_those_of_mlperf(quantile, n):
    """Of its inference rules: queries of which one may be late, at confidence 0.99."""
    assert is_supported(n, quantile) and not is_supported(n - 1, quantile)


def test_a_median_is_not_given_for_fewer_calls_than_a_p90():
    assert is_supported(64, 0.5) and not is_supported(63, 0.5)


def test_a_bound_is_shown_where_so_few_late_calls_would_be_rare():
    """n calls without a late one: p^n <= 0.01, in closed form."""
    assert is_shown(44, 0, 0.9) and not is_shown(43, 0, 0.9)
    assert not is_shown(1, 1, 0.5)


@pytest.mark.parametrize("n", [64, 100, 700])
def test_the_upper_bound_holds_at_its_confidence(n):
    """Of uniform numbers, whose quantiles are themselves; in at least 99 of 100 series, up to chance."""
    rng = np.random.default_rng(n)
    bounds = [upper_bound(rng.uniform(size=n), 0.9) for _ in range(400)]
    assert np.mean([bound >= 0.9 for bound in bounds]) > 0.98
    assert all(bound is not None and bound <= 1 for bound in bounds)
    assert upper_bound(range(n), 0.9) > np.quantile(range(n), 0.9)
    assert upper_bound(range(63), 0.9) is None


def test_interval_of_the_median_covers_it_at_the_stated_rate():
    rng = np.random.default_rng(0)
    samples = rng.exponential(size=(200, 25))
    hits = [low <= np.log(2) <= high for low, high in (median_interval(s, rng, 400) for s in samples)]
    assert 0.88 <= np.mean(hits) <= 1.0
    assert median_interval([1.0] * 4, rng) is None
