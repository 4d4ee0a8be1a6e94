"""The timing loop: warm-up until stable, systems in turn A B A B, one batch size after the other.

A machine that grows slower during a measurement slows every system alike when they take turns; measured one after
another, the last would carry all of it. Scenarios, after MLPerf's: ``offline`` is calls of every batch size, one after
the other, ``single_stream`` the same with one clip and more calls, ``time_to_first_audio`` one clip piece by piece.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from magnet_eval.config import Speed
from magnet_eval.progress import Progress, silent
from magnet_eval.records import Prompt, Timing
from magnet_eval.speed import TOTAL
from magnet_eval.speed.subject import Call, Loaded
from magnet_eval.speed.worker import Failed, Worker

log = logging.getLogger(__name__)
AGREEMENT = 0.02  # warm-up ends when the last calls differ by no more than this share ...
AGREEING = 3  # ... so many of them
OFFLINE, SINGLE_STREAM, SERVER, FIRST_AUDIO = "offline", "single_stream", "server", "time_to_first_audio"


class Series(NamedTuple):
    """Calls to be made of every system."""

    scenario: str
    batch: int
    repeats: int


@dataclass
class Calls:
    """What the timed calls of one system in one series came to."""

    label: str
    loaded: Loaded
    series: Series
    clip_seconds: float  # of audio per clip
    seconds: dict[str, list[float]] = field(default_factory=dict)  # by stage, "total" first
    events: dict[str, list[float]] = field(default_factory=dict)  # the same by the device's clock; CUDA only
    warmup: list[float] = field(default_factory=list)  # of whole calls; the first compiles, if anything does
    iterations: int = 0  # decoding steps of one call
    network_evaluations: int = 0
    peak_mb: dict[str, float] = field(default_factory=dict)
    spent: float = 0.0  # wall seconds, warm-up included

    def add(self, call: Call) -> None:
        """One call that counts."""
        self.spent += whole(call)
        self.iterations, self.network_evaluations = call.iterations, call.network_evaluations
        for kept, new in ((self.seconds, call.seconds), (self.events, call.events)):
            for stage, value in new.items():
                kept.setdefault(stage, []).append(float(value))
        for kind, peak in call.peak_mb.items():
            self.peak_mb[kind] = max(self.peak_mb.get(kind, 0.0), peak)

    def is_settled(self) -> bool:
        """Whether the last three calls of the warm-up agree."""
        last = self.warmup[-AGREEING:]
        return len(last) == AGREEING and max(last) - min(last) <= AGREEMENT * max(last)

    def timings(self) -> list[Timing]:
        """The raw values as records, one per stage."""
        return [
            Timing(
                self.label, stage, self.series.batch, self.clip_seconds, tuple(values), self.loaded.device,
                self.loaded.dtype, self.iterations, self.network_evaluations, self.series.scenario,
                self.loaded.weights, tuple(self.warmup), tuple(self.events.get(stage, ())),
            )
            for stage, values in self.seconds.items()
        ]  # fmt: skip


def whole(call: Call) -> float:
    """Wall seconds of a call, from its beginning to its end."""
    return max(call.seconds.values())


def plan(settings: Speed) -> list[Series]:
    """The series of the chosen scenarios, smallest batch first. The server needs every batch size, and one clip."""
    chosen, found = set(settings.scenarios), []
    sizes = {*settings.batches} if chosen & {OFFLINE, SERVER} else set()
    if SINGLE_STREAM in chosen:
        found.append(Series(SINGLE_STREAM, 1, settings.queries))
        sizes -= {1}
    elif SERVER in chosen:
        sizes |= {1}
    found += [Series(OFFLINE, batch, settings.repeats) for batch in sorted(sizes)]
    if FIRST_AUDIO in chosen:
        found.append(Series(FIRST_AUDIO, 1, settings.queries))
    return found


def batch_of(prompts: Sequence[Prompt], batch: int, turn: int) -> list[Prompt]:
    """The prompts of the ``turn``-th call, going round; every system gets the same ones in the same turn."""
    return [prompts[(turn * batch + i) % len(prompts)] for i in range(batch)]


class Turns:
    """Makes the calls of all systems, in turn."""

    def __init__(self, workers: Sequence[Worker], settings: Speed, prompts: Sequence[Prompt], seed: int) -> None:
        """workers: with their systems loaded."""
        self.alive = list(workers)
        self.settings, self.prompts, self.seed = settings, prompts, seed
        self.full: set[str] = set()  # systems that ran out of memory, for which a larger batch is not tried
        self.cold: set[str] = set()  # systems whose next call sets up again what they have given back
        self.failures: list[dict[str, str]] = []

    def call(self, worker: Worker, series: Series, turn: int) -> Call:
        """One call. Where memory runs out, once more after the others have given back what they do not use."""
        chosen = batch_of(self.prompts, series.batch, turn)
        if series.scenario == FIRST_AUDIO:
            question: tuple[Any, ...] = ("first_audio", chosen[0], self.seed, self.settings.chunk_seconds)
        else:
            question = ("call", chosen, [self.seed + i for i in range(series.batch)])
        try:
            return worker.ask(*question)
        except Failed as error:
            if not error.out_of_memory or not worker.loaded.device.startswith("cuda"):
                raise
            self.release()
            return worker.ask(*question)

    def release(self) -> None:
        """Has every system give back the memory that it does not need between calls."""
        for worker in self.alive:
            with contextlib.suppress(Failed):  # of one that has died, which its own turn will tell
                worker.ask("release")
                self.cold.add(worker.label)

    def warm_up(self, worker: Worker, calls: Calls) -> None:
        """Calls that do not count, at the same shapes, until the last three agree, or time or patience is up."""
        while len(calls.warmup) < self.settings.warmup and not calls.is_settled():
            seconds = whole(self.call(worker, calls.series, 0))
            calls.warmup.append(seconds)
            calls.spent += seconds
            enough = 0.5 if len(calls.warmup) >= AGREEING else 1.0  # of the time
            if calls.spent >= enough * self.settings.max_seconds:
                break

    def step(self, worker: Worker, calls: Calls, turn: int) -> bool:
        """The warm-up (turn -1) or one call that counts; whether the system is still there."""
        try:
            if turn < 0:
                self.warm_up(worker, calls)
            elif turn == 0 or calls.spent < self.settings.max_seconds:
                if worker.label in self.cold and self.settings.warmup:
                    self.call(worker, calls.series, turn)
                calls.add(self.call(worker, calls.series, turn))
            self.cold.discard(worker.label)
        except Failed as error:
            others = f", beside {len(self.alive) - 1} other systems" if error.out_of_memory and self.alive[1:] else ""
            reason = f"batch {calls.series.batch}: {error}{others}"
            if error.out_of_memory and calls.series.batch > 1:
                self.full.add(worker.label)
                self.note(worker, reason)
            else:
                self.fail(worker, reason)
            return False
        return True

    def fail(self, worker: Worker, reason: str) -> None:
        """Notes why a system is not timed any further; the others go on."""
        self.alive.remove(worker)
        self.note(worker, reason)

    def note(self, worker: Worker, reason: str) -> None:
        """Notes what a system cannot do."""
        self.failures.append({"system": worker.label, "prompt_id": "", "reason": reason})
        log.warning("%s: %s", worker.label, reason)

    def make(self, series: Series, after: Callable[[], None]) -> list[Calls]:
        """All calls of one series. Each system stops after so many calls or once it has used ``max_seconds``.

        Whichever comes first, but not before one call has counted.
        """
        self.release()
        streaming = series.scenario == FIRST_AUDIO
        seconds = self.prompts[0].seconds
        active = [
            (worker, Calls(worker.label, worker.loaded, series, seconds))
            for worker in self.alive
            if (worker.loaded.streams or not streaming) and (series.batch == 1 or worker.label not in self.full)
        ]
        for turn in range(-1, series.repeats):
            for worker, calls in list(active):
                if not self.step(worker, calls, turn):
                    active.remove((worker, calls))
                after()
        return [calls for _, calls in active]


def measure(turns: Turns, progress: Progress = silent) -> Iterator[Calls]:
    """Times every system in every series; one that fails other than by memory has no part in those that follow."""
    done = 0
    series = plan(turns.settings)
    total = sum(one.repeats + 1 for one in series) * len(turns.alive)

    def after() -> None:
        nonlocal done
        done += 1
        progress("timing", min(done, total), total)

    for one in series:
        yield from turns.make(one, after)


def services(results: Sequence[Calls], label: str) -> dict[int, list[float]]:
    """Seconds of whole calls of one system by batch size."""
    return {
        calls.series.batch: calls.seconds[TOTAL] for calls in results if calls.label == label and TOTAL in calls.seconds
    }
