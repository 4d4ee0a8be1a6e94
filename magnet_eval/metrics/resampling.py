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
    value, *resampled = scores(frames, owner, np.vstack([np.ones((1, n), np.int16), _counts(n, n_resamples, rng)]))
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
    counts = np.vstack([np.ones((1, n), np.int16), _counts(n, n_resamples, rng)])
    kept = rng.integers(0, 2, size=(n_permutations, n), dtype=np.int16)
    # One row per weighting of the 2 n clips: first those that make up the first system, then those of the second.
    sides = [np.vstack([np.hstack([counts, 0 * counts]), np.hstack([kept, 1 - kept])])]
    sides.append(np.roll(sides[0], n, axis=1))
    frames, owner = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1] + n])
    found = scores(frames, owner, np.vstack(sides))
    value, *others = found[: len(sides[0])] - found[len(sides[0]) :]
    resampled, permuted = np.split(np.array(others), [n_resamples])
    return (float(value), *stats.interval(value, resampled), stats.permutation_p(float(value), permuted))


def _counts(n: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    return np.array(list(stats.resampled_counts(n, n_resamples, rng)), dtype=np.int16).reshape(n_resamples, n)


def _n_clips(owner: np.ndarray) -> int:
    n = len(np.unique(owner))
    if n < 2:
        raise ValueError(f"resampling needs at least 2 clips, got {n}")
    return n
