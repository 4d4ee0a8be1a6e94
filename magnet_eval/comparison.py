"""Systems of several runs side by side: their clips of the same prompts, scored again by one set of metrics.

A score of one run and a score of another are not comparable where their prompts differ, however like their names. So
nothing is taken over but the clips (and the timings, which are of no prompt): the clips of the prompts that all
systems have go into a folder of their own, as links, and are scored there like any run's.
"""

import itertools
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from magnet_eval import metric_checks, remote, scoring, speed
from magnet_eval.config import Protocol, check_label
from magnet_eval.environment import command, environment
from magnet_eval.lookup import UserError, check
from magnet_eval.progress import Progress, silent
from magnet_eval.prompts import check_ids
from magnet_eval.records import PEOPLE, Clip, ClipScore, Prompt, Score, is_people
from magnet_eval.store import RunFolder, ids_hash, writing
from magnet_eval.typed import typed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One of the runs."""

    folder: RunFolder
    name: str  # no other of the runs has it
    manifest: Mapping[str, Any]
    protocol: Protocol

    @property
    def systems(self) -> Mapping[str, Mapping[str, Any]]:
        """What the run's manifest says of its systems, by label."""
        return {system.label: self.manifest["systems"].get(system.label, {}) for system in self.protocol.systems}


@dataclass(frozen=True)
class Entrant:
    """One system of one run."""

    source: Source
    old: str  # label in its own run
    label: str  # label here
    clips: Mapping[str, Clip]  # by prompt id


def compare(
    runs: Sequence[Path | str], out: RunFolder, systems: Sequence[str] | None = None, progress: Progress = silent
) -> RunFolder:
    """Scores the systems of ``runs`` on the prompts that all of them have clips of; ``out`` with links to these clips.

    Metrics, presets and real clips are those of the first run. What the runs do not share but may is a warning of the
    manifest (and of the report); another text or length under one prompt id is refused.
    Raises UserError where a run cannot be read, nothing is common, or ``out`` is something else than a comparison.
    """
    sources: list[Source] = []
    for run in runs:
        sources.append(read(run, [source.name for source in sources]))
    if not sources:
        raise UserError(
            "compare needs runs; e.g. magnet-eval compare runs='[results/quickstart-v1, results/other-v1]'."
        )
    entrants = entrants_of(sources, systems)
    prompts = common_prompts(sources, entrants)
    own = list(own_rows(entrants))
    notes = [*differences(sources), *dropped(entrants, prompts), *studies(own)]
    for note in notes:
        log.warning("%s", note)
    protocol = joined(sources, entrants)
    metric_checks.check(protocol)
    with out.lock():
        clear(out)
        out.write_prompts(prompts)
        out.update_manifest(**description(protocol, entrants, prompts, notes))
        for entrant in entrants:
            take_over(entrant, out, prompts)
        out.replace_scores(own, lambda row: row.metric in speed.METRICS or is_people(row))
        out.write_clip_scores(ratings(entrants, prompts))
        out.write_timings(
            replace(timing, system=entrant.label)
            for entrant in entrants
            for timing in entrant.source.folder.timings()
            if timing.system == entrant.old
        )
        scoring.score(protocol, out, progress)
        out.add_history("compare", environment())
    return out


def read(run: Path | str, taken: Sequence[str] = ()) -> Source:
    """One run, opened, under a name that is not ``taken``.

    Raises UserError if it is none, or was made by a version whose settings this one does not know.
    """
    folder = remote.run_folder(run)
    name = folder.path.resolve().name
    names = itertools.chain([name], (f"{name} {i}" for i in itertools.count(2)))
    name = next(free for free in names if free not in taken)
    manifest = folder.manifest()
    if "protocol" not in manifest or not isinstance(manifest.get("systems"), dict):
        raise UserError(f"{run} is no run (no manifest of one). See: magnet-eval list runs.")
    known = {field.name for field in fields(Protocol)}
    values = {name: value for name, value in manifest["protocol"].items() if name in known}
    try:
        return Source(folder, name, manifest, typed(Protocol, values))
    except UserError as error:
        raise UserError(f"{run} was made by another version of this package: {error}") from error


