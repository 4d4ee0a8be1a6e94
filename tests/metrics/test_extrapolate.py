"""FAD-infinity: exact on scores that are a line, nearer to the truth than the plain distance, seeded."""

import numpy as np
import pytest

from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.extrapolate import by_clips
from magnet_eval.metrics.frechet import Gaussian, distance_to, gaussian

D = 16


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clips(n: int, seed: int, shift: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """n clips of 4 frames that are alike: of unit variance, 0.64 of it between clips."""
    generator = np.random.default_rng(seed)
    frames = 0.8 * generator.normal(size=(n, 1, D)) + 0.6 * generator.normal(size=(n, 4, D))
    return (shift + frames).reshape(-1, D), np.repeat(np.arange(n), 4)


def line(frames, owner, weights):
    """Scores that are 3 + 50 / n exactly."""
    return 3 + 50 / weights.sum(axis=1)


def test_a_line_is_found_exactly():
    found = by_clips(line, *clips(203, 0), rng())
    assert found.value == pytest.approx(3) and found.slope == pytest.approx(50) and found.r2 == pytest.approx(1)
    assert (found.low, found.high) == pytest.approx((3, 3))


def test_points():
    frames, owner = clips(200, 0)
    assert [n for n, _ in by_clips(line, frames, owner, rng()).points] == pytest.approx(
        [200, 100, 200 / 3, 50], rel=1e-3
    )


def test_each_clip_stands_once_at_every_size():
    """Without replacement: the parts of one size hold all clips once, and the jackknife leaves each out once."""
    seen = []

    def scores(frames, owner, weights):
        seen.append(weights)
        return line(frames, owner, weights)

    by_clips(scores, *clips(90, 0), rng())
    weights = seen[0].reshape(21, 10, 90)
    for parts in (weights[0, :1], weights[0, 1:3], weights[0, 3:6], weights[0, 6:]):
        assert (parts.sum(axis=0) == 1).all() and np.ptp(parts.sum(axis=1)) <= 1
    assert (weights[1:, 0].sum(axis=0) == 19).all()


def test_bias_of_few_clips_is_taken_away():
    """True distance 16 x 0.04 = 0.64; the plain one of 120 clips is far above it, for all seeds."""
    reference = gaussian(clips(20_000, 99, shift=0.0)[0])
    truth = distance_to(reference)(Gaussian.of(np.full(D, 0.2), np.eye(D)))
    scores = frechet_of_clips(clips(20_000, 99, shift=0.0)[0])
    sets = [clips(120, seed) for seed in range(12)]
    plain = [distance_to(reference)(gaussian(frames)) for frames, _ in sets]
    found = [by_clips(scores, *part, rng()) for part in sets]
    values = np.array([x.value for x in found])
    assert np.mean(plain) > 1.4 * truth
    assert values.mean() == pytest.approx(truth, rel=0.12)
    assert sum(x.low < truth < x.high for x in found) >= 10
    assert all(x.slope > 0 and x.r2 > 0.95 for x in found)


def test_seeded():
    scores = frechet_of_clips(clips(300, 9)[0])
    first, again, other = (by_clips(scores, *clips(150, 0), rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_refuses_too_few():
    with pytest.raises(ValueError, match="at least 80 clips, got 79"):
        by_clips(line, *clips(79, 0), rng())
