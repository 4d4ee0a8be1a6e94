"""Density, coverage, precision, recall: by whole matrices, in closed form, and under planted failures."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from magnet_eval.metrics import manifold as module
from magnet_eval.metrics.manifold import Manifold, manifold, nearest_distances

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(80, 6))


def direct(generated: np.ndarray, reference: np.ndarray, k: int) -> Manifold:
    """The published formulas, with the self-distance as the nearest of k + 1."""
    of_reference, of_generated = (np.sort(cdist(x, x), axis=1)[:, k] for x in (reference, generated))
    distances = cdist(reference, generated)
    inside = distances < of_reference[:, None]
    return Manifold(
        precision=inside.any(axis=0).mean(),
        recall=(distances < of_generated).any(axis=1).mean(),
        density=inside.sum(axis=0).mean() / k,
        coverage=(distances.min(axis=1) < of_reference).mean(),
    )


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("block", [2**23, 250])
def test_agrees_with_the_published_formulas(k, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_VALUES", block)
    generated = RNG.normal(0.4, 1.1, size=(50, 6))
    assert manifold(generated, REFERENCE, k) == direct(generated, REFERENCE, k)


def test_a_set_against_itself():
    """Each ball holds its own centre and k - 1 of the k nearest, the k-th being on its edge: density is exactly 1."""
    assert manifold(REFERENCE + 1e3, REFERENCE + 1e3) == Manifold(1, 1, 1, 1)


def test_points_on_a_line():
    """Reference 0, 1, 2, 3 with k = 1: balls of radius 1, edges excluded. The outlier's ball of 8.4 holds 1, 2, 3."""
    reference = np.arange(4.0)[:, None]
    found = manifold(np.array([[0.5], [0.6], [9.0]]), reference, k=1)
    assert found == Manifold(precision=2 / 3, recall=3 / 4, density=4 / 3, coverage=2 / 4)


def test_mode_collapse_lowers_coverage_and_recall_alone():
    spread = RNG.normal(size=(80, 6))
    collapsed = spread[RNG.integers(4, size=80)] + 0.01 * RNG.normal(size=(80, 6))
    good, bad = manifold(spread, REFERENCE), manifold(collapsed, REFERENCE)
    assert bad.coverage < 0.5 * good.coverage and bad.recall < 0.5 * good.recall
    assert bad.precision > 0.7


def test_noise_lowers_density_and_precision():
    clean = RNG.normal(size=(80, 6))
    found = [manifold(clean + noise * RNG.normal(size=(80, 6)), REFERENCE) for noise in (0, 1, 3)]
    for name in ("precision", "density", "coverage"):
        values = [getattr(x, name) for x in found]
        assert values == sorted(values, reverse=True) and len(set(values)) == 3


def test_rotation_scale_and_order_do_not_matter():
    generated = RNG.normal(0.3, 1, size=(60, 6))
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert manifold(5 * generated[::-1] @ rotation, 5 * REFERENCE @ rotation) == manifold(generated, REFERENCE)


def test_refuses_what_has_no_manifold():
    with pytest.raises(ValueError, match="at least 6 rows, got 5"):
        manifold(REFERENCE[:5], REFERENCE)
    with pytest.raises(ValueError, match="NaN"):
        manifold(REFERENCE * np.nan, REFERENCE)
    with pytest.raises(ValueError, match=r"\[n, d\] and \[m, d\]"):
        manifold(REFERENCE[:, 1:], REFERENCE)
    with pytest.raises(ValueError, match="0-th"):
        nearest_distances(REFERENCE, 0)
