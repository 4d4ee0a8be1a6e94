"""What of a data set's audio is at hand: every clip opened once and judged, one manifest, one availability report.

Of 5,521 MusicCaps clips papers had 5,434 to 5,469, each its own: a score says little without the list of its clips.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from magnet_eval import audio
from magnet_eval.config import check_text
from magnet_eval.lookup import UserError
from magnet_eval.progress import Progress
from magnet_eval.prompts.datasets import STATUSES, Dataset, Entry, located
from magnet_eval.prompts.layouts import index
from magnet_eval.records import to_jsonl
from magnet_eval.store import file_hash, ids_hash, write_atomic
from magnet_eval.table import table

SILENCE = 1e-3  # peak; -60 dBFS


@dataclass(frozen=True)
class Verdict:
    """What was found of one clip."""

    status: str  # one of STATUSES
    reason: str = ""  # why it is not had
    file: str = ""
    sha256: str = ""


def prepare(
    dataset: Dataset, entries: Sequence[Entry], folder: Path | None, out: Path, *, tolerance: float, progress: Progress
) -> dict[str, Any]:
    """Judges the audio of ``entries`` in ``folder`` and writes what it finds; the availability report.

    Written are the manifest ``out`` and beside it NAME.availability.json (the report) and NAME.have.txt (the ids of
    the clips at hand whose captions can be generated from, for prompts.ids). Raises UserError on an ``out`` inside the
    audio folder, which is only read.
    """
    if folder and out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"out={out} is in the audio folder, where nothing is ever written; choose another place.")
    if folder:
        entries = located(entries, folder)
    clips = {entry.clip: entry for entry in entries}
    verdicts = judge(list(clips.values()), tolerance, progress)
    write_atomic(out, to_jsonl(judged(entry, verdicts[entry.clip], out.parent) for entry in entries))
    unusable = {entry.id: reason for entry in entries if (reason := fault(entry.caption))}
    without = {entry.clip for entry in entries if entry.id in unusable}
    have = [clip for clip, verdict in verdicts.items() if verdict.status == "have" and clip not in without]
    report = {
        "dataset": dataset.name,
        "audio": str(folder or ""),
        "tolerance_seconds": tolerance,
        "n_captions": len(entries),
        "n_clips": len(clips),
        "statuses": counts(verdicts),
        "lists": lists(dataset, entries, verdicts),
        "have_ids_hash": ids_hash(have),
        "other_files": others(folder, verdicts),
        "unusable_captions": unusable,
        "problems": [
            {"clip": clip, "status": verdict.status, "reason": verdict.reason, "file": verdict.file}
            for clip, verdict in verdicts.items()
            if verdict.status != "have"
        ],
    }
    write_atomic(beside(out, "availability.json"), json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_atomic(beside(out, "have.txt"), "".join(f"{clip}\n" for clip in have))
    return report


def fault(caption: str) -> str:
    """Why a caption cannot be generated from; "" if it can."""
    try:
        check_text(caption)
    except UserError as error:
        return str(error)
    return ""


def beside(out: Path, ending: str) -> Path:
    """The file of another kind beside a manifest."""
    return out.with_name(f"{out.stem}.{ending}")


def judge(clips: Sequence[Entry], tolerance: float, progress: Progress) -> dict[str, Verdict]:
    """Clip id to verdict. Of several clips with the same bytes the first is kept: which one it is nobody knows."""
    verdicts: dict[str, Verdict] = {}
    first: dict[str, str] = {}
    for done, clip in enumerate(clips, start=1):
        verdict = verdict_of(clip, tolerance)
        twin = first.setdefault(verdict.sha256, clip.clip) if verdict.status == "have" else clip.clip
        if twin != clip.clip:
            verdict = replace(verdict, status="duplicated", reason=f"the same bytes as {twin}")
        verdicts[clip.clip] = verdict
        progress("audio", done, len(clips))
    return verdicts


def verdict_of(clip: Entry, tolerance: float) -> Verdict:
    """What the file of a clip is; a long one is not read beyond its header."""
    if not clip.audio:
        return Verdict("missing", "no file of its name")
    path, seconds = Path(clip.audio), clip.end - clip.start
    try:
        content = file_hash(path)
        length = audio.duration(path)
        samples = np.zeros((1, 0), np.float32)
        if length <= seconds + tolerance:
            samples, rate = audio.read(path)
            length = samples.shape[1] / rate  # a torn file's header may promise more
    except (UserError, OSError) as error:
        return Verdict("unreadable", str(error), clip.audio)
    if abs(length - seconds) > tolerance:
        return Verdict("wrong length", f"{length:.2f} s instead of {seconds:g} s", clip.audio, content)
    if np.abs(samples).max() < SILENCE:
        return Verdict("silent", "no sample above -60 dBFS", clip.audio, content)
    return Verdict("have", "", clip.audio, content)


def judged(entry: Entry, verdict: Verdict, home: Path) -> Entry:
    """The manifest's line of an entry; its audio is relative to the manifest's folder where it is inside it."""
    path = Path(verdict.file).resolve() if verdict.file else None
    if path and path.is_relative_to(home.resolve()):
        path = path.relative_to(home.resolve())
    return replace(entry, audio=path.as_posix() if path else "", sha256=verdict.sha256, status=verdict.status)


def counts(verdicts: Mapping[str, Verdict]) -> dict[str, int]:
    """Clips of each status, those without any included."""
    found = Counter(verdict.status for verdict in verdicts.values())
    return {status: found[status] for status in STATUSES}


def lists(dataset: Dataset, entries: Sequence[Entry], verdicts: Mapping[str, Verdict]) -> dict[str, dict[str, Any]]:
    """Of each named id list that there is something of: its official size and the clips of each status."""
    rows = {}
    for name, wanted in dataset.lists.items():
        of_list = {entry.clip: verdicts[entry.clip] for entry in entries if entry.split in wanted.splits}
        if of_list:
            rows[name] = {"official": wanted.n_clips, "clips": len(of_list), **counts(of_list)}
    return rows


def others(folder: Path | None, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """How many audio files of the folder are no clip's, and one of them: a layout that is not known shows here."""
    if folder is None:
        return {"n": 0, "example": ""}
    used = {verdict.file for verdict in verdicts.values()}
    unused = [str(path) for path in index(folder).values() if str(path) not in used]
    return {"n": len(unused), "example": unused[0] if unused else ""}


def shown(report: Mapping[str, Any], out: Path) -> str:
    """The report as a table of clips, and where the files are."""
    parts = report["lists"]
    rows = [[status, *(f"{part[status]:,}" for part in parts.values())] for status in STATUSES]
    rows += [[word, *(f"{part[word]:,}" for part in parts.values())] for word in ("clips", "official")]
    lines = [table([report["dataset"], *parts], rows), ""]
    if report["other_files"]["n"]:
        lines.append("audio files of no clip: {n:,}, e.g. {example}".format(**report["other_files"]))
    for name, reason in list(report["unusable_captions"].items())[:3]:
        lines.append(f"caption {name} cannot be used, its clip is not in the list: {reason}")
    lines += [f"manifest: {out}", f"report: {beside(out, 'availability.json')}"]
    lines.append(f"ids of the clips at hand: {beside(out, 'have.txt')} (hash {report['have_ids_hash']})")
    return "\n".join(lines)
