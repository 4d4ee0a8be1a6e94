"""Bootstrap and paired permutation of metrics of whole sets, by weights on clips.

Both take ``scores``, a function of (frames, owner, weights [r, n]) such as ``frechet_of_clips`` or
``kernel_of_clips`` gives, and ask it once for all weightings. The unit is the clip; the reference is taken as it is.
"""

from collections.abc import Callable
from typing import Any

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
    weights = Counts(1 + n_resamples, n)
    _count(weights, rng)
    rows = Weights(lambda start, stop: weights[start:stop], weights.shape)
    value, *resampled = scores(frames, owner, rows)
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
    counts, coins = Counts(n_counted, n), Counts(n_permutations, n)
    _count(counts, rng)
    _coins(coins, rng)
    weights = swaps(counts, coins)
    frames, owner = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1] + n])
    found = scores(frames, owner, weights)
    value, *others = found[:n_rows] - found[n_rows:]
    resampled, permuted = np.split(np.array(others), [n_resamples])
    return (float(value), *stats.interval(value, resampled), stats.permutation_p(float(value), permuted))


class Counts:
    """Small counts [r, n], two to a byte, for a thousand rows of many clips are much: rows become int8 when asked for.

    Like an array as far as ``shape``, ``len``, slices of rows and ``np.asarray`` go.
    """

    def __init__(self, n_rows: int, n: int) -> None:
        """All are 0."""
        self.shape = (n_rows, n)
        self.cells = np.zeros((n_rows, (n + 1) // 2), np.uint8)
        self.large: dict[tuple[int, int], int] = {}  # (row, column) -> a count that needs more than half a byte

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, row: int, counts: np.ndarray) -> None:
        for column in np.flatnonzero(counts > 15):
            self.large[row, int(column)] = int(counts[column])
        small = np.minimum(counts, 15).astype(np.uint8)
        self.cells[row] = small[::2]
        self.cells[row, : len(small) // 2] |= small[1::2] << 4

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        found = np.empty((max(0, stop - start), self.shape[1]), np.int8)
        found[:, ::2] = self.cells[rows] & 15
        found[:, 1::2] = (self.cells[rows] >> 4)[:, : self.shape[1] // 2]
        for (row, column), count in self.large.items():
            if start <= row < stop:
                found[row - start, column] = count
        return found


class Weights:
    """Rows start to stop of weights that are made when asked for."""

    def __init__(self, make: Callable[[int, int], np.ndarray], shape: tuple[int, int], start: int = 0) -> None:
        """``make`` gives the rows from a start to a stop: int8 [stop - start, n]."""
        self.make, self.shape, self.start = make, shape, start

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "Weights":
        start, stop, _ = rows.indices(len(self))
        return Weights(self.make, (stop - start, self.shape[1]), self.start + start)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.make(self.start, self.start + len(self)), dtype=dtype)


def swaps(counts: Counts, coins: Counts) -> Weights:
    """Weights of the clips of two systems: rows that make up the first system, then those of the second.

    Of a resample both systems' clips count alike; of a permutation a coin says whose clip it is.
    """
    n_counted, n = counts.shape
    n_rows = n_counted + len(coins)

    def row(i: int) -> tuple[np.ndarray, np.ndarray]:
        place = i % n_rows
        if place < n_counted:
            first = counts[place : place + 1][0]
            pair = first, np.zeros_like(first)
        else:
            first = coins[place - n_counted : place - n_counted + 1][0]
            pair = first, 1 - first
        return pair if i < n_rows else pair[::-1]

    def make(start: int, stop: int) -> np.ndarray:
        found = np.empty((stop - start, 2 * n), np.int8)
        for i in range(start, stop):
            found[i - start, :n], found[i - start, n:] = row(i)
        return found

    return Weights(make, (2 * n_rows, 2 * n))


def _count(weights: Counts, rng: np.random.Generator) -> None:
    """Fills weights [1 + resamples, n]: every clip once, then resample by resample."""
    n = weights.shape[1]
    weights[0] = np.ones(n, int)
    for row, counts in enumerate(stats.resampled_counts(n, len(weights) - 1, rng), start=1):
        weights[row] = counts


def _coins(weights: Counts, rng: np.random.Generator) -> None:
    """Fills weights [r, n] with 0 and 1 at random."""
    rows = (row for size in stats.row_blocks(*weights.shape) for row in _flips(size, weights.shape[1], rng))
    for place, row in enumerate(rows):
        weights[place] = row


def _flips(size: int, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, size=(size, n), dtype=np.int16)


def _n_clips(owner: np.ndarray) -> int:
    n = len(np.unique(owner))
    if n < 2:
        raise ValueError(f"resampling needs at least 2 clips, got {n}")
    return n
