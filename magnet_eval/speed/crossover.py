"""Which decoder makes more clips per second, batch size by batch size, and where the autoregressive one overtakes.

MAGNeT passes over all frames a few dozen times, an autoregressive decoder over one frame a thousand times: alone the
latter waits for its weights, in a large batch it shares them. So the ratio of the two depends on the batch size.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from magnet_eval import speed
from magnet_eval.records import Score, Timing

PARALLEL = ("masked", "hybrid")
SEQUENTIAL = ("autoregressive", "transformers")  # ours, and a peer's as the independent check
RESAMPLES = 2000
FEWEST = 5  # calls at every batch size, for an interval
Calls = dict[int, np.ndarray]  # batch size -> wall seconds of whole calls
Circumstances = tuple[float, str, str, str]  # seconds of audio, device, dtype, weights: equal for what is compared


def crossing(batches: Sequence[int], ratios: np.ndarray) -> np.ndarray:
    """The batch size [R] at which ratios [R, batches] first fall below 1, on straight lines between their logarithms.

    0 where they do at the smallest batch size already, infinity where they do at none.
    """
    x, y = np.log(np.asarray(batches, dtype=np.float64)), np.log(np.asarray(ratios, dtype=np.float64))
    below = y < 0
    after = below.argmax(axis=1)  # the first that is below; 0 where none is
    before, each = np.maximum(after - 1, 0), np.arange(len(y))
    fall = y[each, before] - y[each, after]
    share = np.divide(y[each, before], fall, out=np.zeros(len(y)), where=fall > 0)
    found = np.exp(x[before] + share * (x[after] - x[before]))
    return np.where(~below.any(axis=1), np.inf, np.where(below[:, 0], 0.0, found))


def resampled_medians(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Medians [RESAMPLES] of bootstrap resamples."""
    return np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1)


def by_system(timings: Sequence[Timing]) -> dict[Circumstances, dict[str, Calls]]:
    """Whole calls of every system by batch size, apart for what must not be compared. The first series counts."""
    found: dict[Circumstances, dict[str, Calls]] = defaultdict(lambda: defaultdict(dict))
    for timing in timings:
        if timing.stage == speed.TOTAL:
            calls = found[timing.seconds, timing.device, timing.dtype, timing.weights][timing.system]
            calls.setdefault(timing.batch, np.asarray(timing.values, dtype=np.float64))
    return found


def pairs(families: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(system, other): every MAGNeT against every sequential decoder, and ours of these against a peer's."""
    for system, family in families.items():
        for other, kind in families.items():
            against_peer = family == "autoregressive" and kind == "transformers"
            if (family in PARALLEL and kind in SEQUENTIAL) or against_peer:
                yield system, other


def crossover(
    timings: Sequence[Timing], families: Mapping[str, str], protocol: tuple[str, int], seed: int = 0
) -> list[Score]:
    """Rows ``speedup_vs`` (clips/s of ``system`` over those of ``params.versus``) by batch, and ``crossover_batch``.

    ``crossover_batch`` is the batch size from which ``params.versus`` makes more clips per second. There is no such row
    where it does at the smallest batch size already, or at none: the ``speedup_vs`` rows say which. ``low`` or ``high``
    is missing where that end of the interval lies outside the sizes timed. families: label -> family.
    """
    found: list[Score] = []
    for circumstances, systems in by_system(timings).items():
        here = {label: family for label, family in families.items() if label in systems}
        for system, other in pairs(here):
            calls, others = systems[system], systems[other]
            batches = sorted(set(calls) & set(others))
            if batches:
                job = _Pair(system, other, batches, calls, others, circumstances, protocol)
                found += job.rows(seed, crosses=families[system] in PARALLEL)
    return found


class _Pair:
    """One system against another at all batch sizes that both were timed at."""

    def __init__(
        self, system: str, other: str, batches: list[int], calls: Calls, others: Calls,
        circumstances: Circumstances, protocol: tuple[str, int],
    ) -> None:  # fmt: skip
        self.system, self.batches, self.protocol = system, batches, protocol
        self.calls = [(calls[batch], others[batch]) for batch in batches]
        seconds, device, dtype, weights = circumstances
        self.params = {"versus": other, "seconds": seconds, "device": device, "dtype": dtype}
        self.params |= {"weights": weights} if weights else {}

    def rows(self, seed: int, *, crosses: bool) -> Iterator[Score]:
        """The curve, and where it crosses 1."""
        n = [min(len(mine), len(theirs)) for mine, theirs in self.calls]
        ratios = np.array([np.median(theirs) / np.median(mine) for mine, theirs in self.calls])
        resampled = self._resampled(seed)
        for i, (batch, value) in enumerate(zip(self.batches, ratios, strict=True)):
            interval = np.quantile(resampled[:, i], [0.025, 0.975]) if n[i] >= FEWEST else (None, None)
            yield self._row(
                speed.SPEEDUP_VS, f"Speed-up over {self.params['versus']}", value, "×", "higher", n[i], interval,
                batch=batch,
            )  # fmt: skip
        (at,) = crossing(self.batches, ratios[None])
        if not crosses or at in (0, math.inf):
            return
        interval = (None, None)
        if min(n) >= FEWEST:
            ends = np.quantile(crossing(self.batches, resampled), [0.025, 0.975], method="nearest")
            interval = tuple(end if 0 < end < math.inf else None for end in ends)
        yield self._row(
            speed.CROSSOVER_BATCH, f"Crossover with {self.params['versus']}", at, "clips", "", min(n), interval,
            batches=self.batches,
        )  # fmt: skip

    def _resampled(self, seed: int) -> np.ndarray:
        """Ratios [RESAMPLES, batches]."""
        rng = np.random.default_rng(seed)
        drawn = [resampled_medians(theirs, rng) / resampled_medians(mine, rng) for mine, theirs in self.calls]
        return np.stack(drawn, axis=1)

    def _row(
        self, metric: str, label: str, value: float, unit: str, better: str, n: int, interval: Any, **params: Any
    ) -> Score:
        low, high = (None if end is None else float(end) for end in interval)
        return Score(
            *self.protocol, self.system, metric, label, float(value), unit, better, n, low, high,
            params={**self.params, **params},
        )  # fmt: skip
