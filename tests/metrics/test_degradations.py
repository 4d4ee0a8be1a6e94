"""Planted degradations of embedded clips are ordered rightly by every metric of sets."""

import numpy as np
import pytest

from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.extrapolate import by_clips
from magnet_eval.metrics.kernel import CONVENTIONS, Convention, kernel_of_clips
from magnet_eval.metrics.manifold import manifold
from magnet_eval.metrics.mauve import mauve

N, WINDOWS, D = 100, 2, 12
CENTRES = 2 * np.random.default_rng(1).normal(size=(25, D))


def clips(seed: int, noise: float = 0.0, modes: int = 25) -> np.ndarray:
    """Clips [N, WINDOWS, D] of ``modes`` of 25 kinds, with noise."""
    rng = np.random.default_rng(seed)
    kinds = CENTRES[np.arange(N) % modes][:, None]
    own = 0.3 * rng.normal(size=(N, 1, D)) + 0.2 * rng.normal(size=(N, WINDOWS, D))
    return kinds + own + noise * rng.normal(size=(N, WINDOWS, D))


REFERENCE = clips(0)
OWNER = np.repeat(np.arange(N), WINDOWS)


def of_frames(scores):
    return lambda frames: float(scores(frames.reshape(-1, D), OWNER, np.ones((1, N)))[0])


def of_means(score):
    return lambda frames: score(frames.mean(axis=1), REFERENCE.mean(axis=1))


FLAT = REFERENCE.reshape(-1, D)
LOWER = {
    "frechet": of_frames(frechet_of_clips(FLAT)),
    "frechet, infinite": lambda frames: (
        by_clips(frechet_of_clips(FLAT), frames.reshape(-1, D), OWNER, np.random.default_rng(0)).value
    ),
    "kernel": of_frames(kernel_of_clips(FLAT)),
    "kernel, kadtk": of_frames(kernel_of_clips(FLAT, CONVENTIONS["kadtk-1.1"])),
    "kernel, imq": of_frames(kernel_of_clips(FLAT, Convention(kernel="imq"))),
}
HIGHER = {
    "coverage": of_means(lambda x, y: manifold(x, y).coverage),
    "mauve": of_means(lambda x, y: mauve(x, y, np.random.default_rng(0), n_clusters=25)),
}
CASES = [pytest.param(score, False, id=name) for name, score in LOWER.items()]
CASES += [pytest.param(score, True, id=name) for name, score in HIGHER.items()]


@pytest.mark.parametrize(("score", "higher"), CASES)
def test_noise(score, higher):
    found = [score(clips(7, noise=noise)) for noise in (0.0, 1.5, 4.0)]
    assert found == sorted(found, reverse=higher) and len(set(found)) == 3


@pytest.mark.parametrize(("score", "higher"), CASES)
def test_mode_collapse(score, higher):
    found = [score(clips(7, modes=modes)) for modes in (25, 10, 2)]
    assert found == sorted(found, reverse=higher) and len(set(found)) == 3
