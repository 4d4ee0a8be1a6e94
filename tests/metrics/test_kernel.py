"""Kernel distance against the full matrix in float64, closed forms and the published convention."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from magnet_eval.lookup import UserError
from magnet_eval.metrics import kernel
from magnet_eval.metrics.kernel import CONVENTIONS, Convention, kernel_of_clips, kernel_to, median_distance

RNG = np.random.default_rng(0)
REFERENCE, FRAMES = RNG.normal(5, 1, size=(90, 7)), RNG.normal(5.2, 1.3, size=(70, 7))
FORMULAS = {
    "gaussian": lambda a: np.exp(-a),
    "iq": lambda a: 1 / (1 + a),
    "imq": lambda a: 1 / np.sqrt(1 + a),
}


def direct(reference, frames, convention: Convention, s: float) -> float:
    """By whole matrices."""
    x, y, xy = (
        FORMULAS[convention.kernel](cdist(a, b, "sqeuclidean") / (2 * s**2 + convention.epsilon))
        for a, b in ((frames, frames), (reference, reference), (frames, reference))
    )
    if convention.unbiased:
        within = sum((k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in (x, y))
    else:
        within = x.mean() + y.mean()
    return convention.scale * (within - 2 * xy.mean())


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("block", [1024, 32, 7])
def test_agrees_with_the_full_matrix(name, unbiased, block, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", block)
    convention = Convention(kernel=name, bandwidth=2.5, unbiased=unbiased)
    found = kernel_to(REFERENCE, convention)(FRAMES)
    assert found == pytest.approx(direct(REFERENCE, FRAMES, convention, 2.5), abs=2e-7)


@pytest.mark.parametrize("block", [1024, 16])
def test_weights_count_clips(block, monkeypatch):
    """Clips of 1 to 4 frames in mixed order; a weight repeats a clip, as frames that are really there twice."""
    monkeypatch.setattr(kernel, "BLOCK", block)
    rng = np.random.default_rng(1)
    owner = rng.permutation(np.repeat(np.arange(28), 1 + np.arange(28) % 4))
    weights = rng.integers(0, 4, size=(5, 28))
    found = kernel_of_clips(REFERENCE)(FRAMES, owner, weights)
    plain = kernel_to(REFERENCE)
    assert found == pytest.approx([plain(np.repeat(FRAMES, w[owner], axis=0)) for w in weights], abs=2e-7)
    assert plain(FRAMES, weights[0][owner]) == pytest.approx(found[0], abs=2e-7)


def test_far_sets_score_one_plus_their_own_density():
    """Two point clouds of no extent, far apart: 1 + 1 - 0; and the biased distance of a set to itself is 0."""
    near, far = np.zeros((5, 3)), np.full((8, 3), 1e6)
    assert kernel_to(near, Convention(bandwidth=1.0))(far) == pytest.approx(2)
    biased = Convention(unbiased=False)
    assert kernel_to(REFERENCE, biased)(REFERENCE) == pytest.approx(0, abs=1e-7)


def test_far_from_the_reference_a_set_keeps_its_own_distances():
    """float32 would lose them at an offset of 1e6 bandwidths; each set is centred on itself for its own pairs."""
    convention = Convention(bandwidth=2.5)
    shifted = kernel_to(REFERENCE, convention)(FRAMES + 1e6)
    assert shifted == pytest.approx(direct(REFERENCE, FRAMES + 1e6, convention, 2.5), abs=1e-6)


def test_unbiased_distance_of_equal_distributions_is_zero_on_average():
    rng = np.random.default_rng(0)
    found = [kernel_to(rng.normal(size=(40, 4)))(rng.normal(size=(30, 4))) for _ in range(60)]
    assert min(found) < 0 < max(found)
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / np.sqrt(60))


def test_rotation_shift_and_order_do_not_matter():
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(7, 7)))[0]
    value = kernel_to(REFERENCE)(FRAMES)
    assert kernel_to(REFERENCE @ rotation + 9)(FRAMES @ rotation + 9) == pytest.approx(value, abs=1e-6)
    assert kernel_to(REFERENCE[::-1])(FRAMES[::-1]) == pytest.approx(value, abs=1e-6)
    assert kernel_to(3 * REFERENCE)(3 * FRAMES) == pytest.approx(value, abs=1e-6)  # the bandwidth scales along


@pytest.mark.parametrize("n", [2, 3, 10, 40])
def test_median_distance_is_the_lower_middle_one(n, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", 16)
    frames = np.random.default_rng(n).normal(50, 1, size=(n, 5))
    distances = np.sort(pdist(frames))
    assert median_distance(frames) == pytest.approx(distances[(len(distances) - 1) // 2], rel=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_median_of_many_equal_and_of_wide_distances(scale, monkeypatch):
    """Distances of a few values, and of twelve magnitudes: what is counted are bits, and no distance is lost."""
    monkeypatch.setattr(kernel, "BLOCK", 16)
    rng = np.random.default_rng(0)
    for frames in (rng.integers(0, 3, size=(61, 4)), np.exp(rng.normal(0, 4, size=(60, 3)))):
        distances = np.sort(pdist(scale * frames))
        assert median_distance(scale * frames) == pytest.approx(distances[(len(distances) - 1) // 2], rel=1e-5)


def test_median_never_holds_all_distances(monkeypatch):
    """Its memory is that of a few blocks and of the frames; the distances of 3,000 frames were 18 MB."""
    monkeypatch.setattr(kernel, "BLOCK", 128)
    peaks = []
    for n in (1000, 3000):
        frames = np.random.default_rng(0).normal(size=(n, 8))
        tracemalloc.start()
        median_distance(frames)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6 < 5e6


def test_median_of_a_sample_is_near_and_repeatable():
    frames = np.random.default_rng(0).normal(size=(3000, 8))
    sample = median_distance(frames, 1000)
    assert sample == median_distance(frames, 1000) != median_distance(frames)
    assert sample == pytest.approx(median_distance(frames), rel=0.02)
    assert median_distance(frames, 3000) == median_distance(frames)


def test_published_convention():
    """kadtk 1.1: bandwidth of the evaluated set, 1e-8 in the exponent, times 100."""
    published = CONVENTIONS["kadtk-1.1"]
    s = float(np.sort(pdist(FRAMES))[(70 * 69 // 2 - 1) // 2])
    found = kernel_to(REFERENCE, published)(FRAMES)
    assert found == pytest.approx(direct(REFERENCE, FRAMES, published, s), rel=1e-4)
    at_reference = dataclasses.replace(published, bandwidth="reference")
    assert found != pytest.approx(kernel_to(REFERENCE, at_reference)(FRAMES), rel=1e-2)


def test_refuses_what_has_no_distance():
    score = kernel_to(REFERENCE)
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        score(FRAMES[:1])
    with pytest.raises(ValueError, match="NaN"):
        score(FRAMES * np.nan)
    with pytest.raises(ValueError, match="dimensions differ: 6 and 7"):
        score(FRAMES[:, :6])
    with pytest.raises(ValueError, match="finite frames"):
        kernel_to(REFERENCE * np.nan)
    with pytest.raises(ValueError, match="more than half of the frames are equal"):
        kernel_to(np.ones((10, 3)))
    with pytest.raises(ValueError, match="above 0, got -1"):
        kernel_to(REFERENCE, Convention(bandwidth=-1))
    with pytest.raises(UserError, match="unknown kernel 'gausian'. Did you mean gaussian"):
        kernel_to(REFERENCE, Convention(kernel="gausian"))
    with pytest.raises(UserError, match="unknown bandwidth"):
        kernel_to(REFERENCE, Convention(bandwidth="median"))
