"""How near each stage comes to what the device allows (Williams et al., 2009): the share of the limit as Score rows.

A stage needs at least the longer of two times: its operations at the rate of a large matrix product, and its bytes at
that of a large copy. That limit over the measured median is the share; the longer of the two is what it is bound by.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from magnet_eval import speed
from magnet_eval.records import Score, Timing
from magnet_eval.speed import cost
from magnet_eval.speed.ceilings import Ceilings
from magnet_eval.speed.quantiles import median_interval

COMPUTE, MEMORY = "compute", "memory"
TOKENS = "tokens"  # the stage of a system that does not tell its decoding stages apart
APART = ("text", "codec")  # stages that belong to no language model


def limit(one: cost.Cost, ceilings: Ceilings) -> tuple[float, str]:
    """The least seconds that the work takes, and what it is bound by."""
    times = {COMPUTE: one.flops / ceilings.flops_per_s, MEMORY: one.bytes / ceilings.bytes_per_s}
    bound = max(times, key=times.__getitem__)
    return times[bound], bound


def text_tokens(lengths: Sequence[int], batch: int, calls: int) -> float:
    """Mean length that the texts of a call are padded to, where calls take prompts in turn; see loop.batch_of."""
    padded = [max(lengths[(turn * batch + i) % len(lengths)] for i in range(batch)) for turn in range(calls)]
    return float(np.mean(padded))


def costs(shapes: Mapping[str, Any], timing: Timing) -> dict[str, list[cost.Cost]]:
    """What each stage of a call consists of: itself, or several where the system times them together."""
    text = text_tokens(shapes["text_tokens"], timing.batch, len(timing.values))
    found = cost.of(shapes, timing.batch, timing.seconds, text)
    together = [one for name, one in found.items() if name not in APART]
    return {**{name: [one] for name, one in found.items()}, TOKENS: together, speed.TOTAL: list(found.values())}


def rows(
    timings: Sequence[Timing],
    shapes: Mapping[str, Mapping[str, Any]],
    ceilings: Mapping[str, Ceilings],
    protocol: tuple[str, int],
    seed: int = 0,
) -> list[Score]:
    """A row for every stage whose work is known. ``shapes`` (see describe.py) by system, ``ceilings`` by dtype.

    ``total`` is held against the sum of its stages' limits: copying to the host, writing and whatever lies between the
    stages have none. A stage in a number format without ceilings has no row.
    """
    found = []
    for timing in timings:
        known = shapes.get(timing.system)
        if not known or not known.get("text_tokens"):
            continue
        parts = costs(known, timing).get(timing.stage, [])
        if not parts or not all(one.dtype in ceilings for one in parts):
            continue
        limits = [limit(one, ceilings[one.dtype]) for one in parts]
        seconds = sum(least for least, _ in limits)
        compute = sum(least for least, bound in limits if bound == COMPUTE)
        interval = median_interval(timing.values, np.random.default_rng(seed))
        low, high = (seconds / interval[1], seconds / interval[0]) if interval else (None, None)
        params = {
            "stage": timing.stage, "batch": timing.batch, "seconds": timing.seconds, "device": timing.device,
            "dtype": timing.dtype, "scenario": timing.scenario, "bound": COMPUTE if 2 * compute >= seconds else MEMORY,
            "limit_seconds": seconds, "flops": sum(one.flops for one in parts),
            "bytes": sum(one.bytes for one in parts), **({"weights": timing.weights} if timing.weights else {}),
            **(ceilings[parts[0].dtype]._asdict() if len({one.dtype for one in parts}) == 1 else {}),
        }  # fmt: skip
        value = seconds / float(np.median(timing.values))
        found.append(
            Score(
                *protocol, timing.system, speed.ROOFLINE_SHARE, "Share of the limit", value, "", "higher",
                len(timing.values), low, high, params=params,
            )
        )  # fmt: skip
    return found
