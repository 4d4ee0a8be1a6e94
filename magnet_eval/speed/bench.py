"""The verb ``bench``: load the systems, time them in turn, write timings and score rows into the run folder."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from magnet_eval import speed
from magnet_eval.config import Generation, Model, Speed
from magnet_eval.lookup import UserError
from magnet_eval.records import Prompt, Score
from magnet_eval.speed.loop import Clock, Subject, measure
from magnet_eval.speed.rows import Rows
from magnet_eval.store import RunFolder

log = logging.getLogger(__name__)
NOT_TIMED = ("files", "codec")  # they generate nothing: a read is no latency, and neither is a codec round trip


def load(
    systems: Sequence[tuple[str, Model]], generation: Generation, build: Callable[..., Any], clock: Clock
) -> tuple[list[Subject], list[dict[str, str]]]:
    """The systems that can be timed, each with its load time; and those that cannot be loaded, with the reason."""
    subjects, failures = [], []
    for label, model in systems:
        if model.family in NOT_TIMED:
            log.info("%s (family %s) generates nothing and is not timed", label, model.family)
            continue
        start = clock()
        try:
            generator = build(model, device=generation.device, dtype=generation.dtype)
        except UserError as error:
            failures.append({"system": label, "prompt_id": "", "reason": str(error)})
            log.warning("%s is not timed: %s", label, error)
            continue
        device = str(getattr(generator, "device", "cpu"))
        subjects.append(Subject(label, generator, device, generation.dtype, clock() - start))
    return subjects, failures


def bench(
    systems: Sequence[tuple[str, Model]],
    settings: Speed,
    prompts: Sequence[Prompt],
    run: RunFolder,
    *,
    protocol: str,
    version: int,
    generation: Generation | None = None,
    build: Callable[..., Any] | None = None,
    clock: Clock = time.perf_counter,
    advance: Callable[[int], None] = lambda n: None,
) -> list[Score]:
    """Times ``systems`` (label, model) and writes timings.jsonl and the speed rows of scores.jsonl; returns the rows.

    Rows of systems that are not timed now are kept. ``build`` is ``generators.build`` unless given. Raises UserError
    if there is nothing to time.
    """
    if build is None:
        from magnet_eval.generators import build
    generation = generation or Generation()
    subjects, failures = load(systems, generation, build, clock)
    if not prompts:
        raise UserError("no prompts to time with; set prompts.n to at least 1.")
    results, more = measure(subjects, settings, prompts, seed=generation.seed, clock=clock, advance=advance)
    run.set_failures("bench", [*failures, *more])
    if subjects and not results:
        raise UserError(f"no system could be timed; the first reason: {more[0]['reason']}")
    rows = Rows(protocol, version)
    scores = [rows.of_subject(subject) for subject in subjects]
    scores += [row for calls in results for row in rows.of_calls(calls)]
    timed = {subject.label for subject in subjects}
    kept = [timing for timing in run.timings() if timing.system not in timed]
    run.write_timings([*kept, *(timing for calls in results for timing in calls.timings())])
    run.replace_scores(scores, lambda row: row.metric in speed.METRICS and row.system in timed)
    return scores
