"""Distances of weighted clips against the plain distance of frames that are really repeated."""

import numpy as np
import pytest

from magnet_eval.metrics import clip_stats
from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.frechet import frechet_to

N = 12


def clips(d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames of N clips of 1 to 4 frames in mixed order, their owners, and weightings with zeros among them."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(N), 1 + np.arange(N) % 4))
    frames = rng.normal(100, 1, size=(len(owner), d)).astype(np.float32)
    return frames, owner, np.vstack([np.ones((1, N), dtype=int), rng.integers(0, 4, size=(6, N))])


@pytest.mark.parametrize("d", [3, 25, 60])
@pytest.mark.parametrize("m", [20, 200])
@pytest.mark.parametrize("options", [{}, {"ddof": 0}, {"epsilon": 0.1}], ids=str)
@pytest.mark.parametrize("packing", [0, 1000])
def test_weights_count_clips(d, m, options, packing, monkeypatch):
    """30 frames in fewer and in more dimensions, references of full and of small rank, by either way to the moments."""
    monkeypatch.setattr(clip_stats, "PACKING", packing)
    frames, owner, weights = clips(d)
    reference = np.random.default_rng(1).normal(101, 2, size=(m, d))
    plain = frechet_to(reference, **options)
    expected = [plain(np.repeat(frames, weight[owner], axis=0)) for weight in weights]
    assert frechet_of_clips(reference, **options)(frames, owner, weights) == pytest.approx(expected, rel=1e-6)


def test_memory_bound_changes_nothing(monkeypatch):
    monkeypatch.setattr(clip_stats, "PACKING", 0)
    frames, owner, weights = clips(8)
    reference = np.random.default_rng(1).normal(100, 1, size=(50, 8))
    expected = frechet_of_clips(reference)(frames, owner, weights)
    monkeypatch.setattr(clip_stats, "BUDGET", 2000)
    assert frechet_of_clips(reference)(frames, owner, weights) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("packing", [0, 1000])
def test_reference_without_spread(packing, monkeypatch):
    """All frames equal: |m1 - m2|^2 + Tr(S2)."""
    monkeypatch.setattr(clip_stats, "PACKING", packing)
    frames, owner, weights = clips(5)
    expected = ((frames - 1.0) ** 2).sum() / len(frames) + np.var(frames, axis=0).sum() / (len(frames) - 1)
    assert frechet_of_clips(np.ones((9, 5)))(frames, owner, weights)[0] == pytest.approx(expected, rel=1e-5)


def test_order_of_frames_does_not_matter_and_inputs_are_left_alone():
    frames, owner, weights = clips(8)
    before, order = frames.copy(), np.random.default_rng(2).permutation(len(owner))
    scores = frechet_of_clips(np.random.default_rng(1).normal(100, 1, size=(50, 8)))
    assert scores(frames[order], owner[order], weights) == pytest.approx(scores(frames, owner, weights), rel=1e-9)
    assert np.array_equal(frames, before)


def test_refuses_what_has_no_distance():
    frames, owner, weights = clips(4)
    scores = frechet_of_clips(np.random.default_rng(1).normal(size=(50, 4)))
    single = np.zeros((1, N))
    single[0, 0] = 1  # its only frame
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        scores(frames, owner, single)
    with pytest.raises(ValueError, match="NaN"):
        scores(frames * np.nan, owner, weights)
    with pytest.raises(ValueError, match="dimensions differ: 3 and 4"):
        scores(frames[:, :3], owner, weights)
    with pytest.raises(ValueError, match="13 clips are weighted, but frames belong to 12"):
        scores(frames, owner, np.ones((1, N + 1)))
    with pytest.raises(ValueError, match=r"\[r, n\]"):
        scores(frames, owner[1:], weights)
