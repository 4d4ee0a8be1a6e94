"""The timing loop: warm-up until stable, systems in turn A B A B, device idle on both sides of the clock.

A machine that grows slower during a measurement slows every system alike when they take turns; measured one after
another, the last would carry all of it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from magnet_eval.config import Speed
from magnet_eval.progress import Progress, silent
from magnet_eval.records import Prompt, Timing
from magnet_eval.speed import TOTAL, memory

log = logging.getLogger(__name__)
AGREEMENT = 0.1  # warm-up ends when two calls in a row differ by less than this share ...
MAX_WARMUP = 5  # ... or after so many calls
Clock = Callable[[], float]


@dataclass
class Subject:
    """A loaded system that is to be timed."""

    label: str
    generator: Any  # magnet_eval.generators.Generator
    device: str
    dtype: str
    load_seconds: float


@dataclass
class Calls:
    """What the timed calls of one system at one batch size came to."""

    subject: Subject
    batch: int
    clip_seconds: float  # of audio per clip
    seconds: dict[str, list[float]] = field(default_factory=dict)  # by stage, "total" first
    iterations: int = 0  # decoding steps of one call
    network_evaluations: int = 0
    peak_mb: float = 0.0
    spent: float = 0.0  # wall seconds, warm-up included

    def timings(self) -> list[Timing]:
        """The raw values as records, one per stage."""
        return [
            Timing(
                self.subject.label, stage, self.batch, self.clip_seconds, tuple(values), self.subject.device,
                self.subject.dtype, self.iterations, self.network_evaluations,
            )
            for stage, values in self.seconds.items()
        ]  # fmt: skip


def synchronise(device: str) -> None:
    """Waits until the device has nothing left to do."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def one_call(calls: Calls, prompts: Sequence[Prompt], seeds: Sequence[int], clock: Clock) -> tuple[float, Any]:
    """One call: its wall seconds and its Generation."""
    device = calls.subject.device
    synchronise(device)
    start = clock()
    generation = calls.subject.generator.generate(prompts, seeds)
    synchronise(device)
    seconds = clock() - start
    calls.spent += seconds
    return seconds, generation


def warm_up(calls: Calls, least: int, prompts: Sequence[Prompt], seeds: Sequence[int], clock: Clock) -> int:
    """Calls that do not count, at the same shapes: at least ``least`` (0: none) and until two agree; their number."""
    before, n = 0.0, 0
    while n < max(least, MAX_WARMUP if least else 0):
        seconds, _ = one_call(calls, prompts, seeds, clock)
        n += 1
        if n >= max(2, least) and abs(seconds - before) <= AGREEMENT * seconds:
            break
        before = seconds
    return n


def time_once(calls: Calls, prompts: Sequence[Prompt], seeds: Sequence[int], clock: Clock) -> None:
    """One call that counts."""
    memory.reset(calls.subject.device)
    seconds, generation = one_call(calls, prompts, seeds, clock)
    calls.peak_mb = max(calls.peak_mb, memory.peak_mb(calls.subject.device))
    calls.iterations, calls.network_evaluations = generation.iterations, generation.network_evaluations
    for stage, value in {TOTAL: seconds, **generation.stage_seconds}.items():
        calls.seconds.setdefault(stage, []).append(float(value))


def batch_of(prompts: Sequence[Prompt], batch: int, turn: int) -> list[Prompt]:
    """The prompts of the ``turn``-th call, going round; every system gets the same ones in the same turn."""
    return [prompts[(turn * batch + i) % len(prompts)] for i in range(batch)]


def measure(
    subjects: Sequence[Subject],
    settings: Speed,
    prompts: Sequence[Prompt],
    *,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    progress: Progress = silent,
) -> tuple[list[Calls], list[dict[str, str]]]:
    """Times every subject at every batch size; and the failures (system, prompt_id "", reason).

    Each system stops after ``settings.repeats`` calls or once it has used ``settings.max_seconds``, whichever comes
    first, but not before one call has counted.
    """
    if settings.seconds is not None:
        prompts = [replace(prompt, seconds=settings.seconds) for prompt in prompts]
    results, failures = [], []
    done, total = 0, len(subjects) * len(settings.batches) * (settings.repeats + 1)
    for batch in settings.batches:
        active = [Calls(subject, batch, prompts[0].seconds) for subject in subjects]
        seeds = [seed + i for i in range(batch)]
        for turn in range(-1, settings.repeats):  # turn -1 is the warm-up
            for calls in list(active):
                try:
                    if turn < 0:
                        warm_up(calls, settings.warmup, batch_of(prompts, batch, 0), seeds, clock)
                    elif turn == 0 or calls.spent < settings.max_seconds:
                        time_once(calls, batch_of(prompts, batch, turn), seeds, clock)
                except (RuntimeError, MemoryError) as error:  # out of memory is a result: the others go on
                    active.remove(calls)
                    reason = f"batch {batch}: {(str(error) or type(error).__name__).splitlines()[0]}"
                    failures.append({"system": calls.subject.label, "prompt_id": "", "reason": reason})
                    log.warning("%s is not timed at %s", calls.subject.label, reason)
                done += 1
                progress("timing", done, total)
        results += active
    return results, failures
