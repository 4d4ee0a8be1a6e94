"""How far listeners agree with one another, and with themselves.

Conventions: tables are float64 [rater, clip], NaN where there is no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.records import Rating
from magnet_eval.study.analysis.intervals import components

N_SPLITS = 200


def alpha(table: np.ndarray) -> float | None:
    """Krippendorff's alpha with the interval metric, at most 1; 0 is chance. None where nothing can be compared.

    One minus observed over expected disagreement (squared differences); clips with a single answer do not count.
    Source: Krippendorff (2011), "Computing Krippendorff's alpha-reliability".
    """
    paired = table[:, np.isfinite(table).sum(axis=0) > 1]
    answers = paired[np.isfinite(paired)]
    if not len(answers):
        return None
    counts = np.isfinite(paired).sum(axis=0)
    observed = float((counts / (counts - 1) * np.nanvar(paired, axis=0) * counts).sum()) / len(answers)
    expected = float(answers.var(ddof=1))
    return 1 - observed / expected if expected > 0 else None


def icc(table: np.ndarray) -> tuple[float, float, float] | None:
    """ICC(2,1), ICC(2,k), and k, the answers a clip has: reliability of one rater, and of the mean of k.

    Absolute agreement, raters and clips at random: the clips' share of the variance. Missing answers are allowed; of a
    complete table it is the ICC of Shrout and Fleiss (1979). None for fewer than 2 raters or clips, or no variance.
    """
    heard = np.isfinite(table)
    if min(heard.any(axis=1).sum(), heard.any(axis=0).sum()) < 2 or heard.sum(axis=0).max() < 2:
        return None
    parts = components(table)
    k = float(heard.sum(axis=0)[heard.any(axis=0)].mean())
    noise = parts.rater + parts.residual
    if parts.prompt + noise <= 0 or parts.prompt + noise / k <= 0:
        return None
    return parts.prompt / (parts.prompt + noise), parts.prompt / (parts.prompt + noise / k), k


def split_half(table: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> float | None:
    """Mean rank correlation of the clips' means (groups all different) or the systems' between halves of the raters.

    groups: of each clip, its system's index, or its own. Not stretched to the full number of raters; None where fewer
    than 4 raters or 3 groups leave nothing to correlate.
    """
    if len(table) < 4 or len(set(groups.tolist())) < 3:
        return None
    found = []
    for _ in range(N_SPLITS):
        order = rng.permutation(len(table))
        halves = [_group_means(table[half], groups) for half in np.array_split(order, 2)]
        rho = rank_correlation(*halves)
        if rho is not None:
            found.append(rho)
    return float(np.mean(found)) if found else None


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation where both are numbers; None for fewer than 3, or where one side is constant."""
    from scipy.stats import rankdata

    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 3:
        return None
    ranks = np.stack([rankdata(first[both]), rankdata(second[both])])
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float(ranks[0] @ ranks[1]) / spread if spread > 0 else None


@dataclass(frozen=True)
class Consistency:
    """How far a second answer about the same clip is from the first."""

    n: int
    mean_distance: float  # in points of the scale
    correlation: float | None  # Spearman


def consistency(ratings: Sequence[Rating], dimension: str) -> Consistency | None:
    """First and repeated answers of the same rater to the same clip; None where nothing was repeated."""
    own = [rating for rating in ratings if rating.dimension == dimension]
    first = {(rating.rater, rating.stimulus_id): rating.value for rating in own}
    again = [rating for rating in own if rating.repeat_of and (rating.rater, rating.repeat_of) in first]
    if not again:
        return None
    pairs = np.array([[first[rating.rater, rating.repeat_of], rating.value] for rating in again])
    distance = float(np.abs(pairs[:, 0] - pairs[:, 1]).mean())
    return Consistency(len(again), distance, rank_correlation(pairs[:, 0], pairs[:, 1]))


def _group_means(table: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean answer of each group; NaN where there is none."""
    heard = np.isfinite(table)
    names, place = np.unique(groups, return_inverse=True)
    total = np.bincount(place, np.where(heard, table, 0.0).sum(axis=0), len(names))
    count = np.bincount(place, heard.sum(axis=0), len(names))
    return np.divide(total, count, out=np.full(len(names), np.nan), where=count > 0)
