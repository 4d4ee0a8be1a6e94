"""What the mean of a raters x prompts table says about other raters and other prompts.

Both are samples, so both are resampled (the pigeonhole bootstrap: McCullagh, 2000; Owen, 2007). Left at that, it is
wrong in two ways that a simulation shows (tests/benchmarks/coverage.py): few raters or prompts make it too short, and
it counts the noise of each single answer three times, which makes it too long where noise rules or a rater hears few
prompts. So the bootstrap gives the shape; the width is that of the components of variance (Henderson's method I,
1953), with Student's t at the degrees of freedom of Satterthwaite (1946).

Conventions: tables are float64 [rater, prompt], NaN where there is no answer; intervals are 95 %.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from magnet_eval.stats import LEVEL

N_RESAMPLES = 2000
N_TAIL = 20  # draws beyond which shares of them are too coarse


@dataclass(frozen=True)
class Components:
    """Where the variance of single answers comes from; an estimate can be below 0."""

    rater: float
    prompt: float
    residual: float  # rater x prompt, and noise


@dataclass(frozen=True)
class Mean:
    """The mean of a table, with all that is needed to tell it from any other number."""

    value: float
    error: float  # standard error
    freedom: float  # degrees of freedom of the error
    n: int  # answers
    n_raters: int
    n_prompts: int
    draws: np.ndarray  # of the bootstrap, sorted, with mean 0 and standard deviation 1 (all 0 where nothing varies)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Where the true mean is: percentiles of the bootstrap, as far out as Student's t wants them."""
        from scipy.special import ndtr, stdtrit

        tail = float(ndtr(-stdtrit(self.freedom, (1 + level) / 2)))
        low, high = np.percentile(self.draws, [100 * tail, 100 * (1 - tail)])
        return self.value + self.error * float(low), self.value + self.error * float(high)

    def p_above(self, bound: float) -> float:
        """One-sided p-value of the claim that the true mean is above ``bound``: by turning the interval round."""
        return self._p(bound - self.value, self.draws)

    def p_below(self, bound: float) -> float:
        """One-sided p-value of the claim that the true mean is below ``bound``."""
        return self._p(self.value - bound, -self.draws[::-1])

    def p_value(self) -> float:
        """Two-sided p-value of a mean of 0."""
        return min(1.0, 2 * min(self.p_above(0), self.p_below(0)))

    def _p(self, gap: float, draws: np.ndarray) -> float:
        """The tail below ``gap`` as Student's t: by the share of draws there or, where few are, as a normal tail.

        A share alone could not fall below one in the number of draws, and no test of many pairs would find anything.
        """
        from scipy.special import ndtri, stdtr

        if self.error == 0:
            return 1.0 if gap >= 0 else 0.0
        gap, least = gap / self.error, draws[N_TAIL - 1]
        share = max(N_TAIL, int(np.searchsorted(draws, gap, side="right"))) / (1 + len(draws))
        return float(stdtr(self.freedom, ndtri(share) + min(0.0, gap - least)))


def components(table: np.ndarray) -> Components:
    """Variance between raters, between prompts, and of the rest, for any pattern of missing answers.

    Unbiased for random raters and prompts; of a complete table, those of the two-way analysis of variance.
    """
    heard = np.isfinite(table)
    return _Sums(table[heard.any(axis=1)][:, heard.any(axis=0)]).components


def mean(table: np.ndarray, rng: np.random.Generator, n_resamples: int = N_RESAMPLES) -> Mean | None:
    """The mean of a table and its uncertainty; None for fewer than 2 raters or 2 prompts with an answer."""
    heard = np.isfinite(table)
    table = table[heard.any(axis=1)][:, heard.any(axis=0)]
    if min(table.shape) < 2:
        return None
    sums, (rows, columns) = _Sums(table), table.shape
    draws = np.sort(resampled_means(table, *weights(rows, columns, n_resamples, rng)))
    spread = draws.std()
    draws = (draws - draws.mean()) / spread if spread > 0 else np.zeros_like(draws)
    rater, prompt, residual = sums.parts
    variance = rater + prompt + residual
    loss = (rater + residual) ** 2 / (rows - 1) + (prompt + residual) ** 2 / (columns - 1)
    loss += residual**2 / max(1, sums.n - rows - columns + 1)
    freedom = variance**2 / loss if loss > 0 else 1.0
    return Mean(sums.mean, variance**0.5, freedom, sums.n, rows, columns, draws)


def weights(n_raters: int, n_prompts: int, n_resamples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each rater and each prompt is in each resample: [resample, rater] and [resample, prompt]."""
    drawn = (rng.multinomial(n, np.full(n, 1 / n), size=n_resamples) for n in (n_raters, n_prompts))
    of_raters, of_prompts = (counts.astype(np.float64) for counts in drawn)
    return of_raters, of_prompts


def resampled_means(table: np.ndarray, of_raters: np.ndarray, of_prompts: np.ndarray) -> np.ndarray:
    """The table's mean in each resample; a resample without an answer has none and is left out."""
    heard = np.isfinite(table)
    total = ((of_raters @ np.where(heard, table, 0.0)) * of_prompts).sum(axis=1)
    count = ((of_raters @ heard.astype(np.float64)) * of_prompts).sum(axis=1)
    return total[count > 0] / count[count > 0]


class _Sums:
    """Sums over a table without empty rows or columns, and the components that would lead one to expect them."""

    def __init__(self, table: np.ndarray) -> None:
        heard = np.isfinite(table)
        self.n = int(heard.sum())
        self.mean = float(table[heard].mean())
        self.heard = heard.astype(np.float64)
        self.values = np.where(heard, table - self.mean, 0.0)  # centred: nothing is lost to cancellation
        self.per_rater, self.per_prompt = self.heard.sum(axis=1), self.heard.sum(axis=0)

    @cached_property
    def components(self) -> Components:
        x, n, (rows, columns) = self.values, self.n, self.values.shape
        between_raters = float((x.sum(axis=1) ** 2 / self.per_rater).sum())
        between_prompts = float((x.sum(axis=0) ** 2 / self.per_prompt).sum())
        a, b = self.rater_share * n, self.prompt_share * n  # what the grand mean takes of each component
        expected = np.array([[n - a, rows - b, rows - 1], [columns - a, n - b, columns - 1], [n - a, n - b, n - 1]])
        observed = np.array([between_raters, between_prompts, float((x**2).sum())])
        return Components(*np.linalg.lstsq(expected, observed, rcond=None)[0].tolist())

    @property
    def rater_share(self) -> float:
        """How much of the variance between raters is left in the mean: 1 / raters if each rated as much."""
        return float((self.per_rater**2).sum()) / self.n**2

    @property
    def prompt_share(self) -> float:
        """The same of prompts."""
        return float((self.per_prompt**2).sum()) / self.n**2

    @property
    def parts(self) -> tuple[float, float, float]:
        """What raters, prompts and the rest contribute to the variance of the mean, none below 0."""
        found = self.components
        shares = (found.rater, self.rater_share), (found.prompt, self.prompt_share), (found.residual, 1 / self.n)
        rater, prompt, residual = (max(0.0, variance) * share for variance, share in shares)
        return rater, prompt, residual
