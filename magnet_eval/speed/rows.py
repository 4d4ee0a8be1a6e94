"""Timed calls as Score rows: medians with their n and, from five calls on, a bootstrap interval."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from magnet_eval import speed
from magnet_eval.records import Score
from magnet_eval.speed.loop import FIRST_AUDIO, SERVER, Calls
from magnet_eval.speed.quantiles import QUANTILES, is_supported, median_interval, upper_bound
from magnet_eval.speed.server import Served
from magnet_eval.speed.subject import Loaded

CLOCKS_DIFFER = 0.02  # share of a stage by which the host's clock and the device's may differ without a flag
MEMORY = {"process": "Peak memory", "allocated": "Peak memory, tensors", "reserved": "Peak memory, allocator"}


def seen_by_two_clocks(wall: Sequence[float], events: Sequence[float]) -> dict[str, Any]:
    """What a row says of a stage that the device timed as well: its median, and whether the two differ by > 2 %."""
    if not events:
        return {}
    host, device = float(np.median(wall)), float(np.median(events))
    return {"device_seconds": device, "clocks_differ": bool(abs(host - device) > CLOCKS_DIFFER * host)}


def too_small_for(values: Sequence[float]) -> list[str]:
    """The quantiles that so few calls cannot carry."""
    return [f"p{q * 100:g}" for q in QUANTILES if not is_supported(len(values), q)]


class Rows:
    """Makes the Score rows of one protocol's measurement."""

    def __init__(self, protocol: str, version: int, seed: int = 0, session: str = "") -> None:
        """``seed`` is that of the bootstrap; ``session`` names what is timed in turn, so that it can be compared."""
        self.protocol, self.version, self.seed, self.session = protocol, version, seed, session

    def score(
        self, system: str, metric: str, label: str, value: float, unit: str, better: str, n: int, **more: Any
    ) -> Score:
        """One row."""
        more["params"] = {**more.get("params", {}), "session": self.session}
        return Score(self.protocol, self.version, system, metric, label, float(value), unit, better, n, **more)

    def interval(self, values: Sequence[float]) -> dict[str, float]:
        """``low`` and ``high`` of a median; nothing where the calls are too few."""
        found = median_interval(values, np.random.default_rng(self.seed))
        return {"low": found[0], "high": found[1]} if found else {}

    def of_system(self, label: str, loaded: Loaded) -> Score:
        """The load time, once per system."""
        return self.score(
            label, speed.LOAD_TIME, "Load time", loaded.seconds, "s", "lower", 1, params=made_with(loaded)
        )

    def of_stage(self, calls: Calls, stage: str) -> Iterator[Score]:
        """The median latency of a stage, which names the quantiles that n is too small for, and the other quantiles."""
        values = calls.seconds[stage]
        params = {**params_of(calls), "stage": stage}
        facts = seen_by_two_clocks(values, calls.events.get(stage, ()))
        facts["n_too_small_for"] = too_small_for(values)
        if stage == speed.TOTAL:
            facts |= {"n_warmup": len(calls.warmup), "settled": calls.is_settled()}
        yield self.score(
            calls.label, speed.LATENCY, "Latency", np.median(values), "s", "lower", len(values),
            params={**params, "quantile": 0.5, **facts}, **self.interval(values),
        )  # fmt: skip
        for quantile in QUANTILES[1:]:
            if is_supported(len(values), quantile):
                yield self.score(
                    calls.label, speed.LATENCY, f"Latency p{quantile * 100:g}", np.quantile(values, quantile), "s",
                    "lower", len(values),
                    params={**params, "quantile": quantile, "within_99": upper_bound(values, quantile)},
                )  # fmt: skip

    def of_calls(self, calls: Calls) -> Iterator[Score]:
        """All rows of one series of one system."""
        if calls.series.scenario == FIRST_AUDIO:
            yield self.of_stream(calls)
            return
        for stage in calls.seconds:
            yield from self.of_stage(calls, stage)
        yield from self.of_rates(calls)
        n, params = len(calls.seconds[speed.TOTAL]), params_of(calls)
        for metric, name, fact in (
            (speed.ITERATIONS, "Iterations", calls.iterations),
            (speed.NETWORK_EVALUATIONS, "Network evaluations", calls.network_evaluations),
        ):
            yield self.score(calls.label, metric, name, fact, "", "", n, params=params)
        if calls.warmup:
            yield self.score(
                calls.label, speed.FIRST_CALL, "First call", calls.warmup[0], "s", "lower", 1, params=params
            )
        yield from self.of_memory(calls)

    def of_memory(self, calls: Calls) -> Iterator[Score]:
        """Peaks of the system's own process during these calls."""
        n = len(calls.seconds[speed.TOTAL])
        for kind, peak in calls.peak_mb.items():
            params = {**params_of(calls), "kind": kind}
            yield self.score(calls.label, speed.PEAK_MEMORY, MEMORY[kind], peak, "MB", "lower", n, params=params)

    def of_rates(self, calls: Calls) -> Iterator[Score]:
        """Amounts per second, and seconds per second, of the whole calls."""
        latency = next(self.of_stage(calls, speed.TOTAL))
        n, params, seconds = latency.n, params_of(calls), calls.clip_seconds
        for metric, name, unit, amount in (
            (speed.THROUGHPUT, "Throughput", "clips/s", calls.series.batch),
            (speed.AUDIO_THROUGHPUT, "Audio throughput", "s/s", calls.series.batch * seconds),
            (speed.SPEEDUP, "Speed-up", "×", seconds),
        ):  # amount / seconds turns the interval round
            low, high = (amount / bound if bound else None for bound in (latency.high, latency.low))
            value = amount / latency.value
            yield self.score(calls.label, metric, name, value, unit, "higher", n, low=low, high=high, params=params)
        low, high = (bound / seconds if bound else None for bound in (latency.low, latency.high))
        value = latency.value / seconds
        yield self.score(
            calls.label, speed.RTF, "Real-time factor", value, "", "lower", n, low=low, high=high, params=params
        )

    def of_stream(self, calls: Calls) -> Score:
        """The time to the first piece of audio; the whole stream's is in ``params``."""
        first, last = calls.seconds["first audio"], calls.seconds["stream"]
        return self.score(
            calls.label, speed.FIRST_AUDIO, "Time to first audio", np.median(first), "s", "lower", len(first),
            params={
                **params_of(calls), "stream_seconds": float(np.median(last)), "n_too_small_for": too_small_for(first),
                "n_warmup": len(calls.warmup), "settled": calls.is_settled(),
            }, **self.interval(first),
        )  # fmt: skip

    def of_server(self, label: str, loaded: Loaded, tried: Sequence[Served], bound: float, seconds: float) -> Score:
        """The highest rate that was met. Raises ValueError if none was."""
        best = max((one for one in tried if one.is_met), key=lambda one: one.rate)
        params = {**made_with(loaded), "scenario": SERVER, "seconds": seconds, "bound": bound}
        params |= {"p90": float(np.quantile(best.latencies, 0.9)), "limit_found": not all(one.is_met for one in tried)}
        n = len(best.latencies)
        return self.score(label, speed.SERVER_RATE, "Server rate", best.rate, "clips/s", "higher", n, params=params)

    def of_energy(self, calls: Calls, joules: float, seconds: float, n: int) -> Iterator[Score]:
        """Energy of ``n`` calls together, the idle GPU's share included."""
        params = {**params_of(calls), "window_s": seconds, "mean_watts": joules / seconds}
        per_clip = joules / (n * calls.series.batch)
        yield self.score(calls.label, speed.ENERGY_PER_CLIP, "Energy", per_clip, "J/clip", "lower", n, params=params)
        yield self.score(
            calls.label, speed.ENERGY_PER_SECOND, "Energy per second of audio", per_clip / calls.clip_seconds, "J/s",
            "lower", n, params=params,
        )  # fmt: skip

    def of_idle(self, label: str, loaded: Loaded, watts: float) -> Score:
        """The power of the GPU with the systems loaded and nothing to do."""
        return self.score(label, speed.IDLE_POWER, "Idle power", watts, "W", "lower", 1, params=made_with(loaded))


def made_with(loaded: Loaded) -> dict[str, Any]:
    """What a row says of how its system ran."""
    return {
        "device": loaded.device, "dtype": loaded.dtype, **({"weights": loaded.weights} if loaded.weights else {}),
    }  # fmt: skip


def params_of(calls: Calls) -> dict[str, Any]:
    """What a row of ``calls`` was measured with."""
    window = calls.loaded.windows_of(calls.clip_seconds)
    return {
        "batch": calls.series.batch, "seconds": calls.clip_seconds, "scenario": calls.series.scenario,
        **({"window_seconds": window} if window else {}), **made_with(calls.loaded),
    }  # fmt: skip