def entrants_of(sources: Sequence[Source], chosen: Sequence[str] | None) -> list[Entrant]:
    """Every system (or the ``chosen`` labels), each under a label of its own: with its run's name where two meet."""
    found = [(source, label) for source in sources for label in source.systems if source.folder.clips(label)]
    if chosen is not None:
        for label in chosen:
            check("system", label, sorted({label for _, label in found}))
        found = [(source, label) for source, label in found if label in chosen]
    times = Counter(label for _, label in found)
    entrants = [
        Entrant(
            source,
            label,
            label if times[label] == 1 else f"{label} ({source.name})",
            {clip.prompt_id: clip for clip in source.folder.clips(label)},
        )
        for source, label in found
    ]
    if len(entrants) < 2:
        raise UserError(f"compare needs two systems with clips, found {len(entrants)}. Name more runs or systems.")
    return entrants


def common_prompts(sources: Sequence[Source], entrants: Sequence[Entrant]) -> list[Prompt]:
    """The prompts of the first run that every system has a clip of, each with a real clip that is at hand here.

    Raises UserError if there are fewer than two, or one id stands for two texts or lengths.
    """
    versions: dict[str, list[Prompt]] = {}
    for source in sources:
        for prompt in source.folder.prompts():
            versions.setdefault(prompt.id, []).append(prompt)
    common = [name for name in versions if all(name in entrant.clips for entrant in entrants)]
    for name in common:
        for what in ("text", "seconds"):
            values = list(dict.fromkeys(getattr(prompt, what) for prompt in versions[name]))
            if len(values) > 1:
                raise UserError(
                    f"prompt {name} is not the same in all runs: its {what} is {values[0]!r:.60} and "
                    f"{values[1]!r:.60}. Their clips cannot be compared."
                )
    if len(common) < 2:
        raise UserError(
            f"the systems have {len(common)} prompts in common, at least 2 are needed. "
            "Generate the same prompts with all of them, or leave one out with systems=[...]."
        )
    check_ids(versions[name][0] for name in common)  # a run from elsewhere may write no file outside its folder
    return [
        next((prompt for prompt in versions[name] if Path(prompt.reference).is_file()), versions[name][0])
        for name in common
    ]


def differences(sources: Sequence[Source]) -> Iterator[str]:
    """What the runs do not share, one line each: worth knowing, no reason not to compare."""

    def facts(source: Source) -> dict[str, Any]:
        protocol, made = source.protocol, source.manifest.get("environment", {})
        presets = {name: choice.preset for name, choice in protocol.metrics.items()}
        return {
            "protocol": f"{protocol.name} v{protocol.version}",
            "prompt list": f"{source.manifest.get('n_prompts')} ids, hash {source.manifest.get('ids_hash')}",
            "seed": protocol.generation.seed,
            "number format": protocol.generation.dtype,
            "metrics": presets,
            "real clips": protocol.reference,
            "hardware": made.get("hardware", {}),
            "version of magnet-eval": made.get("packages", {}).get("magnet-eval"),
        }

    first, kept = sources[0], ("metrics", "real clips")  # of these the first run's are taken for all
    for source in sources[1:]:
        for what, value in facts(source).items():
            before = facts(first)[what]
            if value == before:
                continue
            if what in kept:
                yield f"{what} of {first.name} and {source.name} differ; all are judged with those of {first.name}"
            elif what == "hardware":
                yield f"{first.name} and {source.name} were made on different hardware; their speeds are not comparable"
            else:
                yield f"{what}: {before} in {first.name}, {value} in {source.name}"
    for one, other in itertools.combinations(sources, 2):
        for label in (label for label in one.systems if label in other.systems):
            if one.systems[label].get("fingerprint") != other.systems[label].get("fingerprint"):
                yield f"{label} is not the same system in {one.name} and {other.name}: other weights or settings"


def dropped(entrants: Sequence[Entrant], prompts: Sequence[Prompt]) -> Iterator[str]:
    """How many clips of each system are left out, where not all systems have them."""
    for entrant in entrants:
        if len(entrant.clips) > len(prompts):
            yield f"{entrant.label}: {len(prompts)} of its {len(entrant.clips)} clips count, those of common prompts"


