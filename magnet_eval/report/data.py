"""What a report is made from: the records of one run folder, read once, and each system's looks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from magnet_eval import speed
from magnet_eval.ablation import Training
from magnet_eval.config import CONTROLS
from magnet_eval.lookup import UserError
from magnet_eval.metrics import METRICS
from magnet_eval.records import AGREES, Clip, ClipScore, Prompt, Score, Timing, is_people
from magnet_eval.report.reading import Reader
from magnet_eval.store import RunFolder
from magnet_eval.typed import typed

# Okabe and Ito (2008), safe for colour-blind readers, in their order; black ("ink": the page's own text colour) and
# yellow come last, since each vanishes on one of the two grounds.
INK = "#111112"
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", INK, "#F0E442")
MARKERS = {  # matplotlib's name -> the same shape as an SVG path in a 12 x 12 box
    "o": "M6 1a5 5 0 1 0 .01 0z",
    "s": "M1.5 1.5h9v9h-9z",
    "^": "M6 .8l5.4 10H.6z",
    "D": "M6 .3L11.7 6 6 11.7.3 6z",
    "v": "M6 11.2L.6 1.2h10.8z",
    "P": "M4 .8h4V4h3.2v4H8v3.2H4V8H.8V4H4z",
    "X": "M3.2.6L6 3.4 8.8.6l2.6 2.6L8.6 6l2.8 2.8-2.6 2.6L6 8.6l-2.8 2.8L.6 8.8 3.4 6 .6 3.2z",
}


@dataclass(frozen=True)
class System:
    """One system and its looks, the same in every figure and table."""

    label: str
    colour: str  # "#RRGGBB"
    marker: str  # a key of MARKERS
    role: str = ""  # why it is shown without competing; "" for a system that competes

    @property
    def path(self) -> str:
        """The marker as an SVG path."""
        return MARKERS[self.marker]


@dataclass(frozen=True)
class Data:
    """One run, read."""

    folder: RunFolder
    manifest: dict[str, Any]
    prompts: list[Prompt]
    systems: dict[str, System]  # by label, in the order of the protocol
    clips: dict[str, list[Clip]]  # by system
    scores: list[Score]
    clip_scores: list[ClipScore]  # as in ``told_apart``
    timings: list[Timing]
    agreements: list[Score]  # correlations of metrics with ratings: of all systems together
    unread: list[str]  # a line for each file of which this version cannot read all

    @cached_property
    def told_apart(self) -> list[Score]:
        """All scores, those of a metric that was computed by several presets as metrics of their own."""
        return told_apart(self.scores, self.scores)

    @cached_property
    def variants(self) -> dict[str, dict[int, str]]:
        """Variant -> seed -> the label of its system, of those in the run; none where nothing was trained."""
        given = (self.manifest.get("protocol") or {}).get("training")
        try:
            known = typed(Training, given, "training").labels() if given else {}
        except UserError:  # a manifest of another version
            return {}
        found = {name: {n: label for n, label in own.items() if label in self.systems} for name, own in known.items()}
        return {name: own for name, own in found.items() if own}

    def competes(self, label: str) -> bool:
        """Whether a system can be the best of all: controls cannot, nor can a variant at a single seed."""
        return not self.systems[label].role and all(label not in own.values() for own in self.variants.values())

    @property
    def plain(self) -> list[Score]:
        """Scores of the audio and of people, no differences."""
        return [row for row in self.told_apart if not row.versus and row.metric not in speed.METRICS]

    @property
    def quality(self) -> list[Score]:
        """Plain scores of the audio."""
        return [row for row in self.plain if not is_people(row)]

    @property
    def comparisons(self) -> list[Score]:
        """Differences between two systems' audio."""
        return [row for row in self.told_apart if row.versus and not is_people(row)]

    @property
    def people(self) -> list[Score]:
        """Ratings of a listening test, means and differences."""
        return [row for row in self.scores if is_people(row)]

    @property
    def warnings(self) -> list[str]:
        """What a reader must mind."""
        sessions = self.manifest.get("speed", [])
        of_speed = (
            [line for facts in sessions for line in facts.get("warnings", [])] if isinstance(sessions, list) else []
        )
        own = [*self.manifest.get("warnings", []), *self.manifest.get("warnings_of_scores", [])]
        return merged([*own, *dict.fromkeys(of_speed), *self.pruned, *self.unread], list(self.systems))

    @property
    def pruned(self) -> list[str]:
        """A line where prune has taken the audio away, and nobody has made it again."""
        entry = (self.manifest.get("pruned") or {}).get("audio")
        clips = [clip for own in self.clips.values() for clip in own]
        if not entry or any((self.folder.path / clip.path).is_file() for clip in clips):
            return []
        return [f"the audio of this run was removed by prune on {str(entry['at'])[:10]}; there is nothing to play here"]

    @property
    def speed(self) -> list[Score]:
        """Rows of the timing loop."""
        return [row for row in self.scores if row.metric in speed.METRICS]

    def timed(self, metric: str, **params: Any) -> list[Score]:
        """Rows of one metric of the timing loop whose params are these."""
        rows = (row for row in self.speed if row.metric == metric)
        return [row for row in rows if all(row.params.get(name) == value for name, value in params.items())]

    def latency(self, system: str, batch: int) -> Score | None:
        """The median latency of whole calls."""
        rows = self.timed(speed.LATENCY, stage=speed.TOTAL, batch=batch, quantile=0.5)
        return next((row for row in rows if row.system == system), None)

    @property
    def batches(self) -> list[int]:
        """Batch sizes of timed calls, smallest first."""
        return sorted({row.params["batch"] for row in self.timed(speed.LATENCY)})


