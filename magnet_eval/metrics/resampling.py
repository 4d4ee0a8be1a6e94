"""Bootstrap and paired permutation of metrics of whole sets, by weights on clips.

Both take ``scores``, a function of (frames, owner, weights [r, n]) such as ``frechet_of_clips`` or
``kernel_of_clips`` gives, and ask it once for all weightings. The unit is the clip; the reference is taken as it is.
"""

import numpy as np

from magnet_eval import stats
from magnet_eval.metrics.clip_stats import Scores as Scores

N_RESAMPLES = 1000
N_PERMUTATIONS = 999  # with the observed one, 1,000


def bootstrap(
    scores: Scores, frames: np.ndarray, owner: np.ndarray, rng: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> tuple[float, float, float]:
    """Score of all clips and its 95 % interval over them: (value, low, high). Raises ValueError for fewer than two."""
    n = _n_clips(owner)
    weights = np.empty((1 + n_resamples, n), np.int8)
    _count(weights, rng)
    value, *resampled = scores(frames, owner, weights)
    return (float(value), *stats.interval(value, np.array(resampled)))


def paired_difference(
    scores: Scores,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    *,
    n_resamples: int = N_RESAMPLES,
    n_permutations: int = N_PERMUTATIONS,
) -> tuple[float, float, float, float]:
    """First minus second: (value, low, high, p), for two systems' (frames, owner) of the same prompts in one order.

    The interval is of clips resampled in pairs; the two-sided p-value of the two clips of a prompt swapped at random,
    which changes nothing if the systems are alike.
    Raises ValueError for other numbers of clips, or fewer than two.
    """
    n = _n_clips(first[1])
    if _n_clips(second[1]) != n:
        raise ValueError(f"a paired test needs the same clips of both systems, got {n} and {_n_clips(second[1])}")
    # One row per weighting of the 2 n clips: first those that make up the first system, then those of the second.
    n_rows, n_counted = 1 + n_resamples + n_permutations, 1 + n_resamples
    weights = np.zeros((2 * n_rows, 2 * n), np.int8)
    firsts, seconds = weights[:n_rows], weights[n_rows:]
    _count(firsts[:n_counted, :n], rng)
    _coins(firsts[n_counted:, :n], rng)
    np.subtract(1, firsts[n_counted:, :n], out=firsts[n_counted:, n:])
    seconds[:, :n], seconds[:, n:] = firsts[:, n:], firsts[:, :n]
    frames, owner = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1] + n])
    found = scores(frames, owner, weights)
    value, *others = found[:n_rows] - found[n_rows:]
    resampled, permuted = np.split(np.array(others), [n_resamples])
    return (float(value), *stats.interval(value, resampled), stats.permutation_p(float(value), permuted))


def _count(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Fills weights [1 + resamples, n]: every clip once, then resample by resample. A byte each: n of them are many."""
    weights[0] = 1
    for row, counts in zip(weights[1:], stats.resampled_counts(weights.shape[1], len(weights) - 1, rng), strict=True):
        row[:] = counts


def _coins(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Fills weights [r, n] with 0 and 1 at random."""
    done = 0
    for size in stats.row_blocks(*weights.shape):
        weights[done : done + size] = rng.integers(0, 2, size=(size, weights.shape[1]), dtype=np.int16)
        done += size


def _n_clips(owner: np.ndarray) -> int:
    n = len(np.unique(owner))
    if n < 2:
        raise ValueError(f"resampling needs at least 2 clips, got {n}")
    return n
