"""Intervals and paired tests for scores of a set that cannot be weighted, by leaving out groups of clips.

A bootstrap would repeat clips, and a repeated clip is its own nearest neighbour: density, coverage, MAUVE and the
inception score all move by that. A jackknife repeats none. The groups are dealt at random, and both systems of a pair
leave out the same clips.

Reference: Tukey (1958); over groups: Efron and Tibshirani (1993), chapter 11.
"""

from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray], float]  # of rows [n, d], one per clip
N_GROUPS = 20


def interval(score: Score, rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Score of all rows and its 95 % interval over them: (value, low, high). Raises ValueError for fewer than two."""
    groups = _groups(len(rows), rng)
    value, without = score(rows), np.array([score(np.delete(rows, group, axis=0)) for group in groups])
    half = _quantile(len(groups)) * _deviation(without)
    return float(value), float(value - half), float(value + half)


def paired_difference(
    score: Score, first: np.ndarray, second: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Score of the first rows minus that of the second, of the same prompts in one order: (value, low, high, p).

    The two-sided p-value is Student's, of the difference over its jackknife deviation, but never smaller than that of
    a difference which has the same sign in every group.
    Raises ValueError for fewer than two clips, or other numbers of them.
    """
    if len(first) != len(second):
        raise ValueError(f"a paired test needs the same clips of both systems, got {len(first)} and {len(second)}")
    groups = _groups(len(first), rng)
    value = score(first) - score(second)
    pairs = ((np.delete(first, group, axis=0), np.delete(second, group, axis=0)) for group in groups)
    deviation = _deviation(np.array([score(a) - score(b) for a, b in pairs]))
    half = _quantile(len(groups)) * deviation
    return float(value), float(value - half), float(value + half), _p_value(value, deviation, len(groups))


def _groups(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    if n < 2:
        raise ValueError(f"leaving out clips needs at least 2 of them, got {n}")
    return np.array_split(rng.permutation(n), min(N_GROUPS, n))


def _deviation(without: np.ndarray) -> float:
    return float(np.sqrt((len(without) - 1) * without.var()))


def _quantile(n_groups: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(n_groups - 1, 0.975))


def _p_value(value: float, deviation: float, n_groups: int) -> float:
    from scipy.special import stdtr

    if value == 0:
        return 1.0
    least = 2.0 ** (1 - n_groups)
    return max(least, float(2 * stdtr(n_groups - 1, -abs(value) / deviation)) if deviation else 0.0)
