"""Uncertainty: bootstrap intervals, paired tests, and their adjustment for many comparisons.

Conventions: the unit of resampling is the clip (never a frame of it); intervals are 95 %; every random draw comes
from the ``rng`` that is passed in; p-values are two-sided unless a name says otherwise.
"""

from collections.abc import Iterator, Sequence

import numpy as np

LEVEL = 0.95
BLOCK = 2**17  # resampled clips at a time: what a draw of thousands of resamples holds in memory


def resampled_counts(n: int, n_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each of ``n`` clips stands in each bootstrap resample: integers [n] that sum to n."""
    for _ in range(n_resamples):
        yield np.bincount(rng.integers(n, size=n), minlength=n)


def row_blocks(n_rows: int, n_columns: int) -> Iterator[int]:
    """Sizes of blocks of rows of at most BLOCK numbers each, or four rows; the last one may be smaller.

    Multiples of four, so that drawing small integers by blocks gives those that drawing them at once does.
    """
    size = 4 * max(1, BLOCK // (4 * n_columns))
    yield from (min(size, n_rows - start) for start in range(0, n_rows, size))


def interval(value: float, resampled: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of a bootstrap distribution, moved so that the distribution's mean lies on ``value``.

    For a mean the move is nil. For a Fréchet distance it matters: a resample holds fewer distinct clips than the
    sample, so its distance is too large, and the plain percentile interval can lie wholly above the value.
    """
    resampled = np.asarray(resampled, dtype=np.float64)
    tail = 50 * (1 - level)
    low, high = np.percentile(resampled - resampled.mean(), [tail, 100 - tail])
    return float(value + low), float(value + high)


def bootstrap_mean(
    values: np.ndarray, rng: np.random.Generator, n_resamples: int = 2000, level: float = LEVEL
) -> tuple[float, float, float]:
    """Mean of per-clip values [n] and its interval: (mean, low, high). Raises ValueError for fewer than two."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 clips, got {len(values)}")
    shares, mean = np.full(len(values), 1 / len(values)), float(values.mean())
    sums = [rng.multinomial(len(values), shares, size=size) @ values for size in row_blocks(n_resamples, len(values))]
    low, high = interval(mean, np.concatenate(sums) / len(values), level)
    return mean, low, high


def permutation_p(observed: float, permuted: np.ndarray) -> float:
    """Share of the permuted statistics, the observed one among them, that are at least as far from zero.

    Counting the observed one keeps p above 0 (Phipson and Smyth, 2010). A relative slack absorbs rounding.
    """
    far = np.abs(permuted) >= abs(observed) * (1 - 1e-9)
    return float((1 + far.sum()) / (1 + len(far)))


def sign_flip_test(differences: np.ndarray, rng: np.random.Generator, n_permutations: int = 9999) -> float:
    """Two-sided p-value that paired differences [n] have mean 0, by flipping their signs at random."""
    differences = np.asarray(differences, dtype=np.float64)
    n, sums = len(differences), []
    for size in row_blocks(n_permutations, n):
        signs = rng.integers(0, 2, size=(size, n), dtype=np.int8) * 2 - 1
        sums.append(signs @ differences)
    return permutation_p(float(differences.mean()), np.concatenate(sums) / n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in their order (Holm, 1979): at most 5 % of families hold a false claim."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(len(p), 0, -1)))
    return adjusted.tolist()
