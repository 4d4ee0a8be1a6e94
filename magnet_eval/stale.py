"""A run folder holds one configuration: clips of another one, and their scores, go before the manifest says otherwise.

What is removed is said in one line before. A kill at any moment leaves a folder that tells of one configuration only:
scores go first, then the rows of clips, then the manifest becomes the new one.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from magnet_eval import speed
from magnet_eval.changes import changes
from magnet_eval.clips import ClipMaker
from magnet_eval.lookup import UserError
from magnet_eval.records import AGREES, Prompt, Score
from magnet_eval.store import RunFolder

log = logging.getLogger(__name__)
SHOWN_CHANGES = 3  # of a run's settings, in one line
SHOWN_SYSTEMS = 5
PLACES = ("prompts.source", "prompts.path", "prompts.audio")  # the folder keeps the prompts themselves


def drop(
    folder: RunFolder, makers: Mapping[str, ClipMaker], prompts: Sequence[Prompt], described: Mapping[str, Any]
) -> None:
    """Takes away what is on record of other texts or settings, with its scores, and says so first."""
    stale = {label: found for label, maker in makers.items() if (found := maker.outdated(prompts))}
    warn(folder, described, {label: sum(found.values()) for label, found in stale.items()})
    if stale:
        drop_scores(folder, set(stale))
    for label, found in stale.items():
        makers[label].drop(found)


def warn(folder: RunFolder, described: Mapping[str, Any], n_clips: Mapping[str, int]) -> None:
    """Says in one line which clips are made anew, and how the run is another one than the folder's."""
    anew = [f"{n} of {label}" for label, n in n_clips.items() if n]
    if anew:
        changed = changes(folder.manifest(), described)
        log.warning(
            "%s%s. Clips of other texts or settings are made anew, and their scores go: %s; results=FOLDER starts "
            "afresh and keeps both.",
            folder.path,
            f" was made with {listed(changed, SHOWN_CHANGES, '; ')}" if changed else " holds other clips",
            listed(anew, SHOWN_SYSTEMS, ", "),
        )


def listed(texts: Sequence[str], n: int, between: str) -> str:
    """The first ``n`` texts and how many more there are."""
    more = f" and {len(texts) - n} more" if len(texts) > n else ""
    return between.join(texts[:n]) + more


def drop_scores(folder: RunFolder, labels: Collection[str]) -> None:
    """Removes what was said of the clips of these systems, by judges and by people; timings are of no clip."""

    def is_of_clips(row: Score) -> bool:
        own = row.system in labels or row.versus in labels
        return row.metric not in speed.METRICS and (own or row.metric.startswith(AGREES))

    folder.replace_scores([], is_of_clips)
    folder.write_clip_scores(row for row in folder.each_clip_score() if row.system not in labels)
    manifest = folder.manifest()
    if "checks" in manifest:
        folder.set_failures(
            "score", [row for row in folder.failures() if is_score(row) and row["system"] not in labels]
        )
        folder.update_manifest(
            checks={label: found for label, found in manifest["checks"].items() if label not in labels},
            warnings_of_scores=[],
        )


def is_score(row: Mapping[str, str]) -> bool:
    """Whether a failure is one of scoring."""
    return row["stage"] == "score"


def refuse(folder: RunFolder, makers: Mapping[str, ClipMaker], described: Mapping[str, Any]) -> None:
    """Raises UserError where the folder's clips are of other settings than those that are asked for."""
    manifest = folder.manifest()
    if "compared" in manifest:
        return  # clips of several runs
    prompts = folder.prompts()
    others = [f"{len(found)} of {label}" for label, maker in makers.items() if (found := maker.outdated(prompts))]
    changed = [line for line in changes(manifest, described) if not line.startswith(PLACES)]
    if others or changed:
        how = listed(changed, SHOWN_CHANGES, "; ") or "other texts, files or settings"
        raise UserError(
            f"the clips in {folder.path} are not those asked for: they were made with {how}"
            f"{' (' + listed(others, SHOWN_SYSTEMS, ', ') + ')' if others else ''}. Make these with the same words: "
            "magnet-eval generate; or leave out what was changed."
        )
