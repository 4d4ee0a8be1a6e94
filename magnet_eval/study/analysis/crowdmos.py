"""The interval that most papers on generated music print, for comparability with them."""

import numpy as np

from magnet_eval.stats import LEVEL


def interval(table: np.ndarray, level: float = LEVEL) -> tuple[float, float] | None:
    """Interval of the mean of a table [rater, clip] with NaN for missing answers; None for fewer than 2 answers.

    An answer is the sum of three independent normal variables: rater, clip, and the rest. Their variances come from
    the mean variance within raters, that within clips, and that of all answers, none below 0; where no rater rated
    two clips, or no clip had two raters, the components that cannot be told apart stay together.
    Source: CrowdMOS (Ribeiro, Florêncio, Zhang and Seltzer, 2011).
    """
    from scipy.special import stdtrit

    heard = np.isfinite(table)
    table = table[heard.any(axis=1)][:, heard.any(axis=0)]
    heard = np.isfinite(table)
    n = int(heard.sum())
    if n < 2:
        return None
    overall = float(table[heard].var(ddof=1))
    within_rater, within_clip = _mean_variance(table), _mean_variance(table.T)
    of_clips = 0.0 if within_clip is None else max(0.0, overall - within_clip)
    of_raters = 0.0 if within_rater is None else max(0.0, overall - within_rater)
    rest = max(0.0, overall - of_clips - of_raters)
    per_rater, per_clip = heard.sum(axis=1), heard.sum(axis=0)
    variance = (of_clips * (per_clip**2).sum() + of_raters * (per_rater**2).sum()) / n**2 + rest / n
    sides = [size for size in table.shape if size > 1]
    half = float(stdtrit(min(sides) - 1, (1 + level) / 2)) * float(variance) ** 0.5
    mean = float(table[heard].mean())
    return mean - half, mean + half


def _mean_variance(table: np.ndarray) -> float | None:
    """Mean over the rows with two answers or more of their variances; None if there is no such row."""
    rows = table[np.isfinite(table).sum(axis=1) > 1]
    return float(np.nanvar(rows, axis=1, ddof=1).mean()) if len(rows) else None
