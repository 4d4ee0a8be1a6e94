"""Fréchet distance against closed forms and against scipy's general matrix root."""

import numpy as np
import pytest
import scipy.linalg

from magnet_eval.metrics.frechet import Gaussian, distance_to, frechet_distance, frechet_to, gaussian


def random_covariance(d: int, rng: np.random.Generator) -> np.ndarray:
    factor = rng.normal(size=(2 * d, d))
    return factor.T @ factor / d


def by_sqrtm(first: Gaussian, second: Gaussian) -> float:
    root = scipy.linalg.sqrtm(first.covariance @ second.covariance)
    offset = ((first.mean - second.mean) ** 2).sum()
    return float(offset + np.trace(first.covariance + second.covariance - 2 * np.real(root)))


def test_closed_form_of_diagonal_gaussians():
    """|m1 - m2|^2 + sum (s1 - s2)^2 for independent dimensions of standard deviations s."""
    first = Gaussian.of(np.array([1.0, 2.0, 3.0]), np.diag([1.0, 4.0, 9.0]))
    second = Gaussian.of(np.array([0.0, 2.0, 5.0]), np.diag([4.0, 4.0, 0.0]))
    assert frechet_distance(first, second) == pytest.approx((1 + 0 + 4) + (1 + 0 + 9))


def test_scaled_covariance():
    """d(S, c S) = Tr(S) (1 - sqrt c)^2, whatever the correlations."""
    covariance = random_covariance(6, np.random.default_rng(0))
    distance = frechet_distance(Gaussian.of(np.zeros(6), covariance), Gaussian.of(np.zeros(6), 9 * covariance))
    assert distance == pytest.approx(4 * np.trace(covariance))


def test_shifted_frames():
    frames = np.random.default_rng(0).normal(size=(50, 5))
    assert frechet_to(frames)(frames + np.array([3, 0, 4, 0, 0])) == pytest.approx(25)


@pytest.mark.parametrize("d", [2, 20])
def test_agrees_with_scipy(d):
    rng = np.random.default_rng(d)
    first, second = (Gaussian.of(rng.normal(size=d), random_covariance(d, rng)) for _ in range(2))
    assert frechet_distance(first, second) == pytest.approx(by_sqrtm(first, second), rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), rel=1e-9)


@pytest.mark.parametrize("n", [8, 200])
def test_moments_are_those_of_numpy(n):
    frames = np.random.default_rng(0).normal(3, 2, size=(n, 12)).astype(np.float32)
    moments = gaussian(frames)
    assert moments.mean == pytest.approx(frames.astype(np.float64).mean(0))
    assert moments.covariance == pytest.approx(np.cov(frames.astype(np.float64).T, ddof=1))


@pytest.mark.parametrize(("n", "m"), [(5, 7), (5, 100), (100, 5), (100, 90)])
def test_few_frames_in_many_dimensions(n, m):
    """Rank-deficient covariances: finite, symmetric, and what one gets within the subspace that holds all frames."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(n, 40)), rng.normal(1, 2, size=(m, 40))
    distance = frechet_to(first)(second)
    assert distance > 0
    assert frechet_to(second)(first) == pytest.approx(distance, rel=1e-6)
    rotation = np.linalg.qr(rng.normal(size=(90, 40)))[0].T  # an isometry into more dimensions changes nothing
    assert frechet_to(first @ rotation)(second @ rotation) == pytest.approx(distance, rel=1e-6)


def test_weights_count_frames():
    rng = np.random.default_rng(0)
    reference, frames, counts = rng.normal(size=(60, 6)), rng.normal(size=(20, 6)), rng.integers(0, 4, size=20)
    repeated = np.repeat(frames, counts, axis=0)
    assert frechet_to(reference)(frames, counts) == pytest.approx(frechet_to(reference)(repeated))


def test_large_offsets_do_not_cancel():
    """float32 frames far from the origin: moments are taken in float64 around the mean."""
    frames = np.random.default_rng(0).normal(1e4, 1, size=(500, 4)).astype(np.float32)
    assert frechet_to(frames)(frames) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("rank", [0, 1, 7, 30])
def test_singular_covariances_given_as_moments(rank):
    """Tr((S1 S2)^(1/2)) of S1 = c S2 is sqrt(c) Tr(S2) at any rank; scipy's root is not always right there."""
    factor = np.random.default_rng(rank).normal(size=(rank, 30))
    covariance = factor.T @ factor
    distance = frechet_distance(Gaussian.of(np.zeros(30), covariance), Gaussian.of(np.zeros(30), 9 * covariance))
    assert distance == pytest.approx(4 * np.trace(covariance), rel=1e-9, abs=1e-12)


def test_ddof():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(9, 3)), rng.normal(1, 2, size=(7, 3))
    moments = [Gaussian.of(x.mean(0), np.cov(x.T, ddof=0)) for x in (first, second)]
    assert frechet_to(first, ddof=0)(second) == pytest.approx(frechet_distance(*moments))
    assert frechet_to(first, ddof=0)(second) < frechet_to(first)(second)


@pytest.mark.parametrize("n", [5, 60])
def test_epsilon_stands_under_the_root_alone(n):
    """As published: sqrtm((S1 + eps I)(S2 + eps I)), with the traces as they were."""
    rng = np.random.default_rng(0)
    first, second = (gaussian(rng.normal(size=(n, 8))) for _ in range(2))
    helped = [g.covariance + 0.1 * np.eye(8) for g in (first, second)]
    root = np.trace(scipy.linalg.sqrtm(helped[0] @ helped[1]).real)
    offset = ((first.mean - second.mean) ** 2).sum()
    expected = offset + np.trace(first.covariance + second.covariance) - 2 * root
    assert distance_to(first, 0.1)(second) == pytest.approx(expected)


@pytest.mark.parametrize("n", [10, 200])
def test_rotation_and_scale(n):
    """A rotation of both sets changes nothing; a scale of c multiplies the distance by c^2."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(n, 20)), rng.normal(0.3, 2, size=(n, 20))
    rotation = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    distance = frechet_to(first)(second)
    assert frechet_to(first @ rotation)(second @ rotation) == pytest.approx(distance, rel=1e-9)
    assert frechet_to(3 * first)(3 * second) == pytest.approx(9 * distance, rel=1e-9)


def test_refuses_what_has_no_distance():
    frames = np.ones((4, 3))
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        frechet_to(frames)(frames[:1])
    with pytest.raises(ValueError, match="NaN"):
        frechet_to(frames * np.nan)
    with pytest.raises(ValueError, match="dimensions differ: 2 and 3"):
        frechet_to(frames)(frames[:, :2])
    with pytest.raises(ValueError, match=r"\[n, d\]"):
        frechet_to(frames[0])
