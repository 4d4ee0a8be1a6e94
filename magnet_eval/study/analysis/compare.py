"""Two systems heard by the same raters on the same prompts: how far apart, how sure, and whether near enough."""

from dataclasses import dataclass

import numpy as np

from magnet_eval.study.analysis import intervals


@dataclass(frozen=True)
class Comparison:
    """First system minus second, in points of the scale."""

    dimension: str
    system: str
    versus: str
    n: int  # answers to both
    raters: int
    prompts: int
    difference: float
    low: float  # 95 % interval, for other raters and other prompts
    high: float
    p_value: float  # of this comparison alone
    p_adjusted: float  # Holm, over all pairs and questions of the study
    margin: float  # points that count as no difference that matters
    equivalence_p: float  # TOST: that the difference is at least as large as the margin
    equivalence_low: float  # the interval at twice TOST's level: 90 % for alpha = 0.05
    equivalence_high: float
    wilcoxon_raters: float | None  # p of the raters' mean differences: other raters, these prompts
    wilcoxon_prompts: float | None  # p of the prompts' mean differences: other prompts, these raters
    rank_biserial: float  # matched pairs, -1 to 1
    probability_higher: float  # that an answer about the first is above the one about the second; ties count half
    verdict: str  # higher, lower, equivalent, or not distinguishable; "higher, within the margin" and so on


def compare(
    dimension: str, pair: tuple[str, str], table: np.ndarray, margin: float, alpha: float, rng: np.random.Generator
) -> Comparison | None:
    """A comparison without its Holm adjustment and verdict, from the differences [rater, prompt]; None for too few."""
    mean = intervals.mean(table, rng)
    if mean is None:
        return None
    answers = table[np.isfinite(table)]
    low, high = mean.interval()
    return Comparison(
        dimension, *pair, mean.n, mean.n_raters, mean.n_prompts, mean.value, low, high, mean.p_value(), 1.0,
        margin, equivalence_p(mean, margin), *mean.interval(1 - 2 * alpha),
        wilcoxon(row_means(table)), wilcoxon(row_means(table.T)),
        rank_biserial(answers), float(np.mean((answers > 0) + 0.5 * (answers == 0))), "",
    )  # fmt: skip


def equivalence_p(mean: intervals.Mean, margin: float) -> float:
    """P-value of two one-sided tests that the true mean lies within +-margin (Schuirmann, 1987)."""
    return max(mean.p_above(-margin), mean.p_below(margin))


def verdict(row: Comparison, alpha: float) -> str:
    """What the two tests together say."""
    near = row.equivalence_p < alpha
    if row.p_adjusted < alpha:
        return ("higher" if row.difference > 0 else "lower") + (", within the margin" if near else "")
    return "equivalent" if near else "not distinguishable"


def wilcoxon(values: np.ndarray) -> float | None:
    """Two-sided p-value of the signed-rank test (Wilcoxon, 1945); 1 where all are 0, None for fewer than 2."""
    from scipy.stats import wilcoxon as signed_rank

    if len(values) < 2:
        return None
    return float(signed_rank(values).pvalue) if np.any(values) else 1.0


def rank_biserial(values: np.ndarray) -> float:
    """Share of the rank sum that is above 0, minus that below (Kerby, 2014): from -1 to 1; 0 where all are 0."""
    from scipy.stats import rankdata

    values = values[values != 0]
    ranks = rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum()) if len(values) else 0.0


def friedman(table: np.ndarray) -> float | None:
    """P-value that some of three systems or more differ (Friedman, 1937), from the rows [block, system] without a gap.

    None for fewer than 3 systems or 2 such rows. A block is a rater's means, or a prompt's.
    """
    from scipy.stats import friedmanchisquare

    table = table[np.isfinite(table).all(axis=1)]
    if table.shape[1] < 3 or len(table) < 2:
        return None
    if np.all(table == table[:, :1]):
        return 1.0
    return float(friedmanchisquare(*table.T).pvalue)


def block_means(values: np.ndarray, axis: int) -> np.ndarray:
    """Means of [system, rater, prompt] over ``axis``: [block, system], the blocks being what is left; NaN for none."""
    heard = np.isfinite(values)
    total, count = np.where(heard, values, 0.0).sum(axis=axis), heard.sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).T


def row_means(table: np.ndarray) -> np.ndarray:
    """Mean of every row that has a number."""
    return np.nanmean(table[np.isfinite(table).any(axis=1)], axis=1)
