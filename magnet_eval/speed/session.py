"""One measurement, from loaded workers to timings and rows: the scenarios, the device's limits, energy."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from magnet_eval.config import Generation, Speed
from magnet_eval.environment import environment
from magnet_eval.progress import Progress
from magnet_eval.records import Prompt, Score, Timing
from magnet_eval.speed import TOTAL, crossover, loop, roofline, server
from magnet_eval.speed.ceilings import Ceilings
from magnet_eval.speed.loop import Calls, Turns
from magnet_eval.speed.rows import Rows
from magnet_eval.speed.worker import Failed, Worker
from magnet_eval.store import content_key

log = logging.getLogger(__name__)
BUSY = 0.25  # share of the processors that others use before timing begins, that is worth a warning
WINDOW = 10.0  # seconds over which energy is counted: many times the counter's 20 to 100 ms


class Scenario(NamedTuple):
    """What the systems are timed on."""

    settings: Speed
    prompts: Sequence[Prompt]
    generation: Generation

    @property
    def work(self) -> list[Prompt]:
        """The prompts in the length that is timed."""
        seconds = self.settings.seconds
        return [replace(one, seconds=seconds) for one in self.prompts] if seconds else list(self.prompts)

    @property
    def dtype(self) -> str:
        """The number format that is timed."""
        return self.settings.dtype or self.generation.dtype

    def key(self, fingerprint: str) -> str:
        """Content key of a measurement: equal only for the same system, work, settings and hardware."""
        work = [[prompt.text, prompt.seconds] for prompt in self.prompts]
        how = [self.generation.seed, self.generation.device, self.generation.dtype]
        return content_key(fingerprint, asdict(self.settings), work, how, environment()["hardware"])


@dataclass
class Session:
    """Everything that is asked of the workers, and what came of it."""

    scenario: Scenario
    loaded: list[Worker]  # all, those that have failed since included
    families: dict[str, str]  # by label
    turns: Turns
    rows: Rows
    timings: list[Timing] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)  # facts for the manifest, by device

    @classmethod
    def of(cls, scenario: Scenario, loaded: list[Worker], families: dict[str, str], rows: Rows) -> "Session":
        """families: of the systems, by label."""
        turns = Turns(loaded, scenario.settings, scenario.work, scenario.generation.seed)
        return cls(scenario, loaded, families, turns, rows)

    def run(self, progress: Progress) -> None:
        """All of it."""
        self.scores += [self.rows.of_system(worker.label, worker.loaded) for worker in self.turns.alive]
        self.look_at_devices("before")
        self.find_limits()
        results = []
        for calls in loop.measure(self.turns, progress):
            results.append(calls)
            self.timings += calls.timings()
            self.scores += self.rows.of_calls(calls)
        self.compare_with_limits()
        self.measure_energy(results)
        if loop.SERVER in self.scenario.settings.scenarios:
            self.serve(results)
        self.look_at_devices("after")

    def compare_with_limits(self) -> None:
        """The share of the device's limit that each stage reached, and each pair of decoders side by side."""
        protocol = self.rows.protocol, self.rows.version
        for device, facts in self.devices.items():
            shapes = {one.label: one.loaded.shapes for one in self.loaded if one.loaded.device == device}
            limits = {dtype: Ceilings(**one) for dtype, one in facts.get("ceilings", {}).items()}
            self.scores += roofline.rows(self.timings, shapes, limits, protocol, self.rows.seed)
        self.scores += crossover.crossover(self.timings, self.families, protocol, self.rows.seed)

    def ask(self, worker: Worker, what: str, *arguments: Any) -> Any:
        """The answer of one worker; None where it fails, which is noted. A dead process fails its next call, too."""
        try:
            return worker.ask(what, *arguments)
        except Failed as error:
            self.turns.note(worker, f"{what}: {error}")
            return None

    def one_of_each_device(self) -> list[Worker]:
        """A worker on each device."""
        return list({worker.loaded.device: worker for worker in reversed(self.turns.alive)}.values())

    def facts(self) -> dict[str, Any]:
        """What the manifest says of this session."""
        return {
            "at": self.rows.session,
            "systems": [worker.label for worker in self.loaded],
            "settings": asdict(self.scenario.settings),
            "devices": self.devices,
            "warnings": list(self.warnings()),
        }

    def warnings(self) -> Iterator[str]:
        """What makes these timings doubtful: other work on the machine, a GPU that slowed itself down."""
        for device, facts in self.devices.items():
            share = (facts.get("before") or {}).get("busy", 0.0)
            if share > BUSY:
                yield f"the machine was busy when timing began: other work used {share:.0%} of its processors"
            if reasons := (facts.get("after") or {}).get("during_calls", {}).get("throttled_by"):
                yield f"{device} slowed itself down during calls: {', '.join(reasons)}"

    def look_at_devices(self, when: str) -> None:
        """The state of every device: clocks, temperature, load."""
        for worker in self.one_of_each_device():
            facts = self.devices.setdefault(worker.loaded.device, {"flags": worker.loaded.flags})
            facts[when] = self.ask(worker, "state")

    def find_limits(self) -> None:
        """What every device can do at most, in the number formats in use; and the power it takes to do nothing."""
        formats = sorted({"float32", self.scenario.dtype})
        for worker in self.one_of_each_device():
            if worker.loaded.has_energy and (watts := self.ask(worker, "idle_watts", WINDOW)):
                self.scores.append(self.rows.of_idle(worker.label, worker.loaded, watts))
            found = self.ask(worker, "ceilings", worker.loaded.device, formats)
            if found:
                limits = {dtype: one._asdict() for dtype, one in found.items()}
                self.devices[worker.loaded.device]["ceilings"] = limits

    def measure_energy(self, results: Sequence[Calls]) -> None:
        """Energy of calls one after the other, of every system and batch size on a GPU that counts it."""
        workers = {worker.label: worker for worker in self.turns.alive if worker.loaded.has_energy}
        for calls in results:
            worker, batch = workers.get(calls.label), calls.series.batch
            if worker in self.turns.alive and TOTAL in calls.seconds:
                self.turns.release()
                seeds = [self.turns.seed + i for i in range(batch)]
                found = self.ask(worker, "energy", loop.batch_of(self.turns.prompts, batch, 0), seeds, WINDOW)
                self.scores += self.rows.of_energy(calls, *found) if found else []

    def serve(self, results: Sequence[Calls]) -> None:
        """The server scenario, system by system: each has the machine to itself."""
        settings, prompts = self.scenario.settings, self.turns.prompts
        bound = settings.bound or prompts[0].seconds
        for worker in list(self.turns.alive):
            self.turns.release()
            services = loop.services(results, worker.label)

            def ask(arrivals: Sequence[float], worker: Worker = worker, sizes: Sequence[int] = sorted(services)) -> Any:
                return worker.ask("serve", arrivals, sizes, prompts, bound)

            rng = np.random.default_rng(self.scenario.generation.seed)
            try:
                tried = server.search(
                    ask, services, bound=bound, queries=settings.queries, seconds=settings.max_seconds, rng=rng
                )
            except Failed as error:
                self.turns.fail(worker, f"server: {error}")
                continue
            self.timings += [self.served(worker, one) for one in tried]
            if any(one.is_met for one in tried):
                row = self.rows.of_server(worker.label, worker.loaded, tried, bound, prompts[0].seconds)
                self.scores.append(row)
            else:
                spent = f"in {settings.max_seconds:g} s of trying; raise speed.bound or speed.max_seconds"
                self.turns.note(worker, f"server: no rate was met with nine in ten within {bound:g} s {spent}")

    def served(self, worker: Worker, one: server.Served) -> Timing:
        """Raw latencies of one rate."""
        loaded = worker.loaded
        scenario = f"{loop.SERVER} at {one.rate:.4g} clips/s"
        return Timing(
            worker.label, "served", 1, self.turns.prompts[0].seconds, one.latencies, loaded.device, loaded.dtype, 0, 0,
            scenario, loaded.weights,
        )  # fmt: skip
