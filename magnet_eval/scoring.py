"""Clips to scores: value, interval and floor of every system, its difference to the baseline, and the text control.

The baseline is the protocol's first system. Every result is kept in the cache under the content that it was computed
from (audio, references, embedder, numerics), so that nothing is computed twice and nothing stale is shown.
"""

import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from magnet_eval import config, inspection, metrics, speed, stats
from magnet_eval.embedders import sources
from magnet_eval.embedding import Card, EmbeddingCache, Hearing, Item
from magnet_eval.judged import Joined, PerClip, Result, Sounds
from magnet_eval.lookup import UserError
from magnet_eval.metric_checks import chosen_metrics
from magnet_eval.metrics import Metric
from magnet_eval.metrics.control import TextControl, text_control
from magnet_eval.metrics.estimate import Difference, Estimate, difference, estimate
from magnet_eval.metrics.record import TEXTUAL
from magnet_eval.metrics.resampling import N_PERMUTATIONS
from magnet_eval.other_side import other_side
from magnet_eval.progress import Progress
from magnet_eval.records import Clip, Embeddings, Score, is_people
from magnet_eval.store import DiskError, RunFolder, content_key, file_hash, write_atomic

log = logging.getLogger(__name__)
T = TypeVar("T", Estimate, Difference, TextControl)
VERSION = 4  # of the statistics: raise it when a change of code changes a number but no metric's preset
SEED = 0  # of every bootstrap and permutation
ALPHA = 0.05  # what an adjusted p-value must be below
SHUFFLED = "shuffled captions"  # what the text control is a difference to
SUFFIX = "_shuffled"  # of the text control's metric


def score(protocol: config.Protocol, folder: RunFolder, progress: Progress) -> bool:
    """Writes scores.jsonl and clip_scores.jsonl of a run folder; returns whether anything had to be computed.

    A score that cannot be computed is an absent row, named with its reason in the manifest. Raises UserError on an
    unknown metric, on missing weights of an embedder, and where there is no clip to score.
    """
    chosen = chosen_metrics(protocol)
    scorer = Scorer(protocol, folder, progress)
    for metric in chosen:
        scorer.score(metric)
    folder.replace_scores(scorer.rows, is_quality)
    people = [row for row in folder.each_clip_score() if is_people(row)]
    rows = itertools.chain.from_iterable(found.rows() for found in scorer.clip_rows)
    folder.write_clip_scores(itertools.chain(rows, people))
    folder.set_failures("score", scorer.failures)
    folder.update_manifest(
        checks=scorer.inspect(),
        warnings_of_scores=scorer.warnings,
        embedders={
            named(*name): {"fingerprint": card.fingerprint, "files": scorer.hashes(card)}
            for name, card in scorer.embedding.cards.items()
        },
        baseline=scorer.baseline,
    )
    return scorer.has_worked


def named(embedder: str, options: Sequence[tuple[str, Any]]) -> str:
    """An embedder and its options in one line."""
    return " ".join([embedder, *(f"{name}={value}" for name, value in options)])


def is_quality(row: Score) -> bool:
    """Whether a row is one that ``score`` writes (and therefore replaces)."""
    return row.metric not in speed.METRICS and not is_people(row)


