"""Timed calls as Score rows: medians with their n and, from five calls on, a bootstrap interval."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from magnet_eval import speed
from magnet_eval.records import Score
from magnet_eval.speed.loop import Calls, Subject

LEAST_FOR_INTERVAL = 5
LEAST_FOR_P90 = 64  # fewer queries cannot bound a 90th percentile with 99 % confidence (MLPerf early stopping rule)


def median_interval(
    values: Sequence[float], rng: np.random.Generator, n_boot: int = 2000
) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the median; None for fewer than five values."""
    if len(values) < LEAST_FOR_INTERVAL:
        return None
    medians = np.median(rng.choice(np.asarray(values, dtype=np.float64), (n_boot, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


class Rows:
    """Makes the Score rows of one protocol's measurement."""

    def __init__(self, protocol: str, version: int, seed: int = 0) -> None:
        """``seed`` is that of the bootstrap."""
        self.protocol, self.version, self.seed = protocol, version, seed

    def score(
        self, system: str, metric: str, label: str, value: float, unit: str, better: str, n: int, **more: Any
    ) -> Score:
        """One row."""
        return Score(self.protocol, self.version, system, metric, label, float(value), unit, better, n, **more)

    def of_subject(self, subject: Subject) -> Score:
        """The load time, once per system."""
        params = {"device": subject.device, "dtype": subject.dtype}
        return self.score(
            subject.label, speed.LOAD_TIME, "Load time", subject.load_seconds, "s", "lower", 1, params=params
        )

    def of_stage(self, calls: Calls, stage: str) -> Iterable[Score]:
        """The median latency of a stage, and its 90th percentile where n can carry one."""
        values = calls.seconds[stage]
        params = {**self.params(calls), "stage": stage}
        interval = median_interval(values, np.random.default_rng(self.seed)) or (None, None)
        yield self.score(
            calls.subject.label, speed.LATENCY, "Latency", np.median(values), "s", "lower", len(values),
            low=interval[0], high=interval[1], params={**params, "quantile": 0.5},
        )  # fmt: skip
        if len(values) >= LEAST_FOR_P90:
            yield self.score(
                calls.subject.label, speed.LATENCY, "Latency p90", np.quantile(values, 0.9), "s", "lower", len(values),
                params={**params, "quantile": 0.9},
            )  # fmt: skip

    def params(self, calls: Calls) -> dict[str, Any]:
        """What a row of ``calls`` was measured with."""
        return {
            "batch": calls.batch, "seconds": calls.clip_seconds,
            "device": calls.subject.device, "dtype": calls.subject.dtype,
        }  # fmt: skip

    def of_calls(self, calls: Calls) -> Iterable[Score]:
        """All rows of one system at one batch size."""
        for stage in calls.seconds:
            yield from self.of_stage(calls, stage)
        latency = next(iter(self.of_stage(calls, speed.TOTAL)))
        label, n, params = calls.subject.label, latency.n, self.params(calls)
        for metric, name, unit, better, amount in (
            (speed.THROUGHPUT, "Throughput", "clips/s", "higher", calls.batch),
            (speed.AUDIO_THROUGHPUT, "Audio throughput", "s/s", "higher", calls.batch * calls.clip_seconds),
            (speed.SPEEDUP, "Speed-up", "×", "higher", calls.clip_seconds),
        ):  # amount / seconds turns the interval round
            low, high = (amount / bound if bound else None for bound in (latency.high, latency.low))
            value = amount / latency.value
            yield self.score(label, metric, name, value, unit, better, n, low=low, high=high, params=params)
        low, high = (bound / calls.clip_seconds if bound else None for bound in (latency.low, latency.high))
        value = latency.value / calls.clip_seconds
        yield self.score(label, speed.RTF, "Real-time factor", value, "", "lower", n, low=low, high=high, params=params)
        for metric, name, fact in (
            (speed.ITERATIONS, "Iterations", calls.iterations),
            (speed.NETWORK_EVALUATIONS, "Network evaluations", calls.network_evaluations),
        ):
            yield self.score(label, metric, name, fact, "", "", n, params=params)
        scope = "peak of the process during these calls, with every timed system loaded"
        yield self.score(
            label, speed.PEAK_MEMORY, "Peak memory", calls.peak_mb, "MB", "lower", n, params={**params, "scope": scope}
        )
