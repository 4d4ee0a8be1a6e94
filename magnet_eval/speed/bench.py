"""The verb ``bench``: load the systems, time them in turn, write timings and score rows into the run folder."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from magnet_eval import speed
from magnet_eval.config import Generation, Model, Speed
from magnet_eval.environment import environment
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress, silent
from magnet_eval.records import Prompt, Score
from magnet_eval.speed.loop import Clock, Subject, measure
from magnet_eval.speed.rows import Rows
from magnet_eval.store import RunFolder, content_key

log = logging.getLogger(__name__)
NOT_TIMED = ("files", "codec")  # they generate nothing: a read is no latency, and neither is a codec round trip


class Scenario(NamedTuple):
    """What the systems are timed on."""

    settings: Speed
    prompts: Sequence[Prompt]
    generation: Generation

    def key(self, fingerprint: str) -> str:
        """Content key of a measurement: equal only for the same system, work, settings and hardware."""
        work = [[prompt.text, prompt.seconds] for prompt in self.prompts]
        how = [self.generation.seed, self.generation.device, self.generation.dtype]
        return content_key(fingerprint, asdict(self.settings), work, how, environment()["hardware"])


def load(
    models: Mapping[str, Model], generation: Generation, zoo: Any, clock: Clock
) -> tuple[list[Subject], list[dict[str, str]]]:
    """The systems that can be loaded, each with its load time; and those that cannot, with the reason."""
    subjects, failures = [], []
    how = {"device": generation.device, "dtype": generation.dtype, "exact": False}  # not exact: one call, one batch
    with contextlib.suppress(UserError):
        zoo.build(next(iter(models.values())), **how)  # imports the libraries, whose seconds are no model's
    for label, model in models.items():
        start = clock()
        try:
            generator = zoo.build(model, **how)
        except UserError as error:
            failures.append({"system": label, "prompt_id": "", "reason": str(error)})
            log.warning("%s is not timed: %s", label, error)
            continue
        device = str(getattr(generator, "device", "cpu"))
        subjects.append(Subject(label, generator, device, generation.dtype, clock() - start))
    return subjects, failures


def bench(
    systems: Sequence[tuple[str, Model]],
    scenario: Scenario,
    run: RunFolder,
    *,
    protocol: tuple[str, int],
    again: bool = True,
    zoo: Any = None,
    clock: Clock = time.perf_counter,
    progress: Progress = silent,
) -> list[Score]:
    """Times ``systems`` (label, model); writes timings.jsonl and the speed rows of scores.jsonl; returns the new rows.

    Rows of systems that are not timed now are kept. With ``again`` False, a system that the run folder already has
    timings of, made by the same work on the same hardware, is not timed again. ``protocol`` is its name and version;
    ``zoo`` has ``build`` and ``fingerprint`` and is ``magnet_eval.generators`` unless given.
    Raises UserError where nothing could be timed.
    """
    if zoo is None:
        from magnet_eval import generators as zoo
    if not scenario.prompts:
        raise UserError("no prompts to time with; set prompts.n to at least 1.")
    models = {label: model for label, model in systems if model.family not in NOT_TIMED}
    keys = {label: scenario.key(zoo.fingerprint(model)) for label, model in models.items()}
    known = run.manifest().get("timed", {})
    if not again:
        models = {label: model for label, model in models.items() if known.get(label) != keys[label]}
    if not models:
        return []
    with run.lock():
        subjects, failures = load(models, scenario.generation, zoo, clock)
        results, more = measure(
            subjects, scenario.settings, scenario.prompts, seed=scenario.generation.seed, clock=clock, progress=progress
        )
        failures += more
        earlier = [row for row in run.failures() if row["stage"] == "bench" and row["system"] not in models]
        run.set_failures("bench", [*earlier, *failures])
        if not results:
            raise UserError(f"no system could be timed; the first reason: {failures[0]['reason']}")
        rows = Rows(*protocol)
        scores = [rows.of_subject(subject) for subject in subjects]
        scores += [row for calls in results for row in rows.of_calls(calls)]
        kept = [timing for timing in run.timings() if timing.system not in models]
        run.write_timings([*kept, *(timing for calls in results for timing in calls.timings())])
        run.replace_scores(scores, lambda row: row.metric in speed.METRICS and row.system in models)
        done = {subject.label: keys[subject.label] for subject in subjects}
        named = run.manifest().get("systems", {})
        new = {label: asdict(model) for label, model in models.items() if label not in named}
        run.update_manifest(timed={**known, **done}, speed=asdict(scenario.settings), systems={**named, **new})
        run.add_history("bench", environment(), systems=list(done))
    return scores