class Scorer:
    """Scores the systems of one run with one metric after the other."""

    def __init__(self, protocol: config.Protocol, folder: RunFolder, progress: Progress) -> None:
        """Lists what there is to score. Raises UserError if that is nothing."""
        self.protocol, self.folder = protocol, folder
        self.baseline = protocol.systems[0].label
        self.embedding = EmbeddingCache(folder.cache, progress, protocol.generation.device)
        self.prompts = folder.prompts()
        self.rows: list[Score] = []
        self.clip_rows: list[PerClip] = []
        self.failures: list[dict[str, str]] = []
        self.warnings: list[str] = []
        self.has_worked = False
        self.clips = {system.label: self.clips_of(system.label) for system in protocol.systems}
        if not any(self.clips.values()):
            raise UserError(f"{folder.path} holds no clip to score. Make some first: magnet-eval generate.")

    def clips_of(self, label: str) -> Sounds:
        """A system's clips; one whose file is gone or altered is a failure."""
        return Sounds(self.folder.path, self.intact(label))

    def intact(self, label: str) -> Iterator[Clip]:
        """A system's clips whose file is as it was; the others are failures."""
        for clip in self.folder.clips(label):
            path = self.folder.path / clip.path
            if path.is_file() and file_hash(path) == clip.sha256:
                yield clip
            else:
                self.fail(label, clip.prompt_id, f"{path} is gone or was altered; run generate to make it again")

    def inspect(self) -> dict[str, dict[str, Any]]:
        """What is odd about the clips of each system that has odd ones."""
        prompts, found = {prompt.id: prompt for prompt in self.prompts}, {}
        for label, items in self.clips.items():
            intact = {item.id for item in items}
            clips = [clip for clip in self.folder.clips(label) if clip.prompt_id in intact]
            faults = inspection.inspect(self.folder.path, self.folder.cache, clips, prompts)
            if faults:
                line = inspection.summary(faults, len(clips))
                log.warning("%s: %s", label, line)
                found[label] = {"summary": line, "faults": [asdict(fault) for fault in faults]}
        return found

    def warn_of_few(self, metric: Metric, label: str, found: Estimate) -> None:
        """Notes that a covariance is made of fewer frames than it has dimensions: such scores hang on the numbers of
        clips more than on the clips.
        """
        if not (metric.covariance and found.sizes):
            return
        of_system, of_reference, dimensions = found.sizes
        for whose, n in ((label, of_system), ("the real clips", of_reference)):
            if n <= dimensions:
                self.warn(
                    f"{metric.label} ({metric.preset}) has {n} frames of {whose} for {dimensions} dimensions: only "
                    "scores of as many clips compare"
                )

    def warn_of_many(self, metric: Metric, n_pairs: int) -> None:
        """Notes that of so many pairs no difference can be significant: permutations give no smaller p."""
        smallest = n_pairs / (1 + N_PERMUTATIONS)
        if metric.needs == "reference_set" and smallest >= ALPHA:
            self.warn(
                f"{n_pairs} pairs of systems are too many for scores of whole sets: adjusted for their number (Holm) "
                f"no p is below {min(1.0, smallest):.2g}, so that no two can be told apart; name fewer systems"
            )

    def warn(self, line: str) -> None:
        """Notes, once, what a reader of the scores must know."""
        if line not in self.warnings:
            log.warning("%s", line)
            self.warnings.append(line)

    def fail(self, label: str, prompt_id: str, reason: str) -> None:
        """Notes what could not be scored."""
        row = {"system": label, "prompt_id": prompt_id, "reason": reason}
        if row not in self.failures:
            log.warning("%s: %s", f"{label} {prompt_id}".strip(), reason)
            self.failures.append(row)

    def score(self, metric: Metric) -> None:
        """Adds the rows of one metric, every system's."""
        against: Sequence[Item] | None = other_side(metric, self.prompts, self.protocol.reference, self.fail)
        failed = self.embedding.ensure(Hearing.of(metric), Joined(against or [], *self.clips.values()))
        against = against and self.without(failed, "reference", against)
        systems = {label: self.without(failed, label, items) for label, items in self.clips.items()}
        for label, items in systems.items():
            found = self.computed(Estimate, metric, label, (items, against), estimate)
            if found:
                self.warn_of_few(metric, label, found)
                self.add(metric, label, found, floor=found.floor, params=self.params(metric, against))
                self.clip_rows.append(PerClip(label, metric.name, metric.preset, found.per_clip))
        compared: dict[tuple[str, str], Result | None] = {}
        for label, versus in self.pairs() if metric.comparable else ():
            if systems[label] and systems[versus]:
                sides = (systems[label], systems[versus], against)
                apart = self.computed(Difference, metric, label, sides, difference)
                compared[label, versus] = Result.of(apart) if apart else None
        self.warn_of_many(metric, sum(result is not None for result in compared.values()))
        self.add_differences(metric, compared)
        if metric.needs in TEXTUAL and against:
            self.control(metric, systems, against)

    def control(self, metric: Metric, systems: Mapping[str, Sequence[Item]], texts: Sequence[Item]) -> None:
        """Adds each system's score with shuffled captions, and what its own captions score above that."""
        shuffled = replace(metric, name=metric.name + SUFFIX, label=f"{metric.label}, {SHUFFLED}", better="")
        captions = {item.id: item.content for item in texts}

        def compute(_: Metric, system: Embeddings, text: Embeddings, rng: np.random.Generator) -> TextControl:
            row = {name: index for index, name in enumerate(text.clip_ids)}
            order = [row[name] for name in system.clip_ids]
            pair = system.per_clip()[:, metric.columns], text.per_clip()[order][:, metric.columns]
            return text_control(metric.fn, *pair, {name: captions[name] for name in system.clip_ids}, rng)

        found = {}
        for label, items in systems.items():
            result = self.computed(TextControl, shuffled, label, (items, texts), compute)
            if result:
                found[label, SHUFFLED] = Result.of(result)
                value, low, high = result.shuffled
                plain = Estimate(value, low, high, result.ids)
                self.add(shuffled, label, plain, params={"control": True, "embedder": metric.embedder})
        self.add_differences(metric, found, params={"control": True, "one_sided": True})

    def without(self, failed: Mapping[Item, str], label: str, items: Sequence[Item]) -> Sequence[Item]:
        """The items that could be embedded; the others are failures of ``label``."""
        if not failed:
            return items
        for item in items:
            if item in failed:
                self.fail(label, item.id, failed[item])
        return [item for item in items if item not in failed]

    def computed(
        self,
        kind: type[T],
        metric: Metric,
        label: str,
        sides: Sequence[Sequence[Item] | None],
        compute: Callable[..., T],
    ) -> T | None:
        """``compute(metric, *embeddings, rng)``, from the cache where it is known; None, and a failure, if it fails."""
        if not sides[0]:
            return None  # every clip of the system has failed, and said so
        contents = [None if side is None else [(item.id, item.content) for item in side] for side in sides]
        hearing = Hearing.of(metric)
        known = self.embedding.card(hearing).fingerprint, hearing.way
        key = content_key(VERSION, kind.__name__, metric.name, metric.preset, known, contents)
        path = self.folder.cache / f"{key}.json"
        try:
            return kind(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            pass  # not computed yet, or damaged
        try:
            if any(side is not None and not side for side in sides):
                raise UserError(f"nothing to compare clips with: no {metric.needs.replace('_', ' ')} at hand")
            embeddings = [None if side is None else self.embedding.embeddings(hearing, side) for side in sides]
            result = compute(metric, *embeddings, np.random.default_rng(SEED))
        except DiskError:
            raise
        except ValueError as error:
            self.fail(label, "", f"{metric.label}: {error}")
            return None
        write_atomic(path, json.dumps(asdict(result)))
        self.has_worked = True
        return result

    def pairs(self) -> list[tuple[str, str]]:
        """Who is compared with whom: every two systems that compete, and each control with the baseline.

        Of trained variants only those at the same seed: their networks differ in the variant alone.
        """
        seeds = self.protocol.training.seed_of() if self.protocol.training else {}
        made = self.folder.manifest().get("systems", {})  # not the zoo, which need not have a compared run's models
        compete = [label for label in self.clips if made.get(label, {}).get("family") not in config.CONTROLS]
        return [
            (label, versus)
            for versus, label in itertools.combinations(self.clips, 2)
            if (versus == self.baseline or {label, versus} <= set(compete))
            and len({seeds[one] for one in (label, versus) if one in seeds}) < 2
        ]

    def add_differences(self, metric: Metric, found: Mapping[tuple[str, str], Result | None], **more: Any) -> None:
        """Adds rows of differences of (system, versus), their p-values adjusted for the number of them."""
        results = {pair: result for pair, result in found.items() if result is not None}
        p_values = stats.holm([result.p_value for result in results.values()])
        for ((label, versus), result), p_value in zip(results.items(), p_values, strict=True):
            self.add(metric, label, result, versus=versus, p_value=p_value, **more)

    def add(self, metric: Metric, label: str, found: Estimate | Result, **more: Any) -> None:
        """Adds one row."""
        result = found if isinstance(found, Result) else Result.of(found)
        row = Score(
            protocol=self.protocol.name,
            version=self.protocol.version,
            system=label,
            metric=metric.name,
            label=metric.label,
            value=result.value,
            unit=metric.unit,
            better=metric.better,
            n=result.n,
            low=result.low,
            high=result.high,
            ids_hash=result.ids_hash,
            preset=metric.preset,
            **more,
        )
        self.rows.append(row)

    def params(self, metric: Metric, against: Sequence[Item] | None) -> dict[str, Any]:
        """What a row was computed with; ``weights`` says whether the network is the published one (see sources.py)."""
        found: dict[str, Any] = {"embedder": metric.embedder}
        if against and metric.needs.startswith("reference_"):
            found["n_reference"] = len(against)
        shipped = metrics.PRESETS.get((metric.name, metric.preset), metric).options.get("weights", "")
        hashes = self.hashes(self.embedding.card(Hearing.of(metric)))
        standing = sources.standing(str(shipped), hashes)
        if standing:
            found["weights"] = standing
        if standing == "other":
            wanted = sources.SOURCES[str(shipped)].sha256[:12]
            self.warn(f"{metric.label} ({metric.preset}) is not judged by the published {shipped} (sha256 {wanted}...)")
        return found

    def hashes(self, card: Card) -> dict[str, str]:
        """sha256 of each file of an embedder, by its name."""
        return {Path(path).name: content for path, content in card.files.items()}
