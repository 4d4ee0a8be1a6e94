"""MAUVE: the frontier in closed form, k-means on clusters that are plain to see, and planted failures."""

import numpy as np
import pytest

from magnet_eval.metrics.mauve import frontier, histogram_mauve, k_means, mauve


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def blobs(n: int, centres: np.ndarray, seed: int = 0, noise: float = 0.05) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return centres[np.arange(n) % len(centres)] + noise * generator.normal(size=(n, centres.shape[1]))


def test_equal_histograms_score_one_and_disjoint_ones_nearly_nothing():
    """Disjoint: x = w'^5 and y = w^5 on the frontier; the area under y = (1 - x^0.2)^5 is B(6, 5) x 5 = 1 / 252."""
    p = np.array([0.2, 0.3, 0.5, 0.0])
    assert histogram_mauve(p, p) == pytest.approx(1)
    assert histogram_mauve(np.array([1.0, 0]), np.array([0, 1.0]), n_points=2001) == pytest.approx(1 / 252, rel=1e-3)


def test_frontier_of_two_classes():
    """Half of p's mass is q's class: at w = 1/2 the mixture is (3/4, 1/4)."""
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    x, y = frontier(p, q, scale=5, n_points=3)
    assert x[2] == pytest.approx((3 / 4) ** 5, rel=1e-6)
    assert y[2] == pytest.approx(np.exp(-5 * (0.5 * np.log(2 / 3) + 0.5 * np.log(2))), rel=1e-6)
    assert (np.diff(x) <= 0).all() and (np.diff(y) >= 0).all() and (x[0], y[0], x[-1], y[-1]) == (1, 0, 0, 1)


def test_score_is_symmetric_in_the_histograms():
    p, q = np.array([0.1, 0.2, 0.7]), np.array([0.5, 0.5, 0.0])
    assert histogram_mauve(p, q) == pytest.approx(histogram_mauve(q, p))


def test_k_means_finds_plain_clusters():
    rows = blobs(60, 10 * np.eye(4))
    labels = k_means(rows, 4, rng())
    assert all(len(set(labels[i::4])) == 1 for i in range(4)) and len(set(labels)) == 4


def test_k_means_of_equal_rows_leaves_clusters_empty():
    assert len(set(k_means(np.ones((9, 2)), 3, rng()))) == 1


def test_same_distribution_scores_high_and_another_low():
    centres = np.random.default_rng(1).normal(size=(10, 8))
    reference = blobs(300, centres)
    same = mauve(blobs(300, centres, seed=5), reference, rng(), n_clusters=10)
    other = mauve(blobs(300, -centres, seed=5), reference, rng(), n_clusters=20)
    assert same > 0.99 and other < 0.05


def test_mode_collapse_is_worse_the_more_modes_are_lost():
    centres = np.random.default_rng(1).normal(size=(10, 8))
    reference = blobs(300, centres)
    scores = [mauve(blobs(300, centres[:k], seed=5), reference, rng(), n_clusters=10) for k in (10, 6, 3, 1)]
    assert scores == sorted(scores, reverse=True) and scores[0] > 2 * scores[2]


def test_order_and_scale_of_rows_do_not_matter():
    centres = np.random.default_rng(1).normal(size=(10, 8))
    generated, reference = blobs(120, centres[:7], seed=3, noise=0.4), blobs(100, centres, noise=0.4)
    score = mauve(generated, reference, rng())
    order = np.random.default_rng(2).permutation(120)
    assert mauve(generated[order], reference[::-1], rng()) == score
    assert mauve(4 * generated, 0.5 * reference, rng()) == score  # powers of two: exactly


def test_refuses_what_has_no_histogram():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ValueError, match="finite"):
        mauve(rows * np.nan, rows, rng())
    with pytest.raises(ValueError, match="zero vector"):
        mauve(np.zeros((30, 4)), rows, rng())
    with pytest.raises(ValueError, match="dimensions differ: 3 and 4"):
        mauve(rows[:, 1:], rows, rng())
    with pytest.raises(ValueError, match="31 clusters need"):
        mauve(rows, rows, rng(), n_clusters=31)
    with pytest.raises(ValueError, match="got 1 and 30"):
        mauve(rows[:1], rows, rng())
