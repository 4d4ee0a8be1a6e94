"""Bootstrap and paired test of set metrics: value, width, power, level."""

import numpy as np
import pytest

from magnet_eval import stats
from magnet_eval.metrics import resampling
from magnet_eval.metrics.clip_stats import frechet_of_clips
from magnet_eval.metrics.frechet import frechet_to
from magnet_eval.metrics.kernel import kernel_of_clips, kernel_to
from magnet_eval.metrics.resampling import bootstrap, paired_difference

D, WINDOWS = 6, 3
METRICS = pytest.mark.parametrize(
    ("plain", "of_clips"), [(frechet_to, frechet_of_clips), (kernel_to, kernel_of_clips)], ids=["frechet", "kernel"]
)
REFERENCE = np.random.default_rng(99).normal(size=(300, D))


def system(shift: float = 0.0, n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = shift + 0.8 * rng.normal(size=(n, 1, D)) + 0.6 * rng.normal(size=(n, WINDOWS, D))
    return frames.reshape(-1, D), np.repeat(np.arange(n), WINDOWS)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@METRICS
def test_bootstrap_is_that_of_repeated_clips(plain, of_clips):
    frames, owner = system(0.3)
    value, low, high = bootstrap(of_clips(REFERENCE), frames, owner, rng(), n_resamples=50)
    score = plain(REFERENCE)
    counts = list(stats.resampled_counts(40, 50, rng()))
    resampled = np.array([score(np.repeat(frames, count[owner], axis=0)) for count in counts])
    assert value == pytest.approx(score(frames), rel=1e-5)
    assert (low, high) == pytest.approx(stats.interval(value, resampled), rel=1e-4)


@METRICS
def test_more_clips_narrow_the_interval(plain, of_clips):
    del plain
    scores = of_clips(REFERENCE)
    few, many = (bootstrap(scores, *system(0.5, n), rng(), n_resamples=200) for n in (20, 320))
    assert few[1] < few[0] < few[2] and many[1] < many[0] < many[2]
    assert (many[2] - many[1]) < 0.5 * (few[2] - few[1])


@METRICS
def test_frames_of_a_clip_are_not_clips(plain, of_clips):
    """Every frame three times in its clip: the interval stays, where resampled frames would narrow it."""
    del plain
    scores, (frames, owner) = of_clips(REFERENCE), system(0.5)
    once, thrice = (
        bootstrap(scores, np.repeat(frames, k, axis=0), np.repeat(owner, k), rng(), n_resamples=300) for k in (1, 3)
    )
    assert thrice[2] - thrice[1] == pytest.approx(once[2] - once[1], rel=0.1)


@METRICS
def test_difference_is_signed_and_found(plain, of_clips):
    good, bad = system(0.1), system(0.6, seed=1)
    options = {"n_resamples": 100, "n_permutations": 199}
    value, low, high, p = paired_difference(of_clips(REFERENCE), bad, good, rng(), **options)
    score = plain(REFERENCE)
    assert value == pytest.approx(score(bad[0]) - score(good[0]), rel=1e-5)
    assert 0 < low < value < high and p == pytest.approx(1 / 200)
    back = paired_difference(of_clips(REFERENCE), good, bad, rng(), **options)
    assert back[0] == pytest.approx(-value, rel=1e-6) and back[3] == p


@METRICS
def test_no_difference_between_a_system_and_itself(plain, of_clips):
    del plain
    frames, owner = system(0.3)
    value, _, _, p = paired_difference(of_clips(REFERENCE), (frames, owner), (frames, owner), rng(), n_permutations=99)
    assert value == pytest.approx(0, abs=1e-9) and p > 0.9


@METRICS
def test_p_values_of_equal_systems_are_even(plain, of_clips):
    """Two systems that differ by chance alone: p below 0.2 in about a fifth of the trials."""
    del plain
    scores = of_clips(REFERENCE)
    options = {"n_resamples": 2, "n_permutations": 49}
    p_values = [
        paired_difference(scores, system(0.2, 20, 2 * i), system(0.2, 20, 2 * i + 1), rng(), **options)[3]
        for i in range(60)
    ]
    assert 0.05 < np.mean(np.array(p_values) <= 0.2) < 0.4
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.12)


@METRICS
def test_same_seed_same_numbers(plain, of_clips):
    del plain
    found = [
        paired_difference(of_clips(REFERENCE), system(0.1), system(0.4, seed=1), rng(), n_permutations=20)
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_refuses_too_few_clips():
    scores = frechet_of_clips(REFERENCE)
    with pytest.raises(ValueError, match="at least 2 clips, got 1"):
        bootstrap(scores, *system(n=1), rng())
    with pytest.raises(ValueError, match="the same clips of both systems, got 4 and 5"):
        paired_difference(scores, system(n=4), system(n=5), rng())


@pytest.mark.parametrize("n", [2, 5, 8])
def test_counts_take_half_a_byte_and_come_back_as_they_were(n):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 16, (6, n))
    whole[2, 1], whole[3, 0] = 16, 100  # do not fit
    counts = resampling.Counts(6, n)
    for place, row in enumerate(whole):
        counts[place] = row
    assert (counts[0:6] == whole).all() and (counts[2:4] == whole[2:4]).all() and len(counts[4:4]) == 0
    assert counts.cells.nbytes == 6 * ((n + 1) // 2)


def test_weights_of_two_systems_are_those_of_the_whole_table():
    rng = np.random.default_rng(0)
    counts, coins = resampling.Counts(4, 5), resampling.Counts(3, 5)
    first = rng.integers(0, 4, (4, 5)), rng.integers(0, 2, (3, 5))
    for table, rows in zip((counts, coins), first, strict=True):
        for place, row in enumerate(rows):
            table[place] = row
    upper = np.block([[first[0], 0 * first[0]], [first[1], 1 - first[1]]])
    whole = np.vstack([upper, np.roll(upper, 5, axis=1)])
    weights = resampling.swaps(counts, coins)
    assert weights.shape == whole.shape and (np.asarray(weights) == whole).all()
    assert (np.asarray(weights[3:12][2:6]) == whole[5:9]).all()


@pytest.mark.parametrize(("n", "d", "per_clip"), [(30, 8, 1), (40, 6, 8)])
def test_rows_made_when_asked_for_score_as_the_whole_table(n, d, per_clip):
    rng = np.random.default_rng(0)
    frames, owner = rng.normal(size=(n * per_clip, d)), np.repeat(np.arange(n), per_clip)
    counts = resampling.Counts(500, n)
    resampling._count(counts, np.random.default_rng(1))
    rows = resampling.Weights(lambda start, stop: counts[start:stop], counts.shape)
    for scores in (frechet_of_clips(rng.normal(size=(50, d))), kernel_of_clips(rng.normal(size=(50, d)))):
        assert (scores(frames, owner, rows) == scores(frames, owner, counts[0:500])).all()