def joined(sources: Sequence[Source], entrants: Sequence[Entrant]) -> Protocol:
    """The first run's protocol with the systems of all."""
    systems = [
        replace(system, label=entrant.label)
        for entrant in entrants
        for system in entrant.source.protocol.systems
        if system.label == entrant.old
    ]
    first = sources[0].protocol
    is_one = {(s.protocol.name, s.protocol.version) for s in sources} == {(first.name, first.version)}
    title = f"Comparison of {', '.join(dict.fromkeys(source.name for source in sources))}"
    return replace(first, systems=systems, title=title, name=first.name if is_one else "comparison")


def description(
    protocol: Protocol, entrants: Sequence[Entrant], prompts: Sequence[Prompt], notes: Sequence[str]
) -> dict[str, Any]:
    """What the manifest says of a comparison."""
    sources = {id(entrant.source): entrant.source for entrant in entrants}.values()
    return {
        "protocol": asdict(protocol),
        "systems": {entrant.label: dict(entrant.source.systems[entrant.old]) for entrant in entrants},
        "n_prompts": len(prompts),
        "ids_hash": ids_hash(prompt.id for prompt in prompts),
        "command": command(),
        "compared": [
            {"run": source.name, "ids_hash": source.manifest.get("ids_hash"), "history": source.manifest.get("history")}
            for source in sources
        ],
        "warnings": list(notes),
    }


def clear(out: RunFolder) -> None:
    """Takes an earlier comparison's links away. Raises UserError if the folder holds a run."""
    manifest = out.manifest()
    if manifest and "compared" not in manifest:
        raise UserError(f"{out.path} is a run, no comparison; choose another name, e.g. name=comparison.")
    for label in manifest.get("systems", {}):
        shutil.rmtree(out.path / (check_label(label) or "unnamed"), ignore_errors=True)


def take_over(entrant: Entrant, out: RunFolder, prompts: Sequence[Prompt]) -> None:
    """Links a system's clips into ``out``: clips are never changed in place, so one file may stand in both."""
    clips = []
    for prompt in prompts:
        clip = entrant.clips[prompt.id]
        path = entrant.source.folder.path / clip.path
        target = out.own(out.audio(entrant.label, prompt.id, path.suffix.removeprefix(".")))
        link(path, target)
        link(entrant.source.folder.order(entrant.old, prompt.id), out.own(out.order(entrant.label, prompt.id)))
        clips.append(replace(clip, system=entrant.label, path=target.relative_to(out.path).as_posix()))
    out.write_clips(entrant.label, clips)


def link(source: Path, target: Path) -> None:
    """One file under two names, on another disk a copy; nothing where it is gone, which scoring names."""
    if not source.is_file():
        return
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def own_rows(entrants: Sequence[Entrant]) -> Iterator[Score]:
    """The runs' own rows of speed and of people, under the labels of the comparison: they are no judge's of its clips.

    How well metrics agree with people is left out: it was computed from other scores.
    """
    for entrant in entrants:
        names = {other.old: other.label for other in entrants if other.source is entrant.source}
        for row in entrant.source.folder.scores():
            kept = row.metric in speed.METRICS or row.metric.startswith(PEOPLE)
            other = row.versus or row.params.get("versus", "")
            if kept and row.system == entrant.old and (not other or other in names):
                yield relabelled(row, entrant.label, other, names.get(other, ""))


def relabelled(row: Score, label: str, old: str, new: str) -> Score:
    """A row of a run as one of the comparison; ``old`` and ``new`` are the other system's labels, where it has one."""
    if row.params.get("versus"):  # a pair of decoders, named in the row's label
        params = {**row.params, "versus": new}
        return replace(row, system=label, label=row.label.removesuffix(old) + new, params=params)
    return replace(row, system=label, versus=new)


def ratings(entrants: Sequence[Entrant], prompts: Sequence[Prompt]) -> Iterator[ClipScore]:
    """The mean answers of people about the clips."""
    known = {prompt.id for prompt in prompts}
    for entrant in entrants:
        for row in entrant.source.folder.clip_scores():
            if row.metric.startswith(PEOPLE) and row.system == entrant.old and row.prompt_id in known:
                yield replace(row, system=entrant.label)


def studies(rows: Sequence[Score]) -> Iterator[str]:
    """A word of warning where people's ratings come from several listening tests."""
    names = sorted({row.protocol for row in rows if row.metric.startswith(PEOPLE)})
    if len(names) > 1:
        yield f"ratings come from {len(names)} listening tests ({', '.join(names)}), not from the same listeners"