def looks(families: dict[str, str]) -> dict[str, System]:
    """Systems with their colours and markers: both depend on the place in the order alone."""
    marks = tuple(MARKERS)
    return {
        label: System(label, COLOURS[i % len(COLOURS)], marks[i % len(marks)], CONTROLS.get(family, ""))
        for i, (label, family) in enumerate(families.items())
    }


def load(run_folder: RunFolder | Path, *, by_clip: bool = True) -> Data:
    """The records of a run folder: of the systems of its last run, or of all that have scores where it names none.

    A run of fewer systems leaves the timings of the others in the folder; they are no part of its report.
    by_clip: with what there is of every clip, which a table does not show and a large run has much of.
    """
    folder = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    reader = Reader(folder)
    manifest, scores, prompts = reader.manifest(), reader.scores(), reader.lines(Prompt, "prompts.jsonl")
    families = {label: family_of(entry) for label, entry in manifest.get("systems", {}).items()}
    agreements = [row for row in scores if row.metric.startswith(AGREES)]
    families = families or {row.system: "" for row in scores if row not in agreements}
    return Data(
        folder, manifest, prompts, looks(families),
        {label: reader.clips(label, prompts) if by_clip else [] for label in families},
        [row for row in scores if row.system in families],
        told_apart(reader.lines(ClipScore, "clip_scores.jsonl") if by_clip else [], scores),
        reader.lines(Timing, "timings.jsonl"), agreements, reader.unread,
    )  # fmt: skip


def family_of(entry: Mapping[str, Any]) -> str:
    """The family of a system of the manifest."""
    return str(entry.get("family") or entry.get("model", {}).get("family", ""))


def merged(lines: Iterable[str], labels: Sequence[str]) -> list[str]:
    """The lines; those that differ in a system's label alone are one, with all of these labels."""
    groups: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        label = next((label for label in labels if f" of {label} " in line), "")
        before, _, after = line.partition(f" of {label} ") if label else (line, "", "")
        groups.setdefault((before, after), []).append(label)
    return [f"{a} of {', '.join(names)} {b}" if names[0] else a for (a, b), names in groups.items()]


P = TypeVar("P", Score, ClipScore)


def told_apart(rows: Sequence[P], scores: Iterable[Score]) -> list[P]:
    """The rows; where ``scores`` hold a metric by several presets, as metrics "name@preset", so labelled."""
    presets: dict[str, set[str]] = {}
    for row in scores:
        if row.preset and not is_people(row):
            presets.setdefault(row.metric, set()).add(row.preset)
    several = {metric for metric, names in presets.items() if len(names) > 1}
    return [renamed(row) if row.metric in several and row.preset else row for row in rows]


def renamed(row: P) -> P:
    """A row as one of the metric "name@preset"."""
    metric = f"{row.metric}@{row.preset}"
    label = f"{row.label}, {row.preset}" if isinstance(row, Score) else None
    return replace(row, metric=metric, **({"label": label} if label else {}))  # type: ignore[arg-type]


def name_of(metric: str) -> str:
    """The registered name of a metric as in ``told_apart``."""
    return metric.partition("@")[0]


def shown_label(row: Score) -> str:
    """A metric's label; that of a tiny metric says so."""
    known = METRICS.get(name_of(row.metric))
    is_tiny = known.tiny if known else "tiny" in f"{row.metric} {row.preset}".lower()
    return f"{row.label} (tiny)" if is_tiny and "tiny" not in row.label.lower() else row.label
