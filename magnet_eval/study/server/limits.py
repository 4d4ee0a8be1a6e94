"""Limits for what strangers send: how fast and how large. Only in memory; no address is ever stored."""

import time
from collections import OrderedDict
from collections.abc import Callable

KEEP = 10_000  # keys


class Allowance:
    """A token bucket per key: ``burst`` at once, then ``rate`` a second."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        """With the clock as an argument, for tests."""
        self.rate, self.burst, self.clock = rate, burst, clock
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tokens, when), oldest first

    def wait(self, key: str) -> float:
        """0 if one more is allowed now, which takes it; else the seconds until it is."""
        now = self.clock()
        tokens, before = self.buckets.pop(key, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.rate)
        allowed = tokens >= 1
        self.buckets[key] = (tokens - allowed, now)
        if len(self.buckets) > KEEP:
            self.buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate
