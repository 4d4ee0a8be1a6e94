"""How many calls a statement on a quantile of their latency needs, and what is sure of it.

The rule of MLPerf's early stopping: n calls of which k took longer than a bound show, with confidence 0.99, that a
share p of all calls stays within it, where a share of exactly p would show no more than k in 1 % of such series.
"""

from collections.abc import Sequence

import numpy as np

QUANTILES = (0.5, 0.9, 0.99)
FEWEST = 64  # calls, whatever the quantile
ERROR = 0.01  # 1 - confidence


def is_shown(n: int, longer: int, quantile: float) -> bool:
    """Whether n calls, ``longer`` of them beyond a bound, show that a share ``quantile`` stays within it."""
    from scipy.special import betainc

    return n > longer and bool(betainc(n - longer, longer + 1, quantile) <= ERROR)


def is_supported(n: int, quantile: float) -> bool:
    """Whether n calls can carry a quantile: 64 for the median and for p90, 662 for p99."""
    return n >= FEWEST and is_shown(n, 1, quantile)


def upper_bound(values: Sequence[float], quantile: float) -> float | None:
    """What a share ``quantile`` of all calls stays within, with confidence 0.99; None where n cannot show it."""
    n = len(values)
    if not is_supported(n, quantile):
        return None
    longer = max(k for k in range(1, n) if k == 1 or is_shown(n, k, quantile))
    return float(np.sort(values)[n - longer])


def median_interval(
    values: Sequence[float], rng: np.random.Generator, n_boot: int = 2000
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the median; None for fewer than five values."""
    if len(values) < 5:
        return None
    medians = np.median(rng.choice(np.asarray(values, dtype=np.float64), (n_boot, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)
