"""A score of a set extrapolated to infinitely many clips: FAD-infinity.

A Fréchet distance of few clips is too large, nearly by a multiple of 1 / n. The line through the scores of subsets
against 1 / n, at 0, is the score without that bias.
Reference: Chong and Forsyth (2020), arXiv:1911.07023; for audio: Gui et al. (2023), arXiv:2311.01616.
"""

from dataclasses import dataclass, replace

import numpy as np

from magnet_eval.metrics.clip_stats import Scores

N_PARTS = 4  # at smaller subsets the bias is no longer a straight line; more points narrow nothing
MIN_CLIPS = 20  # of the smallest subset, and one for each group of the jackknife
N_GROUPS = 20
T_QUANTILE = 2.093  # 97.5 % of Student's t for N_GROUPS - 1


@dataclass(frozen=True)
class Extrapolation:
    """A line value + slope / n through the scores of subsets of n clips."""

    value: float  # at infinite n
    slope: float
    r2: float  # share of the points' variance that the line explains; far below 1 the value means little
    points: tuple[tuple[float, float], ...]  # (n, score)
    low: float | None = None  # 95 % interval over clips
    high: float | None = None


def by_clips(scores: Scores, frames: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> Extrapolation:
    """Clips without replacement: at n, n / 2, ... n / N_PARTS the mean score of all clips in so many random parts.

    As every clip counts once at every point, chance enters the line only through who stands with whom. The interval is
    that of the jackknife over N_GROUPS groups of clips. Raises ValueError for fewer than N_PARTS x MIN_CLIPS clips.
    """
    n = int(np.max(owner, initial=-1)) + 1
    if n < N_PARTS * MIN_CLIPS:
        raise ValueError(f"a line through subsets needs at least {N_PARTS * MIN_CLIPS} clips, got {n}")
    order = rng.permutation(n)
    n_parts = np.repeat(np.arange(1, N_PARTS + 1), np.arange(1, N_PARTS + 1))  # 1, 2, 2, 3, 3, 3, ...
    parts = np.zeros((len(n_parts), n), dtype=np.int16)
    for row, b, first in zip(parts, n_parts, np.arange(len(n_parts)), strict=True):
        row[order[first % b :: b]] = 1  # b numbers in a row have all remainders
    kept = np.ones((1 + N_GROUPS, 1, n), dtype=np.int16)  # all clips, then each group of the jackknife left out
    for row, group in zip(kept[1:, 0], np.array_split(rng.permutation(n), N_GROUPS), strict=True):
        row[group] = 0
    weights = (parts * kept).reshape(-1, n)
    found = scores(frames, owner, weights)
    shape = len(kept), len(parts)
    lines = [
        _line([(1 / np.mean(1 / size[n_parts == b]), score[n_parts == b].mean()) for b in range(1, N_PARTS + 1)])
        for size, score in zip(weights.sum(axis=1).reshape(shape), found.reshape(shape), strict=True)
    ]
    value = lines[0].value
    half = T_QUANTILE * float(np.sqrt((N_GROUPS - 1) * np.var([line.value for line in lines[1:]])))
    return replace(lines[0], low=value - half, high=value + half)


def _line(points: list[tuple[float, float]]) -> Extrapolation:
    """Least squares of the scores against 1 / n."""
    sizes, scores = np.array(points, dtype=np.float64).T
    x, y = 1 / sizes - (1 / sizes).mean(), scores - scores.mean()
    slope = (x @ y) / (x @ x)
    total = y @ y
    r2 = 1 - ((y - slope * x) ** 2).sum() / total if total > 0 else 1.0
    return Extrapolation(
        value=float(scores.mean() - slope * (1 / sizes).mean()),
        slope=float(slope),
        r2=float(r2),
        points=tuple((float(n), float(score)) for n, score in points),
    )
