"""The verb ``bench``: systems in processes of their own, timed in turn; timings and score rows into the run folder."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from magnet_eval import speed
from magnet_eval.config import Model, Speed
from magnet_eval.environment import command, environment
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress, silent
from magnet_eval.records import Score
from magnet_eval.speed.rows import Rows
from magnet_eval.speed.session import Scenario as Scenario
from magnet_eval.speed.session import Session
from magnet_eval.speed.worker import Failed, Worker
from magnet_eval.store import RunFolder, now

log = logging.getLogger(__name__)
NOT_TIMED = ("files", "codec")  # they generate nothing: a read is no latency, and neither is a codec round trip
Start = Callable[[str, Path], Worker]
Failures = list[dict[str, str]]


@contextlib.contextmanager
def crew(labels: Sequence[str], start: Start) -> Iterator[list[Worker]]:
    """A process for each label, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="magnet-eval-") as folder, contextlib.ExitStack() as stack:
        workers = []
        for i, label in enumerate(labels):
            own = Path(folder) / str(i)
            own.mkdir()
            workers.append(start(label, own))
            stack.callback(workers[-1].close)
        yield workers


def identify(systems: Sequence[tuple[str, Model]], scenario: Scenario) -> tuple[dict[str, tuple[Model, str]], Failures]:
    """The systems to time, each with its key; and those that cannot be, with the reason."""
    from magnet_eval import generators

    found, failures = {}, []
    for label, model in systems:
        if model.family in NOT_TIMED:
            continue
        try:
            model = with_weights(model, scenario.settings)
            found[label] = model, scenario.key(generators.fingerprint(model))
        except UserError as error:
            failures.append(failure(label, error))
    return found, failures


def with_weights(model: Model, settings: Speed) -> Model:
    """The model, without its files where speed.weights says so. Raises UserError where its family needs them."""
    return replace(model, weights=settings.weights) if settings.weights else model


def failure(label: str, reason: object) -> dict[str, str]:
    """A row of the manifest's failures."""
    log.warning("%s is not timed: %s", label, reason)
    return {"system": label, "prompt_id": "", "reason": str(reason)}


def load(workers: Sequence[Worker], models: Mapping[str, Model], scenario: Scenario) -> Failures:
    """Loads the systems, one after the other, once all processes have imported their libraries; who could not be."""
    failures, texts, ready = [], [prompt.text for prompt in scenario.work], []
    for worker in workers:
        worker.tell("prepare", models[worker.label].family)
    for worker in workers:
        try:
            worker.answer()
            ready.append(worker)
        except Failed as error:
            failures.append(failure(worker.label, error))
    for worker in ready:
        try:
            worker.loaded = worker.ask("load", models[worker.label], scenario.generation.device, scenario.dtype, texts)
        except Failed as error:
            failures.append(failure(worker.label, error))
            continue
        seconds = scenario.work[0].seconds
        if window := worker.loaded.windows_of(seconds):
            log.warning("%s makes clips of %g s in windows of %g s, one after the other", worker.label, seconds, window)
    return failures


def bench(
    systems: Sequence[tuple[str, Model]],
    scenario: Scenario,
    run: RunFolder,
    *,
    protocol: tuple[str, int],
    again: bool = True,
    start: Start = Worker,
    progress: Progress = silent,
) -> list[Score]:
    """Times ``systems`` (label, model); writes timings.jsonl and the speed rows of scores.jsonl; returns the new rows.

    Rows of systems that are not timed now are kept. With ``again`` False, a system that the run folder already has
    timings of, made by the same work on the same hardware, is not timed again. ``protocol`` is its name and version;
    ``start`` makes the process of a system, from its label and a folder. Raises UserError where nothing could be timed.
    """
    if not scenario.prompts:
        raise UserError("no prompts to time with; set prompts.n to at least 1.")
    found, failures = identify(systems, scenario)
    known = run.manifest().get("timed", {})
    if not again:
        found = {label: (model, key) for label, (model, key) in found.items() if known.get(label) != key}
    models = {label: model for label, (model, _) in found.items()}
    if not models and not (again and failures):
        return []
    with run.lock(), crew(list(models), start) as workers:
        failures += load(workers, models, scenario)
        loaded = [worker for worker in workers if worker.loaded]
        families = {label: model.family for label, model in models.items()}
        session = Session.of(scenario, loaded, families, Rows(*protocol, session=now()))
        try:
            if loaded:
                session.run(progress)
        except KeyboardInterrupt:  # what is finished stays, and does not count as done
            finished = {timing.system for timing in session.timings}
            if finished:
                keep(run, session, {label: models[label] for label in finished}, session.turns.failures, {})
            raise
        done = {worker.label: found[worker.label][1] for worker in loaded}
        keep(run, session, models, [*failures, *session.turns.failures], done)
    return session.scores


def bench_alone(rows: Rows) -> dict[str, Any]:
    """What the manifest of a run without clips says of how it was made."""
    return {"protocol": {"name": rows.protocol, "version": rows.version}, "command": command()}


def without(sessions: Sequence[dict[str, Any]], labels: Collection[str]) -> Iterator[dict[str, Any]]:
    """Facts of earlier sessions, as far as something of them is kept where these systems are timed again."""
    for facts in sessions:
        if systems := [label for label in facts["systems"] if label not in labels]:
            yield {**facts, "systems": systems}


def is_about(row: Score, labels: Collection[str]) -> bool:
    """Whether a row is one of these systems', or compares with one."""
    return row.system in labels or row.params.get("versus") in labels


def keep(
    run: RunFolder, session: Session, models: Mapping[str, Model], failures: Failures, done: Mapping[str, str]
) -> None:
    """Puts a session into the run folder, in place of what it had of the same systems.

    Raises UserError, and leaves the earlier rows, where nothing was timed.
    """
    tried = {*models, *(row["system"] for row in failures)}
    earlier = [row for row in run.failures() if row["stage"] == "bench" and row["system"] not in tried]
    run.set_failures("bench", [*earlier, *failures])
    if not session.timings:
        raise UserError(f"no system could be timed; the first reason: {failures[0]['reason']}")
    kept = [timing for timing in run.timings() if timing.system not in models]
    run.write_timings([*kept, *session.timings])
    run.replace_scores(session.scores, lambda row: row.metric in speed.METRICS and is_about(row, models))
    manifest = run.manifest()
    named = manifest.get("systems", {})
    new = {label: asdict(model) for label, model in models.items() if label not in named}
    run.update_manifest(
        timed={**manifest.get("timed", {}), **done},
        speed=[*without(manifest.get("speed", []), models), session.facts()],
        systems={**named, **new},
        **({} if "protocol" in manifest else bench_alone(session.rows)),
    )
    run.add_history("bench", environment(), systems=list(done))
