"""The server scenario: requests arrive at random, at a rising rate; how many a second can be served in time?

A request is one clip. The system, once free, takes as many of those that wait as a timed batch has, so that no shape is
new to the device. Latency runs from the arrival to the written file. "In time" is: nine in ten within the bound, shown
with confidence 0.99; see quantiles.py.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from magnet_eval.speed.quantiles import is_shown

QUANTILE = 0.9
STEP = 1.1  # from one rate to the next
SIMULATED = 1000  # requests that a rate to begin with is predicted from
BISECTIONS = 12


@dataclass(frozen=True)
class Served:
    """One rate, tried with real calls."""

    rate: float  # requests per second
    latencies: tuple[float, ...]  # of the requests answered, in order of arrival
    is_met: bool


def arrivals(rate: float, n: int, rng: np.random.Generator) -> list[float]:
    """Times of ``n`` requests of a Poisson process, in seconds."""
    return [float(at) for at in np.cumsum(rng.exponential(1 / rate, n))]


def serve(
    arrivals: Sequence[float],
    sizes: Sequence[int],
    answer: Callable[[int, int], None],
    clock: Callable[[], float],
    wait: Callable[[float], None],
    bound: float,
) -> list[float]:
    """Latencies of requests; ``answer(first, n)`` makes the clips of n of them. 1 is among the sizes.

    Ends early, with fewer latencies, once too many took longer than ``bound`` seconds.
    """
    latencies: list[float] = []
    late = 0
    while (done := len(latencies)) < len(arrivals):
        if (ahead := arrivals[done] - clock()) > 0:
            wait(ahead)
        now = max(clock(), arrivals[done])
        waiting = bisect.bisect_right(arrivals, now) - done
        n = max(size for size in sizes if size <= waiting)
        answer(done, n)
        end = clock()
        latencies += [end - at for at in arrivals[done : done + n]]
        before, late = late, late + sum(latency > bound for latency in latencies[done:])
        if late > before and not is_shown(len(arrivals), late, QUANTILE):
            break
    return latencies


def is_met(latencies: Sequence[float], bound: float) -> bool:
    """Whether the requests show that nine in ten are answered within ``bound`` seconds."""
    return is_shown(len(latencies), sum(latency > bound for latency in latencies), QUANTILE)


def simulated(
    rate: float, services: Mapping[int, Sequence[float]], n: int, bound: float, rng: np.random.Generator
) -> list[float]:
    """Latencies of ``n`` requests whose calls take as long as one of the calls timed at their batch size."""
    now = 0.0

    def answer(first: int, size: int) -> None:
        nonlocal now
        now += float(rng.choice(services[size]))

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    return serve(arrivals(rate, n, rng), sorted(services), answer, lambda: now, wait, bound)


def predicted(services: Mapping[int, Sequence[float]], bound: float, rng: np.random.Generator) -> float:
    """The highest rate that simulated calls meet the bound at; where to begin with real ones. 0 if there is none."""
    low, high = 0.0, max(size / float(np.median(values)) for size, values in services.items())
    for _ in range(BISECTIONS):
        rate = (low + high) / 2
        found = simulated(rate, services, SIMULATED, bound, rng)
        low, high = (rate, high) if len(found) == SIMULATED and is_met(found, bound) else (low, rate)
    return low


def search(
    ask: Callable[[Sequence[float]], Sequence[float]],
    services: Mapping[int, Sequence[float]],
    *,
    bound: float,
    queries: int,
    seconds: float,
    rng: np.random.Generator,
) -> list[Served]:
    """Rates tried with real calls, in order: rising until one is not met, or falling until one is.

    ``ask`` serves arrival times and gives the latencies; no further rate is tried once ``seconds`` are spent.
    """
    rate, spent, tried = predicted(services, bound, rng) / STEP**2, 0.0, list[Served]()
    while rate > 0 and spent < seconds:
        at = arrivals(rate, queries, rng)
        latencies = tuple(ask(at))
        tried.append(Served(rate, latencies, len(latencies) == queries and is_met(latencies, bound)))
        spent += at[len(latencies) - 1]
        if len({one.is_met for one in tried}) == 2:  # the limit lies between the last two
            break
        rate *= STEP if tried[-1].is_met else 1 / STEP
    return tried
