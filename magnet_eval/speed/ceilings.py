"""What a device can do at most: a large matrix product and a large copy, timed on it.

Both are attainable limits, not a data sheet's: what a library's best kernel reaches on this machine, now. Work that
stays in a cache can beat the copy, so a share of the limit may come out above 1 for a tiny model.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

BUDGET = 1.0  # seconds for each of the two
REPEATS = 4
COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}  # far beyond the caches
PRODUCT = {"cpu": (512, 1024, 2048, 4096), "cuda": (4096, 8192, 16384)}  # sides of square matrices


class Ceilings(NamedTuple):
    """Upper limits of one device in one number format."""

    flops_per_s: float
    bytes_per_s: float  # read and written together


def measure(device: str, dtype: str, clock: Callable[[], float] = time.perf_counter) -> Ceilings:
    """The two ceilings, best of several each: about two seconds in all, in this process with its threads."""
    import torch

    kind, number = torch.device(device).type, getattr(torch, dtype)

    def seconds(work: Callable[[], Any]) -> float:
        synchronise(device)
        start = clock()
        work()
        synchronise(device)
        return clock() - start

    best, spent, last = 0.0, 0.0, 0.0
    for side in PRODUCT[kind]:
        if spent + REPEATS * 8 * last > BUDGET:  # twice the side is eight times the work
            break
        a, b = (torch.randn(side, side, device=device).to(number) for _ in range(2))
        out = torch.empty_like(a)
        times = [seconds(partial(torch.mm, a, b, out=out)) for _ in range(REPEATS)]
        best, spent, last = max(best, 2 * side**3 / min(times)), spent + sum(times), min(times)
    source = torch.zeros(COPY_BYTES[kind] // 4, device=device)
    target = torch.ones_like(source)
    copies: list[float] = []
    while len(copies) < REPEATS or (len(copies) < 4 * REPEATS and sum(copies) < BUDGET):
        copies.append(seconds(partial(target.copy_, source)))
    return Ceilings(best, 2 * COPY_BYTES[kind] / min(copies))


def synchronise(device: str) -> None:
    """Waits until the device has nothing left to do."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
